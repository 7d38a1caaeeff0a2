"""A connection between two of our own processes: questions, answers and news, many of them in one frame.

What is said within one turn of the loop leaves as one frame: its length, and a list of plain values in Python's own
binary form (`marshal`). That form is made and read faster than any other, and may only be read from one's own program:
the socket is in a directory that is ours alone, and the user at the other end is asked of the kernel.
"""

from __future__ import annotations

import asyncio
import contextlib
import marshal
import os
import socket
import struct
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any, Final, Protocol, cast

from ..protocol import Unavailable

FORM: Final = 2
"""Marshal's version without references: a third faster, and nothing here occurs twice."""
LENGTH: Final = struct.Struct("<Q")
QUESTIONS_MAX: Final = 20_000
"""Questions of one side that have no answer yet; further ones are refused. More requests than a process works on."""
UNSENT_BYTES_MAX: Final = 16 << 20
"""Bytes that wait for the other side to read. Past them news wait with whoever has them, and nothing more is read."""
CREDENTIALS: Final = struct.Struct("3i")

ASK, ANSWER, REFUSE, SAY = range(4)
Message = tuple[int, int, Any, Any]
"""What it is, the question's number, and: the question and its values, the answer, or the refusal and its values."""


class LinkLost(Unavailable):
    """The other process went away before it answered."""


class Refused(Exception):
    """The other side answered with an error: its name, and what it was made with."""

    def __init__(self, name: str, values: tuple[Any, ...]) -> None:
        super().__init__(f"{name}: {values}")
        self.name, self.values = name, values


class Switchboard(Protocol):
    """Who is at this end."""

    def opened(self, link: Link) -> None:
        """The link can be used."""
        ...

    def asked(self, link: Link, number: int, question: str, values: tuple[Any, ...]) -> None:
        """A question, to be answered by `link.answer` or `link.refuse` with its number."""
        ...

    def told(self, link: Link, news: str, values: tuple[Any, ...]) -> None:
        """Something that wants no answer."""
        ...

    def lost(self, link: Link) -> None:
        """It has ended. What was asked has been answered with LinkLost."""
        ...


