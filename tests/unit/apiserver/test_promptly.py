"""Time limits of those who wait, and of those who do not."""

from __future__ import annotations

import asyncio

import pytest

from stark.apiserver.promptly import Promptly


async def test_who_does_not_wait_is_not_timed() -> None:
    async def work() -> int:
        return 7

    assert await Promptly(0).within(work()) == 7


async def test_who_waits_gets_what_it_waited_for() -> None:
    async def work() -> int:
        await asyncio.sleep(0)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[int] = loop.create_future()
        loop.call_soon(future.set_result, 3)
        async with asyncio.timeout(1):
            return await future + await asyncio.to_thread(lambda: 4)

    assert await Promptly(5).within(work()) == 7


async def test_a_failure_is_passed_on_before_and_after_waiting() -> None:
    async def work(waits: bool) -> None:
        if waits:
            await asyncio.sleep(0.001)
        raise KeyError(waits)

    for waits in (False, True):
        with pytest.raises(KeyError):
            await Promptly(5).within(work(waits))


async def test_who_waits_too_long_is_stopped_and_may_clean_up() -> None:
    cleaned = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            cleaned.append(True)

    with pytest.raises(TimeoutError):
        await Promptly(0.01).within(work())
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

    task = asyncio.create_task(Promptly(60).within(work()))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cancelled.is_set()


async def test_each_has_its_own_time_under_one_timer() -> None:
    promptly, ended = Promptly(0.2), []

    async def work(number: int) -> None:
        await asyncio.Event().wait()

    async def timed(number: int) -> None:
        try:
            await promptly.within(work(number))
        except TimeoutError:
            ended.append(number)

    async with asyncio.TaskGroup() as group:
        group.create_task(timed(1))
        await asyncio.sleep(0.1)
        assert await promptly.within(asyncio.sleep(0.01, "in time")) == "in time"
        group.create_task(timed(2))
        await asyncio.sleep(0.15)
        assert ended == [1]
    assert ended == [1, 2]


async def test_who_finishes_in_spite_of_it_is_not_left_cancelled() -> None:
    async def work() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "done"
        raise AssertionError

    assert await Promptly(0.01).within(work()) == "done"
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_task_that_is_cancelled_besides_stays_cancelled() -> None:
    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            task.cancel()

    task = asyncio.create_task(Promptly(0.01).within(work()))
    with pytest.raises(asyncio.CancelledError):
        await task
