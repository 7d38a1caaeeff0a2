"""A connection after its 101: bytes both ways, with back-pressure, whatever read it before.

Any adapter over asyncio's transports can hand a connection over this way: plain or TLS, of asyncio's loop or uvloop's.
"""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Mapping
from typing import Final

from ..request import Upgrade
from .answers import header_lines, status_line

READ_BUFFER_MAX: Final = 256 * 1024
"""Bytes read ahead of whoever takes them; then the client waits."""
WRITE_BUFFER_MAX: Final = 256 * 1024
"""Bytes written that the client has not taken; then the writer waits."""
CLOSE_TIMEOUT_S: Final = 10.0
"""For a client to take the last of what was written."""
HANGUP_CHECK_S: Final = 2.0
"""How often a client whose bytes nobody takes is asked whether it has left: who does not read does not hear of it."""
KEEPALIVE_IDLE_S: Final = 15
"""Silence after which TCP asks whether the peer is there: Go's default, on which clients of Kubernetes rely."""
KEEPALIVE_PROBES: Final = 9
"""Questions without an answer until the peer counts as gone."""


def switching(answer: Upgrade, headers: Mapping[str, str]) -> bytes:
    """The head of a 101."""
    fields = {"Connection": "Upgrade", "Upgrade": answer.protocol, **answer.headers, **headers}
    return b"%b%b\r\n" % (status_line(101).encode(), header_lines(fields))


class TakenOver(asyncio.Protocol):
    """A `ByteStream` over a transport that used to have another protocol, which still hears of the connection's end."""

    def __init__(self, transport: asyncio.Transport | None, former: asyncio.BaseProtocol, early: bytes = b"") -> None:
        """`transport` is None when the client has gone; `early` is what was read of it already."""
        self._transport, self._former = transport, former
        self._received = bytearray(early)
        self._is_reading = True
        self._is_closing = False
        self._check: asyncio.TimerHandle | None = None
        self._reader: asyncio.Future[None] | None = None
        self._may_write = asyncio.Event()
        self._may_write.set()
        self._lost = asyncio.Event()
        self._is_told = transport is None
        """Whether the former protocol knows that the connection is lost."""
        if transport is None:
            self._lost.set()
            return
        transport.set_write_buffer_limits(WRITE_BUFFER_MAX)
        keep_alive(transport)
        transport.set_protocol(self)
        transport.resume_reading()

    def send(self, data: bytes) -> None:
        """Write what is small and first, without waiting."""
        if self._transport is not None and not self._lost.is_set():
            self._transport.write(data)

    async def read(self) -> bytes:
        """The next bytes; empty at the end."""
        while not self._received:
            if self._lost.is_set():
                return b""
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        data = bytes(self._received)
        self._received.clear()
        if not self._is_reading and not self._lost.is_set():
            self._is_reading = True
            assert self._transport is not None
            self._transport.resume_reading()
        return data

    async def write(self, data: bytes) -> None:
        """Returns when more may be written. Raises ConnectionResetError."""
        self._require_connected()
        assert self._transport is not None
        self._transport.write(data)
        await self._may_write.wait()
        self._require_connected()

    async def lost(self) -> None:
        """Return when the connection is gone."""
        await self._lost.wait()

    def _require_connected(self) -> None:
        if self._lost.is_set():
            raise ConnectionResetError("the client is gone")

    async def close(self) -> None:
        """End the connection when the client has taken what was written, and at the latest after `CLOSE_TIMEOUT_S`."""
        if self._transport is None or self._lost.is_set():
            return
        self._forget()
        self._transport.close()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._lost.wait()
        except TimeoutError:
            self._transport.abort()

    def _forget(self) -> None:
        """What still comes is for nobody, but it must be read: TLS hears of the other side's goodbye no other way."""
        assert self._transport is not None
        self._is_closing = True
        self._received.clear()
        if not self._is_reading:
            self._is_reading = True
            self._transport.resume_reading()

    def release(self) -> None:
        """Nobody reads or writes any more; end the connection if that has not been done."""
        if self._transport is not None and not self._lost.is_set():
            self._transport.abort()
            self._lost.set()
        self._tell(None)

    def _tell(self, exc: Exception | None) -> None:
        if not self._is_told:
            self._is_told = True
            self._former.connection_lost(exc)

    # -- what the transport calls -------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """More has come."""
        if self._is_closing:
            return
        self._received += data
        if len(self._received) >= READ_BUFFER_MAX and self._is_reading:
            assert self._transport is not None
            self._is_reading = False
            self._transport.pause_reading()
            self._check_later()
        self._wake()

    def _check_later(self) -> None:
        self._check = asyncio.get_running_loop().call_later(HANGUP_CHECK_S, self._check_now)

    def _check_now(self) -> None:
        self._check = None
        if self._is_reading or self._lost.is_set() or self._transport is None:
            return
        if has_hung_up(self._transport):
            self._transport.abort()
        else:
            self._check_later()

    def pause_writing(self) -> None:
        """The client is slow."""
        self._may_write.clear()

    def resume_writing(self) -> None:
        """It has caught up."""
        self._may_write.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over. The former protocol, whose handler we may be running in, hears of it when that is done."""
        self._lost.set()
        self._may_write.set()
        if self._check is not None:
            self._check.cancel()
        self._wake()

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)


def keep_alive(transport: asyncio.BaseTransport) -> None:
    """Find out that a silent peer has vanished, though its protocol has nothing to ask."""
    sock = transport.get_extra_info("socket")
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_IDLE_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES)


def has_hung_up(transport: asyncio.BaseTransport) -> bool:
    """Whether the peer has closed its side, though not everything it sent has been read. Says no where that is unknown."""
    sock = transport.get_extra_info("socket")
    if sock is None or sock.fileno() < 0 or not hasattr(select, "POLLRDHUP"):
        return False
    poll = select.poll()
    poll.register(sock.fileno(), select.POLLRDHUP)
    return bool(poll.poll(0))
