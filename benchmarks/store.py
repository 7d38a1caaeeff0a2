"""Durable creates in the store, against the bare engine doing the same work in the same run; lists and watches.

    python benchmarks/store.py [--quick] [--store sqlite|etcd=URL] [--directory DIR]

Store and floors take turns in short slices, many rounds each, and medians are reported. For SQLite there are two floors
with the same tables and the same statements. `bare` is the bare engine with the same group commit: as many waiting tasks,
one thread that drains what they ask, commits once and wakes them, and nothing else: no conditions, no leases, no events, no
limits, no memory of what was written. `batch` is one plain loop that inserts as many rows at a time and serves nobody: the
engine's own speed. `--directory` should be on the disk that will hold the store.

For etcd, which must be empty and is emptied again, `bare` is a plain gRPC client that sends the same transactions over one
channel and looks at nothing but whether they succeeded: no watch, no failover, no deadlines, no limits.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Thread

import apsw
import grpc.aio
import uvloop

from stark.apiserver.store.etcd import EtcdSettings, open_etcd
from stark.apiserver.store.etcd.messages import COMPARE_MOD, TXN, TxnRequest
from stark.apiserver.store.protocol import Expect, Put, Revision, Store
from stark.apiserver.store.sqlite import SqliteSettings, open_sqlite
from stark.apiserver.store.sqlite.schema import (
    PLACE_BITS,
    PUT,
    insert_log,
    open_writer,
    select_heads,
    upsert_cur,
)

VALUE = b"x" * 1_000
"""About a small pod's JSON."""
WRITERS = (1, 64, 512)
LISTED_KEYS = 10_000
PAGE_KEYS = 500
CREATES_PER_S_MAX = 400_000
"""More than any machine does here; so many are prepared."""
MISSING = Revision(0)

Floor = Callable[[int, float], Awaitable[float]]
"""Given the number of writers and seconds, the floor's creates per second."""


@dataclass
class Bench:
    """A store under test and its floors by name; every back end has one called `bare`."""

    store: Store
    floors: dict[str, Floor]


@dataclass(frozen=True)
class Plan:
    """How long each measurement takes and how often it is repeated."""

    rounds: int
    slice_s: float
    """Short, so that what else happens on the machine hits the store and its floors alike."""
    watch_rounds: int = 3
    watch_s: float = 0.5


def key(number: int) -> bytes:
    """Keys as the API server makes them."""
    return b"/registry/pods/default/web-%010d" % number


class Numbers:
    """Keys that were never used."""

    def __init__(self) -> None:
        self.next = 0

    def take(self) -> int:
        self.next += 1
        return self.next


class BareEtcd:
    """The floor `bare` of etcd: one channel, one method."""

    def __init__(self, url: str) -> None:
        self._channel = grpc.aio.insecure_channel(url.removeprefix("http://"))
        self._txn = self._channel.unary_unary(TXN.path, TXN.request.SerializeToString, TXN.response.FromString)
        self._numbers = Numbers()

    async def __call__(self, writers: int, seconds: float) -> float:
        done = 0
        begin = time.perf_counter()
        end = begin + seconds

        async def write() -> None:
            nonlocal done
            while time.perf_counter() < end:
                name = b"/registry/bare/%010d" % self._numbers.take()
                request = TxnRequest(
                    compare=[{"target": COMPARE_MOD, "key": name, "mod_revision": 0}],
                    success=[{"request_put": {"key": name, "value": VALUE}}],
                    failure=[{"request_range": {"key": name}}],
                )
                assert (await self._txn(request)).succeeded
                done += 1

        await asyncio.gather(*(write() for _ in range(writers)))
        return done / (time.perf_counter() - begin)

    async def close(self) -> None:
        """Delete everything, and disconnect."""
        await self._txn(TxnRequest(success=[{"request_delete_range": {"key": b"\0", "range_end": b"\0"}}]))
        await self._channel.close()


Create = tuple[tuple[Expect], tuple[Put]]


def prepared(numbers: Numbers, seconds: float) -> list[Create]:
    """Requests, made before the clock runs: making them is the caller's work. Take them from the end: the keys ascend."""
    names = [key(numbers.take()) for _ in range(int(CREATES_PER_S_MAX * seconds))]
    return [((Expect(name, MISSING),), (Put(name, VALUE),)) for name in reversed(names)]


def freeze() -> None:
    """Let the garbage collector forget what was prepared, as a server does after its start."""
    gc.collect()
    gc.freeze()


