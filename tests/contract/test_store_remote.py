"""What a store in another process promises beyond what every store does: about the death of that process, and news of it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from stark.apiserver.store.memory import MemoryStore
from stark.apiserver.store.protocol import VALUE_BYTES_MAX, Batch, Expect, Put, Revision, Store, Unavailable
from stark.apiserver.store.remote import RemoteStore, SharedRevision, StoreService, open_remote
from stark.apiserver.store.remote.link import ADDRESS_BYTES_MAX, UNSENT_BYTES_MAX, listen
from tests.support.store_keeper import SOCKET, start_keeper
from tests.support.stores import PATIENCE_S, create, events_up_to, next_batch, put, remote_settings

KILLS = 4
WRITERS = 8
END, BACK = b"/end", b"/back/"


@asynccontextmanager
async def kept(directory: Path) -> AsyncIterator[tuple[RemoteStore, MemoryStore]]:
    """A store in memory, and how it is seen from over there."""
    shared, beneath = SharedRevision.create(), MemoryStore()
    service = StoreService(beneath, shared)
    await service.begin()
    async with await listen(directory / SOCKET, service):
        store = await open_remote(directory / SOCKET, shared, remote_settings())
        try:
            yield store, beneath
        finally:
            await store.close()
            await service.close()
            await beneath.close()
            shared.close()


class Counting:
    """One key that only this writer changes, by compare-and-swap: what it was told must be so."""

    def __init__(self, store: Store, number: int) -> None:
        self.store, self.key = store, b"/counter/%d" % number
        self.count, self.seen = 0, Revision(0)
        self.is_doubtful = False

    async def run(self, until: asyncio.Event) -> None:
        while self.is_doubtful or not until.is_set():
            try:
                await (self.look_again() if self.is_doubtful else self.step())
            except Unavailable:
                self.is_doubtful = True
                await asyncio.sleep(0.01)

    async def step(self) -> None:
        result = await self.store.txn([Expect(self.key, self.seen)], [Put(self.key, str(self.count + 1).encode())])
        assert result.succeeded, "nobody else writes it, so no condition can fail"
        self.count, self.seen = self.count + 1, result.revision

    async def look_again(self) -> None:
        kv, _ = await self.store.get(self.key)
        there = int(kv.value) if kv is not None else 0
        assert there - self.count in (0, 1), "an acknowledged write is gone, or one was made twice"
        self.count, self.seen = there, kv.mod_revision if kv is not None else Revision(0)
        self.is_doubtful = False


async def follow(watch: AsyncIterator[Batch], heard: dict[bytes, int]) -> None:
    """Every change of every key, in order, once."""
    last = 0
    async for batch in watch:
        for event in batch.events:
            if event.key == END:
                return
            if event.key.startswith(BACK):
                continue
            assert event.revision > last, "an event was told twice, or too late"
            assert event.current is not None
            assert event.current.version == heard.get(event.key, 0) + 1, "a change was left out"
            heard[event.key], last = event.current.version, event.revision


@pytest.mark.slow
async def test_kill_9_of_the_stores_process_loses_no_acknowledged_write_and_no_event(tmp_path: Path) -> None:
    moments, shared, until = random.Random(7), SharedRevision.create(), asyncio.Event()
    keeper = start_keeper(tmp_path, shared)
    store = await open_remote(tmp_path / SOCKET, shared, remote_settings())
    writers, heard = [Counting(store, number) for number in range(WRITERS)], dict[bytes, int]()
    try:
        async with store.watch(b"", b"", after=Revision(0)) as watch:
            following = asyncio.create_task(follow(watch, heard))
            writing = [asyncio.create_task(writer.run(until)) for writer in writers]
            for _ in range(KILLS):
                await asyncio.sleep(moments.uniform(0.05, 0.4))
                keeper.kill()
                keeper.wait()
                keeper = start_keeper(tmp_path, shared)
                await came_back(store)
            until.set()
            await asyncio.gather(*writing)
            async with asyncio.timeout(PATIENCE_S):
                await put(store, END)
                await following
        assert heard == {writer.key: writer.count for writer in writers}
        assert all(writer.count > KILLS for writer in writers)
    finally:
        await store.close()
        keeper.kill()
        keeper.wait()
        shared.close()


async def came_back(store: Store) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                await put(store, BACK + b"%d" % random.getrandbits(60))
            except Unavailable:
                await asyncio.sleep(0.01)
            else:
                return


async def test_while_the_stores_process_is_away_every_call_is_refused_at_once(tmp_path: Path) -> None:
    async with kept(tmp_path) as (store, _):
        assert await create(store, b"a")
        (tmp_path / SOCKET).unlink()
        lost: Any = store._link
        lost.close()
        await lost.ended.wait()
        for asking in (store.get(b"a"), store.revision(), store.txn((), (Put(b"a", b""),))):
            with pytest.raises(Unavailable, match="started again"):
                await asking


async def test_whoever_asks_after_an_answer_was_given_to_another_learns_of_it(tmp_path: Path) -> None:
    async with kept(tmp_path) as (first, _):
        other = await open_remote(tmp_path / SOCKET, first.shared, remote_settings())
        try:
            for number in range(50):
                made = await put(first, b"k%d" % number)
                assert await other.revision() == made == other.newest
            async with other.watch(b"k", b"l", after=Revision(1)) as watch:
                assert len(await events_up_to(watch, made)) == 50
        finally:
            await other.close()


async def test_a_socket_deep_in_the_file_system_is_reached(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * ADDRESS_BYTES_MAX)
    deep.mkdir()
    async with kept(deep) as (store, _):
        assert await create(store, b"a")


async def test_another_store_in_the_place_of_the_first_makes_the_watches_start_over(tmp_path: Path) -> None:
    async with kept(tmp_path) as (store, _):
        for number in range(5):
            await put(store, b"k%d" % number)
        async with store.watch(b"", b"") as watch:
            await next_batch(watch)
            fresh = MemoryStore()
            service = StoreService(fresh, store.shared)
            await service.begin()
            async with await listen(tmp_path / SOCKET, service):
                lost: Any = store._link
                lost.close()
                with pytest.raises(Exception, match="future"):
                    await events_up_to(watch, 100)
                await came_back(store)
                await service.close()
            await fresh.close()


async def test_a_worker_that_does_not_read_is_told_and_goes_on_without_a_gap(tmp_path: Path) -> None:
    shared, beneath = SharedRevision.create(), MemoryStore(watch_backlog_events=3)
    service = StoreService(beneath, shared)
    await service.begin()
    async with await listen(tmp_path / SOCKET, service):
        store = await open_remote(tmp_path / SOCKET, shared, remote_settings())
        first: Any = store._link
        async with store.watch(b"", b"", after=Revision(1)) as watch:
            first._transport.pause_reading()
            for _ in range(2 * UNSENT_BYTES_MAX // VALUE_BYTES_MAX):
                await put(beneath, b"large", b"x" * (VALUE_BYTES_MAX - 10))
            first._transport.resume_reading()
            await first.ended.wait()
            end = await put(beneath, b"end")
            told = [event.revision for event in await events_up_to(watch, end)]
        assert told == [*range(2, end + 1)]
        await store.close()
        await service.close()
    await beneath.close()
    shared.close()
