"""One client's connection: bytes in, requests in their order, answers out, and an end to everything that takes too long.

A request is handled as soon as its head is there, so that a refusal need not wait for a body. One is handled at a time; the
next ones of a client that does not wait for answers are read ahead up to a bound. A client that leaves ends its handler at
once: a watch is given back, a log stops being read. One that does not take what we write loses its connection, since what it
does not read we would have to keep.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from math import inf
from typing import Any, Final, Protocol, cast

import structlog

from ..auth.authentication import authenticated, certificate_user, client_certificate
from ..request import Answer, Body, Frames, Peer, Pushed, Query, Request, Response, Stream, Upgrade
from ..settings import HttpSettings
from .answers import NO_LENGTH, AnswerHeads, refusal
from .bodies import ArrivingBody
from .heads import Head, Refused
from .reading import DISCARDED_MAX, Reader
from .takeover import TakenOver, switching

DISCARD_S: Final = 5.0
"""How long the rest of such a body may take."""
WRITE_BUFFER_MAX: Final = 64 * 1024
"""Bytes written to a client that has not taken them, past which its handler waits."""
PIECES_AT_ONCE: Final = 4
"""Pieces of an answer written before others have their turn, to a client that takes everything at once."""
SMALL_BODY: Final = 32 * 1024
"""A body up to this size is sent in one buffer with its head."""

log = structlog.get_logger(__name__)


class Serving(Protocol):
    """What a connection needs from its server."""

    settings: HttpSettings
    heads: AnswerHeads
    draining: bool
    """Answers are the last ones on their connections."""

    @property
    def handle(self) -> Callable[[Request], Awaitable[Answer]]:
        """What answers requests."""
        ...

    def opened(self, connection: Connection) -> bool:
        """Count it. False when there are too many."""
        ...

    def closed(self, connection: Connection) -> None:
        """It is gone."""
        ...

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Begin a task that the server waits for in the end."""
        ...

    def now(self) -> float:
        """The loop's clock in seconds."""
        ...


