"""What `protocol` promises of revisions, ranges and compaction, for every back end.

Traps that real stores and clients fell into are tests of their own.
"""

from __future__ import annotations

import asyncio

import pytest

from stark.apiserver.store.protocol import (
    VALUE_BYTES_MAX,
    Compacted,
    Delete,
    Expect,
    FutureRevision,
    Put,
    Revision,
    Store,
    TooLarge,
    prefix_end,
)
from tests.support.stores import (
    all_pages,
    create,
    delete,
    events_up_to,
    next_events,
    put,
)

MISSING = Revision(0)


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
    others = asyncio.gather(*(put(store, b"other-%d" % n) for n in range(20)))
    attempts = (store.txn((Expect(b"a", seen),), (Put(b"a", str(n).encode()),)) for n in range(20))
    results = await asyncio.gather(*attempts)
    await others
    winners = [n for n, result in enumerate(results) if result.succeeded]
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
