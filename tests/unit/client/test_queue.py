"""The work queue's promises, on virtual time."""

from __future__ import annotations

import asyncio

import pytest

from stark.client.queue import ShutDown, WorkQueue
from tests.support.virtual_time import virtual_run


def test_a_key_that_is_added_often_waits_once() -> None:
    async def main() -> None:
        queue = WorkQueue("dedup")
        for key in ("a", "b", "a", "a"):
            queue.add(key)
        assert [await queue.get(), await queue.get()] == ["a", "b"]
        assert len(queue) == 0

    virtual_run(main())


def test_a_key_added_while_it_is_worked_on_comes_back_only_after_that_work() -> None:
    async def main() -> None:
        queue = WorkQueue("dirty")
        queue.add("a")
        key = await queue.get()
        queue.add("a")
        queue.add("a")
        assert len(queue) == 0, "nobody else may work on it meanwhile"
        queue.done(key)
        assert await queue.get() == "a"
        queue.done("a")
        assert len(queue) == 0

    virtual_run(main())


def test_no_key_is_ever_worked_on_by_two_workers_and_no_change_is_missed() -> None:
    async def main() -> None:
        queue = WorkQueue("many")
        wanted = dict.fromkeys("abcde", 0)
        seen = dict(wanted)
        working: set[str] = set()

        async def worker(pause_s: float) -> None:
            while True:
                try:
                    key = await queue.get()
                except ShutDown:
                    return
                assert key not in working
                working.add(key)
                before = wanted[key]
                await asyncio.sleep(pause_s)
                seen[key] = before
                working.remove(key)
                queue.done(key)

        async with asyncio.TaskGroup() as group:
            for number in range(3):
                group.create_task(worker(0.7 + 0.3 * number))
            for step in range(200):
                key = "abcde"[step * step % 5]
                wanted[key] += 1
                queue.add(key)
                await asyncio.sleep(0.1 * (step % 4))
            await queue.idle()
            assert seen == wanted
            queue.shut_down()

    virtual_run(main())


def test_failures_back_off_by_doubling_from_5_ms_to_1000_s_and_forget_starts_over() -> None:
    async def main() -> None:
        queue = WorkQueue("backoff")
        loop = asyncio.get_running_loop()
        delays = []
        for _ in range(20):
            began = loop.time()
            queue.add_rate_limited("a")
            queue.done(await queue.get())
            delays.append(loop.time() - began)
        assert delays[:4] == pytest.approx([0.005, 0.01, 0.02, 0.04])
        assert delays[-2:] == pytest.approx([1000, 1000])
        assert queue.failures("a") == 20
        queue.forget("a")
        assert queue.add_rate_limited("a") == 0.005
        for _ in range(2_000):
            queue.add_rate_limited("a")  # does not overflow

    virtual_run(main())


def test_of_two_delays_of_a_key_the_earlier_one_counts() -> None:
    async def main() -> None:
        queue = WorkQueue("after")
        loop = asyncio.get_running_loop()
        queue.add_after("a", 3600)
        queue.add_after("a", 10)
        queue.add_after("a", 60)
        assert await queue.get() == "a"
        assert loop.time() == pytest.approx(10)
        queue.done("a")
        await asyncio.sleep(7200)
        assert len(queue) == 0

    virtual_run(main())


def test_shutting_down_hands_out_what_waits_and_what_is_dirty_and_then_ends_the_workers() -> None:
    async def main() -> None:
        queue = WorkQueue("drain")
        done: list[str] = []

        async def worker() -> None:
            while True:
                try:
                    key = await queue.get()
                except ShutDown:
                    return
                await asyncio.sleep(1)
                done.append(key)
                queue.done(key)

        async with asyncio.TaskGroup() as group:
            group.create_task(worker())
            group.create_task(worker())
            for key in ("a", "b", "c"):
                queue.add(key)
            queue.add_after("late", 5)
            await asyncio.sleep(0.5)
            queue.add("a")  # dirty: it is being worked on
            queue.shut_down()
            queue.add("refused")
        assert sorted(done) == ["a", "a", "b", "c"]

    virtual_run(main())


def test_a_cancelled_getter_passes_its_wake_up_on() -> None:
    async def main() -> None:
        queue = WorkQueue("cancel")
        first, second = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
        await asyncio.sleep(0)
        queue.add("a")  # wakes the first, which is cancelled before it runs
        first.cancel()
        assert await second == "a"
        assert first.cancelled()

    virtual_run(main())
