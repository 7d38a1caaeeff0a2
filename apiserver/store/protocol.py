"""What a store promises. One contract suite (`tests/contract/test_store.py`) holds every back end to this page.

The guarantees are etcd's (https://etcd.io/docs/v3.5/learning/api_guarantees/):

- One global revision. Every commit that changes something raises it by exactly one; a commit that changes nothing
  leaves it as it was. All changes of one commit share its revision.
- An acknowledged commit is durable: it survives `kill -9` and power loss. One that was never acknowledged may have
  happened; callers read again.
- Strictly serializable compare-and-swap on mod revisions: a transaction sees every commit acknowledged before it began.
- A range over a key interval at a pinned revision is a snapshot, and stays one page after page until compaction passes it.
- A watch is ordered (revisions never go back), unique (no event twice), reliable (no event left out), atomic (all
  events of one revision arrive in one batch), resumable (from any revision that is not compacted) and bookmarkable
  (an empty batch says "you have seen everything up to this revision").
- What is compacted is answered with `Compacted`, never with a gap. A watcher that reads too slowly gets `WatcherTooSlow`,
  never a gap.
- A key attached to a lease is deleted, in a commit of its own, when the lease expires or is revoked; never before its TTL.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, NewType, Protocol

Revision = NewType("Revision", int)
"""Counts commits over the whole store; a fresh store is at 1, and the first commit makes 2, as in etcd."""

LeaseId = NewType("LeaseId", int)
NO_LEASE = LeaseId(0)

VALUE_BYTES_MAX = 1_500_000
"""Largest request, keys and values together, the same for every back end. etcd's default limit is 1.5 MiB (1,572,864)
and counts the whole request as it is sent; the difference is room for conditions, names and framing."""


class KeyValue(NamedTuple):
    """One key as it was at some revision."""

    key: bytes
    value: bytes
    mod_revision: Revision
    create_revision: Revision
    version: int
    lease: LeaseId = NO_LEASE


class Event(NamedTuple):
    """One change. `current` is None for a deletion; `previous` is None for a creation, or when it was compacted away."""

    key: bytes
    current: KeyValue | None
    previous: KeyValue | None
    revision: Revision


class Batch(NamedTuple):
    """Everything up to and including `revision`. Without events it is a bookmark."""

    revision: Revision
    events: Sequence[Event]


class Page(NamedTuple):
    """Part of a range. `revision` is the snapshot to ask for the next page at; `remaining` counts what follows this page."""

    items: Sequence[KeyValue]
    revision: Revision
    remaining: int


class Expect(NamedTuple):
    """A condition: the key's mod revision is this one. Zero: the key does not exist."""

    key: bytes
    mod_revision: Revision


class Put(NamedTuple):
    """Set the key. A lease of NO_LEASE detaches the key from whatever lease it had."""

    key: bytes
    value: bytes
    lease: LeaseId = NO_LEASE


class Delete(NamedTuple):
    """Remove the key; nothing happens when it does not exist."""

    key: bytes


class TxnResult(NamedTuple):
    """`revision` is the commit's when it succeeded and changed something, else the store's at that moment.

    When a condition failed, `current` is the state of each expected key, in the order of the conditions; else empty.
    """

    succeeded: bool
    revision: Revision
    current: Sequence[KeyValue | None] = ()


class StoreError(Exception):
    """Base of what a store can answer instead of a result. The message names the key or the revision and the limit."""


class Compacted(StoreError):
    """The revision asked for is older than what is kept: list again and start from there."""

    def __init__(self, requested: int, compacted: int) -> None:
        super().__init__(f"revision {requested} has been compacted, the oldest one kept is {compacted}")
        self.requested, self.compacted = Revision(requested), Revision(compacted)


class FutureRevision(StoreError):
    """The revision asked for has not happened yet."""

    def __init__(self, requested: int, current: int) -> None:
        super().__init__(f"revision {requested} is in the future, the store is at {current}")
        self.requested, self.current = Revision(requested), Revision(current)


class TooLarge(StoreError):
    """The request is over VALUE_BYTES_MAX."""


class LeaseNotFound(StoreError):
    """There is no such lease, or it has expired."""


class WatcherTooSlow(StoreError):
    """The reader fell further behind than the store buffers: list again and start from there."""


class NoSpace(StoreError):
    """Disk full or quota reached. Nothing was written; reads, deletes and compaction still work."""


class Unavailable(StoreError):
    """The back end does not answer, or has no leader. A write may or may not have happened."""


class Store(Protocol):
    """An ordered, versioned, watchable map from bytes to bytes. Safe for many tasks of one event loop."""

    async def get(self, key: bytes, *, revision: Revision | None = None) -> tuple[KeyValue | None, Revision]:
        """The key and the store's revision at that moment; at `revision` when given.

        Raises Compacted, FutureRevision, Unavailable.
        """
        ...

    async def range(
        self, start: bytes, end: bytes, *, limit: int = 0, revision: Revision | None = None, keys_only: bool = False
    ) -> Page:
        """The keys in [start, end) in order, at most `limit` of them (0: all). An empty `end` means no upper bound.

        For the next page: `start = last key + b"\\0"`, `revision = page.revision`. Raises Compacted, FutureRevision,
        Unavailable.
        """
        ...

    async def txn(self, expect: Sequence[Expect], ops: Sequence[Put | Delete]) -> TxnResult:
        """Apply all of `ops` if all of `expect` hold, in one commit; else change nothing. A key occurs once in `ops`.

        Raises TooLarge, NoSpace, LeaseNotFound, Unavailable (the outcome of the write is then unknown).
        """
        ...

    def watch(
        self, start: bytes, end: bytes, *, after: Revision | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[Batch]]:
        """Every change in [start, end) later than `after` (None: later than the moment of entering).

        The first batch, always, is a bookmark or changes; an idle watch gets a bookmark at least every
        WATCH_PROGRESS_INTERVAL_S. Iterating raises Compacted, WatcherTooSlow or Unavailable; `after` in the future waits.
        """
        ...

    async def revision(self) -> Revision:
        """The store's current revision, not older than any commit acknowledged before the call.

        Open watches that have not heard of it get a bookmark at once: a cache that waits for this revision before a
        consistent read does not wait for the next periodic one.
        """
        ...

    async def compact(self, revision: Revision) -> None:
        """Forget history before `revision`; the state at `revision` stays readable, and a watch may begin after it.

        Raises Compacted when that much was forgotten before, FutureRevision.
        """
        ...

    async def grant(self, ttl_s: int) -> LeaseId:
        """A new lease that expires `ttl_s` seconds after its last renewal."""
        ...

    async def renew(self, lease: LeaseId) -> int:
        """Restart the lease's time; its TTL in seconds. Raises LeaseNotFound."""
        ...

    async def revoke(self, lease: LeaseId) -> None:
        """End the lease and delete its keys. Raises LeaseNotFound."""
        ...

    async def size_bytes(self) -> int:
        """What the store occupies on disk (0 in memory)."""
        ...

    async def close(self) -> None:
        """Finish what was accepted, end every watch, release the files and connections."""
        ...


WATCH_PROGRESS_INTERVAL_S = 5.0
"""Longest silence of a watch. Short, because a watch cache serves consistent reads only up to what it has heard."""


def prefix_end(prefix: bytes) -> bytes:
    """The first key after every key that starts with `prefix`; empty (no bound) for a prefix of only 0xff bytes."""
    trimmed = prefix.rstrip(b"\xff")
    return trimmed[:-1] + bytes([trimmed[-1] + 1]) if trimmed else b""
