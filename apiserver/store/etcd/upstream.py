"""One watch of etcd's whole key space feeds all our watches.

Every revision of etcd changes at least one key. So who watches all keys hears every revision, "heard up to R" is simply
the revision of the last event, and a hole in the numbers is an error that cannot stay hidden. No progress notification
is asked for: up to 3.4.24 and 3.5.7 the answer to a request for one may overtake events that come before it.

When etcd is away the watches wait, and hear the rest when it is back. Only what cannot be heard any more ends them:
history that was compacted meanwhile, or an etcd that went back in time.
"""

from __future__ import annotations

import asyncio
from bisect import insort
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import structlog

from ..feed import Chapter, Feed
from ..protocol import Compacted, Event, FutureRevision, Revision, Unavailable
from .connections import Connections, jittered
from .messages import event
from .settings import EtcdSettings

log = structlog.get_logger(__name__)

HISTORY_EVENTS = 1_000
"""Events after which one read of history ends; etcd sends as many revisions in one response."""
HISTORY_BYTES = 8 << 20
"""Bytes of values after which it ends."""
COMPACTION_ANSWER_S = 1.0
"""How long etcd has to refuse a watch from the beginning, which tells what is compacted. It does so within 0.1 s."""


class Hole(Exception):
    """A revision was left out. Nothing of what comes after it was told."""


class Upstream:
    """Keeps `feed` current. `run` is its task; `current` asks etcd for its revision, linearizably."""

    def __init__(
        self, connections: Connections, settings: EtcdSettings, current: Callable[[], Awaitable[int]], revision: int
    ) -> None:
        self._connections, self._settings, self._current = connections, settings, current
        self._loop = asyncio.get_running_loop()
        self.feed = Feed(revision, 0, settings, self.read_history)
        self.connected = asyncio.Event()
        """Set once the first watch is open."""
        self._silence: asyncio.Timeout | None = None
        """Ends the open watch when it lacks what others know."""
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        """Who waits for a revision, by revision."""

    async def run(self) -> None:
        """Follow etcd until cancelled."""
        failures = 0
        while True:
            before = self.feed.revision
            try:
                await self._follow()
            except (Unavailable, Hole) as error:
                failures = 1 if self.feed.revision != before else failures + 1
                log.warning("the watch of etcd broke, it is resumed", reason=str(error), revision=self.feed.revision)
                await asyncio.sleep(jittered(self._settings, failures))
            except (Compacted, FutureRevision) as error:
                log.warning("the watch of etcd cannot be resumed, all watches start over", reason=str(error))
                self._start_over(error)

    async def _follow(self) -> None:
        """Raises Unavailable, Hole, Compacted, FutureRevision."""
        current = await self._current()
        if current < self.feed.revision:
            # Restored from a backup, or emptied: what we have told did not happen there.
            raise FutureRevision(self.feed.revision, current)
        async with self._connections.watch(self.feed.revision + 1) as stream:
            self.connected.set()
            try:
                async with asyncio.timeout(None) as self._silence:
                    self.expect(current)
                    while True:
                        self._tell(await stream.read())
            finally:
                self._silence = None

    def _tell(self, told: Sequence[Any]) -> None:
        events = [event(each) for each in told]
        position = self.feed.revision
        if events and events[0].revision <= position:
            events = [each for each in events if each.revision > position]
        if not events:
            return
        for each in events:
            if each.revision > position + 1:
                raise Hole(f"after revision {position} etcd told of {each.revision}")
            position = each.revision
        self.feed.tell(position, events)
        if self._waiting:
            self._wake(position)

    def _wake(self, revision: int) -> None:
        while self._waiting and self._waiting[0][0] <= revision:
            future = self._waiting.pop(0)[1]
            if not future.done():
                future.set_result(None)
        if not self._waiting:
            self._be_silent_until(None)

    def _be_silent_until(self, time: float | None) -> None:
        if self._silence is not None and not self._silence.expired():
            self._silence.reschedule(time)

    def _start_over(self, error: Compacted | FutureRevision) -> None:
        revision = error.compacted if isinstance(error, Compacted) else error.current
        self.feed.end(error)
        self.feed = Feed(revision, revision, self._settings, self.read_history)
        # Whoever waits goes on: there is no telling whether the revision it waits for will ever be.
        self._wake(max([revision, *(waiting[0] for waiting in self._waiting)]))

    def expect(self, revision: int) -> asyncio.Future[None]:
        """Another answer has shown `revision`: open watches hear of it, the sooner for a bookmark. Done when they have."""
        future: asyncio.Future[None] = self._loop.create_future()
        if revision <= self.feed.revision:
            self.feed.bookmark_those_behind()
            future.set_result(None)
            return future
        self.feed.bookmark_at(revision)
        insort(self._waiting, (revision, future), key=lambda waiting: waiting[0])
        if self._silence is not None and self._silence.when() is None:
            self._be_silent_until(self._loop.time() + self._settings.stall_s)
        return future

    async def heard(self, revision: int) -> None:
        """Wait until everything up to `revision` has been told. Raises Unavailable."""
        try:
            async with asyncio.timeout(self._settings.request_timeout_s):
                await self.expect(revision)
        except TimeoutError:
            raise Unavailable(
                f"etcd's watch does not come: heard up to {self.feed.revision}, {revision} was committed"
            ) from None

    async def read_history(self, start: bytes, end: bytes, after: int) -> Chapter:
        """The next events of a range later than `after`, as many as one short watch of etcd brings.

        Raises Compacted, Unavailable.
        """
        target = self.feed.revision
        events: list[Event] = []
        position, number, size = after, 0, 0
        # One revision earlier than needed, because etcd watches from the compacted revision without complaint although
        # deletions at that revision are gone.
        async with self._connections.watch(max(after, 1)) as stream, asyncio.timeout(self._settings.request_timeout_s):
            while position < target and number < HISTORY_EVENTS and size < HISTORY_BYTES:
                told = await stream.read()
                if not told:
                    continue
                position = max(position, told[-1].kv.mod_revision)
                number += len(told)
                size += sum([len(each.kv.value) for each in told])
                events += [
                    event(each)
                    for each in told
                    if start <= each.kv.key and (not end or each.kv.key < end) and each.kv.mod_revision > after
                ]
        return Chapter(events, position)

    async def compacted(self) -> int:
        """Up to which revision etcd has forgotten history, as it says itself; 0 if it does not."""
        try:
            async with self._connections.watch(1) as stream, asyncio.timeout(COMPACTION_ANSWER_S):
                await stream.read()
        except Compacted as error:
            self.feed.compacted = max(self.feed.compacted, error.compacted)
        except Unavailable:
            pass  # what we know ourselves has to do
        return self.feed.compacted

    def told(self, revision: int) -> Revision:
        """The newest revision that `revision`, from an answer, and the watch know of."""
        return Revision(max(revision, self.feed.revision))

    def end(self) -> None:
        """End every watch in peace."""
        self.feed.end(None)
