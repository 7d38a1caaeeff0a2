"""The chain that ties each line of the audit log to everything before it.

A line is a JSON object whose last member is `chain`: its number and a SHA-256 of the digest before it, that number and
the rest of the line, byte for byte. So nothing can be changed, left out, put in or moved without every later digest
changing too, and whoever checks it needs no JSON parser that agrees with the writer's.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Final, NamedTuple

API_VERSION: Final = "audit.stark.dev/v1"
"""Of the log's own records, which stand between the events: File, Start, Stop, Seal, Repair, Refusals."""
_SUFFIX: Final = re.compile(rb',"chain":\{"seq":([1-9][0-9]{0,18}),"hash":"([0-9a-f]{64})"\}\}')
_SUFFIX_MARK: Final = b',"chain":{"seq":'


class Link(NamedTuple):
    """A place in the chain: the number of a line, and the digest over it and all before."""

    seq: int
    digest: bytes

    def __str__(self) -> str:
        return f"{self.seq}:{self.digest.hex()}"


ORIGIN: Final = Link(0, bytes(32))
"""Before the first line of a log."""


def parse_link(text: str) -> Link:
    """From `SEQ:HASH`, as `str` of a link writes it. Raises ValueError."""
    seq, colon, digest = text.partition(":")
    if not colon or not seq.isdecimal() or len(digest) != 64:
        raise ValueError(f"{text!r} is not SEQ:HASH, a number and 64 hexadecimal digits")
    return Link(int(seq), bytes.fromhex(digest))


def _digest(before: bytes, seq: int, body: bytes) -> bytes:
    return sha256(b"%b%d %b" % (before, seq, body)).digest()


def chained(body: bytes, before: Link) -> tuple[bytes, Link]:
    """The line (with its line feed) for a JSON object that is not empty and has no line feed inside; and its place."""
    seq = before.seq + 1
    digest = _digest(before.digest, seq, body)
    return b'%b,"chain":{"seq":%d,"hash":"%b"}}\n' % (body[:-1], seq, digest.hex().encode()), Link(seq, digest)


def unchained(line: bytes) -> tuple[bytes, Link] | None:
    """The object without its chain, and the place the line claims to have; None when it is no line of a log."""
    text = line.rstrip(b"\n")
    at = text.rfind(_SUFFIX_MARK)
    found = _SUFFIX.fullmatch(text, at) if at > 0 else None
    if found is None:
        return None
    return text[:at] + b"}", Link(int(found[1]), bytes.fromhex(found[2].decode()))


def follows(body: bytes, claimed: Link, before: Link) -> bool:
    """Whether the line with this body comes directly after `before` and has not been changed."""
    return claimed.seq == before.seq + 1 and claimed.digest == _digest(before.digest, claimed.seq, body)
