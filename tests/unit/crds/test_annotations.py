"""Annotations are read with their types, and complaints name them."""

from __future__ import annotations

import pytest

from stark.crds.annotations import (
    BLOCKED_VERSIONS,
    CRASH_LOOP,
    FOLLOW_LATEST,
    PORTS,
    AnnotationError,
    BlockedVersion,
    CrashLoopSettings,
    blocked_versions,
    crash_loop_settings,
    flag,
    format_blocked_versions,
    host_ports,
    runtime_label,
)


def test_a_flag_is_true_only_when_it_says_so() -> None:
    assert flag({FOLLOW_LATEST: "true"}, FOLLOW_LATEST)
    assert not flag({FOLLOW_LATEST: "yes"}, FOLLOW_LATEST)
    assert not flag(None, FOLLOW_LATEST)


def test_the_backoff_doubles_from_a_minute_to_an_hour() -> None:
    settings = crash_loop_settings(None)
    assert settings == CrashLoopSettings(3, 60, 3600)
    assert [settings.backoff_s(attempt) for attempt in range(1, 9)] == [60, 120, 240, 480, 960, 1920, 3600, 3600]
    assert settings.backoff_s(10**9) == 3600


def test_crash_loop_settings_are_read() -> None:
    text = '{"threshold": 5, "initialBackoffSeconds": 1, "maxBackoffSeconds": 9}'
    assert crash_loop_settings({CRASH_LOOP: text}) == CrashLoopSettings(5, 1, 9)


@pytest.mark.parametrize("text", ["no", "[]", '{"threshold": 0}', '{"threshold": true}', '{"threshold": "3"}'])
def test_crash_loop_settings_out_of_range_are_refused(text: str) -> None:
    with pytest.raises(AnnotationError, match=r"stark\.dev/crash-loop"):
        crash_loop_settings({CRASH_LOOP: text})


def test_blocked_versions_are_read_as_they_were_written() -> None:
    blocked = (BlockedVersion("1.2.0", "2026-01-02T03:04:05Z", 2),)
    assert blocked_versions({BLOCKED_VERSIONS: format_blocked_versions(blocked)}) == blocked
    assert blocked_versions({}) == ()
    with pytest.raises(AnnotationError, match=r"stark\.dev/blocked-versions"):
        blocked_versions({BLOCKED_VERSIONS: '[{"version": "1.0.0"}]'})


def test_ports_are_read_by_name() -> None:
    assert host_ports({PORTS: '{"http": 31000}'}) == {"http": 31000}
    assert host_ports(None) == {}
    with pytest.raises(AnnotationError, match=r"stark\.dev/ports"):
        host_ports({PORTS: "[1]"})


def test_a_runtime_has_a_label() -> None:
    assert runtime_label("node") == "stark.dev/runtime-node"
