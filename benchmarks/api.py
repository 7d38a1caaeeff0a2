"""The API server against floors that do the same work with nothing around it, over the same TLS, in the same run.

create, update, patch: of validated, durable objects by 64 clients, against the bare store committing the same bytes for 64
writers. get: by name, against a bare httptools protocol and against aiohttp answering the same bytes. list: 10,000 objects,
whole and by pages of 500, against a blocking sendall of the same bytes; compressed, against the fastest zlib. watch: 1,000
watchers of one resource, 1 or 10 changes at a time, against a loop that writes the same frames. idle: memory of watches on
which nothing happens.

The server is a process of its own; clients and floors take turns on the rest of the machine. Ratios are ours to the floor:
for rates more is better (1 is the floor itself), for names that end in `time_vs_...` less is.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import shutil
import statistics
import tempfile
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from urllib.parse import quote

import psutil
import uvloop
from wire.client import CLIENTS, Client, Pace, Target, drive, pace, together
from wire.crowd import Crowd
from wire.floors import floor, sendall_seconds
from wire.server import TOKEN, plain_server, server

from stark.apiserver.cache.entry import encode_object
from stark.apiserver.store.protocol import Expect, Put, Revision
from stark.apiserver.store.sqlite import open_sqlite

LISTED = 10_000
PAGE = 500
WATCHERS = 1_000
IDLE = 10_000
BURSTS = (1, 10)
"""Changes at a time that 1,000 watchers hear of."""
MAPS = "/api/v1/namespaces/default/configmaps"
WATCHED = "/api/v1/namespaces/watched/configmaps"
MODIFIED = b'"type":"MODIFIED"'

Figures = AsyncIterator[tuple[str, float]]


@dataclass(frozen=True)
class Extent:
    """How much is measured."""

    rounds: int
    seconds: float
    watchers: int
    idle: int


QUICK = Extent(rounds=2, seconds=0.5, watchers=WATCHERS, idle=400)
FULL = Extent(rounds=5, seconds=3.0, watchers=WATCHERS, idle=IDLE)


def config_map(name: str) -> dict[str, object]:
    """An object of about one KiB."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": "bench", "part": name[-1]}},
        "data": {f"key-{number}": "x" * 80 for number in range(8)},
    }


def told(name: str, found: Pace) -> Iterator[tuple[str, float]]:
    """The figures of a pace."""
    yield f"api_{name}_per_s", found.per_s
    yield f"api_{name}_p50_ms", found.percentile_ms(50)
    yield f"api_{name}_p99_ms", found.percentile_ms(99)


def rss_kib(pid: int) -> float:
    """The resident memory of a process and of those it has started."""
    process = psutil.Process(pid)
    return sum(float(each.memory_info().rss) for each in (process, *process.children(recursive=True))) / 1024


async def store_rate(directory: Path, seconds: float) -> float:
    """The same bytes committed to the bare store by as many writers."""
    store = await open_sqlite(directory)
    value, serial, done = encode_object(config_map("a")), iter(range(10**9)), 0
    end = time.perf_counter() + seconds

    async def work() -> None:
        nonlocal done
        while time.perf_counter() < end:
            key = b"/registry/core/configmaps/default/%d" % next(serial)
            await store.txn([Expect(key, Revision(0))], [Put(key, value)])
            done += 1

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(CLIENTS)))
    elapsed = time.perf_counter() - began
    await store.close()
    return done / elapsed


def request(method: str, path: str, kind: str, body: bytes) -> bytes:
    """As it is sent."""
    return (
        f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
    )


def creates(serial: Iterator[int]) -> Iterator[bytes]:
    """Requests for objects that are not there yet. Their bodies are made beforehand but for the name, always as long."""
    before, after = json.dumps(config_map("made-0000000")).encode().split(b"0000000")
    whole = request("POST", MAPS, "application/json", before + b"0000000" + after)
    head = whole[: whole.index(b"0000000")]
    for number in serial:
        yield b"%b%07d%b" % (head, number, after)


def updates(serial: Iterator[int]) -> Iterator[bytes]:
    """Of a few objects, in turn, to what they were not."""
    paths = [f"{MAPS}/made-{number:07}" for number in range(CLIENTS)]
    for number in serial:
        name = f"made-{number % CLIENTS:07}"
        body = {**config_map(name), "data": {"serial": str(number), "rest": "x" * 600}}
        yield request("PUT", paths[number % CLIENTS], "application/json", json.dumps(body).encode())


def patches(serial: Iterator[int]) -> Iterator[bytes]:
    """The same objects, by a merge patch."""
    for number in serial:
        body = b'{"data":{"serial":"%d"}}' % number
        yield request("PATCH", f"{MAPS}/made-{number % CLIENTS:07}", "application/merge-patch+json", body)