class Engine:
    """The store's own tables and statements, and nothing around them."""

    def __init__(self, path: Path) -> None:
        settings = SqliteSettings()
        self._connection = open_writer(path, settings)
        self._connection.wal_autocheckpoint(settings.checkpoint_bytes // settings.page_bytes)
        self._numbers = Numbers()
        self._revision = 1

    def prepared(self, seconds: float) -> list[Create]:
        """The same requests as the store gets, more than there will be time for."""
        return prepared(self._numbers, seconds)

    def commit(self, puts: list[Put]) -> None:
        """Create the keys in one durable transaction."""
        keys = [put.key for put in puts]
        log: list[int | bytes] = []
        cur: list[int | bytes] = []
        found = self._connection.execute(select_heads(len(keys)), keys).fetchall()
        assert not found
        for name, value, lease in puts:
            self._revision += 1
            row = self._revision << PLACE_BITS
            log += (row, name, PUT, self._revision, 0, 1, lease, value)
            cur += (name, row, 1, self._revision, 0)
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.execute(insert_log(len(keys)), log)
        self._connection.execute(upsert_cur(len(keys)), cur)
        self._connection.execute("COMMIT")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class Batches:
    """The floor `batch`: groups of as many rows as there are writers, one after the other."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def __call__(self, writers: int, seconds: float) -> float:
        creates = self._engine.prepared(seconds)
        freeze()
        done = 0
        begin = now = time.perf_counter()
        while now - begin < seconds:
            self._engine.commit([creates.pop()[1][0] for _ in range(writers)])
            done += writers
            now = time.perf_counter()
        return done / (now - begin)


Waiting = tuple[Put, "asyncio.Future[None]"]


class BareSqlite:
    """The floor `bare`: tasks that wait, and one thread that commits for all of them at once."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._loop = asyncio.get_running_loop()
        self._asked: list[Waiting] = []
        self._queue: SimpleQueue[list[Waiting] | None] = SimpleQueue()

    async def __call__(self, writers: int, seconds: float) -> float:
        creates = self._engine.prepared(seconds)
        freeze()
        done = 0
        thread = Thread(target=self._commit_groups)
        thread.start()
        begin = time.perf_counter()
        end = begin + seconds

        async def write() -> None:
            nonlocal done
            while time.perf_counter() < end:
                _, (put,) = creates.pop()
                await self._create(put)
                done += 1

        await asyncio.gather(*(write() for _ in range(writers)))
        elapsed = time.perf_counter() - begin
        self._queue.put(None)
        thread.join()
        return done / elapsed

    async def _create(self, put: Put) -> None:
        answer: asyncio.Future[None] = self._loop.create_future()
        if not self._asked:
            self._loop.call_soon(self._send)
        self._asked.append((put, answer))
        await answer

    def _send(self) -> None:
        self._queue.put(self._asked)
        self._asked = []

    def _commit_groups(self) -> None:
        while (group := self._queue.get()) is not None:
            self._engine.commit([put for put, _ in group])
            self._loop.call_soon_threadsafe(self._answer, group)

    def _answer(self, group: list[Waiting]) -> None:
        for _, answer in group:
            answer.set_result(None)


async def creates_per_s(store: Store, numbers: Numbers, writers: int, seconds: float) -> float:
    """`writers` tasks, each creating keys one after the other, each create durable before the next."""
    creates = prepared(numbers, seconds)
    freeze()
    done = 0
    begin = time.perf_counter()
    end = begin + seconds

    async def write() -> None:
        nonlocal done
        while time.perf_counter() < end:
            expect, ops = creates.pop()
            result = await store.txn(expect, ops)
            assert result.succeeded
            done += 1

    await asyncio.gather(*(write() for _ in range(writers)))
    return done / (time.perf_counter() - begin)


async def measure_creates(bench: Bench, plan: Plan) -> None:
    numbers = Numbers()
    for writers in WRITERS:
        ours: list[float] = []
        floors: dict[str, list[float]] = {name: [] for name in bench.floors}
        for _ in range(plan.rounds):
            ours.append(await creates_per_s(bench.store, numbers, writers, plan.slice_s))
            for name, floor in bench.floors.items():
                floors[name].append(await floor(writers, plan.slice_s))
        print(f"store_creates_{writers}_per_s: {statistics.median(ours):.0f}")
        for name, rates in floors.items():
            ratios = [mine / theirs for mine, theirs in zip(ours, rates, strict=True)]
            print(f"{name}_creates_{writers}_per_s: {statistics.median(rates):.0f}")
            print(f"store_creates_{writers}_of_{name}: {statistics.median(ratios):.3f}")


async def measure_list(bench: Bench, plan: Plan) -> None:
    """Pages of `PAGE_KEYS`, each asked for when the one before has come."""
    names = [b"/registry/list/%06d" % number for number in range(LISTED_KEYS)]
    for at in range(0, len(names), PAGE_KEYS):
        await asyncio.gather(*(bench.store.txn((), (Put(name, VALUE),)) for name in names[at : at + PAGE_KEYS]))
    times = []
    for _ in range(plan.watch_rounds):
        begin = time.perf_counter()
        start, end, revision, seen, remaining = b"/registry/list/", b"/registry/list0", None, 0, 1
        while remaining:
            page = await bench.store.range(start, end, limit=PAGE_KEYS, revision=revision)
            start, revision, remaining = page.items[-1].key + b"\0", page.revision, page.remaining
            seen += len(page.items)
        assert seen == LISTED_KEYS, seen
        times.append(time.perf_counter() - begin)
    print(f"store_list_10k_ms: {statistics.median(times) * 1e3:.1f}")


async def measure_watch(bench: Bench, plan: Plan) -> None:
    """Live: ten watches of everything while 64 writers write. Past: one watch reads what was just written."""
    numbers = Numbers()
    rates, past = [], []
    prefix = b"/registry/events/"
    for _ in range(plan.watch_rounds):
        before = await bench.store.revision()
        last: list[int] = []
        opened = asyncio.Semaphore(0)
        counts = [0] * 10

        async def follow(
            index: int, counts: list[int] = counts, last: list[int] = last, opened: asyncio.Semaphore = opened
        ) -> None:
            async with bench.store.watch(prefix, b"/registry/events0") as watch:
                opened.release()
                async for batch in watch:
                    counts[index] += len(batch.events)
                    if last and batch.revision >= last[0]:
                        return

        async def write(end: float) -> None:
            while time.perf_counter() < end:
                await bench.store.txn((), (Put(prefix + b"%d" % (numbers.take() % 1000), VALUE),))

        watching = [asyncio.create_task(follow(index)) for index in range(len(counts))]
        for _ in watching:
            await opened.acquire()
        begin = time.perf_counter()
        await asyncio.gather(*(write(begin + plan.watch_s) for _ in range(64)))
        after = await bench.store.revision()
        elapsed = time.perf_counter() - begin
        # One more change, elsewhere: its bookmark ends the watches.
        await bench.store.txn((), (Put(b"/registry/done", VALUE),))
        last.append(await bench.store.revision())
        await asyncio.gather(*watching)
        assert counts == [after - before] * len(counts), (counts, after - before)
        rates.append(sum(counts) / elapsed)

        begin = time.perf_counter()
        seen = 0
        async with bench.store.watch(prefix, b"/registry/events0", after=before) as watch:
            async for batch in watch:
                seen += len(batch.events)
                if batch.revision >= after:
                    break
        assert seen == after - before
        past.append(seen / (time.perf_counter() - begin))
    print(f"store_watch_live_10_watchers_per_s: {statistics.median(rates):.0f}")
    print(f"store_watch_history_per_s: {statistics.median(past):.0f}")


@asynccontextmanager
async def open_bench(choice: str, directory: Path) -> AsyncIterator[Bench]:
    """The store and floor of a choice of `--store`."""
    if choice == "sqlite":
        store: Store = await open_sqlite(directory / "store")
        engines = [Engine(directory / name) for name in ("bare.db", "batch.db")]
        try:
            yield Bench(store, {"bare": BareSqlite(engines[0]), "batch": Batches(engines[1])})
        finally:
            await store.close()
            for engine in engines:
                engine.close()
    elif choice.startswith("etcd=http://"):
        url = choice.removeprefix("etcd=")
        store = await open_etcd(EtcdSettings((url,)))
        if (await store.range(b"", b"", limit=1)).items:
            await store.close()
            raise SystemExit(f"etcd at {url} is not empty: use one that may be emptied")
        bare_etcd = BareEtcd(url)
        try:
            yield Bench(store, {"bare": bare_etcd})
        finally:
            await bare_etcd.close()
            await store.close()
    else:
        raise SystemExit(f"unknown store {choice!r}: it must be sqlite or etcd=http://HOST:PORT")


async def run(choice: str, directory: Path, plan: Plan) -> None:
    async with open_bench(choice, directory) as bench:
        engine = f"sqlite {apsw.sqlite_lib_version()}" if choice == "sqlite" else "etcd"
        print(f"{engine}, values of {len(VALUE)} bytes, {plan.rounds} rounds")
        await measure_creates(bench, plan)
        await measure_list(bench, plan)
        await measure_watch(bench, plan)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="finish in less than a minute")
    parser.add_argument("--store", default="sqlite", help="sqlite (default) or etcd=http://HOST:PORT")
    parser.add_argument("--directory", type=Path, help="where to put the files; default: the temporary directory")
    parser.add_argument(
        "--asyncio", action="store_true", help="use asyncio's own loop, not uvloop as the API server does"
    )
    arguments = parser.parse_args()
    plan = Plan(rounds=9, slice_s=0.2) if arguments.quick else Plan(rounds=60, slice_s=0.3, watch_rounds=9, watch_s=2)
    with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
        work = run(arguments.store, Path(directory), plan)
        asyncio.run(work) if arguments.asyncio else uvloop.run(work)


if __name__ == "__main__":
    main()
