"""Frames of SPDY/3.1 as values, from bytes and to bytes (Draft 3.1, section 2).

A control frame is read whole, and therefore bounded. A DATA frame may have 16 MiB: it is handed on in the pieces in which
it arrives, so that a reader never holds more than was received in one go and one control frame.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from .headers import BadHeaders, Compressor, Decompressor

VERSION: Final = 3
HEAD_BYTES: Final = 8
CONTROL_BYTES_MAX: Final = 32 * 1024
"""Of a control frame's body; compressed headers, of which few are needed."""
DATA_BYTES_MAX: Final = (1 << 24) - 1
STREAM_ID_MAX: Final = 0x7FFF_FFFF
FLAG_FIN: Final = 0x01
FLAG_UNIDIRECTIONAL: Final = 0x02
CONTROL_BIT: Final = 0x8000_0000


class Kind(IntEnum):
    """Types of control frames."""

    SYN_STREAM = 1
    SYN_REPLY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PING = 6
    GOAWAY = 7
    HEADERS = 8
    WINDOW_UPDATE = 9


class ResetStatus(IntEnum):
    """Why a stream is reset (section 2.6.3)."""

    PROTOCOL_ERROR = 1
    INVALID_STREAM = 2
    REFUSED_STREAM = 3
    UNSUPPORTED_VERSION = 4
    CANCEL = 5
    INTERNAL_ERROR = 6
    FLOW_CONTROL_ERROR = 7
    STREAM_IN_USE = 8
    STREAM_ALREADY_CLOSED = 9
    FRAME_TOO_LARGE = 11


class GoAwayStatus(IntEnum):
    """Why a connection ends (section 2.6.6)."""

    OK = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2


SETTING_INITIAL_WINDOW: Final = 7


@dataclass(frozen=True, slots=True)
class SynStream:
    """A new stream."""

    stream_id: int
    headers: Mapping[str, str]
    fin: bool = False
    unidirectional: bool = False
    associated_id: int = 0
    priority: int = 0


@dataclass(frozen=True, slots=True)
class SynReply:
    """A stream is accepted."""

    stream_id: int
    headers: Mapping[str, str]
    fin: bool = False


@dataclass(frozen=True, slots=True)
class RstStream:
    """A stream is over, both ways."""

    stream_id: int
    status: int


@dataclass(frozen=True, slots=True)
class SettingsFrame:
    """What the peer wants to be known."""

    values: Mapping[int, int]
    """By number; of all of them we heed only the initial window."""


@dataclass(frozen=True, slots=True)
class Ping:
    """To be sent back as it is."""

    ping_id: int


@dataclass(frozen=True, slots=True)
class GoAway:
    """No new streams."""

    last_stream_id: int
    status: int


@dataclass(frozen=True, slots=True)
class Headers:
    """More headers of a stream."""

    stream_id: int
    headers: Mapping[str, str]
    fin: bool = False


