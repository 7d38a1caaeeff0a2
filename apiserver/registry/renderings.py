"""The forms in which objects leave: whole, as rows of a table, or as metadata only; and bodies made of many of them.

Whole objects are sent as the bytes the cache has. Nothing is joined before it is written: a list of ten thousand objects
costs the pointers to their bytes, and one piece at a time.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, overload

import orjson

from ..cache.change import Rendering
from ..cache.entry import METADATA, Entry
from ..cache.snapshot import Segment, Snapshot, snapshot_of
from ..resources import Resource, derived
from ..wire.compression import Deflated, deflated
from ..wire.negotiate import Accepted, Form
from ..wire.tables import partial_metadata, partial_metadata_list, table
from .strategies import strategy_of
from .strategies.views import View

INITIAL_EVENTS_END: Final = "k8s.io/initial-events-end"


class Whole:
    """Objects as they are stored, in the version that was asked for."""

    def __init__(self, resource: Resource) -> None:
        self._resource = resource
        self._head = f'{{"apiVersion":"{resource.api_version}","kind":"{resource.kind}",'.encode()
        self.identity: Hashable = ("object", resource.api_version)

    def render(self, entry: Entry) -> bytes:
        """The bytes the cache has; with another head when they are stored in another version."""
        data = entry.data
        return data if data.startswith(self._head) else self._head + data[data.index(METADATA) :]

    def bookmark(self, revision: int, *, initial_events_end: bool = False) -> bytes:
        """An object with nothing but a resourceVersion."""
        return orjson.dumps(_bare(self._resource.api_version, self._resource.kind, revision, initial_events_end))

    def list(self, entries: Sequence[Entry], meta: Mapping[str, Any]) -> Sequence[bytes]:
        """The body of a list."""
        kind = self._resource.list_kind or f"{self._resource.kind}List"
        head = {"kind": kind, "apiVersion": self._resource.api_version, "metadata": meta}
        snapshot = entries if isinstance(entries, Snapshot) else snapshot_of(list(entries))
        return Listed(self, orjson.dumps(head)[:-1] + b',"items":[', snapshot.segments, b"]}\n")


class Viewed(Whole):
    """Objects in other words than they are stored in."""

    def __init__(self, resource: Resource, view: View) -> None:
        super().__init__(resource)
        self._served = view.served

    def render(self, entry: Entry) -> bytes:
        """Decoded and said anew."""
        return orjson.dumps(self._served(entry.decode()))


class Partial:
    """Metadata only."""

    def __init__(self, version: str) -> None:
        self._version = version
        self.identity: Hashable = ("partial", version)

    def render(self, entry: Entry) -> bytes:
        """A PartialObjectMetadata."""
        return orjson.dumps(partial_metadata(entry.decode(), self._version))

    def bookmark(self, revision: int, *, initial_events_end: bool = False) -> bytes:
        """One without anything but a resourceVersion."""
        api_version = f"meta.k8s.io/{self._version}"
        return orjson.dumps(_bare(api_version, "PartialObjectMetadata", revision, initial_events_end))

    def list(self, entries: Sequence[Entry], meta: Mapping[str, Any]) -> Sequence[bytes]:
        """The body of a list."""
        return [orjson.dumps(partial_metadata_list((entry.decode() for entry in entries), meta, self._version))]


class Rows:
    """A table, as `kubectl get` prints it. Every frame of a watch has its column definitions, so that all can share it."""

    def __init__(self, resource: Resource, version: str, include_object: str) -> None:
        self._resource, self._version, self._include = resource, version, include_object
        self._view = strategy_of(resource).view
        self.identity: Hashable = ("table", resource.api_version, version, include_object)

    def render(self, entry: Entry) -> bytes:
        """A table of one row."""
        decoded = self._decode(entry)
        return self._encode([decoded], {"resourceVersion": decoded["metadata"].get("resourceVersion", "")})

    def bookmark(self, revision: int, *, initial_events_end: bool = False) -> bytes:
        """A table without rows."""
        return self._encode([], {"resourceVersion": str(revision)})

    def list(self, entries: Sequence[Entry], meta: Mapping[str, Any]) -> Sequence[bytes]:
        """The body of a list."""
        return [self._encode(map(self._decode, entries), meta)]

    def _decode(self, entry: Entry) -> Mapping[str, Any]:
        return entry.decode() if self._view is None else self._view.served(entry.decode())

    def _encode(self, objects: Iterable[Mapping[str, Any]], meta: Mapping[str, Any]) -> bytes:
        return orjson.dumps(
            table(
                self._resource,
                objects,
                now=datetime.now(UTC),
                include_object=self._include,
                list_meta=meta,
                version=self._version,
            )
        )


ListRendering = Whole | Partial | Rows


def rendering_of(resource: Resource, accepted: Accepted, include_object: str = "") -> ListRendering:
    """The form that was negotiated."""
    if accepted.form is Form.TABLE:
        return Rows(resource, accepted.version, include_object or "Metadata")
    if accepted.form in (Form.PARTIAL, Form.PARTIAL_LIST):
        return Partial(accepted.version)
    return _whole(resource)


@derived
def _whole(resource: Resource) -> Whole:
    view = strategy_of(resource).view
    return Whole(resource) if view is None else Viewed(resource, view)


def _bare(api_version: str, kind: str, revision: int, initial_events_end: bool) -> dict[str, Any]:
    metadata: dict[str, Any] = {"resourceVersion": str(revision), "creationTimestamp": None}
    if initial_events_end:
        metadata["annotations"] = {INITIAL_EVENTS_END: "true"}
    return {"kind": kind, "apiVersion": api_version, "metadata": metadata}


@dataclass(frozen=True, slots=True)
class Measure:
    """What is known of a segment before it is written: its bytes with commas, and whether they are those of the cache."""

    size: int
    is_as_stored: bool


class Listed(Sequence[bytes]):
    """A list's body as pieces, one for each segment, that are joined only when they are sent. `size` is that of all."""

    def __init__(self, rendering: Whole, head: bytes, segments: Sequence[Segment], tail: bytes) -> None:
        self._rendering, self._head, self._segments, self._tail = rendering, head, segments, tail
        self._identity = rendering.identity
        commas = max(len(segments) - 1, 0)
        self.size = len(head) + sum(self._measured(segment).size for segment in segments) + commas + len(tail)

    def __len__(self) -> int:
        return max(len(self._segments), 1)

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | Sequence[bytes]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        before = b"," if index else self._head
        after = self._tail if index == len(self) - 1 else b""
        return b"".join((before, self._joined(self._segments[index]) if self._segments else b"", after))

    def parts(self) -> Iterable[Deflated]:
        """Compressed, segment by segment: those that were sent before are not compressed again."""
        yield deflated(self._head)
        for number, segment in enumerate(self._segments):
            if number:
                yield COMMA
            yield segment.form(("deflated", self._identity), self._deflate)
        yield deflated(self._tail)

    def _deflate(self, segment: Segment) -> Deflated:
        return deflated(self._joined(segment))

    def _joined(self, segment: Segment) -> bytes:
        if self._measured(segment).is_as_stored:
            return b",".join([entry.data for entry in segment.entries])
        return b",".join([self._rendering.render(entry) for entry in segment.entries])

    def _measured(self, segment: Segment) -> Measure:
        return segment.form(("measure", self._identity), self._measure)

    def _measure(self, segment: Segment) -> Measure:
        entries = segment.entries
        rendered = [self._rendering.render(entry) for entry in entries]
        is_as_stored = all(one is entry.data for one, entry in zip(rendered, entries, strict=True))
        return Measure(sum(map(len, rendered)) + len(entries) - 1, is_as_stored)


COMMA: Final = deflated(b",")


def check(rendering: ListRendering) -> Rendering:
    """Every form can also be watched."""
    return rendering
