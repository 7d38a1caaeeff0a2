"""What there is of a resource at one moment, in segments that outlive the moment.

Every list of everything reads the same objects, and between two lists few have changed. So a snapshot is made once and
kept until something changes, and it consists of segments: runs of neighbouring keys. A segment begins where its first key
says so, not at every so many objects: an object that comes or goes changes one segment and moves no other. What is made of
a segment, such as its compressed form, is kept with it and made again only when one of its objects has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any, Final, TypeVar, overload

from .entry import Entry

SEGMENT_MASK: Final = 63
"""A key whose hash has none of these bits begins a segment: one in 64, so that a segment of usual objects is some 64 KiB,
which fits a processor's cache while TLS encrypts it."""
SEGMENT_SIZE_MAX: Final = 256
"""Objects of one segment, whatever the hashes say."""
FORMS_MAX: Final = 4
"""Forms kept of one segment, such as two versions compressed. Each is a fraction of the objects, which are kept anyway."""

T = TypeVar("T")


class Segment:
    """A run of objects whose keys follow one another, all of one namespace."""

    __slots__ = ("_forms", "entries")

    def __init__(self, entries: list[Entry]) -> None:
        self.entries = entries
        self._forms: dict[Hashable, Any] = {}

    def form(self, identity: Hashable, make: Callable[[Segment], T]) -> T:
        """What `make` makes of it: made now, or kept from before under the same identity."""
        found: T | None = self._forms.get(identity)
        if found is None:
            found = make(self)
            if len(self._forms) >= FORMS_MAX:
                self._forms.clear()
            self._forms[identity] = found
        return found


class Snapshot(Sequence[Entry]):
    """Objects in key order, and the segments they are in."""

    __slots__ = ("_entries", "segments")

    def __init__(self, entries: list[Entry], segments: Sequence[Segment]) -> None:
        self._entries, self.segments = entries, segments

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    @overload
    def __getitem__(self, index: int) -> Entry: ...
    @overload
    def __getitem__(self, index: slice) -> list[Entry]: ...
    def __getitem__(self, index: int | slice) -> Entry | list[Entry]:
        return self._entries[index]


def snapshot_of(entries: list[Entry], known: Iterable[Segment] = ()) -> Snapshot:
    """A snapshot, with those of the `known` segments that are still what they were."""
    by_key = {segment.entries[0].key: segment for segment in known}
    segments: list[Segment] = []
    run: list[Entry] = []
    for entry in entries:
        is_first = not hash(entry.key) & SEGMENT_MASK
        if run and (is_first or entry.namespace != run[0].namespace or len(run) == SEGMENT_SIZE_MAX):
            segments.append(_known_or_new(run, by_key))
            run = []
        run.append(entry)
    if run:
        segments.append(_known_or_new(run, by_key))
    return Snapshot(entries, segments)


def _known_or_new(run: list[Entry], by_key: dict[str, Segment]) -> Segment:
    known = by_key.get(run[0].key)
    # Entries never change, so that the same ones are the same objects.
    return known if known is not None and known.entries == run else Segment(run)


class Snapshots:
    """Those of one resource: of everything, and of its namespaces."""

    KEPT_MAX: Final = 64
    """Namespaces whose snapshots are kept. Each costs a pointer an object."""
    FORGOTTEN_AFTER: Final = 8_192
    """Changes during which a namespace was not listed, after which its former snapshot goes (at the latest after twice as
    many): until then it keeps objects in memory that have changed or are gone."""

    def __init__(self) -> None:
        self._changes = 0
        self._listed: set[str] = set()
        """Namespaces of which a snapshot was made since the last round of forgetting."""
        self._current: dict[str, Snapshot] = {}
        self._former: dict[str, Snapshot] = {}

    def get(self, namespace: str, select: Callable[[], list[Entry]]) -> Snapshot:
        """The current one of the namespace, of everything when that is empty; `select` finds the objects."""
        found = self._current.get(namespace)
        if found is None:
            if len(self._former) >= self.KEPT_MAX:
                self._former.clear()
                self._current.clear()
                self._listed.clear()
            former = self._former.get(namespace)
            found = snapshot_of(select(), former.segments if former is not None else ())
            self._current[namespace] = self._former[namespace] = found
            self._listed.add(namespace)
        return found

    def changed(self) -> None:
        """Something is not what it was. Segments that did not change are found again."""
        if self._current:
            self._current.clear()
        self._changes += 1
        if self._changes >= self.FORGOTTEN_AFTER:
            self._former = {at: snapshot for at, snapshot in self._former.items() if at in self._listed}
            self._changes, self._listed = 0, set()