class Connection(asyncio.Protocol):
    """Reads and answers until either side has enough. `overdue` is asked again and again by the server."""

    __slots__ = (
        "_closing", "_current", "_deadline", "_drained", "_is_chunked", "_is_reading", "_lingers", "_paused", "_peer",
        "_pushed", "_server", "_task", "_transport", "_write_deadline", "is_ready", "reader",
    )  # fmt: skip

    _transport: asyncio.Transport
    _peer: Peer

    def __init__(self, server: Serving) -> None:
        self._server = server
        self.reader = Reader(self, server.settings)
        self._current: tuple[Head, Body] | None = None
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._lingers = False
        self._is_reading = True
        self._paused = False
        self._drained: asyncio.Future[None] | None = None
        self._pushed: Stream | None = None
        self._is_chunked = False
        self.is_ready = False
        """Whether a pushed answer may be written to: see Sink."""
        self._deadline = self._write_deadline = inf

    # The transport's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has come, its certificate has been verified."""
        self._transport = cast(asyncio.Transport, transport)
        if not self._server.opened(self):
            self._closing = True  # Over TLS the first request may have come together with the end of the handshake.
            self._transport.abort()
            return
        self._transport.set_write_buffer_limits(WRITE_BUFFER_MAX)
        self._peer = _peer(transport)
        self._deadline = self._server.now() + self._server.settings.header_timeout_s

    def connection_lost(self, exc: BaseException | None) -> None:
        """The client is gone, or we ended it."""
        self._closing, self._deadline, self._write_deadline = True, inf, inf
        self.reader.stop()
        if self._task is not None:
            self._task.cancel()
        if self._drained is not None and not self._drained.done():
            self._drained.set_exception(ConnectionResetError("the client is gone"))
        self._forget_pushed()
        self._server.closed(self)

    def data_received(self, data: bytes) -> None:
        """Some bytes came."""
        if self._closing:
            return
        self.reader.feed(data)
        self._begin()

    def pause_writing(self) -> None:
        """The client does not take what we write."""
        self._paused, self.is_ready = True, False
        self._write_deadline = self._server.now() + self._server.settings.write_timeout_s

    def resume_writing(self) -> None:
        """It takes more again."""
        self._paused, self._write_deadline = False, inf
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        if self._pushed is not None:
            self.is_ready = True
            try:
                cast(Pushed, self._pushed.chunks).flow()
            except Exception:
                log.exception("an answer could not be sent")
                self.abort()

    # The server's side.

    def check_time(self, now: float) -> None:
        """End it when it has taken too long to send or to take something."""
        if now <= self._deadline and now <= self._write_deadline:
            return
        if self._closing or self._paused or self.reader.is_amid:
            self.abort()
        else:
            self._linger()

    def abort(self) -> None:
        """End it at once."""
        self.is_ready = False
        self._transport.abort()

    @property
    def peer(self) -> Peer:
        """Who is at the other end."""
        return self._peer

    def end_when_idle(self) -> None:
        """End it now if nothing is under way, otherwise after the answer."""
        if self._is_idle:
            self._linger()

    # The reader's side.

    def request_begins(self) -> None:
        """A head has so much time, unless an answer is still under way: then it has until after that."""
        if self._is_idle:
            self._deadline = self._server.now() + self._server.settings.header_timeout_s

    def request_ends(self) -> None:
        """A body that was passed over has ended: the connection is idle."""
        if self._is_idle:
            self._deadline = self._server.now() + self._server.settings.keepalive_timeout_s

    def give_up(self) -> None:
        """What still comes is not worth waiting for; an answer that is under way is completed."""
        if self._current is None:
            self._linger()
        else:
            self._current[0].keep_alive = False

    @property
    def _is_idle(self) -> bool:
        """Nothing is being answered or waits for it."""
        return self._current is None and not self.reader.items and not self._closing

    # The body's side.

    def body_wanted(self) -> None:
        """A handler waits for the body of the request under way."""
        if self._current is not None and self._current[0].expects_continue:
            self._current[0].expects_continue = False
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def body_moved(self) -> None:
        """Read on, or stop reading while too much waits."""
        if self._closing:
            return
        should_read = self.reader.has_room
        if should_read is not self._is_reading:
            self._is_reading = should_read
            if should_read:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    # Answering.

    def _begin(self) -> None:
        """Handle the next request, when there is one and nothing else is under way."""
        if self._current is None and not self._closing and self.reader.items:
            item = self.reader.items.pop(0)
            self._deadline = inf
            if isinstance(item, Refused):
                self._transport.write(refusal(item.status, item.reason))
                self._lingers = True
                self._linger()
                return
            self._current = item
            self._task = self._server.spawn(self._serve(*item))
        self.body_moved()

    async def _serve(self, head: Head, body: Body) -> None:
        """One request from its head to the last byte of its answer."""
        try:
            try:
                query = Query(head.query)
            except ValueError as error:
                answer: Answer = _unreadable_query(error)
            else:
                self._server.heads.identify(head.headers)
                request = Request(head.method, head.path, query, head.headers, body, self._peer, hang_up=self.abort)
                answer = await self._server.handle(request)
            if isinstance(answer, Upgrade):
                await self._upgrade(head, answer)
                return
            may_go_on = self._may_go_on(head, body)
            if isinstance(answer, Stream):
                if await self._stream(head, answer, may_go_on):
                    return
            else:
                try:
                    await self._respond(head, answer, may_go_on)
                finally:
                    if answer.on_sent is not None:
                        answer.on_sent()
        except ConnectionError:
            self.abort()  # The client is gone, or what we passed on to it: there is nothing more to say.
            return
        except asyncio.CancelledError:
            # By the connection's end or the server's, or by something the handler waited for: nobody will answer any more.
            self.abort()
            raise
        except Exception:
            log.exception("an answer could not be sent", path=head.path)
            self.abort()
            return
        self._answered(head, body)

    async def _respond(self, head: Head, answer: Response, may_go_on: bool) -> None:
        body = answer.body
        size = len(body) if isinstance(body, bytes) else _size_of(body)
        has_length = answer.status in NO_LENGTH or "Content-Length" in answer.headers
        framing = b"" if has_length else b"Content-Length: %d\r\n" % size
        start = self._server.heads.head(answer, head.headers, framing + self._connection_line(head, may_go_on))
        if head.method == "HEAD" or answer.status in NO_LENGTH:
            self._transport.write(start)
        elif isinstance(body, bytes):
            if size <= SMALL_BODY:
                self._transport.write(start + body)
            else:
                self._transport.write(start)
                self._transport.write(body)
        else:
            self._transport.write(start)
            # Each piece is made, written and forgotten before the next.
            for number, piece in enumerate(body, 1):
                self._transport.write(piece)
                if self._paused:
                    await self._drain()
                elif not number % PIECES_AT_ONCE:
                    await asyncio.sleep(0)
        if self._paused:
            await self._drain()

    async def _stream(self, head: Head, answer: Stream, may_go_on: bool) -> bool:
        """True when the answer goes on by itself."""
        has_length = "Content-Length" in answer.headers
        is_chunked = not has_length and not head.is_1_0
        framing = b"Transfer-Encoding: chunked\r\n" if is_chunked else b""
        ends_by_closing = not is_chunked and not has_length
        may_go_on = may_go_on and not ends_by_closing
        head.keep_alive = head.keep_alive and not ends_by_closing
        is_pushed = False
        try:
            # A client waits for the head before it believes that the watch has begun.
            self._transport.write(
                self._server.heads.head(answer, head.headers, framing + self._connection_line(head, may_go_on))
            )
            if head.method == "HEAD":
                return False
            if isinstance(answer.chunks, Pushed):
                is_pushed = True
                self._push(answer, answer.chunks, is_chunked)
                return True
            await self._chunks(answer.chunks, is_chunked)
            return False
        finally:
            if not is_pushed:
                await _close(answer)

    def _push(self, answer: Stream, pushed: Pushed, is_chunked: bool) -> None:
        """Let whoever makes the chunks write them. From here on nothing runs for this connection but them."""
        self._pushed, self._task = answer, None
        self._is_chunked, self.is_ready = is_chunked, not self._paused
        self.reader.forget_head()
        pushed.attach(self)

    def send(self, frames: Frames) -> None:
        """A piece of a pushed answer."""
        if not self._transport.is_closing():
            self._transport.write(frames.chunk if self._is_chunked else frames.data)

    def end(self) -> None:
        """A pushed answer is complete."""
        if self._is_chunked and not self._transport.is_closing():
            self._transport.write(b"0\r\n\r\n")
        self._forget_pushed()
        assert self._current is not None
        self._answered(*self._current)

    def _forget_pushed(self) -> None:
        pushed, self._pushed, self.is_ready = self._pushed, None, False
        if pushed is not None:
            for each in pushed.on_close:
                each()

    async def _chunks(self, chunks: AsyncIterator[bytes], is_chunked: bool) -> None:
        async for piece in chunks:
            if not piece:
                continue
            self._transport.write(b"%x\r\n%b\r\n" % (len(piece), piece) if is_chunked else piece)
            if self._paused:
                await self._drain()
        if is_chunked:
            self._transport.write(b"0\r\n\r\n")

    async def _upgrade(self, head: Head, answer: Upgrade) -> None:
        """Let the answer have the connection until it is over; then there is nothing left to do on it."""
        # One that nobody asked for has no connection: what followed on it may have been read as requests already.
        may_have_it = head.upgrades and not self._closing
        early, self.reader.held = self.reader.held, b""
        self._closing, self._task, self._deadline, self._write_deadline = True, None, inf, inf
        client = TakenOver(self._transport if may_have_it else None, self, early)
        try:
            audit, correlation = self._server.heads.ids(head.headers)
            client.send(switching(answer, {"Audit-Id": audit, "X-Correlation-Id": correlation}))
            await answer.relay(client)
        finally:
            client.release()
            if not may_have_it:
                self.abort()

    async def _drain(self) -> None:
        """Until the client takes more. Raises ConnectionResetError when it is gone."""
        while self._paused and not self._closing:
            self._drained = asyncio.get_running_loop().create_future()
            try:
                await self._drained
            finally:
                self._drained = None

    def _may_go_on(self, head: Head, body: Body) -> bool:
        """Whether another request can follow on this connection."""
        if isinstance(body, ArrivingBody) and not body.is_complete:
            body.discard()
            # A client that still waits for our permission may send its body, or the next request: nobody can tell.
            if head.expects_continue or head.length > DISCARDED_MAX:
                return False
            return head.keep_alive and not self._server.draining
        return head.keep_alive and not self._server.draining and not (isinstance(body, ArrivingBody) and body.is_broken)

    def _connection_line(self, head: Head, may_go_on: bool) -> bytes:
        if may_go_on:
            return b"Connection: keep-alive\r\n" if head.is_1_0 else b""
        head.keep_alive = False
        return b"Connection: close\r\n"

    def _answered(self, head: Head, body: Body) -> None:
        """The answer is on its way: what comes next?"""
        self._task = self._current = None
        if self._closing:
            return
        if not head.keep_alive or self._server.draining:
            self._linger()
            return
        self.reader.awaits_upgrade = False  # We did not take up the offer, so that what follows is HTTP as before.
        settings = self._server.settings
        if self.reader.arriving is not None:
            wait_s = DISCARD_S
        else:
            wait_s = settings.header_timeout_s if self.reader.is_amid else settings.keepalive_timeout_s
        self._deadline = self._server.now() + wait_s
        self.reader.read_on()
        self._begin()

    def _linger(self) -> None:
        """End the connection, but so that the client can read the last answer: closing while it sends would reset it."""
        if self._closing:
            return
        lingers = self._lingers or self.reader.in_body
        self._closing, self.reader.held = True, b""
        self._deadline = self._server.now() + self._server.settings.write_timeout_s
        if not self._is_reading:
            self._is_reading = True
            self._transport.resume_reading()
        if lingers and self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            # TLS reads on by itself until the other side has ended, too.
            self._transport.close()


async def _close(answer: Stream) -> None:
    """Give back what a stream held. What it does at its end is done even if the iterator fails to end well."""
    try:
        close: Callable[[], Coroutine[Any, Any, None]] | None = getattr(answer.chunks, "aclose", None)
        if close is not None:
            await close()
    finally:
        for each in answer.on_close:
            each()


def _unreadable_query(error: ValueError) -> Response:
    return Response(400, f"the query cannot be read: {error}\n".encode(), "text/plain; charset=utf-8")


def _size_of(pieces: Sequence[bytes]) -> int:
    size: int | None = getattr(pieces, "size", None)
    return sum(map(len, pieces)) if size is None else size


def _peer(transport: asyncio.BaseTransport) -> Peer:
    """Who is at the other end; the certificate is looked at once per connection."""
    name = transport.get_extra_info("peername")
    peercert = transport.get_extra_info("peercert")
    user = certificate_user(peercert)
    address = f"{name[0]}:{name[1]}" if isinstance(name, tuple) else ""
    return Peer(address, authenticated(user) if user is not None else None, client_certificate(peercert))
