"""What `protocol` promises of leases and of restarts, for every back end."""

from __future__ import annotations

import asyncio

import pytest

from stark.apiserver.store.protocol import (
    Compacted,
    Delete,
    Expect,
    LeaseId,
    LeaseNotFound,
    Put,
    Store,
)
from tests.support.stores import (
    Opened,
    delete,
    events_up_to,
    next_events,
    put,
)


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
