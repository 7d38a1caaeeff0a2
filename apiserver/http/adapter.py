"""aiohttp's requests as ours, and our answers as its.

A client that leaves ends the handler at once: a watch is given back, a log stops being read. A client that does not take
what we write loses its connection, since what it does not read we would have to keep.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import unquote

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from ..auth.authentication import certificate_user
from ..errors import BadRequest, RequestEntityTooLarge, Timeout
from ..request import Answer, Body, Peer, Query, Request, Response, Stream, Upgrade
from ..settings import HttpSettings
from .takeover import TakenOver, switching

Handle = Callable[[Request], Awaitable[Answer]]

AUDIT_ID: Final = "Audit-Id"
CORRELATION_ID: Final = "X-Correlation-Id"
ID_LENGTH_MAX: Final = 128
"""An id from a client goes into answers and logs; a longer one is replaced."""
PEER: Final = "stark.peer"


class Headers(Mapping[str, str]):
    """A request's headers, looked up without regard to case; a repeated one joined."""

    __slots__ = ("_raw",)

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    def __getitem__(self, name: str) -> str:
        return ", ".join(self._raw.getall(name))

    def get(self, name: str, default: Any = None) -> Any:
        """The value, or `default`."""
        values = self._raw.getall(name, ())
        if not values:
            return default
        return values[0] if len(values) == 1 else ", ".join(values)

    def __iter__(self) -> Iterator[str]:
        return iter({name.lower() for name in self._raw})

    def __len__(self) -> int:
        return len(set(self))


