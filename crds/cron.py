"""Cron schedules: which minutes a line such as `*/5 8-18 * * mon-fri` names, and which of them comes next.

A schedule is about a clock on a wall. When the clock leaps forward, a time that it leaps over comes at the first
moment after the leap; when it is set back, a time that it shows twice comes the first time only. Lines for every minute
of some hours (a `*` in the hour field) are about passing time instead: they neither pause nor crowd. Free of pydantic:
the API server checks lines with it, the CronJob controller follows them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

YEARS_MAX = 8
"""How far ahead the next time is looked for: 29 February may be eight years away when a century is no leap year."""
NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
ANY = ("*", "?")


class ScheduleError(ValueError):
    """The line is not a schedule; the message names the field and the reason."""


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, MONTHS),
    _Field("day of the week", 0, 7, DAYS),
)


@dataclass(frozen=True, slots=True)
class Schedule:
    """The values of each field that are named."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    """0 is Sunday."""
    either_day: bool
    """Both day fields are restricted: then a day need be named by one of them only."""
    every_hour: bool
    """The hour field is a star: about passing time, not about the clock on the wall."""

    def names_day(self, day: date) -> bool:
        """Whether the schedule has times on that day."""
        by_date, by_weekday = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        chosen = by_date or by_weekday if self.either_day else by_date and by_weekday
        return day.month in self.months and chosen

    def names(self, moment: datetime) -> bool:
        """Whether the schedule names the minute that a clock on the wall shows."""
        return moment.minute in self.minutes and moment.hour in self.hours and self.names_day(moment.date())

    def next_after(self, moment: datetime, zone: tzinfo = UTC) -> datetime | None:
        """The first time after `moment` (aware), in UTC; None when there is none for years, as for 30 February."""
        # An hour early: a clock that was set back shows times again that lie behind `moment`.
        first = moment.astimezone(zone).date() - timedelta(days=1)
        for offset in range(YEARS_MAX * 366):
            day = first + timedelta(days=offset)
            if self.names_day(day):
                found = next((when for when in self._on(day, zone) if when > moment), None)
                if found is not None:
                    return found
        return None

    def _on(self, day: date, zone: tzinfo) -> Iterator[datetime]:
        """The times on a day, in UTC and in order, each once."""
        found = {
            when
            for hour in self.hours
            for minute in self.minutes
            for when in self._moments(datetime.combine(day, time(hour, minute)), zone)
        }
        yield from sorted(found)

    def _moments(self, shown: datetime, zone: tzinfo) -> Iterator[datetime]:
        """When the clock shows this: once, as a rule."""
        first = shown.replace(tzinfo=zone, fold=0).astimezone(UTC)
        second = shown.replace(tzinfo=zone, fold=1).astimezone(UTC)
        if first == second:
            yield first
        elif first < second:  # shown twice
            yield first
            if self.every_hour:
                yield second
        elif not self.every_hour:  # never shown: `second` is by as much too early as the leap is long
            yield _end_of_leap(second, first, zone)


def _end_of_leap(before: datetime, after: datetime, zone: tzinfo) -> datetime:
    """The moment at which the clock leapt, between two moments in UTC, to the minute."""
    low, high = before, after
    offset = high.astimezone(zone).utcoffset()
    while high - low > timedelta(minutes=1):
        middle = (low + (high - low) / 2).replace(second=0, microsecond=0)
        if middle.astimezone(zone).utcoffset() == offset:
            high = middle
        else:
            low = middle
    return high


@lru_cache(maxsize=1024)
def parse_schedule(line: str) -> Schedule:
    """Read a line of five fields, or a nickname such as `@hourly`. Raises ScheduleError."""
    text = NICKNAMES.get(line.strip().lower(), line)
    words = text.split()
    if len(words) != len(_FIELDS):
        raise ScheduleError(f"expected exactly 5 fields, found {len(words)}: {words}")
    minutes, hours, days, months, weekdays = (_values(word, field) for word, field in zip(words, _FIELDS, strict=True))
    return Schedule(
        minutes=minutes,
        hours=hours,
        days=days,
        months=months,
        weekdays=frozenset(day % 7 for day in weekdays),
        either_day=not any(word.startswith(ANY) for word in (words[2], words[4])),
        every_hour=words[1].startswith(ANY),
    )


def _values(word: str, field: _Field) -> frozenset[int]:
    return frozenset(value for part in word.split(",") for value in _part(part, field))


def _part(part: str, field: _Field) -> range:
    span, slash, step_text = part.partition("/")
    step = _number(step_text, field) if slash else 1
    if step < 1:
        raise ScheduleError(f"{field.name}: the step of {part!r} must be at least 1")
    low_text, dash, high_text = span.partition("-")
    if span in ANY:
        low, high = field.low, 6 if field.names is DAYS else field.high
    else:
        low = _value(low_text, field)
        # `5/15` means from 5 on, as in `5-59/15`.
        high = _value(high_text, field) if dash else field.high if slash else low
    if low > high:
        raise ScheduleError(f"{field.name}: the range {part!r} begins after its end")
    return range(low, high + 1, step)


def _value(text: str, field: _Field) -> int:
    if text.lower() in field.names:
        return field.names.index(text.lower()) + field.low
    value = _number(text, field)
    if not field.low <= value <= field.high:
        raise ScheduleError(f"{field.name}: {value} is not within {field.low} and {field.high}")
    return value


def _number(text: str, field: _Field) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 4):
        raise ScheduleError(f"{field.name}: {text!r} is not a number")
    return int(text)


def zone_of(name: str | None) -> tzinfo:
    """The zone of that name; UTC without one. Raises ZoneInfoNotFoundError or ValueError."""
    return ZoneInfo(name) if name else UTC


def known_zone(name: str) -> bool:
    """Whether there is a zone of that name."""
    try:
        return bool(name) and name.lower() != "local" and bool(zone_of(name))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
