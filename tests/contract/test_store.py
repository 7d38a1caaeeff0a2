"""What `protocol` promises, for every back end. Traps that real stores and clients fell into are tests of their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from stark.apiserver.store.protocol import (
    VALUE_BYTES_MAX,
    Batch,
    Compacted,
    Delete,
    Expect,
    FutureRevision,
    LeaseId,
    LeaseNotFound,
    Put,
    Revision,
    Store,
    TooLarge,
    Unavailable,
    WatcherTooSlow,
    prefix_end,
)
from tests.support.stores import (
    DURABLE,
    STORES,
    Limits,
    Opened,
    all_pages,
    create,
    delete,
    events_up_to,
    next_batch,
    next_events,
    open_store,
    put,
)

MISSING = Revision(0)


@pytest.fixture(params=STORES)
async def opened(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Opened]:
    async with open_store(request.param, tmp_path) as opened:
        yield opened


@pytest.fixture
def store(opened: Opened) -> Store:
    return opened.store


@pytest.fixture(params=DURABLE)
async def durable(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Opened]:
    async with open_store(request.param, tmp_path) as opened:
        yield opened


async def collect(watch: AsyncIterator[Batch], revisions: list[int]) -> None:
    """Add the revision of every event until the watch ends."""
    async for batch in watch:
        revisions += [event.revision for event in batch.events]


# Revisions and transactions


async def test_a_commit_raises_the_revision_by_one_and_its_changes_share_it(store: Store) -> None:
    before = await store.revision()
    result = await store.txn((), (Put(b"a", b"1"), Put(b"b", b"2"), Put(b"c", b"3")))
    assert result == (True, before + 1, ())
    assert {kv.mod_revision for kv in (await store.range(b"", b"")).items} == {before + 1}
    assert await put(store, b"d") == before + 2 == await store.revision()


async def test_a_commit_that_changes_nothing_leaves_the_revision(store: Store) -> None:
    before = await put(store, b"a")
    assert await delete(store, b"missing") == before
    assert (await store.txn((Expect(b"a", before),), ())).revision == before
    assert not await create(store, b"a")
    assert await store.revision() == before


async def test_version_and_create_revision_tell_the_life_of_a_key(store: Store) -> None:
    created = await put(store, b"a", b"1")
    updated = await put(store, b"a", b"2")
    kv, at = await store.get(b"a")
    assert kv is not None
    assert (kv.value, kv.version, kv.create_revision, kv.mod_revision, at) == (b"2", 2, created, updated, updated)
    await delete(store, b"a")
    again = await put(store, b"a", b"3")
    kv, _ = await store.get(b"a")
    assert kv is not None
    assert (kv.version, kv.create_revision, kv.mod_revision) == (1, again, again)


async def test_a_failed_condition_changes_nothing_and_shows_every_expected_key(store: Store) -> None:
    first = await put(store, b"a", b"1")
    result = await store.txn(
        (Expect(b"b", MISSING), Expect(b"a", Revision(first + 7))), (Put(b"b", b"x"), Delete(b"a"))
    )
    assert not result.succeeded
    assert result.revision == first
    nothing, current = result.current
    assert nothing is None
    assert current == (await store.get(b"a"))[0]
    assert current is not None
    assert current.value == b"1"


async def test_of_many_writers_with_one_condition_exactly_one_succeeds(store: Store) -> None:
    seen = await put(store, b"a", b"0")
    results = await asyncio.gather(
        *(store.txn((Expect(b"a", seen),), (Put(b"a", str(n).encode()),)) for n in range(20)),
        *(put(store, b"other-%d" % n) for n in range(20)),
    )
    winners = [n for n, result in enumerate(results[:20]) if result.succeeded]  # type: ignore[union-attr]
    assert len(winners) == 1
    kv, _ = await store.get(b"a")
    assert kv is not None
    assert kv.value == str(winners[0]).encode()
    assert len((await store.range(b"other-", prefix_end(b"other-"))).items) == 20


async def test_compare_and_swap_loops_lose_no_increment(store: Store) -> None:
    await put(store, b"n", b"0")

    async def increment() -> None:
        while True:
            kv, _ = await store.get(b"n")
            assert kv is not None
            value = str(int(kv.value) + 1).encode()
            if (await store.txn((Expect(b"n", kv.mod_revision),), (Put(b"n", value),))).succeeded:
                return

    await asyncio.gather(*(increment() for _ in range(16)))
    kv, _ = await store.get(b"n")
    assert kv is not None
    assert kv.value == b"16"


async def test_a_request_over_the_limit_is_too_large_and_one_at_it_is_not(store: Store) -> None:
    fits = VALUE_BYTES_MAX - 64 * 1024  # back ends count their own framing too
    await put(store, b"a", b"x" * fits)
    kv, _ = await store.get(b"a")
    assert kv is not None
    assert len(kv.value) == fits
    with pytest.raises(TooLarge):
        await put(store, b"b", b"x" * (VALUE_BYTES_MAX + 1))
    with pytest.raises(TooLarge):
        await store.txn((), tuple(Put(b"k%d" % n, b"x" * 600_000) for n in range(3)))
    assert [kv.key for kv in (await store.range(b"", b"", keys_only=True)).items] == [b"a"]


async def test_empty_and_binary_values_come_back_as_they_were(store: Store) -> None:
    values = {b"empty": b"", b"\x00\xff\x80": bytes(range(256)), b"nul\x00": b"\x00" * 3}
    for key, value in values.items():
        await put(store, key, value)
    assert {kv.key: kv.value for kv in (await store.range(b"", b"")).items} == {**values}


async def test_an_acknowledged_write_is_seen_by_every_later_read(store: Store) -> None:
    for n in range(30):
        revision = await put(store, b"a", str(n).encode())
        kv, at = await store.get(b"a")
        assert kv is not None
        assert (kv.value, kv.mod_revision) == (str(n).encode(), revision)
        assert at >= revision


# Ranges


async def test_a_range_is_ordered_half_open_and_counts_what_remains(store: Store) -> None:
    for key in (b"c", b"a", b"d", b"b"):
        await put(store, key)
    page = await store.range(b"a", b"d", limit=2)
    assert [kv.key for kv in page.items] == [b"a", b"b"]
    assert page.remaining == 1
    assert [kv.key for kv in (await store.range(b"b", b"")).items] == [b"b", b"c", b"d"]
    assert (await store.range(b"x", b"")).items == []


async def test_keys_only_leaves_out_the_values_and_nothing_else(store: Store) -> None:
    await put(store, b"a", b"value")
    full, bare = await store.range(b"", b""), await store.range(b"", b"", keys_only=True)
    assert bare.items == [kv._replace(value=b"") for kv in full.items]


async def test_a_pinned_range_is_the_past_whatever_happened_since(store: Store) -> None:
    for key in (b"a", b"b", b"c", b"d"):
        await put(store, key, b"old")
    pinned = await store.range(b"", b"")
    await put(store, b"a", b"new")
    await delete(store, b"b")
    await delete(store, b"c")
    await put(store, b"c", b"new")
    await put(store, b"e", b"new")
    assert await store.range(b"", b"", revision=pinned.revision) == pinned
    first = await store.range(b"", b"", limit=1, revision=pinned.revision)
    assert (first.items, first.remaining) == (pinned.items[:1], 3)
    assert (await store.get(b"b", revision=pinned.revision))[0] == pinned.items[1]
    assert (await store.get(b"e", revision=pinned.revision))[0] is None


async def test_pages_stay_one_snapshot_while_everything_changes(store: Store) -> None:
    for n in range(40):
        await put(store, b"k%03d" % n, b"old")
    page = await store.range(b"k", b"l", limit=7)
    revision, items = page.revision, list(page.items)
    while page.remaining:
        assert page.remaining == 40 - len(items)
        await put(store, b"k%03d" % (len(items) + 1), b"new")
        await delete(store, b"k%03d" % (len(items) + 2))
        await put(store, b"k%03d-new" % len(items), b"new")
        page = await store.range(items[-1].key + b"\0", b"l", limit=7, revision=revision)
        assert page.revision == revision
        items += page.items
    assert [kv.key for kv in items] == [b"k%03d" % n for n in range(40)]
    assert {kv.value for kv in items} == {b"old"}


async def test_a_page_of_a_future_revision_is_refused(store: Store) -> None:
    now = await put(store, b"a")
    with pytest.raises(FutureRevision) as refusal:
        await store.range(b"", b"", revision=Revision(now + 5))
    assert (refusal.value.requested, refusal.value.current) == (now + 5, now)
    with pytest.raises(FutureRevision):
        await store.get(b"a", revision=Revision(now + 5))


async def test_the_revision_of_a_page_is_that_of_its_items_under_concurrent_writes(store: Store) -> None:
    """Each commit writes its own revision's number into two keys; a page must show both at the revision it names."""
    start = await store.revision()
    stop = False

    async def write() -> None:
        revision = start
        while not stop:
            value = str(revision + 1).encode()
            revision = (await store.txn((), (Put(b"a", value), Put(b"b", value)))).revision
            assert value == str(revision).encode()

    writer = asyncio.create_task(write())
    for _ in range(100):
        page = await store.range(b"", b"")
        kv, at = await store.get(b"a")
        if page.items:
            assert [kv.value for kv in page.items] == [str(page.revision).encode()] * 2
            assert kv is not None
            assert kv.value == str(at).encode()
        await asyncio.sleep(0)
    stop = True
    await writer


