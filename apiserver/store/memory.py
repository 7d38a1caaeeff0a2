"""The reference store: every key's whole history in plain dicts and lists, so that its answers are obviously right.

Property tests hold the real back ends to it, and simulations run on it. It keeps the promises of `protocol` except
durability: nothing survives the process, and nothing is forgotten but by `compact`.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right, insort
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import count

from .protocol import (
    NO_LEASE,
    VALUE_BYTES_MAX,
    WATCH_PROGRESS_INTERVAL_S,
    Batch,
    Compacted,
    Delete,
    Event,
    Expect,
    FutureRevision,
    KeyValue,
    LeaseId,
    LeaseNotFound,
    Page,
    Put,
    Revision,
    TooLarge,
    TxnResult,
    Unavailable,
    WatcherTooSlow,
)

WATCH_BACKLOG_EVENTS = 10_000
"""How many matching events a reader may leave unread before it is told WatcherTooSlow."""


class _Lease:
    """A running lease: its TTL, when it ends on the loop's clock, and the timer that looks whether it has."""

    def __init__(self, ttl_s: int, deadline: float, timer: asyncio.TimerHandle) -> None:
        self.ttl_s, self.deadline, self.timer = ttl_s, deadline, timer


class MemoryStore:
    """Implements `Store` in memory. Make it inside the event loop that will use it."""

    def __init__(
        self,
        *,
        progress_interval_s: float = WATCH_PROGRESS_INTERVAL_S,
        watch_backlog_events: int = WATCH_BACKLOG_EVENTS,
        revision: int = 1,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.progress_interval_s = progress_interval_s
        self._watch_backlog_events = watch_backlog_events
        self._revision = revision
        self._compacted = revision if revision > 1 else 0
        """A store that begins later than at 1 has a past that nobody remembers."""
        self._keys: list[bytes] = []
        """Every key that has a history, in order."""
        self._history: dict[bytes, list[Event]] = {}
        """What happened to each key, oldest first."""
        self._events: list[Event] = []
        """What happened to all of them, oldest first; what is compacted is gone from here."""
        self._leases: dict[LeaseId, _Lease] = {}
        self._lease_ids = count(1)
        self._watches: list[_Watch] = []
        self._closed = False

    # Reading

    async def get(self, key: bytes, *, revision: Revision | None = None) -> tuple[KeyValue | None, Revision]:
        """See `Store.get`."""
        at = self._readable(revision)
        return self._state(key, at), Revision(self._revision)

    async def range(
        self, start: bytes, end: bytes, *, limit: int = 0, revision: Revision | None = None, keys_only: bool = False
    ) -> Page:
        """See `Store.range`."""
        at = self._readable(revision)
        first, last = bisect_left(self._keys, start), bisect_left(self._keys, end) if end else len(self._keys)
        found = [kv for key in self._keys[first:last] if (kv := self._state(key, at)) is not None]
        items = found[:limit] if limit else found
        if keys_only:
            items = [kv._replace(value=b"") for kv in items]
        return Page(items, Revision(at), len(found) - len(items))

    async def revision(self) -> Revision:
        """See `Store.revision`."""
        self._require_open()
        for watch in self._watches:
            watch.bookmark()
        return Revision(self._revision)

    async def size_bytes(self) -> int:
        """See `Store.size_bytes`: nothing is on disk."""
        return 0

    def _readable(self, revision: Revision | None) -> int:
        self._require_open()
        if revision is None:
            return self._revision
        if revision < self._compacted:
            raise Compacted(revision, self._compacted)
        if revision > self._revision:
            raise FutureRevision(revision, self._revision)
        return revision

    def _state(self, key: bytes, at: int) -> KeyValue | None:
        history = self._history.get(key, [])
        happened = bisect_right(history, at, key=lambda event: event.revision)
        return history[happened - 1].current if happened else None

    def _require_open(self) -> None:
        if self._closed:
            raise Unavailable("the store is closed")

    # Writing

    async def txn(self, expect: Sequence[Expect], ops: Sequence[Put | Delete]) -> TxnResult:
        """See `Store.txn`."""
        self._require_open()
        if len({op.key for op in ops}) < len(ops):
            raise ValueError("a key occurs more than once in one transaction")
        size = sum(len(op.key) + (len(op.value) if isinstance(op, Put) else 0) for op in ops)
        if size > VALUE_BYTES_MAX:
            raise TooLarge(f"the request has {size} bytes, the limit is {VALUE_BYTES_MAX}")
        current = [self._state(condition.key, self._revision) for condition in expect]
        for condition, kv in zip(expect, current, strict=True):
            if condition.mod_revision != (kv.mod_revision if kv else 0):
                return TxnResult(False, Revision(self._revision), tuple(current))
        for op in ops:
            if isinstance(op, Put) and op.lease != NO_LEASE and op.lease not in self._leases:
                raise LeaseNotFound(f"lease {op.lease} does not exist or has expired")
        self._commit(ops)
        result = TxnResult(True, Revision(self._revision))
        # An answer never comes in the same step as the call: others run in between, as with a real back end.
        await asyncio.sleep(0)
        return result

    def _commit(self, ops: Sequence[Put | Delete]) -> None:
        revision = Revision(self._revision + 1)
        events = [event for op in ops if (event := self._event(op, revision)) is not None]
        if not events:
            return
        self._revision = revision
        for event in events:
            if event.key not in self._history:
                insort(self._keys, event.key)
                self._history[event.key] = []
            self._history[event.key].append(event)
        self._events.extend(events)
        for watch in self._watches:
            watch.add(events, self._watch_backlog_events)

    def _event(self, op: Put | Delete, revision: Revision) -> Event | None:
        previous = self._state(op.key, self._revision)
        if isinstance(op, Delete):
            return Event(op.key, None, previous, revision) if previous else None
        created, version = (previous.create_revision, previous.version) if previous else (revision, 0)
        current = KeyValue(op.key, op.value, revision, created, version + 1, op.lease)
        return Event(op.key, current, previous, revision)

    async def compact(self, revision: Revision) -> None:
        """See `Store.compact`."""
        self._require_open()
        if revision <= self._compacted:
            raise Compacted(revision, self._compacted)
        if revision > self._revision:
            raise FutureRevision(revision, self._revision)
        self._compacted = revision
        self._events = [event for event in self._events if event.revision > revision]
        for key in list(self._keys):
            history = self._history[key]
            # The last event up to the compaction is the state there; a deletion is no state and goes too.
            keep = bisect_right(history, revision, key=lambda event: event.revision) - 1
            if keep >= 0:
                del history[: keep if history[keep].current else keep + 1]
            if not history:
                del self._history[key]
                del self._keys[bisect_left(self._keys, key)]

    # Leases

    async def grant(self, ttl_s: int) -> LeaseId:
        """See `Store.grant`."""
        self._require_open()
        lease = LeaseId(next(self._lease_ids))
        timer = self._loop.call_later(ttl_s, self._expire, lease)
        self._leases[lease] = _Lease(ttl_s, self._loop.time() + ttl_s, timer)
        return lease

    async def renew(self, lease: LeaseId) -> int:
        """See `Store.renew`."""
        self._require_open()
        if lease not in self._leases:
            raise LeaseNotFound(f"lease {lease} does not exist or has expired")
        running = self._leases[lease]
        running.deadline = self._loop.time() + running.ttl_s
        return running.ttl_s

    async def revoke(self, lease: LeaseId) -> None:
        """See `Store.revoke`."""
        self._require_open()
        if lease not in self._leases:
            raise LeaseNotFound(f"lease {lease} does not exist or has expired")
        self._end(lease)

    def _expire(self, lease: LeaseId) -> None:
        running = self._leases[lease]
        if self._loop.time() < running.deadline:
            running.timer = self._loop.call_at(running.deadline, self._expire, lease)
        else:
            self._end(lease)

    def _end(self, lease: LeaseId) -> None:
        self._leases.pop(lease).timer.cancel()
        states = [self._state(key, self._revision) for key in self._keys]
        self._commit([Delete(kv.key) for kv in states if kv is not None and kv.lease == lease])

    # Watching

    @asynccontextmanager
    async def watch(
        self, start: bytes, end: bytes, *, after: Revision | None = None
    ) -> AsyncIterator[AsyncIterator[Batch]]:
        """See `Store.watch`."""
        self._require_open()
        position = self._revision if after is None else after
        watch = _Watch(self, start, end, position)
        if position < self._compacted:
            watch.failure = Compacted(position, self._compacted)
        watch.unread = [event for event in self._events if watch.wants(event)]
        self._watches.append(watch)
        try:
            yield watch
        finally:
            self._watches.remove(watch)

    async def close(self) -> None:
        """See `Store.close`."""
        self._closed = True
        for lease in self._leases.values():
            lease.timer.cancel()
        for watch in self._watches:
            watch.wake.set()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    @property
    def newest(self) -> Revision:
        """The store's revision, for its watches."""
        return Revision(self._revision)


class _Watch:
    """One reader's unread events. `told` is the revision of the last batch it was given."""

    def __init__(self, store: MemoryStore, start: bytes, end: bytes, after: int) -> None:
        self._store, self._start, self._end, self._after = store, start, end, after
        self._told = 0
        self.unread: list[Event] = []
        self.arrived_unread = 0
        """How many of the unread events came after the watch began: only these are the reader's slowness."""
        self.bookmark_due = True
        self.failure: Compacted | WatcherTooSlow | None = None
        self.wake = asyncio.Event()

    def wants(self, event: Event) -> bool:
        in_range = self._start <= event.key and (not self._end or event.key < self._end)
        return in_range and event.revision > self._after

    def add(self, events: Sequence[Event], backlog_max: int) -> None:
        wanted = [event for event in events if self.wants(event)]
        self.unread += wanted
        self.arrived_unread += len(wanted)
        if self.arrived_unread > backlog_max:
            self.failure = self.failure or WatcherTooSlow(f"more than {backlog_max} events were left unread")
        if wanted:
            self.wake.set()

    def bookmark(self) -> None:
        if self._told < self._store.newest:
            self.bookmark_due = True
            self.wake.set()

    def __aiter__(self) -> _Watch:
        return self

    async def __anext__(self) -> Batch:
        if not (self.unread or self.bookmark_due or self.failure or self._store.closed):
            await self._silence()
        if self.failure:
            raise self.failure
        if self._store.closed:
            raise StopAsyncIteration
        self.wake.clear()
        events, self.unread, self.arrived_unread, self.bookmark_due = self.unread, [], 0, False
        self._told = max(self._after, self._store.newest)
        return Batch(Revision(self._told), events)

    async def _silence(self) -> None:
        """Until something happens, or a bookmark is due because nothing did."""
        self.wake.clear()
        try:
            # Not wait_for: before Python 3.12 it forgets a cancellation that arrives together with the event.
            async with asyncio.timeout(self._store.progress_interval_s):
                await self.wake.wait()
        except TimeoutError:
            return
