"""Connections that are handed through to an agent: exec, attach, port-forward.

The client's upgrade goes on to the agent as it is, and the agent's 101 comes back; from then on we pump bytes and know
nothing of their protocol (WebSocket or SPDY). What was read and not yet written is one piece in each direction, so a
slow reader slows the writer. All protocols carried here tell their half-closes in their own frames, and TLS has none:
when one side ends, what it sent is delivered and both are over.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Mapping
from typing import Final

from ..errors import BadRequest, ServiceUnavailable
from ..request import ByteStream, Request, Upgrade
from .agents import ERROR_BYTES_MAX, Agent, ProxySettings, refusal

PIECE_BYTES_MAX: Final = 64 * 1024
"""Read at a time; asyncio reads at most twice as much ahead."""
HEAD_BYTES_MAX: Final = 16 * 1024
"""Head of an agent's answer."""
CLOSE_TIMEOUT_S: Final = 5.0
"""For an agent to take the last bytes."""
RESET: Final = struct.pack("ii", 1, 0)
"""Of SO_LINGER: what is not sent is dropped."""
LAST_BYTES_S: Final = 2.0
"""For an agent to take what a client sent before it left. A command that reads no input must hear of it all the same."""
FORWARDED: Final = (
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-protocol",
    "x-stream-protocol-version",
)
"""What of the client's upgrade is the agent's business. Extensions are not: nothing is compressed on the way."""
RETURNED: Final = ("sec-websocket-accept", "sec-websocket-protocol", "x-stream-protocol-version")
"""What of the agent's answer is the client's."""
BEARER: Final = "base64url.bearer.authorization.k8s.io."
"""A WebSocket subprotocol in which browsers send their token: no agent may see it."""


class AgentStream:
    """The agent's end of a relay."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def read(self) -> bytes:
        """The next bytes; empty at the end, also when the agent was lost."""
        try:
            return await self._reader.read(PIECE_BYTES_MAX)
        except OSError:
            return b""

    async def write(self, data: bytes) -> None:
        """Returns when more may be written. Raises ConnectionError."""
        self._writer.write(data)
        await self._writer.drain()

    async def close(self) -> None:
        """End it when the agent has taken what was written, and at the latest after `CLOSE_TIMEOUT_S`."""
        self._writer.close()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._writer.wait_closed()
        except (OSError, TimeoutError):
            self.abort()

    def abort(self) -> None:
        """End it at once. An agent that does not read hears of it: a reset needs no room, where an end waits for it."""
        sock = self._writer.get_extra_info("socket")
        if sock is not None and sock.fileno() >= 0:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self._writer.transport.abort()


class Relays:
    """Opens relays; `close` ends them all."""

    def __init__(self, tls: ssl.SSLContext, settings: ProxySettings | None = None) -> None:
        self._tls = tls
        self._settings = settings or ProxySettings()
        self._closing = asyncio.Event()

    def close(self) -> None:
        """End every relay, and those to come."""
        self._closing.set()

    async def open(self, agent: Agent, target: str, request: Request) -> Upgrade:
        """Hand `request` on to the agent, as `target` (path and query). Raises BadRequest when it is no upgrade,
        ServiceUnavailable when the agent cannot be reached, and what the agent refuses.
        """
        protocol = upgrade_of(request.headers)
        head = _request_head(request, agent, target, protocol)
        try:
            async with asyncio.timeout(self._settings.connect_s):
                reader, writer = await asyncio.open_connection(
                    agent.address, agent.port, ssl=self._tls, server_hostname=agent.node, limit=PIECE_BYTES_MAX
                )
        except ssl.SSLCertVerificationError as error:
            message = f"the agent of {agent} has a certificate that is not this node's: {error}"
            raise ServiceUnavailable(message) from error
        except (OSError, TimeoutError) as error:
            raise _unreachable(agent, error) from error
        try:
            writer.write(head)
            async with asyncio.timeout(self._settings.answer_s):
                status, headers = _parsed(await reader.readuntil(b"\r\n\r\n"))
                if status != 101:
                    raise refusal(agent, status, await _text(reader, headers))
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
            writer.close()
            raise _unreachable(agent, error) from error
        except BaseException:
            writer.close()
            raise
        stream = AgentStream(reader, writer)

        async def relay(client: ByteStream) -> None:
            try:
                await self._relay(client, stream)
            finally:
                stream.abort()

        returned = {name.title(): headers[name] for name in RETURNED if name in headers}
        return Upgrade(headers.get("upgrade", protocol), relay, returned)

    async def _relay(self, client: ByteStream, agent: AgentStream) -> None:
        clock = _Clock()
        parts = [
            asyncio.create_task(_pump(client, agent, clock)),
            asyncio.create_task(_pump(agent, client, clock)),
            asyncio.create_task(clock.idle(self._settings.idle_s)),
            asyncio.create_task(_left(client)),
            asyncio.create_task(self._closing.wait()),
        ]
        try:
            await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)
        await asyncio.gather(agent.close(), client.close())


class _Clock:
    """When something was heard last."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._heard = self._loop.time()

    def hear(self) -> None:
        self._heard = self._loop.time()

    async def idle(self, limit_s: float) -> None:
        """Return once nothing has been heard for that long."""
        while True:
            left_s = self._heard + limit_s - self._loop.time()
            if left_s <= 0:
                return
            await asyncio.sleep(left_s)