async def test_a_prefix_that_ends_in_0xff_has_its_right_end(store: Store) -> None:
    keys = [b"a", b"a\xff", b"a\xff\x00", b"a\xff\xff", b"b", b"\xff", b"\xff\xff", b"\xff\xff\x01"]
    for key in keys:
        await put(store, key)
    for prefix in (b"a\xff", b"\xff", b"\xff\xff", b"a", b""):
        found = await store.range(prefix, prefix_end(prefix))
        assert [kv.key for kv in found.items] == sorted(key for key in keys if key.startswith(prefix)), prefix
    async with store.watch(b"\xff", prefix_end(b"\xff")) as watch:
        await put(store, b"b")
        await put(store, b"\xff\xff\xff")
        assert [event.key for event in await next_events(watch, 1)] == [b"\xff\xff\xff"]


async def test_results_over_four_mebibytes_arrive_whole(store: Store) -> None:
    start = await store.revision()
    value = b"x" * 1_000_000
    for n in range(6):
        await put(store, b"k%d" % n, value)
    page = await store.range(b"k", b"l")
    assert sum(len(kv.value) for kv in page.items) == 6_000_000
    assert len(await all_pages(store, b"k", b"l", 2)) == 6
    async with store.watch(b"k", b"l", after=start) as watch:
        events = await events_up_to(watch, start + 6)
    assert [len(event.current.value) for event in events if event.current] == [1_000_000] * 6


