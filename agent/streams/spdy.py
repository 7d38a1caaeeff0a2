"""Exec and attach over SPDY/3.1, as kubectl before 1.30 and other old clients speak them.

The client opens a stream for each channel, named by its header `streamtype`, and we begin when all are there. Ending
standard input is ending its stream; the end of ours, the error stream first, tells the client that all is said.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterable
from typing import Any, Final, Protocol

from ..spdy import Connection, DataReceived, Event, FrameError, GoAwayStatus, Opened, ResetStatus, Roomier
from . import channels

V4: Final = "v4.channel.k8s.io"
VERSIONS: Final = (V4, "v3.channel.k8s.io", "v2.channel.k8s.io")
"""From v4 on the end is a Status in JSON; from v3 on there is a stream for the terminal's size."""
KINDS: Final = {
    "stdin": channels.STDIN,
    "stdout": channels.STDOUT,
    "stderr": channels.STDERR,
    "error": channels.ERROR,
    "resize": channels.RESIZE,
}
OPEN_TIMEOUT_S: Final = 30.0
"""For the client to open its streams. The kubelet's figure."""
LEAVE_TIMEOUT_S: Final = 5.0
"""For the client to close, once it has been told the end."""
STREAMS_MAX: Final = 8
"""One for each channel, and then some that are refused."""
PIECE_BYTES_MAX: Final = 32 * 1024
"""In one frame."""
SIZE_BYTES_MAX: Final = 4 * 1024
"""Of one terminal size."""


class Wire(Protocol):
    """Bytes both ways."""

    async def read(self) -> bytes:
        """The next bytes; empty at the end."""

    async def write(self, data: bytes) -> None:
        """Returns when more may be written. Raises ConnectionError."""

    async def close(self) -> None:
        """End it."""


def choose_version(offered: Iterable[str]) -> str:
    """The client's first choice that we know. Raises ValueError in Kubernetes' words."""
    names = [name for name in offered if name]
    found = next((name for name in names if name in VERSIONS), None)
    if found is None:
        text = f"client supports [{' '.join(names)}], server accepts [{' '.join(VERSIONS)}]"
        raise ValueError(f"unable to upgrade: unable to negotiate protocol: {text}")
    return found


def switching(version: str) -> bytes:
    """The head of our answer."""
    lines = ("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: SPDY/3.1")
    return "\r\n".join([*lines, f"X-Stream-Protocol-Version: {version}", "", ""]).encode()


class SpdyConnection:
    """Channels as streams of one SPDY connection."""

    def __init__(self, wire: Wire, *, has_status: bool) -> None:
        self._wire, self._has_status = wire, has_status
        self._spdy = Connection(STREAMS_MAX)
        self._ids: dict[int, int] = {}
        """Stream by channel."""
        self._channels: dict[int, int] = {}
        self._events: deque[Event] = deque()
        self._room = asyncio.Event()
        self._size = b""

    async def opened(self, wanted: frozenset[str]) -> None:
        """Wait until the client has opened these streams. Raises ConnectionResetError when it does not."""
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                await self._open({KINDS[name] for name in wanted})
        except TimeoutError:
            await self._wire.close()
            raise ConnectionResetError("the client did not open its streams in time") from None
        except BaseException:
            await self._wire.close()
            raise

    async def _open(self, wanted: set[int]) -> None:
        while wanted - self._ids.keys():
            event = await self._next()
            if not isinstance(event, Opened):
                raise ConnectionResetError("the client has left, or begins before it has opened its streams")
            self._accept(event)
            await self._flush()

    def _accept(self, event: Opened) -> None:
        channel = KINDS.get(event.headers.get("streamtype", ""))
        if channel is None or channel in self._ids:
            return self._spdy.reset(event.stream_id, ResetStatus.REFUSED_STREAM)
        self._ids[channel] = event.stream_id
        self._channels[event.stream_id] = channel
        return self._spdy.reply(event.stream_id)

    async def send(self, channel: int, data: bytes) -> None:
        """Returns when more may be sent. Raises ConnectionError."""
        stream_id = self._ids.get(channel)
        if stream_id is None:
            return
        at = 0
        while at < len(data):
            size = min(self._spdy.sendable(stream_id), PIECE_BYTES_MAX, len(data) - at)
            if size == 0:
                self._room.clear()
                await self._room.wait()
                continue
            self._spdy.send(stream_id, data[at : at + size])
            at += size
            await self._flush()

    async def receive(self) -> tuple[int, bytes] | None:
        """The next message; None when the client has left."""
        while (event := await self._next()) is not None:
            if isinstance(event, Roomier):
                self._room.set()
            elif isinstance(event, Opened):
                self._spdy.reset(event.stream_id, ResetStatus.REFUSED_STREAM)
            elif isinstance(event, DataReceived) and (message := self._message(event)) is not None:
                await self._flush()
                return message
            await self._flush()
        return None

    def _message(self, event: DataReceived) -> tuple[int, bytes] | None:
        channel = self._channels.get(event.stream_id)
        self._spdy.consumed(event.stream_id, len(event.data))
        if channel == channels.RESIZE:
            return self._resized(event.data)
        if channel != channels.STDIN:
            return None
        if event.fin and event.data:  # the data first, and then their end
            self._events.appendleft(DataReceived(event.stream_id, b"", fin=True))
        if event.data:
            return channel, event.data
        return (channels.CLOSE, bytes((channels.STDIN,))) if event.fin else None

    def _resized(self, data: bytes) -> tuple[int, bytes] | None:
        """Sizes are lines of JSON; of several the last one counts."""
        *lines, self._size = (self._size + data)[-SIZE_BYTES_MAX:].split(b"\n")
        return (channels.RESIZE, lines[-1]) if lines else None

    def closes(self, channel: int, data: bytes) -> int | None:
        """The channel that a message closes, if that is what it does."""
        return data[0] if channel == channels.CLOSE and data else None

    async def ping(self) -> None:
        """Ask whether the client is there."""
        self._spdy.ping()
        await self._flush()

    async def end(self, status: dict[str, Any]) -> None:
        """Tell how it ended, and close once the client has."""
        text = channels.Protocol(V4, has_status=self._has_status).encode_end(status)
        with contextlib.suppress(ConnectionError, TimeoutError):
            await self.send(channels.ERROR, text)
            for channel in (channels.ERROR, channels.STDOUT, channels.STDERR):
                if channel in self._ids:
                    self._spdy.send(self._ids[channel], b"", fin=True)
            await self._flush()
            async with asyncio.timeout(LEAVE_TIMEOUT_S):
                while await self.receive() is not None:
                    pass
            self._spdy.go_away(GoAwayStatus.OK)
            await self._flush()
        await self._wire.close()

    async def _next(self) -> Event | None:
        while not self._events:
            data = await self._wire.read()
            if not data:
                return None
            try:
                self._events.extend(self._spdy.receive(data))
            except FrameError:
                await self._flush()
                return None
            await self._flush()
        return self._events.popleft()

    async def _flush(self) -> None:
        """Frames leave in the order in which they were made: nothing waits between taking and writing them."""
        if self._spdy.pending:
            await self._wire.write(self._spdy.take())
