"""Kinds without objects of their own: the objects of another kind, in other words.

A view has its own schema, group and discovery entry; what is stored, cached, listed and watched is the other kind's.
So both are always of one mind, and an object has one uid and one resourceVersion under either name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]
Convert = Callable[[Mapping[str, Any]], Object]


@dataclass(frozen=True, slots=True)
class View:
    """What is stored, and the way there and back. Converting there and back again changes nothing."""

    group: str
    version: str
    kind: str
    plural: str
    served: Convert
    """From the stored form to the view's."""
    stored: Convert
    """From the view's form to the stored one."""
    paths: Mapping[str, str]
    """Heads of selectable fields' paths where the forms differ: the view's -> the stored one's."""

    def stored_path(self, path: str) -> str:
        """A field selector's path in the stored form."""
        head, dot, rest = path.partition(".")
        return self.paths.get(head, head) + dot + rest
