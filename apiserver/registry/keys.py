"""Where objects are in the store: `/registry/<group>/<plural>/[<namespace>/]<name>`."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from ..cache.resource_cache import Prefix
from ..resources import Resource, derived
from .strategies import strategy_of

PREFIXES_REMEMBERED: Final = 1_024
"""Every request asks for its own a few times."""
CORE = "core"
"""The core group's name in keys: its real name is empty, and an empty path segment invites mistakes."""


@derived
def prefix_of(resource: Resource) -> Prefix:
    """The same for every version of a kind, and for the kind that it is a view of."""
    view = strategy_of(resource).view
    if view is not None:
        return prefix_at(view.group, view.plural)
    return prefix_at(resource.group, resource.plural)


@lru_cache(PREFIXES_REMEMBERED)
def prefix_at(group: str, plural: str) -> Prefix:
    """Where the objects of a group's plural are."""
    return Prefix(group or CORE, plural)


def local_key(namespace: str, name: str) -> str:
    """An object's key below its prefix."""
    return f"{namespace}/{name}" if namespace else name


def store_key(resource: Resource, namespace: str, name: str) -> bytes:
    """An object's whole key."""
    return bytes(prefix_of(resource)) + local_key(namespace, name).encode()
