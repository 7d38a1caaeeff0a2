"""From the bytes of one connection to its requests, in their order, with a bound on everything a client can make us hold.

The parser is fed a head at a time, or a slice of a body, so that what a client sends ahead is never taken apart before there
is room for it. What cannot be understood becomes the last item: the answer to it ends the connection.
"""

from __future__ import annotations

from typing import Final, Protocol

import httptools

from ..request import Body
from ..settings import HttpSettings
from .bodies import NO_BODY, ArrivingBody, Inflow, may_have_body, unreadable
from .heads import CHUNKED, Head, Refused, read_head

PIPELINED_MAX: Final = 8
"""Requests of one connection that are read before the one under way is answered. Past that it is not read from."""
HELD_MAX: Final = 64 * 1024
"""Unparsed bytes of one connection beyond which it is not read from; one read may exceed it once."""
CHUNKED_SLICE: Final = 16 * 1024
"""Bytes of a chunked body parsed at once: what follows its end in one slice may be a handful of requests, not thousands."""
CHUNK_OVERHEAD: Final = 16
"""Bytes a chunk may take beyond its data; more than that, as from chunk extensions, is counted as waste."""
CHUNK_WASTE_MAX: Final = 16 * 1024
"""Bytes of chunk extensions, padded sizes and trailers of one body. Nobody needs them; Go's server has the same bound."""
PIPELINED_AT_ONCE_MAX: Final = 64
"""Requests in one slice behind the end of a chunked body. More in such a place are an attack."""
DISCARDED_MAX: Final = 256 * 1024
"""Bytes of a body that nobody wants which are read so that the connection can be used again, as in Go's server."""

Item = tuple[Head, Body] | Refused


class Owner(Inflow, Protocol):
    """The connection, as its reader sees it."""

    def request_begins(self) -> None:
        """The first byte of a request has come."""
        ...

    def request_ends(self) -> None:
        """The last one has."""
        ...

    def give_up(self) -> None:
        """A body that nobody wants does not end."""
        ...