class AiohttpBody(Body):
    """The body as it arrives, bounded in size and time."""

    def __init__(self, request: web.BaseRequest, timeout_s: float) -> None:
        self._request, self._timeout_s = request, timeout_s

    async def read(self, limit: int) -> bytes:
        """All of it. Raises RequestEntityTooLarge past `limit`, Timeout when it does not come."""
        request = self._request
        if not request.can_read_body:
            return b""
        if (request.content_length or 0) > limit:
            raise _too_large(limit)
        pieces: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._timeout_s):
                async for piece in self.chunks():
                    size += len(piece)
                    if size > limit:
                        raise _too_large(limit)
                    pieces.append(piece)
        except TimeoutError:
            raise Timeout(f"the request's body did not arrive within {self._timeout_s:g} s") from None
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Piece by piece. Raises BadRequest when it is not what its headers say."""
        try:
            async for piece in self._request.content.iter_any():
                yield piece
        except (web.RequestPayloadError, HttpProcessingError) as error:
            raise BadRequest(f"the request's body cannot be read: {error}") from error


def _too_large(limit: int) -> RequestEntityTooLarge:
    return RequestEntityTooLarge(f"Request entity too large: limit is {limit}")


class Adapter:
    """aiohttp's handler around ours."""

    def __init__(self, handle: Handle, settings: HttpSettings) -> None:
        self._handle, self._settings = handle, settings

    async def __call__(self, raw: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        path, _, query = raw.raw_path.partition("?")
        try:
            request = Request(
                raw.method,
                unquote(path) if "%" in path else path,
                Query(query),
                Headers(raw.headers),
                AiohttpBody(raw, self._settings.body_timeout_s),
                _peer(raw),
            )
        except ValueError as error:
            return web.Response(status=400, text=f"the query cannot be read: {error}\n")
        answer = await self._handle(request)
        if isinstance(answer, Upgrade):
            return await self._upgrade(raw, answer)
        headers = self._headers(raw, answer)
        if isinstance(answer, Stream):
            return await self._stream(raw, answer, headers)
        if raw.method == "HEAD":
            return web.Response(status=answer.status, headers=headers)
        if isinstance(answer.body, bytes):
            return web.Response(status=answer.status, body=answer.body, headers=headers)
        return await self._pieces(raw, answer, answer.body, headers)

    def _headers(self, raw: web.BaseRequest, answer: Response | Stream) -> dict[str, str]:
        headers = {"Content-Type": answer.content_type, **_ids(raw), **answer.headers}
        headers.setdefault("Cache-Control", "no-cache, private")
        return headers

    async def _upgrade(self, raw: web.BaseRequest, answer: Upgrade) -> web.StreamResponse:
        """Take the connection away from aiohttp, and let the answer have it until it is over."""
        protocol: Any = raw.protocol
        early = _Early()
        protocol.set_parser(early)  # which hands over what came after the request
        client = TakenOver(raw.transport, protocol, bytes(early.received))
        try:
            client.send(switching(answer, _ids(raw)))
            await answer.relay(client)
        finally:
            client.release()
        return _Relayed()

    async def _pieces(
        self, raw: web.BaseRequest, answer: Response, body: Sequence[bytes], headers: dict[str, str]
    ) -> web.StreamResponse:
        """A body in several buffers: each is made, written and forgotten before the next."""
        response = web.StreamResponse(status=answer.status, headers=headers)
        size = getattr(body, "size", None)
        response.content_length = sum(map(len, body)) if size is None else size
        await response.prepare(raw)
        for piece in body:
            await self._write(raw, response, piece)
        await response.write_eof()
        return response

    async def _stream(self, raw: web.BaseRequest, answer: Stream, headers: dict[str, str]) -> web.StreamResponse:
        response = web.StreamResponse(status=answer.status, headers=headers)
        chunks: Any = answer.chunks
        try:
            if raw.version >= (1, 1) and "Content-Length" not in answer.headers:
                response.enable_chunked_encoding()
            await response.prepare(raw)
            # A client waits for the headers before it believes that the watch has begun.
            response._payload_writer.send_headers()  # type: ignore[union-attr]
            async for piece in chunks:
                await self._write(raw, response, piece)
            await response.write_eof()
        except ConnectionError:
            pass  # The client is gone; there is nobody to tell.
        finally:
            close = getattr(chunks, "aclose", None)
            if close is not None:
                await close()
        return response

    async def _write(self, raw: web.BaseRequest, response: web.StreamResponse, piece: bytes) -> None:
        try:
            async with asyncio.timeout(self._settings.write_timeout_s):
                await response.write(piece)
        except TimeoutError:
            transport = raw.transport
            if transport is not None:
                transport.abort()
            raise ConnectionResetError("the client does not read") from None


class _Early:
    """Collects what aiohttp has read past the head of an upgrade, before anything else reads the connection."""

    def __init__(self) -> None:
        self.received = bytearray()

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """aiohttp's call."""
        self.received += data
        return False, b""

    def feed_eof(self) -> None:
        """aiohttp's call."""


class _Relayed(web.StreamResponse):
    """What aiohttp is told when the connection has been used up: there is nothing more to send."""

    async def prepare(self, request: web.BaseRequest) -> None:
        """Nothing."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing."""

    @property
    def keep_alive(self) -> bool:
        """Never."""
        return False


def _ids(raw: web.BaseRequest) -> dict[str, str]:
    audit_id = _id(raw, AUDIT_ID)
    return {AUDIT_ID: audit_id, CORRELATION_ID: _id(raw, CORRELATION_ID) if CORRELATION_ID in raw.headers else audit_id}


def _id(raw: web.BaseRequest, header: str) -> str:
    given = raw.headers.get(header, "")
    return given if given.isprintable() and 0 < len(given) <= ID_LENGTH_MAX else str(uuid.uuid4())


def _peer(raw: web.BaseRequest) -> Peer:
    """Who is at the other end; the certificate is looked at once per connection."""
    protocol: Any = raw.protocol
    known: Peer | None = getattr(protocol, "peer", None)
    if known is None:
        transport = raw.transport
        certificate = transport.get_extra_info("peercert") if transport is not None else None
        name = transport.get_extra_info("peername") if transport is not None else None
        known = Peer(f"{name[0]}:{name[1]}" if name else "", certificate_user(certificate))
        protocol.peer = known
    return known
