"""Protobuf by hand, field by field, so that tests say what is on the wire and not what a library makes of it."""

from __future__ import annotations

import struct

from stark.apiserver.wire.protobuf.envelope import MAGIC

Value = int | str | bytes | float


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def f(number: int, value: Value) -> bytes:
    """One field."""
    if isinstance(value, float):
        return varint(number << 3 | 1) + struct.pack("<d", value)
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def body(api_version: str, kind: str, raw: bytes, *, encoding: str = "", content_type: str = "") -> bytes:
    return MAGIC + f(1, f(1, api_version) + f(2, kind)) + f(2, raw) + f(3, encoding) + f(4, content_type)
