"""From commits to watches: who hears of which events, without a gap and without a repeat. Runs in the loop.

A watch is either catching up or live. While it catches up it reads history, one short read each time its reader wants
more, and commits pass it by; a slow reader of a long history therefore holds nothing in memory. When what it has read
reaches what the newest events in memory cover, it takes the rest from there and goes live, in one step of the loop in
which no commit can be told: that is the splice. A live watch has its events pushed into its backlog.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from itertools import takewhile
from typing import NamedTuple, Protocol

from .protocol import Batch, Compacted, Event, Revision, Unavailable, WatcherTooSlow


class Chapter(NamedTuple):
    """All events of a range later than where it began, up to and including `revision`."""

    events: list[Event]
    revision: int


ReadHistory = Callable[[bytes, bytes, int], Awaitable[Chapter]]
"""The next events of [start, end) later than a revision that is not newer than the feed's. Raises Compacted, Unavailable."""


class FeedSettings(Protocol):
    """What a back end's settings say about watches; see there for units and reasons."""

    @property
    def progress_interval_s(self) -> float: ...
    @property
    def recent_events(self) -> int: ...
    @property
    def recent_bytes(self) -> int: ...
    @property
    def watch_backlog_events(self) -> int: ...
    @property
    def watch_backlog_bytes(self) -> int: ...


PROGRESS_FACTOR = 0.8
"""Bookmarks are due at this part of the promised interval, which leaves the rest to a busy loop."""


class Feed:
    """All watches of a store and the newest events. `revision` is the newest commit that has been told."""

    def __init__(self, revision: int, compacted: int, settings: FeedSettings, read_history: ReadHistory) -> None:
        self.revision, self.compacted = revision, compacted
        self.settings, self.read_history = settings, read_history
        self._live: set[Watch] = set()
        self._watches: set[Watch] = set()
        self._recent: deque[tuple[Sequence[Event], int]] = deque()
        """The newest commits, and their bytes."""
        self._recent_events = self._recent_bytes = 0
        self._recent_after = revision
        """All events later than this are in `_recent`."""
        self._bookmark_at = 0
        """A revision that others know of: watches get a bookmark once it has been told. 0: none."""
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(settings.progress_interval_s * PROGRESS_FACTOR, self._tick)

    def tell(self, revision: int, events: Sequence[Event]) -> None:
        """A commit, or a group of them, has become durable."""
        if not events:
            return
        first = events[0].revision
        self.revision = revision
        self._remember(events)
        if self._live:
            self._push(first, revision, events)
        if 0 < self._bookmark_at <= revision:
            self._bookmark_at = 0
            self.bookmark_those_behind()

    def _push(self, first: int, revision: int, events: Sequence[Event]) -> None:
        keys = sorted([event.key for event in events])
        for watch in list(self._live):
            # Most watches want nothing of most groups: two comparisons say so.
            at = bisect_left(keys, watch.start)
            if at < len(keys) and (not watch.end or keys[at] < watch.end):
                wanted = watch.select(events)
                if watch.position >= first:
                    wanted = [event for event in wanted if event.revision > watch.position]
                if wanted:
                    watch.push(revision, wanted)

    def bookmark_those_behind(self) -> None:
        """Someone asked for the revision and may wait until a watch has come so far."""
        for watch in self._live:
            if watch.position < self.revision:
                watch.push(self.revision, ())

    def bookmark_at(self, revision: int) -> None:
        """The same as soon as `revision`, which is newer than the feed, has been told."""
        self._bookmark_at = max(self._bookmark_at, revision)

    def recent(self, watch: Watch) -> list[Event] | None:
        """What the watch has not heard yet, from memory; None when that does not reach back far enough."""
        if watch.position < self._recent_after:
            return None
        groups = list(takewhile(lambda group: group[0][-1].revision > watch.position, reversed(self._recent)))
        unheard = [event for events, _ in reversed(groups) for event in events if event.revision > watch.position]
        return watch.select(unheard)

    def open(self, watch: Watch) -> None:
        """Begin a watch."""
        self._watches.add(watch)

    def go_live(self, watch: Watch) -> None:
        """From now on the watch's events are pushed."""
        self._live.add(watch)

    def drop(self, watch: Watch) -> None:
        """End a watch, or its live part."""
        self._live.discard(watch)
        self._watches.discard(watch)

    def end(self, failure: Exception | None) -> None:
        """End every watch: with the failure, or in peace."""
        self._timer.cancel()
        for watch in list(self._watches):
            watch.finish(failure or StopAsyncIteration())

    def _tick(self) -> None:
        self._timer = self._loop.call_later(self.settings.progress_interval_s * PROGRESS_FACTOR, self._tick)
        for watch in self._live:
            if watch.idle:
                watch.push(self.revision, ())

    def _remember(self, events: Sequence[Event]) -> None:
        size = sum([len(event[1].value) for event in events if event[1] is not None])
        self._recent.append((events, size))
        self._recent_events += len(events)
        self._recent_bytes += size
        while self._recent_events > self.settings.recent_events or self._recent_bytes > self.settings.recent_bytes:
            oldest, size = self._recent.popleft()
            self._recent_events -= len(oldest)
            self._recent_bytes -= size
            self._recent_after = oldest[-1].revision


