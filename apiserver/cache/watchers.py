"""Who is watching a resource, and how a change reaches them.

Watchers that select the same objects and want them written the same way form an audience: a change is matched and encoded
once for all of them. A change is offered only to audiences it can concern, found by namespace, name or field value, so five
thousand agents that each watch the pods of their own node cost one audience per change, not five thousand.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Hashable, Iterator
from typing import Final

from .change import Change, Rendering, error_frame, frame
from .filter import Filter

WATCH_BACKLOG_MAX: Final = 1_000
"""Undelivered deliveries (one per loop tick in which something changed) of one watcher. A slower reader is cut off and
watches again from the last revision it saw."""

WATCH_BACKLOG_BYTES_MAX: Final = 16 << 20
"""Undelivered bytes of one watcher. The same, for readers of large objects."""

BOOKMARK: Final = "BOOKMARK"


class Watcher:
    """One watch: frames wait here until its connection takes them. Iterate over it once; it ends when the watch does."""

    def __init__(self, rendering: Rendering, *, bookmarks: bool = False) -> None:
        self.rendering, self.bookmarks = rendering, bookmarks
        self.on_end: Callable[[], None] | None = None
        self._first: Iterator[bytes] = iter(())
        self._frames: deque[bytes] = deque()
        self._bytes = 0
        self._ended = False
        self._cut = False
        self._waiting: asyncio.Future[None] | None = None

    def begin(self, frames: Iterator[bytes]) -> None:
        """What goes out before anything live: made only as fast as the connection takes it."""
        self._first = frames

    def push(self, data: bytes) -> None:
        """Queue whole frames. A reader too far behind is cut off instead: it would never catch up, and memory is shared."""
        if self._ended:
            return
        self._frames.append(data)
        self._bytes += len(data)
        if len(self._frames) > WATCH_BACKLOG_MAX or self._bytes > WATCH_BACKLOG_BYTES_MAX:
            self._cut = True
            self._frames.clear()
            self.end()
        self._wake()

    def end(self, last: bytes = b"") -> None:
        """No more frames after those that wait, and `last`."""
        if self._ended:
            return
        if last and not self._cut:
            self._frames.append(last)
        self._ended = True
        if self.on_end is not None:
            self.on_end()
        self._wake()

    def expire(self, revision: int) -> None:
        """The time asked for is over: say how far the reader has seen, if it wants to know, and end."""
        self.end(frame(BOOKMARK, self.rendering.bookmark(revision)) if self.bookmarks else b"")

    def fail(self, status: dict[str, object]) -> None:
        """The watch cannot go on: the reader gets the reason."""
        self.end(error_frame(status))

    @property
    def was_cut(self) -> bool:
        """The reader was too slow."""
        return self._cut

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        """Everything that waits, as one piece: a busy watch is written once per loop tick, not once per change."""
        if not self._cut:
            for piece in self._first:
                return piece
        while not self._frames:
            if self._ended:
                raise StopAsyncIteration
            self._waiting = asyncio.get_running_loop().create_future()
            try:
                await self._waiting
            finally:
                self._waiting = None
        joined = self._frames[0] if len(self._frames) == 1 else b"".join(self._frames)
        self._frames.clear()
        self._bytes = 0
        return joined

    async def aclose(self) -> None:
        """The connection is gone."""
        self.end()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


class Audience:
    """The watchers with one filter and one rendering."""

    def __init__(self, wanted: Filter, rendering: Rendering) -> None:
        self.wanted, self.rendering = wanted, rendering
        self.watchers: dict[Watcher, None] = {}
        self._pending: list[bytes] = []

    def offer(self, change: Change) -> bool:
        """Note the change if it concerns us; True when this is the first since the last `flush`."""
        kind = change.seen_by(self.wanted)
        if not kind:
            return False
        self._pending.append(change.frame(kind, self.rendering))
        return len(self._pending) == 1

    def flush(self) -> None:
        """Hand what was noted to every watcher: the same bytes object for all."""
        pending, self._pending = self._pending, []
        if not pending:
            return
        joined = pending[0] if len(pending) == 1 else b"".join(pending)
        for watcher in tuple(self.watchers):
            watcher.push(joined)

    def bookmark(self, revision: int) -> None:
        """Tell those who asked for bookmarks that they have seen everything up to `revision`."""
        data = frame(BOOKMARK, self.rendering.bookmark(revision))
        for watcher in tuple(self.watchers):
            if watcher.bookmarks:
                watcher.push(data)


Bucket = tuple[str, Hashable]
EVERYONE: Final[Bucket] = ("", "")


class Watchers:
    """All audiences of one resource."""

    def __init__(self) -> None:
        self._buckets: dict[Bucket, dict[Hashable, Audience]] = {}
        self._unflushed: list[Audience] = []
        self.count = 0

    def join(self, watcher: Watcher, wanted: Filter) -> None:
        """From now on the watcher gets every change that concerns `wanted`."""
        self.flush()
        bucket, identity = _bucket_of(wanted), (wanted.identity, watcher.rendering.identity)
        audiences = self._buckets.setdefault(bucket, {})
        audience = audiences.setdefault(identity, Audience(wanted, watcher.rendering))
        audience.watchers[watcher] = None
        self.count += 1

        def leave() -> None:
            del audience.watchers[watcher]
            self.count -= 1
            if not audience.watchers and audiences.pop(identity, None) is not None and not audiences:
                self._buckets.pop(bucket, None)

        watcher.on_end = leave

    def offer(self, change: Change) -> None:
        """Let everybody whom it may concern note the change; `flush` delivers."""
        for bucket in _buckets_touched(change) & self._buckets.keys():
            for audience in self._buckets[bucket].values():
                if audience.offer(change):
                    self._unflushed.append(audience)

    def flush(self) -> None:
        """Deliver what was noted."""
        unflushed, self._unflushed = self._unflushed, []
        for audience in unflushed:
            audience.flush()

    def bookmark(self, revision: int) -> None:
        """A bookmark to everybody who asked for them."""
        self.flush()
        for audiences in tuple(self._buckets.values()):
            for audience in tuple(audiences.values()):
                audience.bookmark(revision)

    def each(self) -> Iterator[Watcher]:
        """Every watcher, safe to end while iterating."""
        audiences = [a for bucket in self._buckets.values() for a in bucket.values()]
        return (watcher for audience in audiences for watcher in tuple(audience.watchers))


def _bucket_of(wanted: Filter) -> Bucket:
    """The narrowest thing every object the filter selects has in common."""
    if wanted.name:
        return ("name", wanted.name)
    for test in wanted.fields:
        if test.equal:
            return ("field", (test.position, test.value))
    return ("namespace", wanted.namespace) if wanted.namespace else EVERYONE


def _buckets_touched(change: Change) -> set[Bucket]:
    entry = change.entry
    touched: set[Bucket] = {EVERYONE, ("name", entry.name), ("namespace", entry.namespace)}
    for side in (change.current, change.previous):
        if side is not None:
            touched.update(("field", field) for field in enumerate(side.fields))
    return touched