async def writes(target: Target, directory: Path, extent: Extent) -> Figures:
    """Creating, updating and patching, in turns with the bare store."""
    kinds = {"create": (creates(count()), 201), "update": (updates(count()), 200), "patch": (patches(count()), 200)}
    made: dict[str, list[Pace]] = {name: [] for name in kinds}
    floors = []
    for number in range(extent.rounds):
        for name, (requests, status) in kinds.items():
            made[name].append(await drive(target, extent.seconds, requests, status))
        floors.append(await store_rate(directory / f"store-{number}", extent.seconds))
    for name, paces in made.items():
        found = together(paces)
        for figure in told(name, found):
            yield figure
        yield f"api_{name}_vs_store", found.per_s / statistics.median(floors)


async def gets(target: Target, data: Path, extent: Extent) -> Figures:
    """Reading one object by name, in turns with servers that know nothing but its bytes."""
    one = (await (await target.client()).ask("GET", f"{MAPS}/listed-0"))[1]

    async def get(client: Client, _: int) -> None:
        status, _body = await client.ask("GET", f"{MAPS}/listed-0")
        assert status == 200

    ours, bares, aiohttps = list[Pace](), list[float](), list[float]()
    with floor("bare", one, data, target.context) as bare, floor("aiohttp", one, data, target.context) as aiohttp:
        for _ in range(extent.rounds):
            ours.append(await pace(target, extent.seconds, get))
            bares.append((await pace(bare, extent.seconds, get)).per_s)
            aiohttps.append((await pace(aiohttp, extent.seconds, get)).per_s)
    found = together(ours)
    for figure in told("get", found):
        yield figure
    yield "api_get_vs_bare", found.per_s / statistics.median(bares)
    yield "api_get_vs_bare_aiohttp", found.per_s / statistics.median(aiohttps)


async def fill(target: Target, count: int) -> None:
    """Objects for the list."""
    clients = [await target.client() for _ in range(CLIENTS)]
    names = iter(range(count))

    async def work(client: Client) -> None:
        for number in names:
            await client.ask("POST", MAPS, json.dumps(config_map(f"listed-{number}")).encode())

    await asyncio.gather(*(work(client) for client in clients))
    for client in clients:
        client.writer.close()


async def whole(client: Client, headers: str = "") -> bytes:
    """The list in one answer."""
    status, body = await client.ask("GET", MAPS, headers=headers)
    assert status == 200
    return body


async def paged(client: Client) -> bytes:
    """The list by pages, one after the other."""
    bodies, token = [], ""
    while True:
        status, body = await client.ask("GET", f"{MAPS}?limit={PAGE}&continue={quote(token)}")
        assert status == 200, body
        bodies.append(body)
        token = json.loads(body[: body.index(b'"items"')] + b'"items":[]}')["metadata"].get("continue", "")
        if not token:
            return b"".join(bodies)


async def timed(target: Target, read: Callable[[Client], Awaitable[bytes]]) -> tuple[float, bytes]:
    """Seconds on a connection that is open already, and what was read."""
    client = await target.client()
    began = time.perf_counter()
    body = await read(client)
    elapsed = time.perf_counter() - began
    client.writer.close()
    return elapsed, body


async def lists(pid: int, target: Target, data: Path, extent: Extent) -> Figures:
    """10,000 objects, in turns with a blocking sendall of the same bytes."""
    await timed(target, whole)
    before = rss_kib(pid)
    for name, read in (("list_10k", whole), ("list_10k_by_500", paged)):
        ours, sends = [], []
        for _ in range(extent.rounds + 1):
            took, body = await timed(target, read)
            ours.append(took)
            sends.append(await sendall_seconds(body, data, target.context))
        yield f"api_{name}_ms", statistics.median(ours) * 1000
        yield f"api_{name}_bytes", len(body)
        yield f"api_{name}_time_vs_sendall", statistics.median(ours) / statistics.median(sends)
    yield "api_list_rss_growth_mib", (rss_kib(pid) - before) / 1024


async def gzipped(target: Target, extent: Extent) -> Figures:
    """The same list for a client that takes gzip, as kubectl and every Go client do."""
    accept = "Accept-Encoding: gzip\r\n"
    _, plain = await timed(target, whole)
    cold, packed = await timed(target, lambda client: whole(client, accept))
    assert gzip.decompress(packed) == plain
    warm, floors = [], []
    for _ in range(extent.rounds + 1):
        warm.append((await timed(target, lambda client: whole(client, accept)))[0])
        began = time.perf_counter()
        zlib.compress(plain, 1)
        floors.append(time.perf_counter() - began)
    yield "api_list_10k_gzip_cold_ms", cold * 1000
    yield "api_list_10k_gzip_ms", statistics.median(warm) * 1000
    yield "api_list_10k_gzip_bytes", len(packed)
    yield "api_list_10k_gzip_time_vs_zlib", statistics.median(warm) / statistics.median(floors)


