"""Time limits of those who wait, and of those who do not."""

from __future__ import annotations

import asyncio

import pytest

from stark.apiserver.promptly import within


async def test_who_does_not_wait_is_not_timed() -> None:
    async def work() -> int:
        return 7

    assert await within(0, work()) == 7


async def test_who_waits_gets_what_it_waited_for() -> None:
    async def work() -> int:
        await asyncio.sleep(0)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[int] = loop.create_future()
        loop.call_soon(future.set_result, 3)
        async with asyncio.timeout(1):
            return await future + await asyncio.to_thread(lambda: 4)

    assert await within(5, work()) == 7


async def test_a_failure_is_passed_on_before_and_after_waiting() -> None:
    async def work(waits: bool) -> None:
        if waits:
            await asyncio.sleep(0.001)
        raise KeyError(waits)

    for waits in (False, True):
        with pytest.raises(KeyError):
            await within(5, work(waits))


async def test_who_waits_too_long_is_stopped_and_may_clean_up() -> None:
    cleaned = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            cleaned.append(True)

    with pytest.raises(TimeoutError):
        await within(0.01, work())
    assert cleaned == [True]


async def test_a_cancelled_task_cancels_what_it_waits_for() -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    task = asyncio.create_task(within(60, work()))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cancelled.is_set()
