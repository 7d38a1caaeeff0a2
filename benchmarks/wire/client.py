"""The least that asks a server over TLS, and how fast and how evenly many of it are answered."""

from __future__ import annotations

import asyncio
import ssl
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

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
