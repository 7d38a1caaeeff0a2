"""The HTTP server alone, on a free port and without TLS, with a handler that says what it was asked; and raw bytes to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson

from stark.apiserver.errors import ApiError
from stark.apiserver.http.server import HttpServer
from stark.apiserver.request import Answer as Given
from stark.apiserver.request import Request, Response
from stark.apiserver.settings import HttpSettings

PATIENCE_S = 10.0
BODY_MAX = 1 << 20

Handle = Callable[[Request], Awaitable[Given]]


@dataclass
class Echo:
    """Answers with what it was asked, and remembers it."""

    asked: list[Request] = field(default_factory=list)

    async def __call__(self, request: Request) -> Response:
        self.asked.append(request)
        try:
            body = await request.body.read(BODY_MAX)
        except ApiError as error:
            return Response(error.code, error.encode())
        told = {
            "method": request.method,
            "path": request.path,
            "query": request.query.raw,
            "body": body.decode("latin-1"),
        }
        return Response(body=orjson.dumps({**told, "headers": dict(request.headers)}))


@dataclass
class Answer:
    """One answer, taken apart."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def told(self) -> Any:
        """What an Echo says."""
        return orjson.loads(self.body)


class Wire:
    """A connection of raw bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        """Write all of it."""
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, method: str = "GET") -> Answer:
        """The next answer, whole. Raises IncompleteReadError at the end."""
        async with asyncio.timeout(PATIENCE_S):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.rstrip("\r\n").split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in lines)
            status = int(first.split()[1])
            if method == "HEAD" or status in (100, 101, 204, 304):
                return Answer(status, headers, b"")
            if headers.get("transfer-encoding") == "chunked":
                return Answer(status, headers, b"".join([chunk async for chunk in self.chunks()]))
            if "content-length" in headers:
                return Answer(status, headers, await self.reader.readexactly(int(headers["content-length"])))
            return Answer(status, headers, await self.reader.read())

    async def chunks(self) -> AsyncIterator[bytes]:
        """The chunks of a body, one by one."""
        while True:
            size = int(await self.reader.readline(), 16)
            data = await self.reader.readexactly(size)
            assert await self.reader.readexactly(2) == b"\r\n"
            if not size:
                return
            yield data

    async def rest(self) -> bytes:
        """Everything until the server ends the connection; what it sends before a reset counts."""
        pieces = []
        async with asyncio.timeout(PATIENCE_S):
            try:
                while piece := await self.reader.read(1 << 16):
                    pieces.append(piece)
            except ConnectionError:
                pass
        return b"".join(pieces)

    def close(self) -> None:
        """Leave."""
        self.writer.close()


@dataclass
class Place:
    """A server that runs."""

    server: HttpServer
    handle: Any
    _wires: list[Wire] = field(default_factory=list)

    async def wire(self) -> Wire:
        """A new connection."""
        wire = Wire(*await asyncio.open_connection("127.0.0.1", self.server.port))
        self._wires.append(wire)
        return wire

    async def ask(self, data: bytes, method: str = "GET") -> Answer:
        """One answer on a connection of its own."""
        wire = await self.wire()
        await wire.send(data)
        try:
            return await wire.answer(method)
        finally:
            wire.close()

    async def all_of(self, data: bytes) -> bytes:
        """Everything that comes back until the server ends the connection."""
        wire = await self.wire()
        await wire.send(data)
        return await wire.rest()

    async def emptied(self) -> None:
        """Wait until the server has no connection left, nor anything it did for one."""
        async with asyncio.timeout(PATIENCE_S):
            while self.server._connections or self.server._tasks:  # noqa: ASYNC110 (the server tells nobody)
                await asyncio.sleep(0.01)

    def leave(self) -> None:
        """End every connection."""
        for wire in self._wires:
            wire.close()


@asynccontextmanager
async def http_server(handle: Handle | None = None, **settings: Any) -> AsyncIterator[Place]:
    """Serve until the block ends."""
    chosen = handle or Echo()
    server = HttpServer(chosen, HttpSettings(**settings))
    await server.listen("127.0.0.1", 0, None)
    place = Place(server, chosen)
    try:
        yield place
    finally:
        place.leave()
        await server.close(2.0)
