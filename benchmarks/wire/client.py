"""The least that asks a server over TLS, and how fast and how evenly many of it are answered.

`pace` is for what is measured against a floor that is asked by the same client: what the client costs is in both. `drive` is
for what is measured against something that has no client: it costs little more than TLS itself.
"""

from __future__ import annotations

import asyncio
import ssl
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import cast

CLIENTS = 64
READ_BYTES = 1 << 20


class Client:
    """One keep-alive connection that sends a request and reads the answer, and nothing more."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, method: str, path: str, body: bytes = b"", headers: str = "") -> tuple[int, bytes]:
        """Status and body."""
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode()
        self.writer.write(head + body)
        answer = await self.reader.readuntil(b"\r\n\r\n")
        size = int(answer.lower().split(b"content-length:")[1].split(b"\r\n", 1)[0])
        return int(answer[9:12]), await self.reader.readexactly(size)


class Target:
    """Where to connect, and as whom; without a context there is no TLS."""

    def __init__(self, port: int, context: ssl.SSLContext | None) -> None:
        self.port, self.context = port, context

    @property
    def name(self) -> str | None:
        """The name on the certificate."""
        return "localhost" if self.context is not None else None

    async def client(self) -> Client:
        """A new connection."""
        return Client(
            *await asyncio.open_connection(
                "127.0.0.1", self.port, ssl=self.context, server_hostname=self.name, limit=READ_BYTES
            )
        )


@dataclass
class Pace:
    """How fast, and how evenly."""

    per_s: float = 0.0
    waits_s: list[float] = field(default_factory=list)

    def percentile_ms(self, percent: int) -> float:
        """The wait that `percent` of the requests did not exceed."""
        ordered = sorted(self.waits_s)
        return ordered[min(len(ordered) * percent // 100, len(ordered) - 1)] * 1000


def together(paces: list[Pace]) -> Pace:
    """The median rate of several rounds, and all their waits."""
    return Pace(statistics.median(pace.per_s for pace in paces), [wait for pace in paces for wait in pace.waits_s])


async def pace(target: Target, seconds: float, one: Callable[[Client, int], Awaitable[None]]) -> Pace:
    """How often per second `one` completes, by all clients together, and how long each took."""
    clients = [await target.client() for _ in range(CLIENTS)]
    found, count = Pace(), 0
    end = time.perf_counter() + seconds

    async def work(client: Client) -> None:
        nonlocal count
        while (began := time.perf_counter()) < end:
            count += 1
            await one(client, count)
            found.waits_s.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(work(client) for client in clients))
    found.per_s = len(found.waits_s) / (time.perf_counter() - began)
    for client in clients:
        client.writer.close()
    return found


class Driver(asyncio.Protocol):
    """One connection that sends the next request as soon as the last is answered, in the call that brings the answer."""

    def __init__(self, requests: Iterator[bytes], status: bytes, waits_s: list[float], ended: asyncio.Event) -> None:
        self._requests, self._status, self._waits_s, self._ended = requests, status, waits_s, ended
        self._transport: asyncio.Transport
        self._got = b""
        self._sent_at = 0.0
        self._is_last = False
        self.failure = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The handshake is over; wait for `begin`."""
        self._transport = cast(asyncio.Transport, transport)

    def begin(self) -> None:
        """Send the first request."""
        self._sent_at = time.perf_counter()
        self._transport.write(next(self._requests))

    def finish(self) -> None:
        """Send no more; what is under way is still counted."""
        self._is_last = True

    def data_received(self, data: bytes) -> None:
        """Part of an answer, or the whole."""
        if self._got:
            data = self._got + data
        end = data.find(b"\r\n\r\n")
        size = int(data[:end].lower().split(b"content-length:", 1)[1].split(b"\r\n", 1)[0]) if end >= 0 else 0
        if end < 0 or len(data) < end + 4 + size:
            self._got = data
            return
        self._got = b""
        now = time.perf_counter()
        self._waits_s.append(now - self._sent_at)
        if data[9:12] != self._status:
            self.failure = data
        if self._is_last or self.failure:
            self._ended.set()
            self._transport.close()
            return
        self._sent_at = now
        self._transport.write(next(self._requests))


async def drive(target: Target, seconds: float, requests: Iterator[bytes], status: int) -> Pace:
    """How often per second a request of `requests` is answered with `status`, by all clients together."""
    loop, found = asyncio.get_running_loop(), Pace()
    drivers, ends = [], []
    for _ in range(CLIENTS):
        ended = asyncio.Event()
        driver = Driver(requests, str(status).encode(), found.waits_s, ended)
        await loop.create_connection(
            partial(_same, driver), "127.0.0.1", target.port, ssl=target.context, server_hostname=target.name
        )
        drivers.append(driver)
        ends.append(ended)
    began = time.perf_counter()
    for driver in drivers:
        driver.begin()
    await asyncio.sleep(seconds)
    count, elapsed = len(found.waits_s), time.perf_counter() - began
    for driver in drivers:
        driver.finish()
    await asyncio.gather(*(ended.wait() for ended in ends))
    failures = [driver.failure for driver in drivers if driver.failure]
    assert not failures, failures[0]
    found.per_s = count / elapsed
    return found


def _same(driver: Driver) -> Driver:
    return driver
