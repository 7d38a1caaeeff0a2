"""The client's side of an exec or attach: what every protocol comes down to, and the one over WebSockets."""

from __future__ import annotations

import contextlib
from typing import Any, Protocol

from aiohttp import WSCloseCode, WSMsgType, web

from . import channels


class Connection(Protocol):
    """Numbered channels both ways (see `channels`)."""

    async def send(self, channel: int, data: bytes) -> None:
        """Returns when more may be sent. Raises ConnectionError."""

    async def receive(self) -> tuple[int, bytes] | None:
        """The next message of the protocol; None when the client has left."""

    def closes(self, channel: int, data: bytes) -> int | None:
        """The channel that a message closes, if that is what it does."""

    async def ping(self) -> None:
        """Ask whether the client is there. Its answer does not matter: that the question cannot be sent does."""

    async def end(self, status: dict[str, Any]) -> None:
        """Tell how it ended, and close."""


class WebSocketConnection:
    """Channels in the messages of a WebSocket."""

    def __init__(self, socket: web.WebSocketResponse, protocol: channels.Protocol) -> None:
        self._socket, self._protocol = socket, protocol

    async def send(self, channel: int, data: bytes) -> None:
        """Returns when more may be sent. Raises ConnectionError."""
        message = self._protocol.encode(channel, data)
        if isinstance(message, str):
            await self._socket.send_str(message)
        else:
            await self._socket.send_bytes(message)

    async def receive(self) -> tuple[int, bytes] | None:
        """The next message of the protocol; None when the client has left."""
        while True:
            message = await self._socket.receive()
            if message.type not in (WSMsgType.BINARY, WSMsgType.TEXT):
                return None
            try:
                return self._protocol.decode(message.data)
            except ValueError:
                continue  # what is not of the protocol is not an answer to anything

    def closes(self, channel: int, data: bytes) -> int | None:
        """The channel that a message closes, if that is what it does."""
        return self._protocol.closes(channel, data)

    async def ping(self) -> None:
        """Ask whether the client is there."""
        await self._socket.ping()

    async def end(self, status: dict[str, Any]) -> None:
        """Tell how it ended, and close."""
        with contextlib.suppress(ConnectionError):
            data = self._protocol.encode_end(status)
            if data:
                await self.send(channels.ERROR, data)
            await self._socket.close(code=WSCloseCode.OK, drain=True)
