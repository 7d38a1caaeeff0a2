"""The agent's port-forward over real connections: a pod made of sockets, and clients of all three protocols."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Protocol

import aiohttp
from aiohttp import web

from stark.agent.portforward import PortForwards, Target
from stark.agent.spdy.frames import Data, Frame, FrameReader, FrameWriter, Ping, RstStream, SynReply, SynStream
from stark.crds.meta import decode
from stark.crds.pods import Pod
from tests.support.agents import until

UID = "uid-web"
WAIT_S = 20.0
TUNNEL = "SPDY/3.1+portforward.k8s.io"

Program = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class PodOfSockets:
    """A pod whose containers are servers of this loop: `listen` adds a port with its program."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self.ports: list[dict[str, Any]] = []
        self.host_ports: dict[str, int] = {}
        self.running = frozenset({"main"})
        self.is_here = True
        self.open = 0
        """Connections that programs have and have not finished with."""

    async def listen(self, port: int, program: Program, host: str = "127.0.0.1") -> None:
        """Serve the pod's `port` by a program, on a free port of the host."""

        async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.open += 1
            try:
                await program(reader, writer)
            except (OSError, asyncio.IncompleteReadError):
                pass
            finally:
                self.open -= 1
                writer.close()

        server = await self._stack.enter_async_context(await asyncio.start_server(served, host, 0))
        self.declare(port, server.sockets[0].getsockname()[1])

    def declare(self, port: int, host_port: int, **fields: Any) -> None:
        """A port of container `main`."""
        self.ports.append({"containerPort": port, **fields})
        self.host_ports[str(fields.get("name", port))] = host_port

    async def over(self) -> None:
        """Wait until nobody is connected to a program."""
        await until("every connection is over", lambda: not self.open)

    def find(self, uid: str) -> Target | None:
        """As the agent's."""
        if uid != UID or not self.is_here:
            return None
        body = {
            "metadata": {"name": "web", "namespace": "default", "uid": UID},
            "spec": {"containers": [{"name": "main", "image": "pack.stark/web:1.0.0", "ports": self.ports}]},
        }
        return Target(decode(body, Pod), self.host_ports, self.running)


class Wire(Protocol):
    async def send(self, data: bytes) -> None: ...
    async def receive(self) -> bytes: ...
    def abort(self) -> None: ...


class _Messages:
    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self.send = socket.send_bytes

    def abort(self) -> None:
        self._socket._response.close()

    async def receive(self) -> bytes:
        message = await self._socket.receive()
        return message.data if message.type is aiohttp.WSMsgType.BINARY else b""


class _Raw:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def receive(self) -> bytes:
        try:
            return await self._reader.read(65536)
        except ConnectionError:
            return b""

    def abort(self) -> None:
        self._writer.transport.abort()