# Compaction


async def test_the_state_at_the_compacted_revision_stays_readable_and_older_ones_do_not(store: Store) -> None:
    first = await put(store, b"a", b"1")
    await put(store, b"b", b"1")
    await delete(store, b"b")
    second = await put(store, b"a", b"2")
    await put(store, b"a", b"3")
    await store.compact(second)
    for revision in (first, Revision(second - 1)):
        with pytest.raises(Compacted) as refusal:
            await store.range(b"", b"", revision=revision)
        assert (refusal.value.requested, refusal.value.compacted) == (revision, second)
        with pytest.raises(Compacted):
            await store.get(b"a", revision=revision)
    assert [(kv.key, kv.value) for kv in (await store.range(b"", b"", revision=second)).items] == [(b"a", b"2")]
    assert [(kv.key, kv.value) for kv in (await store.range(b"", b"")).items] == [(b"a", b"3")]


async def test_compaction_of_the_past_or_the_future_is_refused(store: Store) -> None:
    now = await put(store, b"a")
    await store.compact(now)
    with pytest.raises(Compacted):
        await store.compact(Revision(now - 1))
    with pytest.raises(Compacted):
        await store.compact(now)
    with pytest.raises(FutureRevision):
        await store.compact(Revision(now + 1))
    assert await store.revision() == now


