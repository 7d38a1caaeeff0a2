"""Asks a program by gRPC whether it is healthy (grpc.health.v1), with as much of HTTP/2 as one such call takes.

One connection, one stream, one message of a few bytes each way (RFC 9113). Header fields are sent as literals that no table
remembers, and those of the answer need not be read: only a call that succeeds has a message, and only that is success.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
PATH = b"/grpc.health.v1.Health/Check"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
END_STREAM = ACK = 1
END_HEADERS, PADDED = 4, 8
STREAM = 1
NO_PUSH = struct.pack(">HI", 2, 0)
"""The only setting of ours: SETTINGS_ENABLE_PUSH is off."""
ANSWER_MAX = 64 * 1024  # bytes of everything that is read: settings, headers and a message of two bytes
SERVICE_MAX = 1_000  # bytes of a service's name, so that the call fits into a frame
STATUSES = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")
SERVING = 1


class NotHealthy(Exception):
    """It did not say that it is."""


@dataclass(frozen=True, slots=True)
class _Frame:
    kind: int
    flags: int
    stream: int
    payload: bytes


async def check_health(host: str, port: int, service: str) -> None:
    """Return when the service is being served. Raises NotHealthy, or OSError without a connection. Bound its time."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(_call(f"{host}:{port}", service))
        message = b""
        async for frame in _frames(reader):
            if frame.kind in (SETTINGS, PING) and not frame.flags & ACK:
                writer.write(_frame(frame.kind, ACK, 0, frame.payload if frame.kind == PING else b""))
            elif frame.kind == GOAWAY or (frame.kind == RST_STREAM and frame.stream == STREAM):
                raise NotHealthy("the call was broken off")
            elif frame.stream == STREAM and frame.kind == DATA:
                message += _unpadded(frame)
                status = _status(message)
                if status is not None:
                    return _judge(status)
            if frame.stream == STREAM and frame.kind in (DATA, HEADERS) and frame.flags & END_STREAM:
                raise NotHealthy("it has no health status for that service, or no health service")
        raise NotHealthy("the connection ended without an answer")
    finally:
        writer.close()


def _judge(status: int) -> None:
    if status != SERVING:
        word = STATUSES[status] if status < len(STATUSES) else str(status)
        raise NotHealthy(f'service unhealthy (responded with "{word}")')


def _call(authority: str, service: str) -> bytes:
    """Everything that is said: the preface, our settings, the call's header fields and its message."""
    fields = (
        b"\x83\x86"  # :method POST and :scheme http, from HPACK's static table (RFC 7541, appendix A)
        + _literal(4, PATH)
        + _literal(1, authority.encode())
        + _literal(31, b"application/grpc")  # content-type
        + b"\x00" + _text(b"te") + _text(b"trailers")
        + _literal(58, b"stark-probe/1")  # user-agent
    )  # fmt: skip
    name = service.encode()[:SERVICE_MAX]
    body = b"\x0a" + _varint(len(name)) + name if name else b""  # protobuf: field 1, a text
    return (
        PREFACE
        + _frame(SETTINGS, 0, 0, NO_PUSH)
        + _frame(HEADERS, END_HEADERS, STREAM, fields)
        + _frame(DATA, END_STREAM, STREAM, struct.pack(">BI", 0, len(body)) + body)
    )


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


async def _frames(reader: asyncio.StreamReader) -> AsyncIterator[_Frame]:
    """The frames of the answer, until its end. Raises NotHealthy when there is too much of it."""
    left = ANSWER_MAX
    while True:
        try:
            head = await reader.readexactly(9)
            size = int.from_bytes(head[:3], "big")
            left -= size + len(head)
            if left < 0:
                raise NotHealthy("the answer is no health status")
            payload = await reader.readexactly(size)
        except asyncio.IncompleteReadError:
            return
        yield _Frame(head[3], head[4], int.from_bytes(head[5:], "big") & 0x7FFF_FFFF, payload)


def _unpadded(frame: _Frame) -> bytes:
    if not frame.flags & PADDED:
        return frame.payload
    return frame.payload[1 : len(frame.payload) - frame.payload[0]] if frame.payload else b""


def _status(message: bytes) -> int | None:
    """The status in a message, when all of it is there. A message of no bytes has the default, UNKNOWN."""
    if len(message) < 5:
        return None
    compressed, size = struct.unpack(">BI", message[:5])
    body = message[5 : 5 + size]
    if len(body) < size:
        return None
    if compressed or (body and (len(body) != 2 or body[0] != 0x08)):
        raise NotHealthy("the answer is no health status")
    return body[1] if body else 0


def _literal(name: int, value: bytes) -> bytes:
    """A header field whose name is in the static table and whose value no table shall remember."""
    return _integer(name, 4) + _text(value)


def _text(value: bytes) -> bytes:
    return _integer(len(value), 7) + value


def _integer(number: int, bits: int) -> bytes:
    """HPACK's integer behind a prefix of so many bits (RFC 7541, 5.1)."""
    most = (1 << bits) - 1
    return bytes([number]) if number < most else bytes([most]) + _varint(number - most)


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first, as protobuf and HPACK have it."""
    found = []
    while number >= 0x80:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])