def watched(number: int, serial: str) -> dict[str, object]:
    """One of the objects that all watch."""
    data = {"serial": serial, "rest": "x" * 700}
    return {**config_map(f"watched-{number}"), "metadata": {"name": f"watched-{number}"}, "data": data}


async def watch_seconds(target: Target, watchers: int, rounds: int) -> list[float]:
    """Median seconds until all watchers have heard of as many changes as `BURSTS` says."""
    crowd = Crowd(target, MODIFIED)
    writers = [await target.client() for _ in range(max(BURSTS))]
    await writers[0].ask("POST", "/api/v1/namespaces", json.dumps({"metadata": {"name": "watched"}}).encode())
    for number, client in enumerate(writers):
        await client.ask("POST", WATCHED, json.dumps(watched(number, "first")).encode())
    await crowd.gather(watchers, f"GET {WATCHED}?watch=1&resourceVersion=0 HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    async def change(changes: int) -> None:
        async def one(number: int, client: Client) -> None:
            body = json.dumps(watched(number, str(time.time_ns()))).encode()
            status, answer = await client.ask("PUT", f"{WATCHED}/watched-{number}", body)
            assert status == 200, answer

        await asyncio.gather(*(one(number, client) for number, client in enumerate(writers[:changes])))

    found = await burst_seconds(crowd, change, rounds)
    for client in writers:
        client.writer.close()
    return found


async def bare_watch_seconds(target: Target, watchers: int, rounds: int) -> list[float]:
    """The same from a loop that only writes."""
    crowd = Crowd(target, MODIFIED)
    await crowd.gather(watchers, b"")

    async def change(changes: int) -> None:
        crowd.tell(bytes([changes]))

    return await burst_seconds(crowd, change, rounds)


async def burst_seconds(crowd: Crowd, change: Callable[[int], Awaitable[None]], rounds: int) -> list[float]:
    """Median seconds of each burst to reach the whole crowd, which then leaves."""
    await asyncio.sleep(0.3)
    seconds: list[list[float]] = [[] for _ in BURSTS]
    for _ in range(rounds):
        for changes, found in zip(BURSTS, seconds, strict=True):
            found.append(await crowd.seconds(changes, partial(change, changes)))
    crowd.leave()
    return [statistics.median(found) for found in seconds]


async def watches(target: Target, data: Path, extent: Extent) -> Figures:
    """Changes on their way to all who watch."""
    one = (await (await target.client()).ask("GET", f"{MAPS}/listed-0"))[1]
    frame = b'{"type":"MODIFIED","object":%b}\n' % one
    rounds = extent.rounds * 4
    ours = await watch_seconds(target, extent.watchers, rounds)
    with floor("frames", frame, data, target.context) as bare:
        least = await bare_watch_seconds(bare, extent.watchers, rounds)
    for changes, our_s, least_s in zip(BURSTS, ours, least, strict=True):
        yield f"api_watch_{changes}_events_per_s", extent.watchers * changes / our_s
        yield f"api_watch_{changes}_vs_bare", least_s / our_s


async def idle(pid: int, target: Target, name: str, extent: Extent) -> Figures:
    """Memory of watches on which nothing happens."""
    path = "/api/v1/namespaces/kube-public/secrets?watch=1&resourceVersion=0"
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nUser-Agent: bench\r\n\r\n".encode()
    crowd = Crowd(target, MODIFIED)
    # The first ones make the server's pools and tables grow, which is not what one more watch costs.
    first = extent.idle // 20
    await crowd.gather(first, request)
    before = rss_kib(pid)
    await crowd.gather(extent.idle - first, request)
    yield f"api_idle_watch_{name}_rss_kib", (rss_kib(pid) - before) / (extent.idle - first)
    crowd.leave()


async def measure(directory: Path, extent: Extent, workers: int) -> Figures:
    """Name and value of every figure."""
    data = directory / "data"
    with server(data, workers) as (pid, target):
        async for figure in writes(target, directory, extent):
            yield figure
        await fill(target, LISTED)
        for part in (
            gets(target, data, extent),
            lists(pid, target, data, extent),
            gzipped(target, extent),
            watches(target, data, extent),
        ):
            async for figure in part:
                yield figure
    with server(directory / "idle", workers) as (pid, target):
        async for figure in idle(pid, target, "tls", extent):
            yield figure
    with plain_server(directory / "plain") as (pid, target):
        async for figure in idle(pid, target, "plain", extent):
            yield figure


async def run(extent: Extent, workers: int) -> None:
    """Measure and print."""
    directory = Path(tempfile.mkdtemp(prefix="stark-bench-api-"))
    try:
        async for name, value in measure(directory, extent, workers):
            print(f"{name}: {value:.3g}", flush=True)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less than a minute")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes of the server that serve")
    parsed = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(QUICK if parsed.quick else FULL, parsed.workers))


if __name__ == "__main__":
    main()
