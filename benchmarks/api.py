"""The API server against floors that do the same work with nothing around it, over the same TLS, in the same run.

create: POST of validated, durable objects by 64 clients, against the bare store committing the same bytes for 64 writers.
get: GET by name, against a bare httptools protocol that answers the same bytes. list: 10,000 objects, against a blocking
sendall of the same body. watch: 1,000 watchers of one resource, 1 or 10 changes at a time, against a loop that writes the
same frames.

The server is a process of its own; clients and floors take turns on the rest of the machine. Ratios are ours to the floor:
for rates more is better (1 is the floor itself), for `list_time` less is.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
import multiprocessing
import shutil
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import httptools
import psutil
import uvloop
import yaml

from stark.apiserver.auth.pki import Authority, ServerTls
from stark.apiserver.cache.entry import encode_object
from stark.apiserver.store.protocol import Expect, Put, Revision
from stark.apiserver.store.sqlite import open_sqlite

CLIENTS = 64
LISTED = 10_000
WATCHERS = 1_000
MAPS = "/api/v1/namespaces/default/configmaps"
READ_BYTES = 1 << 20


def config_map(name: str) -> dict[str, object]:
    """An object of about one KiB."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": "bench", "part": name[-1]}},
        "data": {f"key-{number}": "x" * 80 for number in range(8)},
    }


class Client:
    """One keep-alive connection that sends a request and reads the answer, and nothing more."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Status and body."""
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        self.writer.write(head + body)
        answer = await self.reader.readuntil(b"\r\n\r\n")
        size = int(answer.lower().split(b"content-length:")[1].split(b"\r\n", 1)[0])
        return int(answer[9:12]), await self.reader.readexactly(size)


