"""Port-forward over plain WebSocket, as the Python clients do it: one connection a port, named in the query.

Port `n` of the request has channel `2n` for data and `2n+1` for errors; a message begins with its channel. The first
message of each channel is the port's number, little-endian, which tells the client that the channel is there. There is no
way to say that one connection has ended: the WebSocket is closed after the last.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
from collections.abc import Sequence
from typing import Final

from aiohttp import WSMsgType, web

from .carrying import INLET_BYTES_MAX, INLETS_BYTES_MAX, Inlet, carry
from .targets import NotForwarded
from .tunnel import STALLED_PING_S, Dial

log = logging.getLogger(__name__)

BINARY: Final = "v4.channel.k8s.io"
BASE64: Final = "v4.base64.channel.k8s.io"
"""For clients that can only send text: the channel is a digit, the rest is base64."""
PORTS_MAX: Final = 64
"""In one request: two channels each, and a channel is one byte."""


class _Channel:
    """The client's side of one connection, for `carry`."""

    half_closes = False

    def __init__(self, channels: Channels, number: int) -> None:
        self._channels, self._number = channels, number
        self.inlet = Inlet(lambda _: channels.drained())
        self.receive = self.inlet.receive

    async def send(self, data: bytes) -> None:
        """Returns when more may be sent."""
        await self._channels.send(self._number, data)

    async def finish(self) -> None:
        """There is no way to say it, except by closing the WebSocket after the last connection."""


class Channels:
    """`run` once."""

    def __init__(self, socket: web.WebSocketResponse, ports: Sequence[int], dial: Dial, subject: str) -> None:
        self._socket, self._ports, self._dial, self._subject = socket, ports, dial, subject
        self._is_text = socket.ws_protocol == BASE64
        self._clients = [_Channel(self, 2 * index) for index in range(len(ports))]
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._turn = asyncio.Lock()

    async def run(self) -> None:
        """Serve until the client leaves, every connection is over, or cancelled. Nothing is left behind then."""
        for index, port in enumerate(self._ports):
            for channel in (2 * index, 2 * index + 1):
                await self.send(channel, port.to_bytes(2, "little"))
        reading = asyncio.create_task(self._read())
        forwards = [asyncio.create_task(self._forward(index)) for index in range(len(self._ports))]
        carrying = asyncio.create_task(asyncio.wait(forwards))
        try:
            await asyncio.wait([reading, carrying], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (reading, carrying, *forwards):
                task.cancel()
            for outcome in await asyncio.gather(reading, carrying, *forwards, return_exceptions=True):
                if isinstance(outcome, Exception):
                    log.error("port-forward: a connection failed", exc_info=outcome)
            await self._socket.close()

    async def _read(self) -> None:
        while True:
            message = await self._socket.receive()
            if message.type not in (WSMsgType.BINARY, WSMsgType.TEXT) or not message.data:
                if message.type in (WSMsgType.BINARY, WSMsgType.TEXT):
                    continue
                return
            try:
                channel, data = self._parsed(message.data)
            except ValueError as error:
                log.info("port-forward: a message is dropped", extra={"error": str(error)})
                continue
            if channel % 2 == 0 and channel // 2 < len(self._clients):
                self._clients[channel // 2].inlet.feed(data)
                await self._wait_for_inlets()

    def _parsed(self, message: bytes | str) -> tuple[int, bytes]:
        """Channel and data. Raises ValueError."""
        if isinstance(message, bytes):
            return message[0], message[1:]
        try:
            return ord(message[0]) - ord("0"), base64.b64decode(message[1:], validate=True)
        except binascii.Error as error:
            raise ValueError(f"not base64: {error}") from error

    async def _wait_for_inlets(self) -> None:
        while self._is_stalled:
            self._flowing.clear()
            try:
                async with asyncio.timeout(STALLED_PING_S):
                    await self._flowing.wait()
            except TimeoutError:
                try:
                    await self._socket.ping()
                except ConnectionError:
                    return

    @property
    def _is_stalled(self) -> bool:
        sizes = [client.inlet.size for client in self._clients]
        return max(sizes) > INLET_BYTES_MAX or sum(sizes) > INLETS_BYTES_MAX

    def drained(self) -> None:
        """A program has taken something."""
        if not self._is_stalled:
            self._flowing.set()

    async def send(self, channel: int, data: bytes) -> None:
        """One message; ports take turns."""
        async with self._turn:
            if self._is_text:
                await self._socket.send_str(chr(ord("0") + channel) + base64.b64encode(data).decode())
            else:
                await self._socket.send_bytes(bytes((channel,)) + data)

    async def _forward(self, index: int) -> None:
        port, client = self._ports[index], self._clients[index]
        try:
            await carry(client, await self._dial(port))
        except NotForwarded as error:
            log.info("port-forward: a connection is refused", extra={"port": port, "error": str(error)})
            message = f"error forwarding port {port} to pod {self._subject}: {error}"
            await self.send(2 * index + 1, message.encode())
        except OSError:
            pass  # the program broke off, or the client left: the end of the WebSocket says it
        finally:
            client.inlet.discard()
