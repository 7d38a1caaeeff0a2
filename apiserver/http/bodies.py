"""A request's body on its way in: bounded in memory and in time, and never waited for without need."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Final, Protocol

from ..errors import ApiError, BadRequest, RequestEntityTooLarge, Timeout
from .heads import CHUNKED

BODY_BUFFER_MAX: Final = 256 * 1024
"""Bytes of a body that wait for whoever reads it. Past that the client is not read from."""


class Inflow(Protocol):
    """Where a body comes from: its connection."""

    def body_wanted(self) -> None:
        """Somebody reads: a client that waits for permission to send gets it."""
        ...

    def body_moved(self) -> None:
        """How much waits has changed: reading may have to pause or go on."""
        ...


class NoBody:
    """Of a request that has none."""

    async def read(self, limit: int) -> bytes:
        """Nothing."""
        return b""

    async def chunks(self) -> AsyncIterator[bytes]:
        """Nothing."""
        return
        yield b""


NO_BODY: Final = NoBody()


class ArrivingBody:
    """Fed by the connection, read by the handler."""

    __slots__ = (
        "_error",
        "_inflow",
        "_length",
        "_pieces",
        "_timeout_s",
        "_waiting",
        "discarded",
        "is_complete",
        "size",
    )

    def __init__(self, inflow: Inflow, length: int, timeout_s: float) -> None:
        self._inflow, self._length, self._timeout_s = inflow, length, timeout_s
        self._pieces: deque[bytes] = deque()
        self._waiting: asyncio.Future[None] | None = None
        self._error: ApiError | None = None
        self.size = 0
        """Bytes that wait here."""
        self.is_complete = False
        """Nothing more will come, for whatever reason."""
        self.discarded = -1
        """Bytes that came after nobody wanted them; negative while somebody may."""

    @property
    def is_broken(self) -> bool:
        """It ended, and not as its head said."""
        return self._error is not None

    @property
    def is_full(self) -> bool:
        """True when no more should be read from the client for now."""
        return self.size > BODY_BUFFER_MAX

    def feed(self, data: bytes) -> None:
        """Some of it came."""
        if self.discarded >= 0:
            self.discarded += len(data)
            return
        self._pieces.append(data)
        self.size += len(data)
        self._wake()

    def finish(self, error: ApiError | None = None) -> None:
        """All of it came; or `error` says why it never will."""
        if not self.is_complete:
            self.is_complete, self._error = True, error
            self._wake()

    def discard(self) -> None:
        """The request has been answered: what is still under way is thrown away."""
        self._pieces.clear()
        self.size, self.discarded = 0, max(self.discarded, 0)

    async def read(self, limit: int) -> bytes:
        """All of it. Raises RequestEntityTooLarge past `limit` bytes, Timeout when it does not come, BadRequest."""
        if self._length > limit:
            raise _too_large(limit)
        if self.is_complete and self._error is None and self.size <= limit:
            return b"".join(self._taken())
        pieces: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._timeout_s):
                while more := await self._more():
                    size += sum(map(len, more))
                    if size > limit:
                        raise _too_large(limit)
                    pieces += more
        except TimeoutError:
            raise self._too_slow() from None
        return b"".join(pieces)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Piece by piece. Raises BadRequest when it is not what its headers say, Timeout when it stops coming."""
        while True:
            try:
                async with asyncio.timeout(self._timeout_s):
                    more = await self._more()
            except TimeoutError:
                raise self._too_slow() from None
            if not more:
                return
            for piece in more:
                yield piece

    async def _more(self) -> list[bytes]:
        """What has come since the last time, when there is something; nothing at the end."""
        while not self._pieces and not self.is_complete:
            self._inflow.body_wanted()
            self._waiting = asyncio.get_running_loop().create_future()
            try:
                await self._waiting
            finally:
                self._waiting = None
        return self._taken()

    def _taken(self) -> list[bytes]:
        if not self._pieces and self._error is not None:
            raise self._error
        taken = list(self._pieces)
        self._pieces.clear()
        self.size = 0
        self._inflow.body_moved()
        return taken

    def _too_slow(self) -> Timeout:
        return Timeout(f"the request's body did not arrive within {self._timeout_s:g} s")

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


def _too_large(limit: int) -> RequestEntityTooLarge:
    return RequestEntityTooLarge(f"Request entity too large: limit is {limit}")


def unreadable(reason: str) -> BadRequest:
    """The body is not what its headers say."""
    return BadRequest(f"the request's body cannot be read: {reason}")


def may_have_body(length: int) -> bool:
    """Whether anything follows a head."""
    return length == CHUNKED or length > 0
