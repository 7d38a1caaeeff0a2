"""Requests whose whole answer is wanted: one write, one answer, on connections that are kept.

Most of what a controller asks is small, and there is much of it. A request here costs a fifth of what it costs through a
general HTTP client, which has sessions, redirects, cookies and streams to think of. What is streamed goes another way.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, cast

import httptools
from yarl import URL

KEPT_S: Final = 30.0
"""How long an idle connection is used again: less than servers keep it, who end those that nobody uses any more."""
HEAD_MAX: Final = 64 * 1024
"""Bytes of an answer's header fields."""
CLOSE_S: Final = 0.5
"""How long idle connections may take to say goodbye."""
UNFRAMED: Final = -1


class Unconnected(Exception):
    """There is no connection, for the cause it has: nothing was sent."""


class Uncertain(Exception):
    """The connection ended before the whole answer was here: the server may have done what was asked."""


class TooLarge(Exception):
    """The answer is larger than it may be."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, whole."""

    status: int
    reason: str
    headers: list[tuple[bytes, bytes]]
    """Names in lower case."""
    body: bytes

    def header(self, name: bytes) -> str:
        """The first value of a header; empty when there is none."""
        return next((value.decode("latin-1") for known, value in self.headers if known == name), "")

    def all(self, name: bytes) -> list[str]:
        """Every value of a header."""
        return [value.decode("utf-8", "replace") for known, value in self.headers if known == name]


class Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self) -> None:
        self._answer: asyncio.Future[Answer] | None = None
        self.lost = asyncio.get_running_loop().create_future()
        self.used_at = 0.0
        self._body_max = 0

    @property
    def is_open(self) -> bool:
        """Whether a request may be sent on it."""
        return not self.lost.done() and not self._transport.is_closing()

    def ask(self, request: bytes, body_max: int) -> asyncio.Future[Answer]:
        """Send it. The future raises Uncertain, TooLarge."""
        self._answer = asyncio.get_running_loop().create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._headers: list[tuple[bytes, bytes]] = []
        self._parts: list[bytes] = []
        self._reason, self._head_size, self._body_size, self._body_max = "", 0, 0, body_max
        self._length: int | None = None
        self._transport.write(request)
        return self._answer

    def close(self) -> None:
        """End it politely."""
        self._transport.close()

    def abort(self) -> None:
        """End it now."""
        self._transport.abort()

    # The transport's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._answer is None:
            self._transport.abort()  # nobody asked for anything
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(error.__context__ if isinstance(error.__context__, TooLarge) else Uncertain(f"no HTTP: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.lost.done():
            self.lost.set_result(None)
        if self._answer is None:
            return
        if exc is None and self._length == UNFRAMED:
            self._complete()  # the end of the connection is the end of the body
        else:
            self._fail(Uncertain(str(exc) if exc else "Server disconnected"))

    def _fail(self, error: BaseException) -> None:
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_exception(error)
        self._transport.abort()

    def _complete(self) -> None:
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            parts = self._parts
            body = parts[0] if len(parts) == 1 else b"".join(parts)
            answer.set_result(Answer(self._parser.get_status_code(), self._reason, self._headers, body))

    # The parser's side.

    def on_status(self, reason: bytes) -> None:
        self._reason += reason.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_size += len(name) + len(value)
        if self._head_size > HEAD_MAX:
            raise TooLarge(f"the answer's head is over {HEAD_MAX} bytes")
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        names = dict(self._headers)
        if b"content-length" in names:
            self._length = int(names[b"content-length"])
            if self._length > self._body_max:
                raise TooLarge(f"the answer has {self._length} bytes, the limit is {self._body_max}")
        elif b"transfer-encoding" not in names:
            self._length = UNFRAMED

    def on_body(self, data: bytes) -> None:
        self._body_size += len(data)
        if self._body_size > self._body_max:
            raise TooLarge(f"the answer is over {self._body_max} bytes")
        self._parts.append(data)

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() < 200:  # it says that the answer will follow
            self._headers, self._reason, self._length = [], "", None
            return
        goes_on = self._parser.should_keep_alive()
        self._complete()
        if not goes_on:
            self._transport.close()


class Pool:
    """Connections to one server, with one identity of ours."""

    def __init__(
        self,
        server: str,
        tls: ssl.SSLContext | None,
        server_hostname: str | None,
        user_agent: str,
        connections_max: int,
        connect_timeout_s: float,
    ) -> None:
        url = URL(server)
        self.tls = tls
        self._host, self._port = url.host or "", url.port or 443
        self._server_hostname = (server_hostname or self._host) if tls is not None else None
        self._prefix = url.raw_path.rstrip("/")
        netloc = url.raw_authority.rpartition("@")[2]
        # Our programs are near the server: inflating a list would take longer than its transfer.
        self._fixed = _fields([("Host", netloc), ("User-Agent", user_agent), ("Accept-Encoding", "identity")])
        self._idle: list[Connection] = []
        self._all: set[Connection] = set()
        self._room = asyncio.Semaphore(connections_max)
        self._connect_timeout_s = connect_timeout_s
        self._retired = False

    @property
    def is_used(self) -> bool:
        """Whether it has any connection left."""
        return bool(self._all)

    async def ask(
        self, method: str, path: str, fields: Iterable[tuple[str, str]], body: bytes | None, body_max: int
    ) -> Answer:
        """The answer. Raises Unconnected, Uncertain, TooLarge."""
        assert method != "HEAD", "its answer has a length and no body"
        request = self._request(method, path, fields, body)
        async with self._room:
            connection = self._kept() or await self._connect()
            try:
                answer = await connection.ask(request, body_max)
            except BaseException:
                connection.abort()  # also when nobody waits any more: the answer would be taken for the next one's
                raise
            self._keep(connection)
        return answer

    async def close(self) -> None:
        """End every connection; nobody uses them any more."""
        self.retire()
        for connection in self._all:
            connection.close()
        if self._all:
            await asyncio.wait([connection.lost for connection in self._all], timeout=CLOSE_S)
        for connection in self._all:
            connection.abort()

    def retire(self) -> None:
        """End idle connections now and the others after their answers."""
        self._retired = True
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    def _request(self, method: str, path: str, fields: Iterable[tuple[str, str]], body: bytes | None) -> bytes:
        head = f"{method} {self._prefix}{path} HTTP/1.1\r\n".encode("ascii") + self._fixed + _fields(fields)
        if body is None:
            return head + b"\r\n"
        return b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body)

    def _kept(self) -> Connection | None:
        now = asyncio.get_running_loop().time()
        while self._idle:
            # The one used last: the others may grow old and go.
            connection = self._idle.pop()
            if connection.is_open and now - connection.used_at < KEPT_S:
                return connection
            connection.close()
        return None

    async def _connect(self) -> Connection:
        loop, place = asyncio.get_running_loop(), f"{self._host}:{self._port}"
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                _, connection = await loop.create_connection(
                    Connection, self._host, self._port, ssl=self.tls, server_hostname=self._server_hostname
                )
        except TimeoutError as error:
            raise Unconnected(f"no connection to {place} in {self._connect_timeout_s:.0f} s") from error
        except OSError as error:
            raise Unconnected(f"cannot connect to {place}: {error}") from error
        self._all.add(connection)
        connection.lost.add_done_callback(lambda _: self._all.discard(connection))
        return connection

    def _keep(self, connection: Connection) -> None:
        if not connection.is_open:
            return
        if self._retired:
            connection.close()
            return
        connection.used_at = asyncio.get_running_loop().time()
        self._idle.append(connection)


def _fields(fields: Iterable[tuple[str, str]]) -> bytes:
    lines = [f"{name}: {value}" for name, value in fields]
    text = "\r\n".join([*lines, ""])
    if text.count("\r") != len(lines) or text.count("\n") != len(lines) or "\0" in text:
        raise ValueError("a header field has no line ends")
    return text.encode()
