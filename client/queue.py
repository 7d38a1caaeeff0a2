"""A queue of keys to look at again: each key waits once, is worked on by one worker at a time, and backs off on failure.

A key added while it is being worked on is kept as dirty and comes back when that work is done, so no change is
missed and no key is worked on twice at once. All delays use the event loop's clock, so tests can let time jump.
"""

from __future__ import annotations

import asyncio
from collections import deque

from prometheus_client import Counter, Gauge, Histogram

DEPTH = Gauge("workqueue_depth", "Keys waiting to be worked on", ["name"])
ADDS = Counter("workqueue_adds", "Keys added", ["name"])
RETRIES = Counter("workqueue_retries", "Keys added again after a failure", ["name"])
WAITED = Histogram(
    "workqueue_queue_duration_seconds", "How long a key waited", ["name"], buckets=(0.001, 0.01, 0.1, 1, 10, 60, 600)
)
WORKED = Histogram(
    "workqueue_work_duration_seconds", "How long a key was worked on", ["name"], buckets=(0.001, 0.01, 0.1, 1, 10, 60)
)

RETRY_DELAY_S = 0.005
"""The first pause after a failure; it doubles with each further one. client-go's number: most failures are conflicts,
gone as soon as the cache has caught up."""

RETRY_DELAY_MAX_S = 1000.0
"""The longest pause, client-go's: a quarter of an hour for what has failed eighteen times in a row."""


class ShutDown(Exception):
    """The queue was shut down and is empty: the worker ends."""


class WorkQueue:
    """Keys to be worked on. Bounded by the number of different keys, i.e. of objects, because each waits only once.

    A worker does `key = await get()`, works, then either `forget(key)` or `add_rate_limited(key)`, and always `done(key)`.
    """

    def __init__(
        self, name: str, *, retry_delay_s: float = RETRY_DELAY_S, retry_delay_max_s: float = RETRY_DELAY_MAX_S
    ) -> None:
        self.name = name
        self._retry_delay_s = retry_delay_s
        self._retry_delay_max_s = retry_delay_max_s
        self._waiting: deque[str] = deque()
        self._added_at: dict[str, float] = {}
        """The keys in `_waiting`, and the dirty ones that are being worked on, with the time they were added."""
        self._started_at: dict[str, float] = {}
        self._failures: dict[str, int] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._getters: deque[asyncio.Future[None]] = deque()
        self._idle: list[asyncio.Future[None]] = []
        self._shutting_down = False
        self._depth, self._adds = DEPTH.labels(name), ADDS.labels(name)
        self._retries = RETRIES.labels(name)
        self._waited, self._worked = WAITED.labels(name), WORKED.labels(name)

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, key: str) -> None:
        """Look at this key again, soon. Nothing happens when it waits already or the queue is shutting down."""
        if self._shutting_down or key in self._added_at:
            return
        self._added_at[key] = _now()
        self._adds.inc()
        if key not in self._started_at:
            self._put(key)

    def add_after(self, key: str, delay_s: float) -> None:
        """Look at this key again after `delay_s`; the earliest of several such wishes counts."""
        if self._shutting_down:
            return
        if delay_s <= 0:
            self.add(key)
            return
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if timer is not None:
            if timer.when() <= loop.time() + delay_s:
                return
            timer.cancel()
        self._timers[key] = loop.call_later(delay_s, self._ripe, key)

    def add_rate_limited(self, key: str) -> float:
        """Look at this key again after its own back-off, which is returned in seconds and doubles until `forget`."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        # The exponent is bounded because 2.0 ** 1024 overflows; at 64 the delay is long at its maximum.
        delay_s = float(min(self._retry_delay_s * 2 ** min(failures, 64), self._retry_delay_max_s))
        self._retries.inc()
        self.add_after(key, delay_s)
        return delay_s

    def forget(self, key: str) -> None:
        """It worked: the next failure of this key is its first."""
        self._failures.pop(key, None)

    def failures(self, key: str) -> int:
        """How often this key failed since it last worked."""
        return self._failures.get(key, 0)

    async def get(self) -> str:
        """The next key; call `done` with it afterwards. Raises ShutDown when there is none left and none will come."""
        while not self._waiting:
            if self._shutting_down and not self._dirty():
                raise ShutDown(self.name)
            getter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._getters.append(getter)
            try:
                await getter
            except asyncio.CancelledError:
                # The wake-up that we were given and do not use belongs to the next one in line.
                if getter.done() and not getter.cancelled():
                    self._wake(1)
                raise
        key = self._waiting.popleft()
        now = _now()
        self._depth.set(len(self._waiting))
        self._waited.observe(now - self._added_at.pop(key))
        self._started_at[key] = now
        return key

    def done(self, key: str) -> None:
        """This key is not worked on any more; it waits again if it was added meanwhile."""
        self._worked.observe(_now() - self._started_at.pop(key))
        if key in self._added_at:
            self._put(key)
        if self._shutting_down and not self._dirty():
            self._wake(len(self._getters))
        if not self._started_at and not self._waiting:
            for future in self._idle:
                if not future.done():
                    future.set_result(None)
            self._idle.clear()

    def shut_down(self) -> None:
        """Take nothing new, drop what is delayed, hand out what waits, then end the workers with ShutDown."""
        self._shutting_down = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._wake(len(self._getters))

    async def idle(self) -> None:
        """Wait until nothing waits and nothing is worked on; what is delayed does not count."""
        while self._waiting or self._started_at:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._idle.append(future)
            await future

    def _ripe(self, key: str) -> None:
        del self._timers[key]
        self.add(key)

    def _put(self, key: str) -> None:
        self._waiting.append(key)
        self._depth.set(len(self._waiting))
        self._wake(1)

    def _wake(self, number: int) -> None:
        while number and self._getters:
            getter = self._getters.popleft()
            if not getter.done():
                getter.set_result(None)
                number -= 1

    def _dirty(self) -> bool:
        return any(key in self._added_at for key in self._started_at)


def _now() -> float:
    return asyncio.get_running_loop().time()
