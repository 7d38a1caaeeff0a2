"""A condition's transition time moves only when its status does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from stark.crds.conditions import Condition, ConditionStatus, find_condition, is_true, set_condition, without_condition

NOW = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
SECOND = NOW.replace(microsecond=0)
LATER = SECOND + timedelta(hours=1)


def condition(type_: str, status: ConditionStatus, reason: str = "R") -> Condition:
    return Condition(type=type_, status=status, reason=reason)


def test_a_new_condition_is_appended_with_the_present_second() -> None:
    first = set_condition([], condition("A", "True"), NOW)
    both = set_condition(first, condition("B", "False"), LATER)
    assert [item.type for item in both] == ["A", "B"]
    assert [item.last_transition_time for item in both] == [SECOND, LATER]


@pytest.mark.parametrize(("status", "since"), [("True", SECOND), ("False", LATER), ("Unknown", LATER)])
def test_the_transition_time_follows_the_status(status: ConditionStatus, since: datetime) -> None:
    before = set_condition([condition("Z", "True")], condition("A", "True"), NOW)
    after = set_condition(before, condition("A", status, "Other"), LATER)
    found = find_condition(after, "A")
    assert found is not None
    assert (found.reason, found.last_transition_time) == ("Other", since)
    assert [item.type for item in after] == ["Z", "A"]


def test_setting_a_condition_twice_changes_nothing() -> None:
    once = set_condition([], condition("A", "True"), NOW)
    assert set_condition(once, condition("A", "True"), LATER) == once


def test_conditions_are_found_asked_and_taken_away() -> None:
    both = [condition("A", "True"), condition("B", "False")]
    assert is_true(both, "A")
    assert not is_true(both, "B")
    assert not is_true(both, "C")
    assert find_condition(both, "C") is None
    assert [item.type for item in without_condition(both, "A")] == ["B"]
