"""A connection after its 101: bytes in WebSocket messages (KEP-4006), or the connection itself, taken from aiohttp."""

from __future__ import annotations

import asyncio
import socket
from typing import Any, Final, Protocol

from aiohttp import WSMsgType, web

READ_BYTES_MAX: Final = 64 * 1024
"""Read at a time; asyncio reads at most twice as much ahead."""
MESSAGE_BYTES_MAX: Final = 4 * 1024 * 1024
"""Of one WebSocket message. The Python clients send what they have read, up to a MiB."""
CLOSE_TIMEOUT_S: Final = 2.0
"""For the peer to take the last bytes."""
KEEPALIVE_S: Final = 15
"""Silence after which TCP asks whether the API server's machine is there, and between the questions."""


class Wire(Protocol):
    """Bytes both ways."""

    async def read(self) -> bytes:
        """The next bytes; empty at the end, also when the connection was cut."""
        ...

    async def write(self, data: bytes) -> None:
        """Returns when more may be written. Raises ConnectionError."""
        ...

    async def close(self) -> None:
        """End it, after what was written if the peer takes that."""
        ...


def keep_alive(request: web.Request) -> None:
    """Find out that the machine at the other end has vanished, though nothing is to be sent to it."""
    transport = request.transport
    sock = transport.get_extra_info("socket") if transport is not None else None
    if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_S)


class WebSocketWire:
    """SPDY's bytes as binary messages, cut anywhere."""

    def __init__(self, websocket: web.WebSocketResponse) -> None:
        self._websocket = websocket

    async def read(self) -> bytes:
        """Raises nothing: whatever is not a binary message ends the connection."""
        while (message := await self._websocket.receive()).type is WSMsgType.BINARY:
            if message.data:
                return bytes(message.data)
        return b""

    async def write(self, data: bytes) -> None:
        """One message."""
        await self._websocket.send_bytes(data)

    async def close(self) -> None:
        """With the closing handshake."""
        await self._websocket.close()


class RawWire:
    """The connection itself, taken away from aiohttp."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def read(self) -> bytes:
        """The next bytes."""
        try:
            return await self._reader.read(READ_BYTES_MAX)
        except OSError:
            return b""

    async def write(self, data: bytes) -> None:
        """Write them all."""
        self._writer.write(data)
        await self._writer.drain()

    async def close(self) -> None:
        """With TLS' goodbye."""
        self._writer.close()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._writer.wait_closed()
        except (OSError, TimeoutError):
            self._writer.transport.abort()


class _TakenOver(asyncio.StreamReaderProtocol):
    """Streams over a connection that aiohttp accepted, and whose end aiohttp wants to hear of."""

    def __init__(self, reader: asyncio.StreamReader, former: asyncio.BaseProtocol) -> None:
        super().__init__(reader)
        self._former = former

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over for both."""
        super().connection_lost(exc)
        self._former.connection_lost(exc)


def take_over(request: web.Request, head: bytes) -> RawWire:
    """Answer with `head` and have the connection for ourselves. Raises ConnectionResetError when the client has gone.

    A client waits for the 101 before it speaks its new protocol, so there is nothing that aiohttp has read too much.
    """
    transport: Any = request.transport
    if transport is None:
        raise ConnectionResetError("the client has gone")
    reader = asyncio.StreamReader(READ_BYTES_MAX)
    protocol = _TakenOver(reader, request.protocol)
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    writer = asyncio.StreamWriter(transport, protocol, reader, asyncio.get_running_loop())
    writer.write(head)
    return RawWire(reader, writer)


class Spent(web.StreamResponse):
    """What aiohttp is told when the connection was taken over and is over: there is nothing to send."""

    async def prepare(self, request: web.BaseRequest) -> None:
        """Nothing."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing."""

    @property
    def keep_alive(self) -> bool:
        """Never."""
        return False
