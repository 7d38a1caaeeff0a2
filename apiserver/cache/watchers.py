"""Who is watching a resource, and how a change reaches them.

Watchers that select the same objects and want them written the same way form an audience: a change is matched and encoded
once for all of them. A change is offered only to audiences it can concern, found by namespace, name or field value, so five
thousand agents that each watch the pods of their own node cost one audience per change, not five thousand.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Hashable, Iterator
from typing import Final

import structlog

from ..errors import Gone, InternalError
from ..request import Frames, Sink
from .change import Change, Rendering, error_frame, frame
from .filter import Filter

WATCH_BACKLOG_MAX: Final = 1_000
"""Undelivered deliveries (one per loop tick in which something changed) of one watcher. A slower reader is told that it has
missed something, and its watch ends."""

WATCH_BACKLOG_BYTES_MAX: Final = 16 << 20
"""Undelivered bytes of one watcher. The same, for readers of large objects."""

PIECES_AT_ONCE: Final = 4
"""Pieces of what a watch begins with that are written before others have their turn, to a reader who takes everything."""

BOOKMARK: Final = "BOOKMARK"


TOO_SLOW: Final = error_frame(
    Gone("the watch has ended because its reader was too slow: too much happened that it has not taken").status()
)


UNREADABLE: Final = InternalError("an object cannot be shown in the form this watch asks for").status()

log = structlog.get_logger(__name__)


class Watcher:
    """One watch. Its frames go straight to the connection it is attached to, and wait here while that takes no more.

    Within the server it can also be iterated over, once.
    """

    __slots__ = (
        "_bytes", "_ended", "_first", "_frames", "_on_live", "_sink", "_waiting",
        "bookmarks", "on_end", "rendering", "was_cut",
    )  # fmt: skip

    def __init__(self, rendering: Rendering, *, bookmarks: bool = False) -> None:
        self.rendering, self.bookmarks = rendering, bookmarks
        self.on_end: Callable[[], None] | None = None
        self.was_cut = False
        """The reader was too slow."""
        self._first: Iterator[bytes] | None = None
        self._on_live: Callable[[], None] | None = None
        self._frames: list[Frames] = []
        self._bytes = 0
        self._ended = False
        self._sink: Sink | None = None
        self._waiting: asyncio.Future[None] | None = None

    def begin(self, frames: Iterator[bytes]) -> None:
        """What goes out before anything live: made only as fast as the connection takes it."""
        self._first = frames

    def when_live(self, call: Callable[[], None]) -> None:
        """Call it when everything that goes out before anything live has been taken."""
        self._on_live = call
        if self._first is None:
            self._go_live()

    def _go_live(self) -> None:
        self._first = None
        on_live, self._on_live = self._on_live, None
        if on_live is not None:
            on_live()

    def attach(self, sink: Sink) -> None:
        """Write to that connection from now on."""
        self._sink = sink
        self.flow()

    def push(self, frames: Frames) -> None:
        """Pass on whole frames. A reader too far behind is cut off: it would never catch up, and memory is shared."""
        if self._ended:
            return
        sink = self._sink
        if sink is not None and sink.is_ready and not self._frames and self._first is None:
            sink.send(frames)
            return
        self._frames.append(frames)
        self._bytes += len(frames.data)
        if len(self._frames) > WATCH_BACKLOG_MAX or self._bytes > WATCH_BACKLOG_BYTES_MAX:
            self._cut()
        self._wake()

    def flow(self) -> None:
        """The connection takes more: write what waits, as long as it does."""
        sink, pieces = self._sink, 0
        while sink is not None and sink.is_ready:
            if self._first is not None:
                if pieces == PIECES_AT_ONCE:
                    asyncio.get_running_loop().call_soon(self.flow)
                    return
                pieces += 1
                piece = self._first_piece()
                if piece is None:
                    self._go_live()
                elif piece:
                    sink.send(Frames(piece))
            elif self._frames:
                # Nothing is joined: the same bytes wait for every slow watcher.
                frames = self._frames.pop(0)
                self._bytes -= len(frames.data)
                sink.send(frames)
            elif self._ended:
                self._sink = None
                sink.end()
                return
            else:
                return

    def _first_piece(self) -> bytes | None:
        """Some more of what goes out before anything live; None after the last of it."""
        assert self._first is not None
        try:
            return next(self._first, None)
        except Exception:
            # What is missing cannot be told from what is not there, so nothing may follow but the reason.
            log.exception("a watch cannot show what there is")
            self._frames = [Frames(error_frame(UNREADABLE))]
            self._leave()
            return None

    def end(self, last: bytes = b"") -> None:
        """No more frames after those that wait, and `last`."""
        if self._ended:
            return
        if last:
            self._frames.append(Frames(last))
        self._leave()
        self._wake()

    def _leave(self) -> None:
        if not self._ended:
            self._ended = True
            if self.on_end is not None:
                self.on_end()

    def expire(self, revision: int) -> None:
        """The time asked for is over: say how far the reader has seen, if it wants to know, and end."""
        self.end(frame(BOOKMARK, self.rendering.bookmark(revision)) if self.bookmarks else b"")

    def fail(self, status: dict[str, object]) -> None:
        """The watch cannot go on: the reader gets the reason."""
        self.end(error_frame(status))

    def detach(self) -> None:
        """The connection is gone."""
        self._sink, self._first = None, None
        self._frames.clear()
        self.end()

    def _cut(self) -> None:
        """What waits is dropped, and the reader told so in its place."""
        self.was_cut, self._first = True, None
        self._frames.clear()
        self.end(TOO_SLOW)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        """Everything that waits, as one piece."""
        for piece in self._first or ():
            return piece
        self._go_live()
        while not self._frames:
            if self._ended:
                raise StopAsyncIteration
            self._waiting = asyncio.get_running_loop().create_future()
            try:
                await self._waiting
            finally:
                self._waiting = None
        joined = self._frames[0].data if len(self._frames) == 1 else b"".join([each.data for each in self._frames])
        self._frames.clear()
        self._bytes = 0
        return joined

    def _wake(self) -> None:
        if self._sink is not None:
            self.flow()
        elif self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


class Audience:
    """The watchers with one filter and one rendering."""

    def __init__(self, wanted: Filter, rendering: Rendering) -> None:
        self.wanted, self.rendering = wanted, rendering
        self.watchers: dict[Watcher, None] = {}
        self._pending: list[bytes] = []
        self._is_broken = False

    def offer(self, change: Change) -> bool:
        """Note the change if it concerns us; True when this is the first since the last `flush`."""
        kind = change.seen_by(self.wanted)
        if not kind or self._is_broken:
            return False
        try:
            self._pending.append(change.frame(kind, self.rendering))
        except Exception:
            # One form of one object that cannot be made must not stop the feed, on which everybody depends.
            log.exception("a change cannot be shown to its watchers", object=change.entry.key)
            self._is_broken = True
            return not self._pending
        return len(self._pending) == 1

    def flush(self) -> None:
        """Hand what was noted to every watcher: the same bytes object for all."""
        pending, self._pending = self._pending, []
        if pending:
            # One object for all: what is encoded, joined and framed is so once, and waits once for all who are slow.
            frames = Frames(pending[0] if len(pending) == 1 else b"".join(pending))
            for watcher in tuple(self.watchers):
                watcher.push(frames)
        if self._is_broken:
            for watcher in tuple(self.watchers):
                watcher.fail(UNREADABLE)

    def bookmark(self, revision: int) -> None:
        """Tell those who asked for bookmarks that they have seen everything up to `revision`."""
        frames = Frames(frame(BOOKMARK, self.rendering.bookmark(revision)))
        for watcher in tuple(self.watchers):
            if watcher.bookmarks:
                watcher.push(frames)


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
        if not self._buckets:
            return
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
