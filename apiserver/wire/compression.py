"""Answers as gzip, for clients that take it, made of parts that were compressed one by one.

A deflate stream that was flushed ends at a byte and refers to nothing before it, so streams can be put one after the
other; the checksum of the whole follows from those of the parts. So a list of segments that were compressed before is put
together and not compressed again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, overload, runtime_checkable

from isal import isal_zlib

from ..request import Request, Response

COMPRESSED_FROM: Final = 128 * 1024
"""Bytes from which an answer is compressed: Kubernetes' bound (its feature APIResponseCompression)."""
LEVEL: Final = 1
"""isal's: a fifth larger than zlib's best, and ten times as fast as zlib's fastest."""
PIECE_BYTES: Final = 64 * 1024
"""Parts are joined up to about this size, and written as one."""

_HEADER: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\xff"
"""RFC 1952 section 2.3: deflate, no name, no time, compressed fast, of no system in particular."""
_LAST_BLOCK: Final = b"\x03\x00"


@dataclass(frozen=True, slots=True)
class Deflated:
    """A part: `data` is a flushed deflate stream of `size` bytes with the checksum `crc`."""

    data: bytes
    crc: int
    size: int


def deflated(data: bytes) -> Deflated:
    """`data` as a part."""
    stream = isal_zlib.compressobj(LEVEL, isal_zlib.DEFLATED, -isal_zlib.MAX_WBITS)
    made = stream.compress(data) + stream.flush(isal_zlib.Z_FULL_FLUSH)
    return Deflated(made, isal_zlib.crc32(data), len(data))


class Gzipped(Sequence[bytes]):
    """A gzip file of parts, as pieces that are joined when they are sent."""

    def __init__(self, parts: Iterable[Deflated]) -> None:
        crc, plain, weight = 0, 0, 0
        groups: list[list[bytes]] = [[_HEADER]]
        self.size = len(_HEADER) + len(_LAST_BLOCK) + 8
        for part in parts:
            crc = isal_zlib.crc32_combine(crc, part.crc, part.size)
            plain += part.size
            self.size += len(part.data)
            weight += len(part.data)
            groups[-1].append(part.data)
            if weight >= PIECE_BYTES:
                groups.append([])
                weight = 0
        groups[-1].append(_LAST_BLOCK + crc.to_bytes(4, "little") + (plain & 0xFFFFFFFF).to_bytes(4, "little"))
        self._groups = groups

    def __len__(self) -> int:
        return len(self._groups)

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | Sequence[bytes]:
        if isinstance(index, slice):
            return [b"".join(group) for group in self._groups[index]]
        return b"".join(self._groups[index])


@runtime_checkable
class Compressible(Protocol):
    """A body that knows better how it is compressed."""

    def parts(self) -> Iterable[Deflated]:
        """All of it."""
        ...


def compress(request: Request, answer: Response) -> None:
    """Compress the body if it is large and the client takes gzip."""
    body = answer.body
    size = len(body) if isinstance(body, bytes) else getattr(body, "size", None) or sum(map(len, body))
    if size < COMPRESSED_FROM or "Content-Encoding" in answer.headers:
        return
    answer.headers["Vary"] = (
        "Accept-Encoding" if "Vary" not in answer.headers else f"{answer.headers['Vary']}, Accept-Encoding"
    )
    if not takes_gzip(request.headers.get("accept-encoding", "")):
        return
    answer.headers["Content-Encoding"] = "gzip"
    if isinstance(body, Compressible):
        answer.body = Gzipped(body.parts())
    else:
        answer.body = Gzipped(map(deflated, [body] if isinstance(body, bytes) else body))


def takes_gzip(header: str) -> bool:
    """Whether an Accept-Encoding names gzip and does not rule it out (RFC 9110 section 12.5.3)."""
    for offer in header.split(","):
        coding, _, weight = offer.partition(";")
        if coding.strip().lower() == "gzip":
            return weight.replace(" ", "").rstrip("0").rstrip(".") not in ("q=0", "q=")
    return False
