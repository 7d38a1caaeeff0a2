"""What changes outside the registry in the same commit in which an object is created."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..store.protocol import Delete, Expect, Put


@dataclass(frozen=True, slots=True)
class Along:
    """All of it happens together with the object's creation, or nothing does."""

    expect: Sequence[Expect]
    """Conditions beside the one that the object does not exist."""
    operations: Callable[[Mapping[str, Any]], Sequence[Put | Delete]]
    """From the object, which has its uid by then."""