class Target:
    """Where to connect, and as whom."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        self.port, self.context = port, context

    async def client(self) -> Client:
        """A new connection."""
        return Client(
            *await asyncio.open_connection(
                "127.0.0.1", self.port, ssl=self.context, server_hostname="localhost", limit=READ_BYTES
            )
        )


@contextlib.contextmanager
def server(directory: Path) -> Iterator[tuple[subprocess.Popen[str], Target]]:
    """A running API server on SQLite."""
    command = [sys.executable, "-m", "stark.apiserver", "--data-dir", str(directory), "--listen", "127.0.0.1:0"]
    process = subprocess.Popen([*command, "--access-log", "none"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        url = process.stdout.readline().split()[1]
        config = yaml.safe_load((directory / "admin.kubeconfig").read_text())
        user, cluster = config["users"][0]["user"], config["clusters"][0]["cluster"]
        pem = directory / "bench.pem"
        keys = ("client-certificate-data", "client-key-data")
        pem.write_bytes(b"".join(base64.b64decode(user[key]) for key in keys))
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        context = ssl.create_default_context(cadata=authority)
        context.load_cert_chain(pem)
        yield process, Target(urlsplit(url).port or 0, context)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


class Bare(asyncio.Protocol):
    """httptools and a transport: the least that speaks HTTP."""

    answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport, self.parser = cast(asyncio.WriteTransport, transport), httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(self.answer), self.answer))


class Framing(asyncio.Protocol):
    """Writes the same frames to every connection whenever a byte arrives on any: the bare send loop of a watch."""

    frame = b""
    everybody: set[asyncio.WriteTransport]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.everybody.add(cast(asyncio.WriteTransport, transport))

    def data_received(self, data: bytes) -> None:
        for count in data:
            for _ in range(count):
                for transport in self.everybody:
                    transport.write(self.frame)


def _serve_floor(kind: str, payload: bytes, pki: str, ready: multiprocessing.SimpleQueue[int]) -> None:
    async def serve() -> None:
        tls = ServerTls(Authority.open(Path(pki)), ("localhost", "127.0.0.1"))
        protocol: type[Bare] | type[Framing] = Bare if kind == "bare" else Framing
        Bare.answer = Framing.frame = payload
        Framing.everybody = set()
        listening = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0, ssl=tls.context)
        ready.put(listening.sockets[0].getsockname()[1])
        await listening.serve_forever()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())


@contextlib.contextmanager
def floor(kind: str, payload: bytes, directory: Path, context: ssl.SSLContext) -> Iterator[Target]:
    """A bare server in a process of its own, with the same certificates."""
    ready: multiprocessing.SimpleQueue[int] = multiprocessing.get_context("spawn").SimpleQueue()
    process = multiprocessing.get_context("spawn").Process(
        target=_serve_floor, args=(kind, payload, str(directory / "pki"), ready), daemon=True
    )
    process.start()
    try:
        yield Target(ready.get(), context)
    finally:
        process.terminate()
        process.join()


async def rate(target: Target, seconds: float, one: Callable[[Client, int], Awaitable[None]]) -> float:
    """How often per second `one` completes, by all clients together."""
    clients = [await target.client() for _ in range(CLIENTS)]
    end, count = time.perf_counter() + seconds, 0

    async def work(client: Client) -> None:
        nonlocal count
        while time.perf_counter() < end:
            await one(client, count)
            count += 1

    began = time.perf_counter()
    await asyncio.gather(*(work(client) for client in clients))
    elapsed = time.perf_counter() - began
    for client in clients:
        client.writer.close()
    return count / elapsed


async def create_rate(target: Target, seconds: float, mark: str) -> float:
    """Objects created per second over the API."""
    serial = iter(range(10**9))

    async def one(client: Client, _: int) -> None:
        body = json.dumps(config_map(f"{mark}-{next(serial)}")).encode()
        status, answer = await client.ask("POST", MAPS, body)
        assert status == 201, answer

    return await rate(target, seconds, one)


async def store_rate(directory: Path, seconds: float) -> float:
    """The same bytes committed to the bare store by as many writers."""
    store = await open_sqlite(directory)
    value, serial, count = encode_object(config_map("a")), iter(range(10**9)), 0
    end = time.perf_counter() + seconds

    async def work() -> None:
        nonlocal count
        while time.perf_counter() < end:
            key = b"/registry/core/configmaps/default/%d" % next(serial)
            await store.txn([Expect(key, Revision(0))], [Put(key, value)])
            count += 1

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(CLIENTS)))
    elapsed = time.perf_counter() - began
    await store.close()
    return count / elapsed


async def get_rate(target: Target, seconds: float) -> float:
    """GETs by name per second."""

    async def one(client: Client, _: int) -> None:
        status, _body = await client.ask("GET", f"{MAPS}/listed-0")
        assert status == 200

    return await rate(target, seconds, one)


async def list_seconds(target: Target) -> tuple[float, bytes]:
    """Seconds of one whole list, and its body."""
    client = await target.client()
    began = time.perf_counter()
    status, body = await client.ask("GET", MAPS)
    elapsed = time.perf_counter() - began
    assert status == 200
    client.writer.close()
    return elapsed, body


async def sendall_seconds(body: bytes, directory: Path, context: ssl.SSLContext) -> float:
    """Seconds until a client has the same bytes from a thread that does one sendall."""
    tls = ServerTls(Authority.open(directory / "pki"), ("localhost", "127.0.0.1"))
    listening = socket.create_server(("127.0.0.1", 0))

    def send() -> None:
        raw, _ = listening.accept()
        with tls.context.wrap_socket(raw, server_side=True) as connection:
            connection.recv(1)
            connection.sendall(body)
            with contextlib.suppress(OSError):
                connection.recv(1)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    client = await Target(listening.getsockname()[1], context).client()
    began = time.perf_counter()
    client.writer.write(b"x")
    await client.reader.readexactly(len(body))
    elapsed = time.perf_counter() - began
    client.writer.close()
    await asyncio.to_thread(thread.join)
    listening.close()
    return elapsed


class Sink(asyncio.Protocol):
    """A watcher that counts the frames it gets."""

    def __init__(self, mark: bytes, arrived: Callable[[int], None]) -> None:
        self._mark, self._arrived, self._rest = mark, arrived, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        whole = self._rest + data
        found = whole.count(self._mark)
        self._rest = whole[-(len(self._mark) - 1) :] if not whole.endswith(self._mark) else b""
        if found:
            self._arrived(found)


class Crowd:
    """All watchers of one server."""

    def __init__(self, target: Target, mark: bytes) -> None:
        self._target, self._mark = target, mark
        self._missing = 0
        self._all = asyncio.Event()
        self._transports: list[asyncio.WriteTransport] = []

    def _arrived(self, count: int) -> None:
        self._missing -= count
        if self._missing <= 0:
            self._all.set()

    async def gather(self, count: int, request: bytes) -> None:
        """Connect `count` watchers."""
        loop = asyncio.get_running_loop()
        for _ in range(count):
            transport, _protocol = await loop.create_connection(
                lambda: Sink(self._mark, self._arrived),
                "127.0.0.1",
                self._target.port,
                ssl=self._target.context,
                server_hostname="localhost",
            )
            transport.write(request)
            self._transports.append(transport)

    async def seconds(self, frames: int, change: Callable[[], Awaitable[None]]) -> float:
        """From the change until every watcher has its `frames`."""
        self._missing = frames * len(self._transports)
        self._all.clear()
        began = time.perf_counter()
        await change()
        async with asyncio.timeout(60):
            await self._all.wait()
        return time.perf_counter() - began

    def leave(self) -> None:
        """Disconnect everybody."""
        for transport in self._transports:
            transport.abort()


async def watch_seconds(target: Target, watchers: int, changes: int, rounds: int) -> float:
    """Median seconds for `changes` changes to reach all watchers over the API."""
    crowd = Crowd(target, b'"type":"MODIFIED"')
    request = f"GET {MAPS}?watch=1&resourceVersion=0&fieldSelector=metadata.name%3Dwatched HTTP/1.1\r\nHost: x\r\n\r\n"
    writers = [await target.client() for _ in range(changes)]
    await writers[0].ask("POST", MAPS, json.dumps(config_map("watched")).encode())
    await crowd.gather(watchers, request.encode())
    serial = iter(range(10**9))

    async def change() -> None:
        async def one(client: Client) -> None:
            body = {**config_map("watched"), "data": {"serial": str(time.time_ns() + next(serial)), "rest": "x" * 700}}
            status, answer = await client.ask("PUT", f"{MAPS}/watched", json.dumps(body).encode())
            assert status == 200, answer

        await asyncio.gather(*(one(client) for client in writers))

    await asyncio.sleep(0.5)
    found = statistics.median([await crowd.seconds(changes, change) for _ in range(rounds)])
    crowd.leave()
    for client in writers:
        client.writer.close()
    return found


async def bare_watch_seconds(target: Target, watchers: int, changes: int, rounds: int) -> float:
    """The same from a loop that only writes."""
    crowd = Crowd(target, b'"type":"MODIFIED"')
    await crowd.gather(watchers, b"")

    async def change() -> None:
        crowd._transports[0].write(bytes([changes]))

    await asyncio.sleep(0.3)
    found = statistics.median([await crowd.seconds(changes, change) for _ in range(rounds)])
    crowd.leave()
    return found


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


async def measure(directory: Path, quick: bool) -> AsyncIterator[tuple[str, float]]:
    """Name and value of every figure."""
    rounds, seconds = (2, 1.0) if quick else (5, 3.0)
    listed, watchers = (LISTED, WATCHERS // 2) if quick else (LISTED, WATCHERS)
    with server(directory / "data") as (process, target):
        data = directory / "data"
        creates, floors = [], []
        for number in range(rounds):
            creates.append(await create_rate(target, seconds, f"r{number}"))
            floors.append(await store_rate(directory / f"store-{number}", seconds))
        yield "api_create_per_s", statistics.median(creates)
        yield "api_create_vs_store", statistics.median(creates) / statistics.median(floors)
        await fill(target, listed)
        one = (await (await target.client()).ask("GET", f"{MAPS}/listed-0"))[1]
        gets, bares = [], []
        with floor("bare", one, data, target.context) as bare:
            for _ in range(rounds):
                gets.append(await get_rate(target, seconds))
                bares.append(await get_rate(bare, seconds))
        yield "api_get_per_s", statistics.median(gets)
        yield "api_get_vs_bare", statistics.median(gets) / statistics.median(bares)
        memory = psutil.Process(process.pid).memory_info().rss
        lists, sends = [], []
        for _ in range(rounds + 2):
            took, body = await list_seconds(target)
            lists.append(took)
            sends.append(await sendall_seconds(body, data, target.context))
        grown = psutil.Process(process.pid).memory_info().rss - memory
        yield "api_list_10k_ms", statistics.median(lists) * 1000
        yield "api_list_time_vs_sendall", statistics.median(lists) / statistics.median(sends)
        yield "api_list_rss_growth_mib", grown / (1 << 20)
        frame = b'{"type":"MODIFIED","object":%b}\n' % one
        for changes in (1, 10):
            ours = await watch_seconds(target, watchers, changes, rounds * 3)
            with floor("frames", frame, data, target.context) as bare:
                least = await bare_watch_seconds(bare, watchers, changes, rounds * 3)
            yield f"api_watch_{changes}_events_per_s", watchers * changes / ours
            yield f"api_watch_{changes}_vs_bare", least / ours


async def run(quick: bool) -> None:
    """Measure and print."""
    directory = Path(tempfile.mkdtemp(prefix="stark-bench-api-"))
    try:
        async for name, value in measure(directory, quick):
            print(f"{name}: {value:.3g}", flush=True)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less than a minute")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(parser.parse_args().quick))


if __name__ == "__main__":
    main()
