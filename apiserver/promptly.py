"""A time limit that costs nothing to those who need no time.

Most requests are answered from memory, without waiting for anything. Setting and removing a timer for each of them would
take as long as looking up what they ask for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


async def within(timeout_s: float, work: Coroutine[Any, Any, T]) -> T:
    """What `work` returns. It begins at once; the clock only runs once it waits for something. Raises TimeoutError."""
    try:
        awaited = work.send(None)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    async with asyncio.timeout(timeout_s):
        return await _Rest(work, awaited)


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
