"""Schedules against a search that looks at every minute."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stark.crds.cron import ScheduleError, known_zone, parse_schedule

BERLIN = ZoneInfo("Europe/Berlin")
DAYS_MAX = 40


def part(low: int, high: int) -> st.SearchStrategy[str]:
    value = st.integers(low, high)
    span = st.tuples(value, value).map(lambda pair: f"{min(pair)}-{max(pair)}")
    stepped = st.tuples(st.one_of(st.just("*"), span), st.integers(1, 20)).map(lambda pair: f"{pair[0]}/{pair[1]}")
    return st.one_of(st.just("*"), value.map(str), span, stepped)


def field(low: int, high: int) -> st.SearchStrategy[str]:
    return st.lists(part(low, high), min_size=1, max_size=3).map(",".join)


LINES = st.tuples(field(0, 59), field(0, 23), field(1, 31), st.just("*"), field(0, 7)).map(" ".join)
MOMENTS = st.datetimes(datetime(2023, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))


@given(LINES, MOMENTS)
@settings(max_examples=60, deadline=None)
def test_the_next_time_is_the_first_minute_that_is_named(line: str, moment: datetime) -> None:
    schedule = parse_schedule(line)
    minute = moment.replace(second=0, microsecond=0) + timedelta(minutes=1)
    expected = None
    for _ in range(DAYS_MAX * 24 * 60):
        if schedule.names(minute):
            expected = minute
            break
        minute += timedelta(minutes=1) if schedule.names_day(minute.date()) else _to_midnight(minute)
    found = schedule.next_after(moment)
    assert found == expected or (expected is None and (found is None or found >= minute))


def _to_midnight(minute: datetime) -> timedelta:
    return minute.replace(hour=0, minute=0) + timedelta(days=1) - minute


@given(LINES, MOMENTS)
@settings(max_examples=60, deadline=None)
def test_where_the_clock_changes_every_time_still_comes_later_than_the_last(line: str, moment: datetime) -> None:
    schedule = parse_schedule(line)
    first = schedule.next_after(moment, BERLIN)
    assert first is None or first > moment
    second = schedule.next_after(first, BERLIN) if first else None
    assert first is None or second is None or second > first


@pytest.mark.parametrize(
    ("line", "after", "expected"),
    [
        pytest.param(
            "30 2 * * *", "2026-03-28T12:00", "2026-03-29T01:00", id="a time that is leapt over comes after it"
        ),
        pytest.param("30 2 * * *", "2026-03-29T01:00", "2026-03-30T00:30", id="and once"),
        pytest.param(
            "30 2 * * *", "2026-10-24T12:00", "2026-10-25T00:30", id="a time shown twice comes the first time"
        ),
        pytest.param("30 2 * * *", "2026-10-25T00:30", "2026-10-26T01:30", id="and not again"),
        pytest.param(
            "30 * * * *", "2026-10-25T00:30", "2026-10-25T01:30", id="every hour means every hour that passes"
        ),
        pytest.param("30 * * * *", "2026-03-29T00:30", "2026-03-29T01:30", id="also over a leap"),
        pytest.param("0 8 * * mon-fri", "2026-01-02T08:00", "2026-01-05T07:00", id="weekends are left out"),
        pytest.param("@hourly", "2026-01-02T08:00", "2026-01-02T09:00", id="nickname"),
        pytest.param("0 0 13 * 5", "2026-02-01T00:00", "2026-02-05T23:00", id="two day fields: either will do"),
        pytest.param("0 0 29 2 *", "2026-03-01T00:00", "2028-02-28T23:00", id="leap years"),
        pytest.param("0 0 * DEC SUN", "2026-01-01T00:00", "2026-12-05T23:00", id="names in any case"),
        pytest.param("0 0 * * 7", "2026-01-01T00:00", "2026-01-03T23:00", id="seven is Sunday too"),
        pytest.param("0 0 30 2 *", "2026-01-01T00:00", None, id="never"),
    ],
)
def test_in_berlin_the_next_time_is(line: str, after: str, expected: str | None) -> None:
    moment = datetime.fromisoformat(after).replace(tzinfo=UTC)
    wanted = datetime.fromisoformat(expected).replace(tzinfo=UTC) if expected else None
    assert parse_schedule(line).next_after(moment, BERLIN) == wanted


@pytest.mark.parametrize(
    "line",
    [
        "",
        "* * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * * 13 *",
        "* * * * 8",
        "*/0 * * * *",
        "5-2 * * * *",
        "a * * * *",
        "* * * foo *",
        "@every 5m",
        "1,,2 * * * *",
        "-1 * * * *",
        "* * * * * *",
    ],
)
def test_a_line_that_is_no_schedule_is_refused(line: str) -> None:
    with pytest.raises(ScheduleError):
        parse_schedule(line)


def test_zones_are_known_by_name() -> None:
    assert [known_zone(name) for name in ("Europe/Berlin", "Etc/UTC", "Local", "Mars/Base", "../x", "")] == [
        True,
        True,
        False,
        False,
        False,
        False,
    ]
