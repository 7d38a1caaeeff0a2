"""Servers with nothing around the work: what is left to gain is the distance to them."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import httptools
import uvloop
from aiohttp import web

from stark.apiserver.auth.pki import Authority, ServerTls

from .client import Target


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
    """Writes as many frames to every connection as a byte says that arrives on any: the bare send loop of a watch."""

    frame = b""
    everybody: set[asyncio.WriteTransport]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.everybody.add(cast(asyncio.WriteTransport, transport))

    def data_received(self, data: bytes) -> None:
        for count in data:
            frames = self.frame * count
            for transport in self.everybody:
                transport.write(frames)


def _serve(kind: str, payload: bytes, pki: str, ready: multiprocessing.SimpleQueue[int]) -> None:
    async def answer(_: web.BaseRequest) -> web.Response:
        return web.Response(body=payload, content_type="application/json")

    async def serve() -> None:
        tls = ServerTls(Authority.open(Path(pki)), ("localhost", "127.0.0.1"))
        Bare.answer = Framing.frame = payload
        Framing.everybody = set()
        protocols: dict[str, Callable[[], asyncio.BaseProtocol]] = {"bare": Bare, "frames": Framing}
        made = protocols.get(kind) or web.Server(answer)
        listening = await asyncio.get_running_loop().create_server(made, "127.0.0.1", 0, ssl=tls.context)
        ready.put(listening.sockets[0].getsockname()[1])
        await listening.serve_forever()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())


@contextlib.contextmanager
def floor(kind: str, payload: bytes, directory: Path, context: ssl.SSLContext | None) -> Iterator[Target]:
    """A `bare` server, one of `frames`, or one of `aiohttp`, in a process of its own, with the same certificates."""
    ready: multiprocessing.SimpleQueue[int] = multiprocessing.get_context("spawn").SimpleQueue()
    process = multiprocessing.get_context("spawn").Process(
        target=_serve, args=(kind, payload, str(directory / "pki"), ready), daemon=True
    )
    process.start()
    try:
        yield Target(ready.get(), context)
    finally:
        process.terminate()
        process.join()


async def sendall_seconds(body: bytes, directory: Path, context: ssl.SSLContext | None) -> float:
    """Seconds until a client has these bytes from a thread that does one sendall."""
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