class SpdyClient:
    """What kubectl does: a pair of streams a connection. Frames are kept by stream until they are asked for."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._writer, self._reader = FrameWriter(), FrameReader()
        self._next_id = 1
        self._changed = asyncio.Condition()
        self.received: dict[int, bytearray] = {}
        self.ended: dict[int, Frame] = {}
        self.pings = 0
        self._answering: set[asyncio.Task[None]] = set()
        self.is_over = False

    async def read(self) -> None:
        """Run beside the test, until the server ends the connection."""
        while data := await self._wire.receive():
            frames = self._reader.feed(data)
            async with self._changed:
                for frame in frames:
                    self._on(frame)
                self._changed.notify_all()
            if pings := [frame for frame in frames if isinstance(frame, Ping) and frame.ping_id % 2 == 0]:
                # Beside the reading, which goes on although nobody may be taking what we send.
                answering = asyncio.create_task(self._answer(pings))
                self._answering.add(answering)
                answering.add_done_callback(self._answering.discard)
        async with self._changed:
            self.is_over = True
            self._changed.notify_all()

    async def _answer(self, pings: list[Ping]) -> None:
        with contextlib.suppress(ConnectionError):
            await self.say(*pings)

    def close(self) -> None:
        """Answer no more."""
        for answering in self._answering:
            answering.cancel()

    def _on(self, frame: Frame) -> None:
        match frame:
            case SynReply(stream_id):
                self.received.setdefault(stream_id, bytearray())
            case Data(stream_id, data, fin):
                self.received[stream_id] += data
                if fin:
                    self.ended[stream_id] = frame
            case RstStream(stream_id):
                self.ended[stream_id] = frame
            case Ping():
                self.pings += 1

    async def until(self, holds: Callable[[], Any]) -> Any:
        """Wait for something to have been received."""
        async with asyncio.timeout(WAIT_S), self._changed:
            return await self._changed.wait_for(holds)

    def abort(self) -> None:
        """Die."""
        self._wire.abort()

    async def say(self, *frames: Frame) -> None:
        """Send frames as they are."""
        await self._wire.send(b"".join(map(self._writer.encode, frames)))

    async def stream(self, kind: str, port: int | str, request: str) -> int:
        """Open one stream."""
        stream_id, self._next_id = self._next_id, self._next_id + 2
        await self.say(SynStream(stream_id, {"streamtype": kind, "port": str(port), "requestid": request}))
        return stream_id

    async def connect(self, port: int) -> tuple[int, int]:
        """Open a connection: its data and its error stream."""
        request = str(self._next_id)
        error_id = await self.stream("error", port, request)
        await self.say(Data(error_id, b"", True))
        return await self.stream("data", port, request), error_id

    def has(self, stream_id: int, data: bytes) -> bool:
        """Whether exactly this has been received on a stream so far."""
        return self.received.get(stream_id) == bytearray(data)

    async def answer(self, stream_id: int) -> bytes:
        """Everything the server sends on a stream."""
        await self.until(lambda: stream_id in self.ended)
        return bytes(self.received[stream_id])


class Forwarding:
    """The endpoint and its address."""

    def __init__(self, stack: AsyncExitStack, pod: PodOfSockets, forwards: PortForwards, port: int) -> None:
        self._stack, self.pod, self.forwards, self.port = stack, pod, forwards, port

    def url(self, query: str = "") -> str:
        return f"http://127.0.0.1:{self.port}/portForward/default/web?uid={UID}{query}"

    async def over(self) -> None:
        """Wait until nobody is connected to a program, or forwards a port."""
        await until("every connection is over", lambda: not self.pod.open and not self.forwards.open)

    async def session(self) -> aiohttp.ClientSession:
        return await self._stack.enter_async_context(aiohttp.ClientSession())

    async def tunnel(self) -> SpdyClient:
        """SPDY in WebSocket messages, as kubectl from 1.31 on."""
        session = await self.session()
        socket = await session.ws_connect(self.url(), protocols=(TUNNEL,), max_msg_size=0)
        assert socket.protocol == TUNNEL
        self._stack.push_async_callback(socket.close)
        return self._begin(_Messages(socket))

    async def raw(self) -> SpdyClient:
        """SPDY itself, as kubectl before."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self._stack.callback(writer.close)
        head = [
            f"POST /portForward/default/web?uid={UID} HTTP/1.1",
            "Host: node",
            "Connection: Upgrade",
            "Upgrade: SPDY/3.1",
            "X-Stream-Protocol-Version: portforward.k8s.io",
            "Content-Length: 0",
        ]
        writer.write("\r\n".join([*head, "", ""]).encode())
        answer = (await reader.readuntil(b"\r\n\r\n")).decode()
        assert answer.startswith("HTTP/1.1 101 "), answer
        assert "X-Stream-Protocol-Version: portforward.k8s.io" in answer
        return self._begin(_Raw(reader, writer))

    def _begin(self, wire: Wire) -> SpdyClient:
        client = SpdyClient(wire)
        reading = asyncio.create_task(client.read())
        self._stack.callback(reading.cancel)
        self._stack.callback(client.close)
        return client


@asynccontextmanager
async def forwarding() -> AsyncIterator[Forwarding]:
    """The endpoint without TLS. At the end every connection to the pod must be over."""
    async with AsyncExitStack() as programs:
        pod = PodOfSockets(programs)
        forwards = PortForwards(pod.find, "127.0.0.1")
        app = web.Application()
        app.router.add_route("*", "/portForward/{namespace}/{pod}", forwards.handle)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1.0)
        await runner.setup()
        programs.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        async with AsyncExitStack() as clients:
            agent = Forwarding(clients, pod, forwards, runner.addresses[0][1])
            yield agent
        await agent.over()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Says everything back, as it comes."""
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Says how much it was sent, once that has ended."""
    size = 0
    while data := await reader.read(65536):
        size += len(data)
    writer.write(f"{size} bytes".encode())
    await writer.drain()


def download(data: bytes) -> Program:
    """Sends this and ends."""

    async def program(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()

    return program


def base64_message(channel: int, data: bytes) -> str:
    """A message of the text protocol."""
    return f"{channel}{base64.b64encode(data).decode()}"


RANDOM = os.urandom(3_000_000)
"""Something to download."""
