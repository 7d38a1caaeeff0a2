"""The current objects of one resource, its recent changes, and its watchers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ..store.protocol import Event, KeyValue
from .change import ADDED, Change, History, Rendering, frame
from .entry import Entry, EntryReader
from .filter import Filter
from .index import Index
from .snapshot import Snapshot, Snapshots
from .watchers import Watcher, Watchers


class Expired(Exception):
    """The resource version is older than the changes that are kept."""

    def __init__(self, requested: int, oldest: int) -> None:
        super().__init__(f"too old resource version: {requested} ({oldest})")


class Prefix(NamedTuple):
    """Where a resource's objects are in the store: `/registry/<group>/<plural>/`."""

    group: str
    plural: str

    def __bytes__(self) -> bytes:
        return f"/registry/{self.group}/{self.plural}/".encode()


Follower = Callable[[Entry | None, Entry | None], None]
"""Told of every change at once, with the object before and after it. It only takes note: everybody waits meanwhile."""


class ResourceCache:
    """What the store's watch said last about one resource. Changed only by its feed, between awaits of everybody else."""

    def __init__(self, prefix: Prefix, paths: Sequence[str] = ()) -> None:
        self.prefix = prefix
        self._prefix_bytes = bytes(prefix)
        self.wanted_paths = tuple(paths)
        """The field selector paths it was made for, without those that every cache has."""
        self._reader = EntryReader(paths)
        self._index = Index(self._reader.paths)
        self._followers: list[Follower] = []
        self._history = History()
        self._snapshots = Snapshots()
        self.watchers = Watchers()
        self.revision = 0
        """Everything up to this revision is in here."""
        self.ready = asyncio.Event()
        self._early: list[Event] = []
        self._loaded_at = 0

    @property
    def paths(self) -> tuple[str, ...]:
        """The field selector paths that entries carry values of."""
        return self._reader.paths

    def __len__(self) -> int:
        return len(self._index.entries)

    @property
    def is_empty(self) -> bool:
        """It is filled, and there is nothing in it."""
        return not self._index.entries and self.ready.is_set()

    def read(self, item: KeyValue) -> Entry:
        """The entry of something read from the store itself."""
        return self._reader.read(self.key_of(item.key), item.value, item.mod_revision)

    def key_of(self, stored: bytes) -> str:
        """`namespace/name`, or `name`, from the store's key."""
        return stored[len(self._prefix_bytes) :].decode()

    def store_key(self, key: str) -> bytes:
        """The store's key of `namespace/name`, or `name`."""
        return self._prefix_bytes + key.encode()

    def foretell(self, value: bytes, obj: Mapping[str, Any]) -> None:
        """What `value` is, which is about to be written: then it need not be decoded when the store tells of it."""
        self._reader.foretell(value, obj)

    def forget_foretold(self, value: bytes) -> None:
        """It was not written after all."""
        self._reader.forget(value)

    def load(self, items: Iterable[KeyValue], revision: int) -> None:
        """Start over from a snapshot. Events that came in while it was read are applied on top of it."""
        before = list(self._index) if self._followers else []
        self._index.load(self.read(item) for item in items)
        for follower in self._followers:
            for entry in before:
                follower(entry, None)
            for entry in self._index:
                follower(None, entry)
        self._snapshots.changed()
        self._history = History(revision)
        self.revision = self._loaded_at = revision
        early, self._early = self._early, []
        self.ready.set()
        for event in early:
            self.apply(event)

    def apply(self, event: Event) -> None:
        """One event of the store. Before the first snapshot it waits."""
        if not self.ready.is_set():
            self._early.append(event)
            return
        if event.revision <= self._loaded_at:
            return  # The snapshot was read ahead of the feed and has it.
        assert event.revision >= self.revision, (event.revision, self.revision)
        self.revision = event.revision
        if event.current is not None:
            entry = self.read(event.current)
            change = Change(entry, self._index.put(entry), event.revision)
        else:
            previous = self._index.remove(self.key_of(event.key))
            if previous is None:
                return
            change = Change(None, previous, event.revision)
        self._snapshots.changed()
        self._history.add(change)
        for follower in self._followers:
            follower(change.previous, change.current)
        self.watchers.offer(change)

    def follow(self, follower: Follower) -> None:
        """Tell `follower` of every change from now on; of what is there already as if it came now."""
        self._followers.append(follower)
        for entry in self._index:
            follower(None, entry)

    def get(self, key: str) -> Entry | None:
        """The object at `namespace/name`, or `name`."""
        return self._index.entries.get(key)

    def select(self, wanted: Filter, start: str = "", limit: int = 0) -> list[Entry]:
        """The objects the filter lets through in key order, from `start` on, at most `limit` (0: all)."""
        found = self._index.select(wanted, start)
        if not limit:
            return list(found)
        return [entry for entry, _ in zip(found, range(limit), strict=False)]

    def snapshot(self, namespace: str) -> Snapshot:
        """Everything in the namespace, or everything: made once, until something changes."""
        return self._snapshots.get(namespace, lambda: self.select(Filter(namespace)))

    def count_from(self, namespace: str, start: str) -> int:
        """How many objects of the namespace have a key not before `start`."""
        return self._index.count_from(namespace, start)

    def changes_after(self, revision: int) -> Sequence[Change] | None:
        """Every change later than `revision`, in order; None when some of them are no longer known."""
        return self._history.after(revision)

    def watch_from_now(
        self, watcher: Watcher, wanted: Filter, *, initial_events: bool, initial_end: bool = False
    ) -> None:
        """Every change from this moment; `initial_events`: what is there now first, as ADDED.

        `initial_end`: then a bookmark that says that this was all of it.
        """
        entries = self.select(wanted) if initial_events else []
        watcher.begin(_snapshot_frames(entries, watcher.rendering, self.revision if initial_end else None))
        self.watchers.join(watcher, wanted)

    def watch_after(self, watcher: Watcher, wanted: Filter, revision: int) -> None:
        """Every change later than `revision`. Raises Expired when some of them are no longer known."""
        changes = self._history.after(revision)
        if changes is None:
            raise Expired(revision, self._history.since)
        watcher.begin(_history_frames(changes, wanted, watcher.rendering))
        self.watchers.join(watcher, wanted)


FRAMES_PER_PIECE = 128
"""Frames written at once when a watch begins: large enough to be cheap, small enough to leave the loop to others."""


def _snapshot_frames(entries: Sequence[Entry], rendering: Rendering, end_at: int | None) -> Iterator[bytes]:
    for at in range(0, len(entries), FRAMES_PER_PIECE):
        piece = entries[at : at + FRAMES_PER_PIECE]
        yield b"".join([frame(ADDED, rendering.render(entry)) for entry in piece])
    if end_at is not None:
        yield frame("BOOKMARK", rendering.bookmark(end_at, initial_events_end=True))


def _history_frames(changes: Sequence[Change], wanted: Filter, rendering: Rendering) -> Iterator[bytes]:
    for at in range(0, len(changes), FRAMES_PER_PIECE):
        seen = [(change.seen_by(wanted), change) for change in changes[at : at + FRAMES_PER_PIECE]]
        data = b"".join([change.frame(kind, rendering) for kind, change in seen if kind])
        if data:
            yield data
