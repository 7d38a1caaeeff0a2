"""The clock of the leases, in the loop. Which keys a lease has, and what its end deletes, is the writer's to know.

After a restart every lease has its full time again, as in etcd: nobody could renew it while the store was away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from ..protocol import LeaseId, LeaseNotFound

RETRY_S = 1.0
"""How soon the deletion of an expired lease's keys is tried again when there was no space for it."""


class _Running:
    __slots__ = ("deadline", "timer", "ttl_s")

    def __init__(self, ttl_s: int, deadline: float, timer: asyncio.TimerHandle) -> None:
        self.ttl_s, self.deadline, self.timer = ttl_s, deadline, timer


class LeaseClock:
    """Calls `expire` once for each lease whose time has passed without a renewal."""

    def __init__(self, leases: Mapping[LeaseId, int], expire: Callable[[LeaseId], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._expire = expire
        self._running: dict[LeaseId, _Running] = {}
        for lease, ttl_s in leases.items():
            self.start(lease, ttl_s)

    def start(self, lease: LeaseId, ttl_s: int) -> None:
        """Begin the time of a lease that has become durable."""
        deadline = self._loop.time() + ttl_s
        self._running[lease] = _Running(ttl_s, deadline, self._loop.call_at(deadline, self._look, lease))

    def renew(self, lease: LeaseId) -> int:
        """Begin the time anew; the TTL in seconds. Raises LeaseNotFound."""
        running = self._running.get(lease)
        if running is None or running.deadline <= self._loop.time():
            raise LeaseNotFound(f"lease {lease} does not exist or has expired")
        # The timer stays where it is and looks again: renewals are many, and moving a timer costs more than this.
        running.deadline = self._loop.time() + running.ttl_s
        return running.ttl_s

    def drop(self, lease: LeaseId) -> None:
        """The lease has ended."""
        running = self._running.pop(lease, None)
        if running is not None:
            running.timer.cancel()

    def retry(self, lease: LeaseId) -> None:
        """The lease has expired, but its keys could not be deleted."""
        timer = self._loop.call_later(RETRY_S, self._look, lease)
        self._running[lease] = _Running(0, self._loop.time(), timer)

    def stop(self) -> None:
        """Expire nothing any more."""
        for running in self._running.values():
            running.timer.cancel()
        self._running.clear()

    def _look(self, lease: LeaseId) -> None:
        running = self._running[lease]
        if self._loop.time() < running.deadline:
            running.timer = self._loop.call_at(running.deadline, self._look, lease)
            return
        del self._running[lease]
        self._expire(lease)
