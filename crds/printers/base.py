"""What every printer uses: cells, columns, ages as kubectl shows them, and where an object keeps its parts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from ..resource import Column

Object = Mapping[str, Any]
Cells = list[Any]

NONE = "<none>"
UNKNOWN = "<unknown>"
INVALID = "<invalid>"

CLOCK_SKEW_S = 2
"""Seconds that a timestamp may lie in the future, for clocks that differ."""


@dataclass(frozen=True, slots=True)
class Printer:
    """The table of one kind."""

    columns: tuple[Column, ...]
    """Headings, the one of the name included; those with a priority above 0 are for `-o wide`."""
    cells: Callable[[Object, datetime], Cells]
    """One value per column for an object, at a moment."""


def human_duration(duration: timedelta) -> str:
    """A duration in at most two units, coarser as it grows: `45s`, `3m20s`, `5h`, `12d`, `2y30d`."""
    seconds = int(duration.total_seconds())
    if seconds <= -CLOCK_SKEW_S:
        return INVALID
    seconds = max(0, seconds)
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < 120:
        return f"{seconds}s"
    if minutes < 10:
        return _two(minutes, "m", seconds % 60, "s")
    if hours < 3:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return _two(days, "d", hours % 24, "h")
    if days < 365 * 2:
        return f"{days}d"
    return _two(days // 365, "y", days % 365 if days < 365 * 8 else 0, "d")


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}{small}{small_unit}" if small else f"{large}{large_unit}"


def human_age(timestamp: str | None, now: datetime | None = None) -> str:
    """The time since an RFC 3339 timestamp, `<unknown>` when there is none; `now` defaults to the present."""
    moment = parse_time(timestamp)
    return UNKNOWN if moment is None else human_duration((now or datetime.now(UTC)) - moment)


def parse_time(timestamp: str | None) -> datetime | None:
    """The moment of an RFC 3339 timestamp; None when it is absent or unreadable."""
    if not timestamp:
        return None
    try:
        moment = datetime.fromisoformat(timestamp)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def meta_of(obj: Object) -> Object:
    return obj.get("metadata") or {}


def spec_of(obj: Object) -> Object:
    return obj.get("spec") or {}


def status_of(obj: Object) -> Object:
    return obj.get("status") or {}


def name_of(obj: Object) -> str:
    return str(meta_of(obj).get("name", ""))


def age_of(obj: Object, now: datetime) -> str:
    return human_age(meta_of(obj).get("creationTimestamp"), now)


def condition_is_true(obj: Object, type_: str) -> bool:
    conditions: Iterable[Object] = status_of(obj).get("conditions") or ()
    return any(item.get("type") == type_ and item.get("status") == "True" for item in conditions)


def text_column(name: str, description: str, priority: int = 0) -> Column:
    return Column(name, "string", "", description, priority=priority)


def number_column(name: str, description: str, priority: int = 0) -> Column:
    return Column(name, "integer", "", description, priority=priority)


NAME_COLUMN = Column("Name", "string", ".metadata.name", "Unique in its namespace.", format="name")
AGE_COLUMN = Column("Age", "string", "", "Time since it was created.")
WIDE_WORKLOAD = (
    text_column("Containers", "Names of the containers of the template.", 1),
    text_column("Images", "Images of the containers of the template.", 1),
    text_column("Selector", "Which pods belong to it.", 1),
)