class Link(asyncio.Protocol):
    """One end. Everything belongs to the loop."""

    def __init__(self, board: Switchboard, *, reads_when_full: bool) -> None:
        self._loop = asyncio.get_running_loop()
        self._board, self._reads_when_full = board, reads_when_full
        self._transport: asyncio.Transport | None = None
        self._outbox: list[Message] = []
        self._inbox = bytearray()
        self._numbers = count(1)
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._drained: asyncio.Future[None] | None = None
        self.is_lost = False
        self.ended = asyncio.Event()
        """Set when it is lost, and everybody has been told."""

    # Speaking.

    def ask(self, question: str, *values: Any) -> asyncio.Future[Any]:
        """The answer to come. It raises Refused, LinkLost. Raises Unavailable past QUESTIONS_MAX."""
        if self.is_lost:
            raise LinkLost("the store's process has gone")
        if len(self._asked) >= QUESTIONS_MAX:
            raise Unavailable(f"{QUESTIONS_MAX} questions to the store's process have no answer yet")
        number = next(self._numbers)
        answer = self._asked[number] = self._loop.create_future()
        self._send((ASK, number, question, values))
        return answer

    def say(self, news: str, *values: Any) -> None:
        """Something that wants no answer."""
        self._send((SAY, 0, news, values))

    def answer(self, number: int, result: Any) -> None:
        """The answer to a question."""
        self._send((ANSWER, number, result, None))

    def refuse(self, number: int, name: str, values: tuple[Any, ...]) -> None:
        """The question has an error for an answer."""
        self._send((REFUSE, number, name, values))

    @property
    def is_full(self) -> bool:
        """Whether the other side has left UNSENT_BYTES_MAX unread: what can be missed is better not said."""
        return self._drained is not None

    async def drained(self) -> None:
        """Wait until the other side has read so much that more may be said."""
        if self._drained is not None:
            await asyncio.shield(self._drained)

    def close(self) -> None:
        """End the link."""
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def _send(self, message: Message) -> None:
        if self.is_lost:
            return
        if not self._outbox:
            # At the end of this turn, with everything else that is said in it.
            self._loop.call_soon(self._flush)
        self._outbox.append(message)

    def _flush(self) -> None:
        if self._outbox and self._transport is not None:
            frame = marshal.dumps(self._outbox, FORM)
            self._outbox.clear()
            self._transport.write(LENGTH.pack(len(frame)) + frame)

    # Listening.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's is one by behaviour and not by class.
        self._transport = transport = cast(asyncio.Transport, transport)
        if not _is_ours(transport.get_extra_info("socket")):
            self.is_lost = True
            transport.abort()
            return
        transport.set_write_buffer_limits(high=UNSENT_BYTES_MAX)
        self._board.opened(self)
        self._flush()

    def data_received(self, data: bytes) -> None:
        inbox = self._inbox
        inbox += data
        at = 0
        while len(inbox) - at >= LENGTH.size:
            begin = at + LENGTH.size
            end = begin + LENGTH.unpack_from(inbox, at)[0]
            if len(inbox) < end:
                break
            messages = marshal.loads(memoryview(inbox)[begin:end].toreadonly())
            at = end
            for message in messages:
                self._hear(message)
        if at:
            del inbox[:at]

    def _hear(self, message: Message) -> None:
        kind, number, what, values = message
        if kind == ASK:
            self._board.asked(self, number, what, values)
        elif kind == SAY:
            self._board.told(self, what, values)
        else:
            answer = self._asked.pop(number)
            if answer.done():
                return  # Whoever asked was cancelled.
            if kind == ANSWER:
                answer.set_result(what)
            else:
                answer.set_exception(Refused(what, values))

    def pause_writing(self) -> None:
        self._drained = self._loop.create_future()
        if not self._reads_when_full and self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        drained, self._drained = self._drained, None
        if drained is not None:
            drained.set_result(None)
        if not self._reads_when_full and self._transport is not None:
            self._transport.resume_reading()

    def connection_lost(self, _error: Exception | None) -> None:
        was_lost, self.is_lost = self.is_lost, True
        self._outbox.clear()
        if self._drained is not None:
            self._drained.set_result(None)
            self._drained = None
        asked, self._asked = self._asked, {}
        for answer in asked.values():
            if not answer.done():
                answer.set_exception(LinkLost("the store's process went away before it answered"))
                answer.exception()  # seen, even if whoever asked has gone
        if not was_lost:
            self._board.lost(self)
        self.ended.set()


def _is_ours(peer: socket.socket) -> bool:
    """Whether the process at the other end runs as the same user."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True  # the directory's mode has to do
    _, uid, _ = CREDENTIALS.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size))
    return bool(uid == os.geteuid())


ADDRESS_BYTES_MAX: Final = 100
"""What fits into a Unix socket's address, on every system."""


@contextlib.contextmanager
def address_of(path: Path) -> Iterator[str]:
    """An address of the socket that fits however deep its directory lies, while the block lasts."""
    if len(os.fsencode(path)) <= ADDRESS_BYTES_MAX:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


async def listen(path: Path, board: Switchboard) -> asyncio.Server:
    """Take links at `path`, which is the user's alone. Raises OSError."""
    loop = asyncio.get_running_loop()
    return await loop.create_unix_server(lambda: Link(board, reads_when_full=False), sock=bound(path))


def bound(path: Path) -> socket.socket:
    """A socket at `path`, instead of what was there. Raises OSError."""
    path.unlink(missing_ok=True)
    ours = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with address_of(path) as address:
            ours.bind(address)
        path.chmod(0o600)
    except BaseException:
        ours.close()
        raise
    return ours


async def connect(path: Path, board: Switchboard) -> Link:
    """A link to whoever listens at `path`. Raises OSError."""
    # To a socket of this machine it is done at once, or refused.
    ours = connected(path)
    ours.setblocking(False)
    loop = asyncio.get_running_loop()
    _, link = await loop.create_unix_connection(lambda: Link(board, reads_when_full=True), sock=ours)
    return link


def connected(path: Path) -> socket.socket:
    """A socket to whoever listens at `path`. Raises OSError."""
    ours = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with address_of(path) as address:
            ours.connect(address)
    except BaseException:
        ours.close()
        raise
    return ours
