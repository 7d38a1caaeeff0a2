"""One object as it came over the wire, decoded when somebody looks at it, and only then.

Most objects in a cache are never looked at. Their bytes are a quarter of the memory of a model and cost nothing to
make, so a `Cached` holds the bytes until the first look and the model from then on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import orjson

from .kinds import Kind

T = TypeVar("T")


class Cached(Generic[T]):
    """An object of `kind`: its key and version now, its model on demand."""

    __slots__ = ("_model", "_raw", "key", "kind", "resource_version", "staged", "uid")

    def __init__(self, kind: Kind[T], raw: dict[str, Any]) -> None:
        metadata = raw["metadata"]
        namespace = metadata.get("namespace")
        self.kind = kind
        self.key: str = f"{namespace}/{metadata['name']}" if namespace else metadata["name"]
        self.resource_version: str = metadata.get("resourceVersion", "")
        self.uid: str = metadata.get("uid", "")
        self.staged: dict[str, tuple[str, ...]] | None = None
        """Values of indexes, taken from the mapping before it was given back; the indexes use them up."""
        self._raw: dict[str, Any] | bytes | None = raw
        self._model: T | None = None

    @property
    def object(self) -> T:
        """The decoded object, the same one at every look. Raises Undecodable when the server sent something else."""
        if self._model is None:
            assert self._raw is not None, self.key
            self._model = self.kind.decode(self._raw)
            self._raw = None
        return self._model

    @property
    def decoded(self) -> T | None:
        """The object if somebody has looked at it already; None when a look would have to decode it."""
        return self._model

    def mapping(self) -> Mapping[str, Any] | None:
        """The JSON mapping while it is at hand, i.e. during delivery and before anybody decoded it; None later."""
        return self._raw if isinstance(self._raw, dict) else None

    def encoded(self) -> bytes | None:
        """The object's bytes after delivery and before anybody decoded it; None otherwise."""
        return self._raw if isinstance(self._raw, bytes) else None

    def settle(self, encoded: bytes | None = None) -> None:
        """Delivery is over: give back the mapping's memory and keep bytes, unless the model was made meanwhile."""
        if self._model is None and isinstance(self._raw, dict):
            self._raw = orjson.dumps(self._raw) if encoded is None else encoded

    def __repr__(self) -> str:
        return f"<Cached {self.kind.resource.kind} {self.key} at {self.resource_version}>"