async def test_compaction_between_two_pages_is_told(store: Store) -> None:
    for n in range(10):
        await put(store, b"k%d" % n)
    page = await store.range(b"k", b"l", limit=4)
    now = await put(store, b"k0", b"new")
    await store.compact(now)
    with pytest.raises(Compacted):
        await store.range(page.items[-1].key + b"\0", b"l", limit=4, revision=page.revision)


async def test_a_key_created_again_after_its_deletion_was_compacted_is_new(store: Store) -> None:
    await put(store, b"a", b"1")
    await put(store, b"a", b"2")
    gone = await delete(store, b"a")
    await store.compact(gone)
    assert (await store.get(b"a"))[0] is None
    assert (await store.get(b"a", revision=gone))[0] is None
    async with store.watch(b"", b"") as watch:
        assert await create(store, b"a", b"3")
        (event,) = await next_events(watch, 1)
    assert event.previous is None
    assert event.current is not None
    assert (event.current.version, event.current.create_revision) == (1, gone + 1)
    again = await delete(store, b"a")
    await store.compact(again)
    assert await put(store, b"a") == again + 1
    assert (await store.range(b"", b"")).revision == again + 1


async def test_reads_stay_right_while_much_history_is_compacted(store: Store) -> None:
    for n in range(300):
        await asyncio.gather(*(put(store, b"k%d" % (n % 7 + m), b"%d" % n) for m in range(5)))
    await asyncio.gather(*(delete(store, b"k%d" % m) for m in range(5)))
    pinned = await store.range(b"", b"")
    for back in (900, 300, 0):
        await store.compact(Revision(pinned.revision - back))
        assert await store.range(b"", b"") == pinned
        await asyncio.sleep(0.02)
        assert await store.range(b"", b"", revision=pinned.revision) == pinned


# Watches


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
        async with store.watch(b"", b"", after=Revision(1)) as again:
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


# Leases


async def test_a_lease_deletes_its_keys_in_one_commit_when_it_expires_and_not_before(store: Store) -> None:
    loop = asyncio.get_running_loop()
    lease = await store.grant(1)
    granted = loop.time()
    result = await store.txn((), (Put(b"a", b"1", lease), Put(b"b", b"1", lease), Put(b"c", b"1")))
    async with store.watch(b"", b"") as watch:
        events = await next_events(watch, 2)
    assert loop.time() - granted >= 0.99
    assert [(event.key, event.current, event.revision) for event in events] == [
        (b"a", None, result.revision + 1),
        (b"b", None, result.revision + 1),
    ]
    assert [kv.key for kv in (await store.range(b"", b"")).items] == [b"c"]
    with pytest.raises(LeaseNotFound):
        await store.renew(lease)
    with pytest.raises(LeaseNotFound):
        await store.txn((), (Put(b"d", b"1", lease),))


async def test_a_renewed_lease_lives_on(store: Store) -> None:
    lease = await store.grant(2)
    await store.txn((), (Put(b"a", b"1", lease),))
    for _ in range(3):
        await asyncio.sleep(0.9)
        assert await store.renew(lease) == 2
    assert (await store.get(b"a"))[0] is not None
    await store.revoke(lease)
    assert (await store.get(b"a"))[0] is None


async def test_a_revoked_lease_deletes_what_is_still_attached_to_it(store: Store) -> None:
    lease, other = await store.grant(60), await store.grant(60)
    for key in (b"stays", b"moves", b"goes", b"again"):
        await store.txn((), (Put(key, b"1", lease),))
    await store.txn((), (Put(b"stays", b"2"),))
    await store.txn((), (Put(b"moves", b"2", other),))
    await store.txn((), (Delete(b"again"),))
    await store.txn((), (Put(b"again", b"2", lease),))
    before = await store.revision()
    await store.revoke(lease)
    assert await store.revision() == before + 1
    kept = {kv.key: kv.lease for kv in (await store.range(b"", b"")).items}
    assert kept == {b"stays": 0, b"moves": other}
    with pytest.raises(LeaseNotFound):
        await store.revoke(lease)


