"""An event loop whose clock jumps: an hour of back-off costs a millisecond.

When nothing is ready to run, the clock moves to the next timer instead of waiting for it. It is for code that waits
only for timers and for other tasks. A socket or a thread is polled, never waited for, so a test that needs one to
answer in virtual time is told so by `Stuck` when no timer is left.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

T = TypeVar("T")

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class Stuck(RuntimeError):
    """Nothing is ready and no timer is set: the tasks wait for one another for ever."""


class _JumpingSelector(selectors.SelectSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise Stuck(f"at {self.now:.3f} s nothing is ready to run and no timer is set")
        self.now += max(0.0, timeout)
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An asyncio loop on virtual time, which starts at 0."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._jumping.now


def virtual_run(main: Coroutine[Any, Any, T]) -> T:
    """Run to the end on virtual time."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)


def virtual_now(skew: timedelta = timedelta(0)) -> datetime:
    """A wall clock that goes with the running loop's time, wrong by `skew`."""
    return EPOCH + timedelta(seconds=asyncio.get_running_loop().time()) + skew