@dataclass(frozen=True, slots=True)
class WindowUpdate:
    """So many bytes more may be sent on the stream, or on the connection when that is 0."""

    stream_id: int
    delta: int


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes of a stream: when read, a piece of a frame; `fin` with the last one."""

    stream_id: int
    data: bytes
    fin: bool = False


Frame = SynStream | SynReply | RstStream | SettingsFrame | Ping | GoAway | Headers | WindowUpdate | Data


class FrameError(Exception):
    """The peer does not speak the protocol, or too much of it at once. The connection must end."""


class FrameReader:
    """Bytes in, frames out. After a FrameError it must not be used again."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._headers = Decompressor()
        self._data: tuple[int, int, bool] | None = None
        """Of the DATA frame whose body is being read: stream, bytes that are still to come, fin."""

    @property
    def held(self) -> int:
        """Bytes that wait for the rest of their frame."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[Frame]:
        """The frames, and pieces of DATA frames, that are complete now. Raises FrameError."""
        self._buffer += data
        position = 0
        frames: list[Frame] = []
        with memoryview(self._buffer) as view:
            while True:
                frame, used = self._next(view[position:])
                if not used:
                    break
                position += used
                if frame is not None:
                    frames.append(frame)
        del self._buffer[:position]
        return frames

    def _next(self, view: memoryview) -> tuple[Frame | None, int]:
        """The next frame, if it is of interest, and how many bytes have been used: none when more are needed."""
        with view:
            if self._data is not None:
                return self._piece(view)
            if len(view) < HEAD_BYTES:
                return None, 0
            first, second = struct.unpack_from(">II", view)
            flags, length = second >> 24, second & 0xFF_FFFF
            if not first & CONTROL_BIT:
                if first == 0:
                    raise FrameError("a DATA frame is of stream 0")
                self._data = (first, length, bool(flags & FLAG_FIN))
                frame, used = self._piece(view[HEAD_BYTES:]) if not length else (None, 0)
                return frame, HEAD_BYTES + used
            version, kind = first >> 16 & 0x7FFF, first & 0xFFFF
            if version != VERSION:
                raise FrameError(f"a frame is of version {version}, not {VERSION}")
            if length > CONTROL_BYTES_MAX:
                raise FrameError(f"a control frame has {length} bytes, more than {CONTROL_BYTES_MAX}")
            if len(view) < HEAD_BYTES + length:
                return None, 0
            body = bytes(view[HEAD_BYTES : HEAD_BYTES + length])
            return self._control(kind, flags, body), HEAD_BYTES + length

    def _piece(self, view: memoryview) -> tuple[Frame | None, int]:
        assert self._data is not None
        stream_id, left, fin = self._data
        size = min(left, len(view))
        if not size and left:
            return None, 0
        self._data = (stream_id, left - size, fin) if size < left else None
        return Data(stream_id, bytes(view[:size]), fin and size == left), size

    def _control(self, kind: int, flags: int, body: bytes) -> Frame | None:
        """The frame, or None for a kind that is not known, which the protocol wants to be ignored."""
        fin = bool(flags & FLAG_FIN)
        match kind:
            case Kind.SYN_STREAM:
                stream_id, associated, rest = *_numbers(kind, body, 2, at_least=10), body[10:]
                unidirectional, priority = bool(flags & FLAG_UNIDIRECTIONAL), body[8] >> 5
                return SynStream(_stream(stream_id), self._block(rest), fin, unidirectional, associated, priority)
            case Kind.SYN_REPLY:
                (stream_id,) = _numbers(kind, body, 1, at_least=4)
                return SynReply(_stream(stream_id), self._block(body[4:]), fin)
            case Kind.HEADERS:
                (stream_id,) = _numbers(kind, body, 1, at_least=4)
                return Headers(_stream(stream_id), self._block(body[4:]), fin)
            case Kind.RST_STREAM:
                stream_id, status = _numbers(kind, body, 2)
                return RstStream(_stream(stream_id), status)
            case Kind.PING:
                return Ping(*_numbers(kind, body, 1))
            case Kind.GOAWAY:
                last_id, status = _numbers(kind, body, 2)
                return GoAway(last_id & STREAM_ID_MAX, status)
            case Kind.WINDOW_UPDATE:
                stream_id, delta = _numbers(kind, body, 2)
                if not delta & STREAM_ID_MAX:
                    raise FrameError("a WINDOW_UPDATE is of no bytes")
                return WindowUpdate(stream_id & STREAM_ID_MAX, delta & STREAM_ID_MAX)
            case Kind.SETTINGS:
                return _settings(body)
        return None

    def _block(self, data: bytes) -> dict[str, str]:
        try:
            return self._headers.decompress(data)
        except BadHeaders as error:
            raise FrameError(str(error)) from error


def _numbers(kind: int, body: bytes, count: int, at_least: int = 0) -> Iterator[int]:
    """The 32-bit numbers with which a body begins; it consists of nothing else unless `at_least` is given."""
    if len(body) < at_least or (not at_least and len(body) != 4 * count):
        raise FrameError(f"a {Kind(kind).name} frame has {len(body)} bytes")
    return iter(struct.unpack_from(f">{count}I", body))


def _stream(number: int) -> int:
    stream_id = number & STREAM_ID_MAX
    if not stream_id:
        raise FrameError("a control frame is of stream 0")
    return stream_id


def _settings(body: bytes) -> SettingsFrame:
    (count,) = _numbers(Kind.SETTINGS, body, 1, at_least=4)
    if len(body) != 4 + 8 * count:
        raise FrameError(f"a SETTINGS frame of {count} values has {len(body)} bytes")
    return SettingsFrame({key & 0xFF_FFFF: value for key, value in struct.iter_unpack(">II", body[4:])})


class FrameWriter:
    """Frames in, bytes out. Frames must be sent in the order in which they were encoded."""

    def __init__(self) -> None:
        self._headers = Compressor()

    def encode(self, frame: Frame) -> bytes:
        """The frame's bytes; of a DATA frame, its head and its data."""
        match frame:
            case Data(stream_id, data, fin):
                assert len(data) <= DATA_BYTES_MAX, len(data)
                return struct.pack(">II", stream_id, _second(fin, len(data))) + data
            case SynStream():
                flags = frame.fin * FLAG_FIN | frame.unidirectional * FLAG_UNIDIRECTIONAL
                head = struct.pack(">IIBB", frame.stream_id, frame.associated_id, frame.priority << 5, 0)
                return _control(Kind.SYN_STREAM, head + self._headers.compress(frame.headers), flags)
            case SynReply(stream_id, headers, fin):
                return _control(Kind.SYN_REPLY, struct.pack(">I", stream_id) + self._headers.compress(headers), fin)
            case Headers(stream_id, headers, fin):
                return _control(Kind.HEADERS, struct.pack(">I", stream_id) + self._headers.compress(headers), fin)
            case RstStream(stream_id, status):
                return _control(Kind.RST_STREAM, struct.pack(">II", stream_id, status))
            case Ping(ping_id):
                return _control(Kind.PING, struct.pack(">I", ping_id))
            case GoAway(last_stream_id, status):
                return _control(Kind.GOAWAY, struct.pack(">II", last_stream_id, status))
            case WindowUpdate(stream_id, delta):
                return _control(Kind.WINDOW_UPDATE, struct.pack(">II", stream_id, delta))
            case SettingsFrame(values):
                pairs = b"".join(struct.pack(">II", key, value) for key, value in values.items())
                return _control(Kind.SETTINGS, struct.pack(">I", len(values)) + pairs)


def _second(flags: int, length: int) -> int:
    return flags << 24 | length


def _control(kind: Kind, body: bytes, flags: int = 0) -> bytes:
    assert len(body) <= CONTROL_BYTES_MAX, (kind, len(body))
    return struct.pack(">II", CONTROL_BIT | VERSION << 16 | kind, _second(flags, len(body))) + body
