"""WebSocket messages (RFC 6455) as a client speaks them, without a connection: bytes in, messages out, and back.

A library would do, but each takes longer to import than a command may take to start. What a server must not send
(masked frames, reserved bits, fragments out of order, anything over the bound) is a ProtocolError.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterator

from .http1 import ProtocolError

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
CONTROL_BYTES_MAX = 125
MESSAGE_BYTES_MAX = 4 * 1024 * 1024
"""Longest message accepted, in however many fragments; streams come in pieces far shorter than this."""
KEY_BYTES, MASK_BYTES, NORMAL = 16, 4, 1000
_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def new_key() -> str:
    """A Sec-WebSocket-Key nobody has used before."""
    return base64.b64encode(os.urandom(KEY_BYTES)).decode()


def accept_of(key: str) -> str:
    """The Sec-WebSocket-Accept that proves the server has understood (RFC 6455, 4.2.2)."""
    return base64.b64encode(hashlib.sha1(key.encode() + _MAGIC, usedforsecurity=False).digest()).decode()


def frame(opcode: int, payload: bytes) -> bytes:
    """One whole message, masked as a client's must be (RFC 6455, 5.2)."""
    size = len(payload)
    if size < 126:
        head = bytes((0x80 | opcode, 0x80 | size))
    elif size < 1 << 16:
        head = bytes((0x80 | opcode, 0x80 | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 0x80 | 127)) + size.to_bytes(8, "big")
    mask = os.urandom(MASK_BYTES)
    return head + mask + masked(payload, mask)


def masked(payload: bytes, mask: bytes) -> bytes:
    """Payload and mask combined, as one large number since that takes Python a single step (RFC 6455, 5.3)."""
    repeated = (mask * (len(payload) // MASK_BYTES + 1))[: len(payload)]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(len(payload), "big")


class Messages:
    """Whole messages from bytes as they arrive."""

    def __init__(self, limit: int = MESSAGE_BYTES_MAX) -> None:
        self._limit = limit
        self._bytes = bytearray()
        self._opcode = CONTINUATION
        self._fragments = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """The messages that are complete with these bytes: opcode and payload. Raises ProtocolError."""
        self._bytes += data
        while (found := self._frame()) is not None:
            final, opcode, payload = found
            if opcode >= CLOSE:
                yield opcode, payload
                continue
            if (opcode == CONTINUATION) != (self._opcode != CONTINUATION):
                raise ProtocolError("a WebSocket fragment out of order")
            self._opcode = opcode or self._opcode
            self._fragments += payload
            if len(self._fragments) > self._limit:
                raise ProtocolError(f"a WebSocket message of more than {self._limit} bytes")
            if final:
                whole, kind = bytes(self._fragments), self._opcode
                self._fragments.clear()
                self._opcode = CONTINUATION
                yield kind, whole

    def _frame(self) -> tuple[bool, int, bytes] | None:
        held = self._bytes
        if len(held) < 2:
            return None
        final, opcode, size, start = bool(held[0] & 0x80), held[0] & 0x0F, held[1] & 0x7F, 2
        if held[0] & 0x70 or held[1] & 0x80:
            raise ProtocolError("a WebSocket frame that is masked, or uses an extension nobody agreed on")
        if opcode not in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG):
            raise ProtocolError(f"a WebSocket frame of unknown kind {opcode}")
        if opcode >= CLOSE and (not final or size > CONTROL_BYTES_MAX):
            raise ProtocolError("a WebSocket control frame in pieces or too long")
        if size > CONTROL_BYTES_MAX:
            start += 2 if size == 126 else 8
            if len(held) < start:
                return None
            size = int.from_bytes(held[2:start], "big")
        if size > self._limit:
            raise ProtocolError(f"a WebSocket message of more than {self._limit} bytes")
        if len(held) < start + size:
            return None
        payload = bytes(held[start : start + size])
        del held[: start + size]
        return final, opcode, payload
