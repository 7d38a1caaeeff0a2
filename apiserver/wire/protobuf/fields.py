"""The wire format of protobuf: from bytes to numbered fields. Knows no message."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

VARINT: Final = 0
FIXED64: Final = 1
BYTES: Final = 2
FIXED32: Final = 5

VARINT_BYTES_MAX: Final = 10
"""Seven bits of 64 in each."""
NUMBER_MAX: Final = 2**29 - 1
"""Largest number that a field may have."""
WHOLE_MAX: Final = 2**53
"""Below this every whole number has a float of its own."""
ZERO_DEPTH_MAX: Final = 8
"""How deep a message that we do not know is looked into."""
_MASK: Final = 2**64 - 1


class Malformed(ValueError):
    """The bytes are not what they should be. The message says why, for a person."""


class Span(NamedTuple):
    """One field as it lies in the bytes: a number in `value`, or everything from `start` to before `end`."""

    number: int
    wire_type: int
    value: int
    start: int
    end: int


def scan(data: bytes, start: int, end: int) -> Iterator[Span]:
    """The fields between two places, in their order. Raises Malformed."""
    while start < end:
        key, start = varint(data, start, end)
        number, wire_type = key >> 3, key & 7
        if not 0 < number <= NUMBER_MAX:
            raise Malformed(f"proto: illegal tag {number} (wire type {wire_type})")
        if wire_type == VARINT:
            value, start = varint(data, start, end)
            yield Span(number, wire_type, value, start, start)
            continue
        if wire_type == BYTES:
            length, start = varint(data, start, end)
        elif wire_type in (FIXED64, FIXED32):
            length = 8 if wire_type == FIXED64 else 4
        else:
            # Groups, which no Kubernetes type has.
            raise Malformed(f"proto: illegal wireType {wire_type}")
        if length > end - start:
            raise Malformed("unexpected EOF")
        yield Span(number, wire_type, 0, start, start + length)
        start += length


def varint(data: bytes, start: int, end: int) -> tuple[int, int]:
    """An unsigned number of at most 64 bits, and where the next byte is. Raises Malformed."""
    value = 0
    for index in range(VARINT_BYTES_MAX):
        if start >= end:
            raise Malformed("unexpected EOF")
        byte = data[start]
        start += 1
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value & _MASK, start
    raise Malformed("proto: integer overflow")


def signed(value: int, bits: int) -> int:
    """The number whose complement is in the lowest bits, as Go converts it."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def double(data: bytes, span: Span) -> float:
    """The value of a FIXED64 field; a whole number as such, as Go writes it in JSON. Raises Malformed."""
    value = float(struct.unpack_from("<d", data, span.start)[0])
    if not math.isfinite(value):
        raise Malformed(f"{value} is not a number that JSON has")
    return int(value) if value.is_integer() and abs(value) < WHOLE_MAX else value


def is_zero(data: bytes, span: Span, depth: int = ZERO_DEPTH_MAX) -> bool:
    """Whether a field of unknown type says nothing: zero, empty, or a message of such fields."""
    if span.wire_type == VARINT:
        return span.value == 0
    if span.wire_type != BYTES:
        return not any(data[span.start : span.end])
    try:
        return depth > 0 and all(is_zero(data, part, depth - 1) for part in scan(data, span.start, span.end))
    except Malformed:
        return False