class Reader:
    """The reading half of a connection. Requests wait in `items` until they are taken."""

    __slots__ = (
        "_body_left", "_chunk_waste", "_head_size", "_is_last", "_owner", "_parser", "_raw", "_refused", "_settings",
        "_target", "arriving", "at_end", "awaits_upgrade", "held", "in_body", "items",
    )  # fmt: skip

    def __init__(self, owner: Owner, settings: HttpSettings) -> None:
        self._owner, self._settings = owner, settings
        self._parser = httptools.HttpRequestParser(self)
        self._target = b""
        self._raw: list[tuple[bytes, bytes]] = []
        self._head_size = self._body_left = self._chunk_waste = 0
        self._refused: Refused | None = None
        self._is_last = False
        self.items: list[Item] = []
        self.held = b""
        """What has come and is not parsed yet."""
        self.in_body = False
        self.arriving: ArrivingBody | None = None
        """The body that is still under way."""
        self.at_end = False
        """What comes from now on is not read: the client said so, or it cannot be understood."""
        self.awaits_upgrade = False
        """Until the answer, nobody knows whether what follows is HTTP."""

    @property
    def is_amid(self) -> bool:
        """Something has begun and not ended."""
        return self.in_body or bool(self.held or self._head_size)

    @property
    def has_room(self) -> bool:
        """Whether more should be read from the client."""
        is_full = self.arriving is not None and self.arriving.is_full
        return not is_full and len(self.held) <= HELD_MAX and len(self.items) < PIPELINED_MAX

    def feed(self, data: bytes) -> None:
        """Some bytes came."""
        self.held = self.held + data if self.held else data
        self.read_on()

    def read_on(self) -> None:
        """Parse what is held, but never so much that more requests would wait than may."""
        while self.held and not (self.at_end or self.awaits_upgrade or len(self.items) >= PIPELINED_MAX):
            held = self.held
            size = self._slice_size(held)
            piece, self.held = (held, b"") if size >= len(held) else (held[:size], held[size:])
            self._parse(piece)
        if self.at_end:
            self.held = b""

    def stop(self) -> None:
        """The connection is over."""
        self.at_end, self.held = True, b""
        self.items.clear()
        if self.arriving is not None:
            self.arriving.finish(unreadable("the connection was lost"))

    def forget_head(self) -> None:
        """The request under way needs its head no longer: a watch may last for days."""
        self._raw, self._target = [], b""

    def _slice_size(self, held: bytes) -> int:
        """How much to parse at once: a head, a body of known length, or a part of one that is not."""
        if self.in_body:
            return CHUNKED_SLICE if self._body_left == CHUNKED else self._body_left
        end = held.find(b"\r\n\r\n")
        return end + 4 if end >= 0 else len(held)

    def _parse(self, piece: bytes) -> None:
        if not self.in_body:
            self._head_size += len(piece)
            if self._head_size > self._settings.header_bytes_max:
                self._refuse(_head_too_large())
                return
        elif self._body_left == CHUNKED:
            self._chunk_waste += len(piece)
        try:
            self._parser.feed_data(piece)
        except httptools.HttpParserUpgrade as pause:
            # What follows is the other protocol, if the answer is that we speak it; otherwise the next request.
            self.held = piece[pause.args[0] :] + self.held
            self._parser = httptools.HttpRequestParser(self)
        except httptools.HttpParserError as error:
            self._refuse(self._refused or Refused(400, f"this is not an HTTP/1.1 request: {error}"))
            return
        if self._chunk_waste > CHUNK_WASTE_MAX:
            self._refuse(Refused(400, "a chunked body has more framing than it may"))

    def _refuse(self, refused: Refused) -> None:
        """Nothing that comes after this means anything."""
        self.at_end, self.held = True, b""
        if self.arriving is None or self.arriving.is_complete:
            self.items.append(refused)
            return
        self.arriving.finish(unreadable(refused.reason))
        if self.arriving.discarded >= 0:
            self._owner.give_up()

    # What the parser calls.

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._target, self._raw = b"", []
        if len(self.items) >= PIPELINED_AT_ONCE_MAX:
            self._refused = Refused(400, "too many requests wait for their answers")
            raise self._refused
        self._owner.request_begins()

    def on_url(self, part: bytes) -> None:
        """A part of the request target."""
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; after the body it is a trailer, and those are counted and dropped."""
        if self.in_body:
            return
        self._raw.append((name, value))
        if len(self._raw) > self._settings.headers_max:
            self._refused = _head_too_large()
            raise self._refused

    def on_headers_complete(self) -> None:
        """The head of a request is there: it can be handled."""
        parser = self._parser
        method = parser.get_method().decode()
        try:
            head = read_head(
                method,
                parser.get_http_version(),
                self._target,
                self._raw,
                keep_alive=parser.should_keep_alive(),
                upgrades=parser.should_upgrade(),
            )
        except Refused as refused:
            self._refused = refused
            raise
        self._head_size, self.in_body, self._body_left = 0, True, head.length
        self._is_last, self.awaits_upgrade = not head.keep_alive, head.upgrades
        body: Body = NO_BODY
        if may_have_body(head.length):
            body = self.arriving = ArrivingBody(self._owner, head.length, self._settings.body_timeout_s)
        self.items.append((head, body))

    def on_body(self, data: bytes) -> None:
        """A part of the body."""
        assert self.arriving is not None, self._body_left
        if self._body_left == CHUNKED:
            # The framing of a chunk is allowed; whatever else is not data stays counted.
            self._chunk_waste = max(self._chunk_waste - len(data), 0)
        else:
            self._body_left -= len(data)
        self.arriving.feed(data)
        if self.arriving.discarded > DISCARDED_MAX:
            self._owner.give_up()

    def on_chunk_header(self) -> None:
        """A chunk begins."""
        self._chunk_waste = max(self._chunk_waste - CHUNK_OVERHEAD, 0)

    def on_message_complete(self) -> None:
        """The request is there to its last byte."""
        self.in_body, self._chunk_waste = False, 0
        if self.arriving is not None:
            self.arriving.finish()
            self.arriving = None
        # What a client sends after saying that it will not is dropped.
        self.at_end = self._is_last and not self.awaits_upgrade
        self._owner.request_ends()


def _head_too_large() -> Refused:
    return Refused(431, "the request's head is larger than it may be")
