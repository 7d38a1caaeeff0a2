"""Timestamps and durations: text, parts, time zones, arithmetic. To the nanosecond, as Go keeps them."""

from __future__ import annotations

import re
import zoneinfo
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any

from ..errors import EvaluationError
from ..frame import Frame
from ..values import INT_MAX, INT_MIN, Duration, Timestamp
from .registry import Implementation, Overload, member

SECOND = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST_NS, LAST_NS = -62_135_596_800 * SECOND, 253_402_300_800 * SECOND - 1
"""Year 1 to year 9999, all that RFC 3339 can say."""
_UNITS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": SECOND,
    "m": 60 * SECOND,
    "h": 3_600 * SECOND,
}
_PART = re.compile(r"([0-9]*)(?:\.([0-9]*))?(ns|us|µs|μs|ms|s|m|h)")
_STAMP = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt](\d{2}:\d{2}:\d{2})(?:[.,](\d{1,18}))?([Zz]|[+-]\d{2}:\d{2})",
)
_OFFSET = re.compile(r"([+-]?)(\d{2}):(\d{2})")


def parse_duration(text: str) -> Duration:
    """A Go duration: `1h30m`, `-1.5s`, `0`. Raises ValueError."""
    body = text[1:] if text[:1] in ("+", "-") else text
    if body == "0":
        return Duration(0)
    at = total = 0
    while at < len(body):
        match = _PART.match(body, at)
        if match is None or not (match[1] or match[2]):
            raise ValueError(f'time: invalid duration "{text}"')
        unit, broken = _UNITS[match[3]], match[2] or ""
        total += int(match[1] or 0) * unit + int(broken or 0) * unit // 10 ** len(broken)
        at = match.end()
    if not body or not INT_MIN <= total <= INT_MAX:
        raise ValueError(f'time: invalid duration "{text}"')
    return Duration(-total if text.startswith("-") else total)


def parse_timestamp(text: str) -> Timestamp:
    """RFC 3339. Raises ValueError."""
    match = _STAMP.fullmatch(text)
    if match is None:
        raise ValueError(f'parsing time "{text}" as RFC 3339: cannot parse')
    zone = "+00:00" if match[4] in "Zz" else match[4]
    whole = datetime.fromisoformat(f"{match[1]}T{match[2]}{zone}") - _EPOCH
    return Timestamp((whole.days * 86_400 + whole.seconds) * SECOND + int((match[3] or "0")[:9].ljust(9, "0")))


def parse_date(text: str) -> Timestamp:
    """A calendar date, at midnight UTC. Raises ValueError."""
    whole = datetime.fromisoformat(text).replace(tzinfo=UTC) - _EPOCH
    return Timestamp(whole.days * 86_400 * SECOND)


def format_timestamp(value: Timestamp) -> str:
    """RFC 3339 in UTC, with as many digits of the second as there are."""
    moment = _moment(value, UTC)
    digits = f"{value.ns % SECOND:09d}".rstrip("0")
    return f"{moment:%Y-%m-%dT%H:%M:%S}".rjust(19, "0") + (f".{digits}" if digits else "") + "Z"


def format_duration(value: Duration) -> str:
    """In seconds: `5400s`, `0.25s`."""
    whole, rest = divmod(abs(value.ns), SECOND)
    digits = f"{rest:09d}".rstrip("0")
    return f"{'-' if value.ns < 0 else ''}{whole}{'.' + digits if digits else ''}s"


def checked(value: int) -> Timestamp:
    """The timestamp, if there is such a year."""
    if not FIRST_NS <= value <= LAST_NS:
        raise EvaluationError("timestamp overflow")
    return Timestamp(value)


def span(value: int) -> Duration:
    """The duration, if it fits."""
    if not INT_MIN <= value <= INT_MAX:
        raise EvaluationError("duration overflow")
    return Duration(value)


def _moment(value: Timestamp, zone: tzinfo) -> datetime:
    try:
        return (_EPOCH + timedelta(seconds=value.ns // SECOND)).astimezone(zone)
    except OverflowError:
        raise EvaluationError("timestamp overflow") from None


def _zone(name: str) -> tzinfo:
    offset = _OFFSET.fullmatch(name)
    if offset is not None:
        span_of = timedelta(hours=int(offset[2]), minutes=int(offset[3]))
        if span_of < timedelta(hours=24):
            return timezone(-span_of if offset[1] == "-" else span_of)
    try:
        return zoneinfo.ZoneInfo(name) if name else UTC
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise EvaluationError(f"unknown time zone {name}") from None


_PARTS = {
    "getFullYear": lambda moment: moment.year,
    "getMonth": lambda moment: moment.month - 1,
    "getDate": lambda moment: moment.day,
    "getDayOfMonth": lambda moment: moment.day - 1,
    "getDayOfWeek": lambda moment: moment.isoweekday() % 7,
    "getDayOfYear": lambda moment: moment.timetuple().tm_yday - 1,
    "getHours": lambda moment: moment.hour,
    "getMinutes": lambda moment: moment.minute,
    "getSeconds": lambda moment: moment.second,
}
_SPANS = {"getHours": 3_600 * SECOND, "getMinutes": 60 * SECOND, "getSeconds": SECOND, "getMilliseconds": 1_000_000}


def _part(name: str) -> Implementation:
    take = _PARTS[name]

    def read(frame: Frame, value: Timestamp, zone: str = "") -> int:
        frame.pay(1)
        return int(take(_moment(value, _zone(zone))))  # type: ignore[no-untyped-call]

    return read


def _milliseconds(frame: Frame, value: Timestamp, _zone: str = "") -> int:
    frame.pay(1)
    return value.ns % SECOND // 1_000_000


def _whole(unit: int) -> Implementation:
    def read(frame: Frame, value: Duration) -> int:
        frame.pay(1)
        return abs(value.ns) // unit * (-1 if value.ns < 0 else 1)

    return read


def _overloads() -> list[Overload]:
    made: list[Overload] = []
    for name, read in {**{name: _part(name) for name in _PARTS}, "getMilliseconds": _milliseconds}.items():
        made += [member(name, "timestamp", "int", read), member(name, "timestamp; string", "int", read)]
    return made + [member(name, "duration", "int", _whole(unit)) for name, unit in _SPANS.items()]


STANDARD: list[Overload] = _overloads()


def add(left: Any, right: Any) -> Any:
    """Timestamp or duration plus duration. None when it is neither."""
    if isinstance(left, Duration) and isinstance(right, Duration):
        return span(left.ns + right.ns)
    if (isinstance(left, Timestamp) and isinstance(right, Duration)) or (
        isinstance(left, Duration) and isinstance(right, Timestamp)
    ):
        return checked(left.ns + right.ns)
    return None


def subtract(left: Any, right: Any) -> Any:
    """Differences of timestamps and durations. None when it is neither."""
    if (isinstance(left, Timestamp) and isinstance(right, Timestamp)) or (
        isinstance(left, Duration) and isinstance(right, Duration)
    ):
        return span(left.ns - right.ns)
    if isinstance(left, Timestamp) and isinstance(right, Duration):
        return checked(left.ns - right.ns)
    return None
