"""What admission sees of a request, and what a plugin is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..request import User
from ..resources import Resource

Object = dict[str, Any]


@dataclass(slots=True)
class Attributes:
    """One write. A mutating plugin changes `object` in place; nobody changes `old`."""

    operation: str
    """CREATE, UPDATE or DELETE."""
    resource: Resource
    subresource: str
    namespace: str
    name: str
    """Empty on a create with generateName."""
    object: Object | None
    """None on DELETE."""
    old: Mapping[str, Any] | None
    """None on CREATE."""
    user: User
    dry_run: bool = False
    warnings: list[str] = field(default_factory=list)


class Lookup(Protocol):
    """How a plugin reads other objects: from the watch caches, never from the store."""

    async def get(self, group: str, plural: str, namespace: str, name: str) -> Mapping[str, Any] | None:
        """The object, or None."""
        ...

    async def list(self, group: str, plural: str, namespace: str = "") -> list[Mapping[str, Any]]:
        """All objects of the resource; of one namespace when given."""
        ...


Plugin = Callable[[Attributes, Lookup], Awaitable[None]]
"""Raises an ApiError to refuse the write."""
