"""Header blocks: name and value pairs, compressed with one zlib stream a direction for the whole connection.

The dictionary is the protocol's (Draft 3, section 2.6.10.1). A block is decompressed into a bounded buffer, so a few bytes
that would become gigabytes are an error long before.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from typing import Final

HEADERS_BYTES_MAX: Final = 16 * 1024
"""Of one block, decompressed. Port-forward's have about a hundred."""
HEADERS_MAX: Final = 64
"""Pairs in one block."""
DICTIONARY_ADLER32: Final = 0xE3C6A7C2
"""By which zlib names the dictionary in every stream."""

_LISTED: Final = (
    "options;head;post;put;delete;trace;accept;accept-charset;accept-encoding;accept-language;accept-ranges;age;allow;"
    "authorization;cache-control;connection;content-base;content-encoding;content-language;content-length;"
    "content-location;content-md5;content-range;content-type;date;etag;expect;expires;from;host;if-match;"
    "if-modified-since;if-none-match;if-range;if-unmodified-since;last-modified;location;max-forwards;pragma;"
    "proxy-authenticate;proxy-authorization;range;referer;retry-after;server;te;trailer;transfer-encoding;upgrade;"
    "user-agent;vary;via;warning;www-authenticate;method;get;status;200 OK;version;HTTP/1.1;url;public;set-cookie;"
    "keep-alive;origin"
)
_RUN_TOGETHER: Final = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden"
    "404 Not Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug "
    "Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,"
    "application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdch"
    "charset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)
DICTIONARY: Final = (
    b"".join(struct.pack(">I", len(word)) + word.encode() for word in _LISTED.split(";")) + _RUN_TOGETHER.encode()
)
assert zlib.adler32(DICTIONARY) == DICTIONARY_ADLER32, hex(zlib.adler32(DICTIONARY))

_WINDOW_BITS: Final = (
    11  # 2 KiB hold the dictionary; zlib's default of 32 KiB would cost a quarter of a MiB a connection
)
_MEMORY_LEVEL: Final = 4


class BadHeaders(Exception):
    """The block is not one, or it is larger than we take. The connection cannot go on: its zlib stream is lost."""


class Compressor:
    """Our direction."""

    def __init__(self) -> None:
        self._stream = zlib.compressobj(6, zlib.DEFLATED, _WINDOW_BITS, _MEMORY_LEVEL, zdict=DICTIONARY)

    def compress(self, headers: Mapping[str, str]) -> bytes:
        """The block. Blocks must be sent in the order in which they were compressed."""
        return self._stream.compress(packed(headers)) + self._stream.flush(zlib.Z_SYNC_FLUSH)


class Decompressor:
    """The peer's direction."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(zdict=DICTIONARY)

    def decompress(self, block: bytes) -> dict[str, str]:
        """The pairs. Raises BadHeaders."""
        try:
            plain = self._stream.decompress(block, HEADERS_BYTES_MAX)
        except zlib.error as error:
            raise BadHeaders(str(error)) from error
        # What did not fit into the buffer waits in one of two places: not read yet, or read and not put out yet.
        if self._stream.unconsumed_tail or len(plain) == HEADERS_BYTES_MAX:
            raise BadHeaders(f"a header block has more than {HEADERS_BYTES_MAX} bytes")
        if self._stream.eof:
            raise BadHeaders("the stream of header blocks was ended")
        return unpacked(plain)


def packed(headers: Mapping[str, str]) -> bytes:
    """The block before compression. Several values of one name are joined by NUL. Text is latin-1, as in HTTP."""
    pieces = [struct.pack(">I", len(headers))]
    for name, value in headers.items():
        for text in (name, value):
            data = text.encode("latin-1")
            pieces += [struct.pack(">I", len(data)), data]
    return b"".join(pieces)


def unpacked(block: bytes) -> dict[str, str]:
    """The pairs of a decompressed block. Raises BadHeaders."""
    count, position = _number(block, 0)
    if count > HEADERS_MAX:
        raise BadHeaders(f"a header block has {count} pairs, more than {HEADERS_MAX}")
    headers: dict[str, str] = {}
    for _ in range(count):
        name, position = _text(block, position)
        value, position = _text(block, position)
        if not name or name != name.lower():
            raise BadHeaders(f"the header name {name!r} is not in lower case")
        if name in headers:
            raise BadHeaders(f"the header {name!r} is there twice")
        headers[name] = value
    if position != len(block):
        raise BadHeaders("a header block goes on after its last pair")
    return headers


def _number(block: bytes, position: int) -> tuple[int, int]:
    end = position + 4
    if end > len(block):
        raise BadHeaders("a header block is too short")
    return int.from_bytes(block[position:end], "big"), end


def _text(block: bytes, position: int) -> tuple[str, int]:
    length, start = _number(block, position)
    end = start + length
    if end > len(block):
        raise BadHeaders("a header block is too short")
    return block[start:end].decode("latin-1"), end
