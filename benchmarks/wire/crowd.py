"""Many watchers of one server, as lean as a watcher can be."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from .client import Target

DELIVERY_TIMEOUT_S = 60
GATHERED_AT_ONCE = 32


class Sink(asyncio.Protocol):
    """A watcher that counts the frames it gets."""

    __slots__ = ("_arrived", "_mark", "_rest", "answered", "transport")

    def __init__(self, mark: bytes, arrived: Callable[[int], None]) -> None:
        self._mark, self._arrived, self._rest = mark, arrived, b""
        self.answered = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.answered.set()
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
        """Connect `count` watchers, and wait for the answer's beginning if there is a request."""
        loop, target = asyncio.get_running_loop(), self._target

        async def one() -> None:
            transport, sink = await loop.create_connection(
                lambda: Sink(self._mark, self._arrived),
                "127.0.0.1",
                target.port,
                ssl=target.context,
                server_hostname=target.name,
            )
            self._transports.append(transport)
            if request:
                transport.write(request)
                await sink.answered.wait()

        while count > 0:
            await asyncio.gather(*(one() for _ in range(min(count, GATHERED_AT_ONCE))))
            count -= GATHERED_AT_ONCE

    async def seconds(self, frames: int, change: Callable[[], Awaitable[None]]) -> float:
        """From the change until every watcher has its `frames`."""
        self._missing = frames * len(self._transports)
        self._all.clear()
        began = time.perf_counter()
        await change()
        async with asyncio.timeout(DELIVERY_TIMEOUT_S):
            await self._all.wait()
        return time.perf_counter() - began

    def tell(self, data: bytes) -> None:
        """Send something through one of the connections."""
        self._transports[0].write(data)

    def leave(self) -> None:
        """Disconnect everybody."""
        for transport in self._transports:
            transport.abort()
