"""A time limit that costs nothing to those who need no time, and next to nothing to those who need little.

Most requests are answered from memory, without waiting for anything, and nearly all others within milliseconds. Setting and
removing a timer for each of them would take as long as looking up what they ask for. All have the same limit, so that they
run out of time in the order in which they began: one timer, for the oldest, is enough.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Promptly:
    """Pieces of work that may take `timeout_s` seconds each."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._waiting: dict[_Waiting, None] = {}
        """In the order in which they run out of time."""
        self._timer: asyncio.TimerHandle | None = None

    async def within(self, work: Coroutine[Any, Any, T]) -> T:
        """What `work` returns. It begins at once; the clock only runs once it waits for something. Raises TimeoutError."""
        try:
            awaited = work.send(None)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        waiting = _Waiting(task, loop.time() + self._timeout_s)
        self._waiting[waiting] = None
        if self._timer is None:
            self._timer = loop.call_at(waiting.until, self._look)
        try:
            result = await _Rest(work, awaited)
        except BaseException as error:
            # When nobody else cancelled it besides, it was the time: the rules of asyncio.timeout.
            is_ours = waiting.is_over and task.uncancel() <= waiting.cancelled_before
            if is_ours and isinstance(error, asyncio.CancelledError):
                raise TimeoutError from error
            raise
        finally:
            self._waiting.pop(waiting, None)
        if waiting.is_over:
            task.uncancel()
        return result

    def _look(self) -> None:
        """End what has taken too long, and look again when the next one will have."""
        self._timer = None
        loop = asyncio.get_running_loop()
        while self._waiting:
            oldest = next(iter(self._waiting))
            if oldest.until > loop.time():
                self._timer = loop.call_at(oldest.until, self._look)
                return
            del self._waiting[oldest]
            oldest.is_over = True
            oldest.task.cancel()


class _Waiting:
    """Work that was not done at once."""

    __slots__ = ("cancelled_before", "is_over", "task", "until")

    def __init__(self, task: asyncio.Task[Any], until: float) -> None:
        self.task, self.until = task, until
        self.cancelled_before = task.cancelling()
        self.is_over = False


class _Rest(Generic[T]):
    """A coroutine that has begun: what it waits for is handed to the task, as if it had been awaited from the start."""

    def __init__(self, work: Coroutine[Any, Any, T], awaited: Any) -> None:
        self._work, self._awaited = work, awaited

    def __await__(self) -> Generator[Any, Any, T]:
        work, awaited = self._work, self._awaited
        try:
            while True:
                try:
                    sent = yield awaited
                except GeneratorExit:
                    work.close()
                    raise
                except BaseException as error:
                    awaited = work.throw(error)
                else:
                    awaited = work.send(sent)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]