class Watch:
    """One reader of one range; its own async context manager and iterator. `position` is what it has heard up to."""

    def __init__(self, feed: Feed, start: bytes, end: bytes, after: int | None, now: Callable[[], int]) -> None:
        self.start, self.end, self.position = start, end, -1
        self._feed, self._after, self._now = feed, after, now
        self._past: Batch | None = None
        """What comes before the backlog: read from history because the reader asked, so no sign of its slowness."""
        self._backlog: deque[Batch] = deque()
        self._unread_events = self._unread_bytes = 0
        self._is_live = False
        self._finish: Exception | None = None
        self._reader: asyncio.Future[None] | None = None

    async def __aenter__(self) -> Watch:
        self.position = self._now() if self._after is None else self._after
        self._feed.open(self)
        self._splice(first=True)
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self._feed.drop(self)
        self.finish(StopAsyncIteration())

    def __aiter__(self) -> Watch:
        return self

    async def __anext__(self) -> Batch:
        while True:
            if self._past is not None:
                past, self._past = self._past, None
                return past
            if self._backlog:
                batch = self._backlog.popleft()
                self._unread_events -= len(batch.events)
                if not self._backlog:
                    self._unread_bytes = 0
                return batch
            if self._finish is not None:
                raise self._finish
            if self._is_live:
                await self._pushed()
            else:
                self._splice()
                if not self._is_live and self._finish is None:
                    await self._catch_up()

    @property
    def idle(self) -> bool:
        """Whether everything was read."""
        return not self._backlog and self._past is None

    def select(self, events: Sequence[Event]) -> list[Event]:
        """Those of the range."""
        start, end = self.start, self.end
        if not end:
            return [event for event in events if start <= event.key]
        return [event for event in events if start <= event.key < end]

    def push(self, revision: int, events: Sequence[Event]) -> None:
        """Add a batch, or without events a bookmark, for the reader."""
        self.position = max(self.position, revision)
        if not events and self._backlog and not self._backlog[-1].events:
            self._backlog.pop()
        self._backlog.append(Batch(Revision(self.position), events))
        self._unread_events += len(events)
        if len(self._backlog) > 1:
            # Values count when they pile up: a reader that takes every batch at once holds none of them back.
            self._unread_bytes += sum([len(event.current.value) for event in events if event.current is not None])
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
        self._check_backlog()

    def finish(self, finish: Exception) -> None:
        """No more batches. A failure is told at once, a peaceful end after what is unread."""
        self._finish = self._finish or finish
        if not isinstance(finish, StopAsyncIteration):
            self._past = None
            self._backlog.clear()
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def _check_backlog(self) -> None:
        settings = self._feed.settings
        # One batch may be larger than the bound by itself; its reader has not had the time to be slow.
        if len(self._backlog) < 2:
            return
        if self._unread_events > settings.watch_backlog_events or self._unread_bytes > settings.watch_backlog_bytes:
            self._feed.drop(self)
            self.finish(
                WatcherTooSlow(
                    f"{self._unread_events} events ({self._unread_bytes} bytes) were left unread, the limits are"
                    f" {settings.watch_backlog_events} and {settings.watch_backlog_bytes}"
                )
            )

    async def _pushed(self) -> None:
        assert self._reader is None, "one watch was read by two tasks"
        self._reader = asyncio.get_running_loop().create_future()
        try:
            await self._reader
        finally:
            self._reader = None

    def _splice(self, *, first: bool = False) -> None:
        """Go live if what is missing is in memory."""
        # What others forgot since the watch began does not matter to it while it is in memory.
        events = self._feed.recent(self) if not first or self.position >= self._feed.compacted else None
        if events is None:
            if self.position < self._feed.compacted:
                self._feed.drop(self)
                self.finish(Compacted(self.position, self._feed.compacted))
            return
        self._go_live()
        if events or first or self.position < self._feed.revision:
            self._add_past(self._feed.revision, events)

    def _go_live(self) -> None:
        self._is_live = True
        self._feed.go_live(self)

    def _add_past(self, revision: int, events: Sequence[Event]) -> None:
        self.position = max(self.position, revision)
        self._past = Batch(Revision(self.position), events)

    async def _catch_up(self) -> None:
        try:
            chapter = await self._feed.read_history(self.start, self.end, self.position)
        except Compacted as error:
            self._feed.drop(self)
            self.finish(error)
            return
        except Unavailable:
            if self._finish is None:
                raise
            return
        if self._finish is not None:
            return
        self._add_past(chapter.revision, chapter.events)
        rest = self._feed.recent(self)
        if rest is not None:
            # At once and not when the reader comes back: compaction could be first, although nobody was slow.
            self._go_live()
            self._add_past(self._feed.revision, [*chapter.events, *rest])
