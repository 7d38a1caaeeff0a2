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
FIELDS_MAX: Final = 100_000
"""Fields in one body, all messages together. Two bytes of input can become an object of its own, which costs 30 times
as much memory and some microseconds; a body of the largest size that is made of such bytes is refused here instead."""
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


class Source:
    """The bytes of one body, and how many fields may still be read from them."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._left = FIELDS_MAX

    def scan(self, start: int, end: int) -> Iterator[Span]:
        """The fields between two places, in their order. Raises Malformed."""
        data = self.data
        while start < end:
            self.count()
            # Nearly every key and length is one byte.
            key = data[start]
            start += 1
            if key > 0x7F:
                key, start = self.varint(start - 1, end)
            number, wire_type = key >> 3, key & 7
            if not 0 < number <= NUMBER_MAX:
                raise Malformed(f"proto: illegal tag {number} (wire type {wire_type})")
            if wire_type == BYTES:
                length, start = self.varint(start, end)
                if length > end - start:
                    raise Malformed("unexpected EOF")
                yield Span(number, BYTES, 0, start, start + length)
                start += length
            elif wire_type == VARINT:
                value, start = self.varint(start, end)
                yield Span(number, VARINT, value, start, start)
            else:
                span = _fixed(number, wire_type, start, end)
                yield span
                start = span.end

    def varint(self, start: int, end: int) -> tuple[int, int]:
        """An unsigned number of at most 64 bits, and where the next byte is. Raises Malformed."""
        data = self.data
        value = 0
        for shift in range(0, 7 * VARINT_BYTES_MAX, 7):
            if start >= end:
                raise Malformed("unexpected EOF")
            byte = data[start]
            start += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & _MASK, start
        raise Malformed("proto: integer overflow")

    def count(self) -> None:
        """One more field, or number of a packed list. Raises Malformed."""
        self._left -= 1
        if self._left < 0:
            raise Malformed(f"more than {FIELDS_MAX} fields")

    def is_zero(self, span: Span, depth: int = ZERO_DEPTH_MAX) -> bool:
        """Whether a field of unknown type says nothing: zero, empty, or a message of such fields."""
        if span.wire_type == VARINT:
            return span.value == 0
        if span.wire_type != BYTES:
            return not any(self.data[span.start : span.end])
        try:
            return depth > 0 and all(self.is_zero(part, depth - 1) for part in self.scan(span.start, span.end))
        except Malformed:
            return False

    def double(self, span: Span) -> float:
        """The value of a FIXED64 field; a whole number as such, as Go writes it in JSON. Raises Malformed."""
        value = float(struct.unpack_from("<d", self.data, span.start)[0])
        if not math.isfinite(value):
            raise Malformed(f"{value} is not a number that JSON has")
        return int(value) if value.is_integer() and abs(value) < WHOLE_MAX else value


def _fixed(number: int, wire_type: int, start: int, end: int) -> Span:
    if wire_type not in (FIXED64, FIXED32):
        # Groups, which no Kubernetes type has.
        raise Malformed(f"proto: illegal wireType {wire_type}")
    length = 8 if wire_type == FIXED64 else 4
    if length > end - start:
        raise Malformed("unexpected EOF")
    return Span(number, wire_type, 0, start, start + length)


def signed(value: int, bits: int) -> int:
    """The number whose complement is in the lowest bits, as Go converts it."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value