async def test_unknown_leases_are_not_found(store: Store) -> None:
    unknown = LeaseId(123456)
    before = await store.revision()
    with pytest.raises(LeaseNotFound):
        await store.renew(unknown)
    with pytest.raises(LeaseNotFound):
        await store.revoke(unknown)
    with pytest.raises(LeaseNotFound):
        await store.txn((), (Put(b"b", b"1"), Put(b"a", b"1", unknown)))
    assert (await store.range(b"", b"")).items == []
    assert await store.revision() == before


async def test_the_end_of_a_lease_racing_an_update_is_decided_by_the_condition(store: Store) -> None:
    for _ in range(10):
        lease = await store.grant(60)
        held = (await store.txn((), (Put(b"a", b"held", lease),))).revision
        update = store.txn((Expect(b"a", held),), (Put(b"a", b"kept"),))
        result, _ = await asyncio.gather(update, store.revoke(lease))
        kv, _ = await store.get(b"a")
        assert (kv is not None) == result.succeeded, "an update that succeeded detached the key"
        if kv is None:
            assert result.current == (None,)
        await delete(store, b"a")


async def test_an_update_before_the_expiry_keeps_the_key(store: Store) -> None:
    lease = await store.grant(1)
    held = (await store.txn((), (Put(b"a", b"held", lease), Put(b"b", b"held", lease)))).revision
    updated = await store.txn((Expect(b"a", held),), (Put(b"a", b"kept"),))
    assert updated.succeeded
    async with store.watch(b"", b"", after=updated.revision) as watch:
        (event,) = await next_events(watch, 1)
    assert (event.key, event.current) == (b"b", None)
    assert not (await store.txn((Expect(b"b", held),), (Put(b"b", b"late"),))).succeeded
    kv, _ = await store.get(b"a")
    assert kv is not None
    assert kv.value == b"kept"


# Over a restart


async def test_everything_acknowledged_is_there_after_reopening(durable: Opened) -> None:
    for n in range(20):
        await put(durable.store, b"k%d" % (n % 6), str(n).encode())
    await delete(durable.store, b"k0")
    before = await durable.store.range(b"", b"")
    store = await durable.reopen()
    assert await store.range(b"", b"") == before
    assert await put(store, b"k0") == before.revision + 1


async def test_history_and_compaction_outlive_reopening(durable: Opened) -> None:
    revisions = [await put(durable.store, b"a", str(n).encode()) for n in range(10)]
    await durable.store.compact(revisions[4])
    store = await durable.reopen()
    async with store.watch(b"", b"", after=revisions[4]) as watch:
        assert [event.revision for event in await events_up_to(watch, revisions[-1])] == revisions[5:]
    async with store.watch(b"", b"", after=revisions[2]) as watch:
        with pytest.raises(Compacted):
            await events_up_to(watch, revisions[-1])
    with pytest.raises(Compacted):
        await store.get(b"a", revision=revisions[3])


async def test_the_revision_does_not_go_back_when_the_newest_change_was_a_compacted_deletion(durable: Opened) -> None:
    await put(durable.store, b"a")
    gone = await delete(durable.store, b"a")
    await durable.store.compact(gone)
    await asyncio.sleep(0.1)
    store = await durable.reopen()
    assert await store.revision() == gone
    assert await put(store, b"a") == gone + 1


async def test_a_lease_expires_after_a_restart_and_not_before_its_time(durable: Opened) -> None:
    lease = await durable.store.grant(1)
    long = await durable.store.grant(600)
    await durable.store.txn((), (Put(b"a", b"1", lease), Put(b"b", b"1", long)))
    store = await durable.reopen()
    kv, at = await store.get(b"a")
    assert kv is not None
    assert kv.lease == lease
    async with store.watch(b"", b"", after=at) as watch:
        (event,) = await next_events(watch, 1)
    assert (event.key, event.current) == (b"a", None)
    assert await store.renew(long) == 600
    store = await durable.reopen()
    assert [kv.key for kv in (await store.range(b"", b"")).items] == [b"b"]
    with pytest.raises(LeaseNotFound):
        await store.renew(lease)
