"""Finding objects in an informer by something other than their key.

An index function takes the decoded object and gives the values it is found by. `FieldIndex`, `LabelIndex`, `OwnerIndex`
and `OrphanIndex` read the raw JSON instead, so that indexing does not decode what nobody looks at.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

import orjson

from stark.crds.meta import KubeObject, Undecodable

from .cached import Cached

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FieldIndex:
    """By the text at a path of the wire form, e.g. `spec.nodeName`; an absent field is not indexed."""

    path: str

    def values(self, raw: Mapping[str, Any]) -> Iterable[str]:
        """The value at the path, if there is one."""
        found: Any = raw
        for part in self.path.split("."):
            found = found.get(part) if isinstance(found, dict) else None
        return (str(found),) if found is not None else ()


@dataclass(frozen=True, slots=True)
class LabelIndex:
    """By the value of one label."""

    label: str

    def values(self, raw: Mapping[str, Any]) -> Iterable[str]:
        """The label's value, if the object has it."""
        value = (raw["metadata"].get("labels") or {}).get(self.label)
        return (value,) if value is not None else ()


@dataclass(frozen=True, slots=True)
class OwnerIndex:
    """By the uids of the owners: all of them, or only the one that is the controller."""

    controller_only: bool = True

    def values(self, raw: Mapping[str, Any]) -> Iterable[str]:
        """The owners' uids."""
        owners = raw["metadata"].get("ownerReferences") or ()
        return [owner["uid"] for owner in owners if owner.get("controller") or not self.controller_only]


@dataclass(frozen=True, slots=True)
class OrphanIndex:
    """By namespace, the objects that nobody controls."""

    def values(self, raw: Mapping[str, Any]) -> Iterable[str]:
        """The namespace, if no owner is the controller."""
        metadata = raw["metadata"]
        if any(owner.get("controller") for owner in metadata.get("ownerReferences") or ()):
            return ()
        return (metadata.get("namespace") or "",)


RawIndex: TypeAlias = FieldIndex | LabelIndex | OwnerIndex | OrphanIndex
IndexFunction: TypeAlias = Callable[[T], Iterable[str]] | RawIndex


class Index(Generic[T]):
    """Value -> keys, for one index function."""

    __slots__ = ("_keys", "_values", "function", "name")

    def __init__(self, name: str, function: IndexFunction[T]) -> None:
        self.name = name
        self.function = function
        self._keys: dict[str, dict[str, None]] = {}
        self._values: dict[str, tuple[str, ...]] = {}

    def keys(self, value: str) -> Iterable[str]:
        """The keys of the objects with this value, in the order in which they got it."""
        return self._keys.get(value, ())

    def put(self, key: str, cached: Cached[T] | None) -> None:
        """The object of this key is now `cached`, or gone."""
        before = self._values.get(key, ())
        after = self._taken(cached) if cached is not None else ()
        if before == after:
            return
        for value in before:
            keys = self._keys[value]
            del keys[key]
            if not keys:
                del self._keys[value]
        for value in after:
            self._keys.setdefault(value, {})[key] = None
        if after:
            self._values[key] = after
        else:
            self._values.pop(key, None)

    def stage(self, cached: Cached[T]) -> None:
        """Take the values now, while the mapping is at hand; `put` will use them."""
        if isinstance(self.function, RawIndex):
            staged = cached.staged = cached.staged or {}
            staged[self.name] = tuple(dict.fromkeys(self._values_of(cached)))

    def _taken(self, cached: Cached[T]) -> tuple[str, ...]:
        staged = cached.staged
        if staged is not None and self.name in staged:
            values = staged.pop(self.name)
            if not staged:
                cached.staged = None
            return values
        return tuple(dict.fromkeys(self._values_of(cached)))

    def _values_of(self, cached: Cached[T]) -> Iterable[str]:
        if isinstance(self.function, RawIndex):
            return self.function.values(cached.mapping() or _raw_again(cached))
        try:
            return self.function(cached.object)
        except Undecodable as error:
            log.error("an object cannot be decoded and is not indexed", extra={"key": cached.key, "detail": str(error)})
            return ()


def _raw_again(cached: Cached[Any]) -> Mapping[str, Any]:
    """The wire form of an object whose delivery is over: only an index that is added late needs it."""
    encoded = cached.encoded()
    if encoded is not None:
        parsed: dict[str, Any] = orjson.loads(encoded)
        return parsed
    obj = cached.object
    if isinstance(obj, dict):
        return obj
    assert isinstance(obj, KubeObject) or hasattr(obj, "model_dump"), type(obj)
    dumped: dict[str, Any] = obj.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return dumped
