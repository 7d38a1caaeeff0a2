"""Where objects are in the store: `/registry/<group>/<plural>/[<namespace>/]<name>`."""

from __future__ import annotations

from ..cache.resource_cache import Prefix
from ..resources import Resource
from .strategies import strategy_of

CORE = "core"
"""The core group's name in keys: its real name is empty, and an empty path segment invites mistakes."""


def prefix_of(resource: Resource) -> Prefix:
    """The same for every version of a kind, and for the kind that it is a view of."""
    view = strategy_of(resource).view
    if view is not None:
        return Prefix(view.group or CORE, view.plural)
    return Prefix(resource.group or CORE, resource.plural)


def local_key(namespace: str, name: str) -> str:
    """An object's key below its prefix."""
    return f"{namespace}/{name}" if namespace else name


def store_key(resource: Resource, namespace: str, name: str) -> bytes:
    """An object's whole key."""
    return bytes(prefix_of(resource)) + local_key(namespace, name).encode()
