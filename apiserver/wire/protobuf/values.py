"""The types that have a JSON form of their own: times, quantities, ports by number or name, JSON inside protobuf."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson

from .fields import BYTES, VARINT, Malformed, Source, Span, signed

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
SECOND_NS: Final = 1_000_000_000

Reader = Callable[[Source, Span], Any]
"""From the span of a field to its value; None is JSON's null, which is the same as nothing. Raises Malformed."""


def text(source: Source, span: Span) -> str:
    """A string. JSON has no other than UTF-8 ones."""
    try:
        return source.data[span.start : span.end].decode()
    except UnicodeDecodeError:
        raise Malformed("a string contains invalid UTF-8") from None


def octets(source: Source, span: Span) -> str:
    """Bytes, which JSON has as base64."""
    return b64encode(source.data[span.start : span.end]).decode()


def _parts(source: Source, span: Span, wire_types: Mapping[int, int]) -> dict[int, Span]:
    """The fields of a small message, the last of each number. Others than named are skipped."""
    found: dict[int, Span] = {}
    for part in source.scan(span.start, span.end):
        expected = wire_types.get(part.number)
        if expected is None:
            continue
        if part.wire_type != expected:
            raise Malformed(f"proto: wrong wireType = {part.wire_type}")
        found[part.number] = part
    return found


def _instant(source: Source, span: Span) -> datetime | None:
    parts = _parts(source, span, {1: VARINT, 2: VARINT})
    seconds = signed(parts[1].value, 64) if 1 in parts else 0
    nanos = signed(parts[2].value, 32) if 2 in parts else 0
    if not seconds and not nanos:
        return None
    try:
        return EPOCH + timedelta(seconds=seconds, microseconds=nanos // 1000)
    except OverflowError:
        raise Malformed(f"a time is out of range: {seconds} seconds since 1970") from None


def time(source: Source, span: Span) -> str | None:
    """meta/v1 Time: to the second."""
    at = _instant(source, span)
    return None if at is None else f"{at.replace(microsecond=0, tzinfo=None).isoformat()}Z"


def micro_time(source: Source, span: Span) -> str | None:
    """meta/v1 MicroTime: always with six digits."""
    at = _instant(source, span)
    return None if at is None else f"{at.replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def duration(source: Source, span: Span) -> str:
    """meta/v1 Duration, in a form that Go reads: seconds."""
    parts = _parts(source, span, {1: VARINT})
    nanos = signed(parts[1].value, 64) if 1 in parts else 0
    whole, rest = divmod(abs(nanos), SECOND_NS)
    shown = f"{whole}.{rest:09d}".rstrip("0").rstrip(".")
    return f"{'-' if nanos < 0 else ''}{shown}s"


def quantity(source: Source, span: Span) -> str:
    """A Quantity as it was written; an unset one is zero."""
    parts = _parts(source, span, {1: BYTES})
    return (text(source, parts[1]) if 1 in parts else "") or "0"


def int_or_string(source: Source, span: Span) -> int | str:
    """An IntOrString: type 0 is the number, 1 the text."""
    parts = _parts(source, span, {1: VARINT, 2: VARINT, 3: BYTES})
    kind = parts[1].value if 1 in parts else 0
    if kind == 0:
        return signed(parts[2].value, 32) if 2 in parts else 0
    if kind == 1:
        return text(source, parts[3]) if 3 in parts else ""
    raise Malformed("impossible IntOrString.Type")


def texts(source: Source, span: Span) -> list[str]:
    """A list of strings that is a message of its own, so that it can be the value of a map."""
    found = []
    for part in source.scan(span.start, span.end):
        if part.number == 1:
            if part.wire_type != BYTES:
                raise Malformed(f"proto: wrong wireType = {part.wire_type} for field Items")
            found.append(text(source, part))
    return found


def raw(source: Source, span: Span) -> Any:
    """JSON that travels as bytes inside protobuf."""
    parts = _parts(source, span, {1: BYTES})
    if 1 not in parts or parts[1].start == parts[1].end:
        return None
    try:
        return orjson.loads(source.data[parts[1].start : parts[1].end])
    except orjson.JSONDecodeError as error:
        raise Malformed(f"json parse error: {error}") from None


READERS: Final[Mapping[str, Reader]] = {
    "string": text,
    "bytes": octets,
    "Time": time,
    "MicroTime": micro_time,
    "Duration": duration,
    "Quantity": quantity,
    "IntOrString": int_or_string,
    "Texts": texts,
    "Raw": raw,
}
"""Every type that is written as length and bytes, and is no message of the table."""