async def _left(client: ByteStream) -> None:
    """Return when the client has left, once there was time for its last bytes."""
    await client.lost()
    await asyncio.sleep(LAST_BYTES_S)


async def _pump(source: ByteStream | AgentStream, sink: ByteStream | AgentStream, clock: _Clock) -> None:
    """Returns when either has ended."""
    try:
        while data := await source.read():
            clock.hear()
            await sink.write(data)
            clock.hear()
    except OSError:
        return


def upgrade_of(headers: Mapping[str, str]) -> str:
    """The protocol the client wants to change to. Raises BadRequest."""
    tokens = [token.strip().lower() for token in headers.get("connection", "").split(",")]
    protocol = headers.get("upgrade", "").strip()
    if "upgrade" not in tokens or not protocol:
        raise BadRequest("Upgrade request required")
    return protocol


def _request_head(request: Request, agent: Agent, target: str, protocol: str) -> bytes:
    fields = {"Host": agent.node, "Connection": "Upgrade", "Upgrade": protocol, "Content-Length": "0"}
    fields |= {name: _harmless(name, request.headers[name]) for name in FORWARDED if name in request.headers}
    lines = [f"{name}: {value}" for name, value in fields.items() if value]
    head = "\r\n".join([f"{request.method} {target} HTTP/1.1", *lines, "", ""])
    assert head.count("\r\n") == len(lines) + 2, lines
    return head.encode("latin-1")


def _harmless(name: str, value: str) -> str:
    if name != "sec-websocket-protocol":
        return value
    offered = [protocol.strip() for protocol in value.split(",")]
    return ", ".join(protocol for protocol in offered if not protocol.startswith(BEARER))


def _parsed(head: bytes) -> tuple[int, dict[str, str]]:
    """Status and headers (names in lower case). Raises ValueError."""
    if len(head) > HEAD_BYTES_MAX:
        raise ValueError("the head of the answer is too long")
    first, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    version, _, rest = first.partition(" ")
    if not version.startswith("HTTP/1."):
        raise ValueError("the answer is not HTTP")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return int(rest[:3]), headers


async def _text(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> str:
    """What the agent says beside its status."""
    size = min(int(headers.get("content-length", "0")), ERROR_BYTES_MAX)
    return (await reader.readexactly(size)).decode("utf-8", "replace").strip()


def _unreachable(agent: Agent, error: Exception) -> ServiceUnavailable:
    return ServiceUnavailable(f"the agent of {agent} cannot be reached: {str(error) or 'no answer in time'}")
