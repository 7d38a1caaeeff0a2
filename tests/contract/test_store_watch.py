"""What `protocol` promises of watches, for every back end: nothing left out, nothing twice, and a word when it cannot be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from stark.apiserver.store.protocol import (
    Batch,
    Compacted,
    Put,
    Revision,
    Store,
    Unavailable,
    WatcherTooSlow,
)
from tests.support.stores import (
    Limits,
    Opened,
    delete,
    events_up_to,
    next_batch,
    next_events,
    open_store,
    put,
)


async def collect(watch: AsyncIterator[Batch], revisions: list[int]) -> None:
    """Add the revision of every event until the watch ends."""
    async for batch in watch:
        revisions += [event.revision for event in batch.events]


async def test_a_watch_from_now_tells_what_comes_after_entering_it(store: Store) -> None:
    before = await put(store, b"a", b"old")
    async with store.watch(b"", b"") as watch:
        # Written before the first batch is read: the pin is the moment of entering and not of reading.
        during = await put(store, b"a", b"new")
        (event,) = await next_events(watch, 1)
    assert event.revision == during == before + 1
    assert event.current is not None
    assert event.previous is not None
    assert (event.current.value, event.previous.value) == (b"new", b"old")


async def test_the_first_batch_of_a_quiet_watch_comes_at_once_and_names_the_revision(store: Store) -> None:
    revision = await put(store, b"other")
    async with store.watch(b"a", b"b") as watch:
        batch = await next_batch(watch)
    assert (list(batch.events), batch.revision) == ([], revision)


async def test_a_watch_after_a_revision_begins_with_the_next_one(store: Store) -> None:
    revisions = [await put(store, b"a", str(n).encode()) for n in range(5)]
    async with store.watch(b"a", b"b", after=revisions[1]) as watch:
        assert [event.revision for event in await events_up_to(watch, revisions[-1])] == revisions[2:]
    async with store.watch(b"a", b"b", after=revisions[-1]) as watch:
        assert list((await next_batch(watch)).events) == []
        await delete(store, b"a")
        (event,) = await next_events(watch, 1)
        assert event.current is None
        assert event.previous is not None
        assert event.previous.mod_revision == revisions[-1]


async def test_a_watch_tells_only_of_its_range(store: Store) -> None:
    async with store.watch(b"b", b"d") as watch, store.watch(b"c", b"c\0") as single:
        for key in (b"a", b"b", b"bb", b"c", b"d", b"e"):
            revision = await put(store, key)
        assert [event.key for event in await next_events(watch, 3)] == [b"b", b"bb", b"c"]
        await store.revision()
        assert [event.key for event in await events_up_to(single, revision)] == [b"c"]


async def test_the_keys_of_one_commit_arrive_in_one_batch(store: Store) -> None:
    start = await store.revision()

    async def follow(after: Revision | None) -> None:
        async with store.watch(b"", b"", after=after) as watch:
            if after is None:
                entered.set()
            parts: list[list[int]] = []
            async with asyncio.timeout(10):
                async for batch in watch:
                    parts.append([event.revision for event in batch.events])
                    assert all(revision <= batch.revision for revision in parts[-1])
                    if batch.revision >= start + 60:
                        break
        told = [revision for part in parts for revision in part]
        assert told == sorted([*range(start + 1, start + 61)] * 10)
        for part in parts:
            assert all(part.count(revision) == 10 for revision in part)

    entered = asyncio.Event()
    live = asyncio.create_task(follow(None))
    await entered.wait()
    await asyncio.gather(*(store.txn((), tuple(Put(b"k%d" % n, b"v") for n in range(10))) for _ in range(60)))
    await live
    await follow(start)


async def test_a_watch_of_a_future_revision_waits_for_it(store: Store) -> None:
    now = await put(store, b"a")
    async with store.watch(b"", b"", after=Revision(now + 2)) as watch:
        assert list((await next_batch(watch)).events) == []
        for n in range(4):
            await put(store, b"a", str(n).encode())
        assert [event.revision for event in await events_up_to(watch, now + 4)] == [now + 3, now + 4]


async def test_a_watch_of_compacted_history_is_refused(store: Store) -> None:
    revisions = [await put(store, b"a", str(n).encode()) for n in range(6)]
    await store.compact(revisions[3])
    async with store.watch(b"", b"", after=revisions[0]) as watch:
        with pytest.raises(Compacted):
            await events_up_to(watch, revisions[-1])
    async with store.watch(b"", b"", after=revisions[3]) as watch:
        events = await events_up_to(watch, revisions[-1])
    assert [event.revision for event in events] == revisions[4:]
    assert events[0].previous is not None


async def test_a_live_watch_outlives_the_compaction_of_what_it_has_told(store: Store) -> None:
    async with store.watch(b"", b"") as watch:
        await next_batch(watch)
        for n in range(5):
            await store.compact(await put(store, b"a", str(n).encode()))
        events = await next_events(watch, 5)
        await store.compact(await put(store, b"b"))
        events += await next_events(watch, 1)
    assert [event.current.value for event in events if event.current] == [b"0", b"1", b"2", b"3", b"4", b"v"]


async def test_a_watch_that_has_caught_up_is_not_ended_by_compaction_before_it_reads_on(durable: Opened) -> None:
    revisions = [await put(durable.store, b"a", str(n).encode()) for n in range(6)]
    store = await durable.reopen()  # so that the history is not in memory
    async with store.watch(b"", b"", after=revisions[0]) as watch:
        assert [event.revision for event in await events_up_to(watch, revisions[-1])] == revisions[1:]
        more = [await put(store, b"a", str(n).encode()) for n in range(3)]
        await store.compact(more[-1])
        assert [event.revision for event in await events_up_to(watch, more[-1])] == more


async def test_an_idle_watch_gets_bookmarks(store: Store) -> None:
    async with store.watch(b"a", b"b") as watch:
        await next_batch(watch)
        revision = await put(store, b"elsewhere")
        assert await events_up_to(watch, revision) == []
        assert list((await next_batch(watch)).events) == []


async def test_who_asks_for_the_revision_need_not_wait_for_the_periodic_bookmark(
    opened: Opened, tmp_path_factory: pytest.TempPathFactory
) -> None:
    patient = Limits(progress_interval_s=60)
    async with open_store(opened.kind, tmp_path_factory.mktemp("patient"), patient) as other:
        async with other.store.watch(b"a", b"b") as watch:
            await next_batch(watch)
            for n in range(3):
                revision = await put(other.store, b"elsewhere-%d" % n)
                assert await other.store.revision() == revision
                assert await events_up_to(watch, revision) == []


async def test_history_and_live_events_join_without_gap_or_repeat_under_writes(store: Store) -> None:
    start = await store.revision()
    total = 1200
    written = asyncio.Event()

    async def write(worker: int) -> None:
        for n in range(total // 8):
            await put(store, b"k%d" % worker, str(n).encode())
        written.set()

    async def follow(pause: int) -> None:
        async with store.watch(b"k", b"l", after=start) as watch:
            revisions: list[int] = []
            async with asyncio.timeout(30):
                async for batch in watch:
                    revisions += [event.revision for event in batch.events]
                    for _ in range(pause):
                        await asyncio.sleep(0)
                    if batch.revision >= start + total:
                        break
        assert revisions == list(range(start + 1, start + total + 1))

    async def follow_in_turn() -> None:
        while not written.is_set():
            await asyncio.gather(*(follow(pause) for pause in (0, 1, 5)))

    await asyncio.gather(*(write(worker) for worker in range(8)), follow_in_turn())
    await follow(0)


async def test_a_watch_can_be_resumed_from_any_batch(store: Store) -> None:
    start = position = await store.revision()
    for n in range(20):
        await put(store, b"k%d" % (n % 3), str(n).encode())
    seen: list[int] = []
    while len(seen) < 25:
        async with store.watch(b"", b"", after=position) as watch:
            batch = await next_batch(watch)
            seen += [event.revision for event in batch.events]
            position = batch.revision
        if len(seen) < 25:
            await put(store, b"k", b"more")
    assert seen == list(range(start + 1, start + len(seen) + 1))


async def test_a_watcher_that_does_not_read_is_told_so_and_others_go_on(
    opened: Opened, tmp_path_factory: pytest.TempPathFactory
) -> None:
    limits = Limits(watch_backlog_events=20)
    async with open_store(opened.kind, tmp_path_factory.mktemp("slow"), limits) as other:
        store = other.store
        start = await store.revision()
        async with store.watch(b"", b"") as slow, store.watch(b"", b"") as quick:
            await next_batch(slow)
            seen = []
            for n in range(60):
                revision = await put(store, b"k%d" % n)
                seen += await events_up_to(quick, revision)
            assert len(seen) == 60
            told: list[int] = []
            with pytest.raises(WatcherTooSlow):
                await asyncio.wait_for(collect(slow, told), 10)
            assert told == [event.revision for event in seen][: len(told)], "what was told before has no gap"
        async with store.watch(b"", b"", after=start) as again:
            assert len(await events_up_to(again, revision)) == 60


async def test_closing_the_store_ends_its_watches_and_refuses_calls(store: Store) -> None:
    async with store.watch(b"", b"") as watch:
        await next_batch(watch)
        reading = asyncio.ensure_future(anext(watch, None))
        await asyncio.sleep(0)
        await store.close()
        async with asyncio.timeout(5):
            while (await reading) is not None:
                reading = asyncio.ensure_future(anext(watch, None))
    with pytest.raises(Unavailable):
        await put(store, b"a")
    with pytest.raises(Unavailable):
        await store.get(b"a")
    await store.close()
