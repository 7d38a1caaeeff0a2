"""Settings of the crash-loop protection are read with every complaint, and its state is shown as people ask for it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from stark.crds.annotations import (
    BLOCKED_VERSIONS,
    COUNTED_FAILURES,
    CRASH_LOOP,
    CRASH_LOOP_PAUSED,
    LAST_SUCCESSFUL_VERSION,
    AnnotationError,
    BlockedVersion,
    format_blocked_versions,
)
from stark.crds.crash_loop import (
    Counted,
    Seen,
    Settings,
    block_remaining_s,
    counted_of,
    duration,
    format_counted,
    format_moment,
    is_template_blocked,
    lines,
    resumed,
    settings_of,
    settings_problems,
    view,
)

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def test_the_backoff_doubles_from_a_minute_to_an_hour() -> None:
    settings = settings_of(None)
    assert settings == Settings() == settings_of({CRASH_LOOP: "{}"})
    assert [settings.backoff_s(attempt) for attempt in range(1, 9)] == [60, 120, 240, 480, 960, 1920, 3600, 3600]
    assert settings.backoff_s(10**9) == 3600


@pytest.mark.parametrize(
    ("text", "waits"),
    [
        pytest.param('{"initialBackoffSeconds": 5, "maxBackoffSeconds": 30}', [5, 10, 20, 30, 30], id="other bounds"),
        pytest.param('{"backoffFactor": 1}', [60, 60, 60, 60, 60], id="constant"),
        pytest.param('{"backoffFactor": 1.5}', [60, 90, 135, 202, 303], id="a fraction"),
        pytest.param('{"initialBackoffSeconds": 7200}', [7200, 7200, 7200, 7200, 7200], id="begins above the ceiling"),
    ],
)
def test_the_shape_of_the_backoff_is_a_setting(text: str, waits: list[int]) -> None:
    settings = settings_of({CRASH_LOOP: text})
    assert [settings.backoff_s(attempt) for attempt in range(1, 6)] == waits


@pytest.mark.parametrize(
    ("codes", "counted", "not_counted"),
    [
        pytest.param({}, (1, 137, 255), (0,), id="all but success"),
        pytest.param({"count": [0, 3]}, (0, 3), (1, 137), id="only those named"),
        pytest.param({"ignore": [75]}, (1, 74), (0, 75), id="all but those named"),
    ],
)
def test_exit_codes_count_or_do_not(codes: object, counted: tuple[int, ...], not_counted: tuple[int, ...]) -> None:
    settings = settings_of({CRASH_LOOP: json.dumps({"exitCodes": codes})})
    assert [code for code in (*counted, *not_counted) if settings.counts_code(code)] == list(counted)


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        pytest.param("no", [""], id="no JSON"),
        pytest.param("[]", [""], id="no object"),
        pytest.param('{"threshold": 0}', ["threshold"], id="too small"),
        pytest.param('{"threshold": true}', ["threshold"], id="a flag is no number"),
        pytest.param('{"threshold": "3"}', ["threshold"], id="a string is no number"),
        pytest.param('{"maxBackoffSeconds": 604801}', ["maxBackoffSeconds"], id="too large"),
        pytest.param(
            '{"initialBackoffSeconds": 9, "maxBackoffSeconds": 8}',
            ["maxBackoffSeconds"],
            id="the ceiling below the start",
        ),
        pytest.param('{"backoffFactor": 0.5}', ["backoffFactor"], id="a back-off that shrinks"),
        pytest.param('{"enabled": 1}', ["enabled"], id="a number is no flag"),
        pytest.param('{"treshold": 3}', ["treshold"], id="a misspelt name"),
        pytest.param('{"exitCodes": [1]}', ["exitCodes"], id="codes without a verb"),
        pytest.param('{"exitCodes": {"count": [1], "ignore": [2]}}', ["exitCodes"], id="both verbs"),
        pytest.param('{"exitCodes": {"skip": [1]}}', ["exitCodes.skip"], id="an unknown verb"),
        pytest.param('{"exitCodes": {"count": []}}', ["exitCodes.count"], id="no codes"),
        pytest.param('{"exitCodes": {"ignore": [1, 256]}}', ["exitCodes.ignore[1]"], id="a code that cannot be"),
        pytest.param('{"threshold": 0, "successSeconds": -1}', ["threshold", "successSeconds"], id="all at once"),
    ],
)
def test_settings_out_of_range_are_refused_by_their_path(text: str, paths: list[str]) -> None:
    assert [problem.path for problem in settings_problems(text)] == paths
    with pytest.raises(AnnotationError, match=r"stark\.dev/crash-loop"):
        settings_of({CRASH_LOOP: text})


def test_what_is_counted_is_read_as_it_was_written() -> None:
    counted = Counted("abc", 2, {"u1": Seen(2, 0), "u2": Seen(0, 1)}, NOW, NOW + MINUTE)
    assert counted_of({COUNTED_FAILURES: format_counted(counted)}) == counted
    assert counted_of({COUNTED_FAILURES: format_counted(Counted("abc"))}) == Counted("abc")


@pytest.mark.parametrize(
    "text",
    [
        "", "no", "[]", "{}", '{"template": "a", "pods": {"u": 1}}', '{"template":"a","since":"x"}',
        '{"template":"a","count":1e999}', '{"template":"a","count":-9}', '{"template":"a","pods":{"u":[1e999,0]}}',
        '{"template":"a","since":"9999-12-31T23:59:59-14:00"}', "[" * 100_000,
    ],
)  # fmt: skip
def test_what_somebody_else_wrote_counts_for_nothing(text: str) -> None:
    assert counted_of({COUNTED_FAILURES: text}) is None


def blocked(
    version: str = "2.0.0", left: timedelta = MINUTE, attempts: int = 1, template: str = "abc"
) -> dict[str, str]:
    block = BlockedVersion(version, format_moment(NOW + left), attempts, template, "container main: exit code 1")
    return {BLOCKED_VERSIONS: format_blocked_versions((block,))}


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        pytest.param(blocked(), True, id="within its time"),
        pytest.param(blocked(left=-MINUTE), False, id="its time is over"),
        pytest.param(blocked(template="xyz"), False, id="another template"),
        pytest.param({BLOCKED_VERSIONS: "broken"}, False, id="not readable"),
        pytest.param({**blocked(), CRASH_LOOP: '{"enabled": false}'}, False, id="switched off"),
        pytest.param({}, False, id="nothing"),
    ],
)
def test_a_blocked_template_is_left_alone_for_its_time(annotations: dict[str, str], expected: bool) -> None:
    assert is_template_blocked(annotations, "abc", NOW) is expected


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '[{"version":"1","until":"2026-01-01T00:00:00Z","attempts":1e999}]',
        '[{"version":"1","until":"9999-12-31T23:59:59-14:00","attempts":1}]',
    ],
)
def test_blocks_that_cannot_be_meant_are_none(text: str) -> None:
    assert lines(view({"metadata": {"annotations": {BLOCKED_VERSIONS: text}}}, NOW)) == ["Failures: 0 of 3 in a row"]


def test_a_clock_that_was_set_back_prolongs_no_block_beyond_its_length() -> None:
    block = BlockedVersion("2.0.0", format_moment(NOW + 24 * 60 * MINUTE), 2)
    assert block_remaining_s(block, Settings(), NOW) == 120


def test_the_view_says_what_is_blocked_and_for_how_long() -> None:
    annotations = {
        **blocked(left=timedelta(seconds=90), attempts=2),
        LAST_SUCCESSFUL_VERSION: "1.0.0",
        COUNTED_FAILURES: format_counted(Counted("abc", 1, retry_at=NOW + MINUTE)),
        CRASH_LOOP_PAUSED: "version 2.1.0 failed 3 times in a row",
    }
    spec = {"template": {"spec": {"containers": [{"image": "busybox"}, {"image": "pack.stark/web:2.1.0"}]}}}
    seen = view({"metadata": {"annotations": annotations}, "spec": spec}, NOW)
    assert (seen.version, seen.failures, seen.threshold, seen.retry_in_s) == ("2.1.0", 1, 3, 60)
    assert lines(seen) == [
        "Failures: 1 of 3 in a row",
        "Last successful version: 1.0.0",
        "Paused by crash-loop protection: version 2.1.0 failed 3 times in a row (retry in 1m0s)",
        "Blocked: 2.0.0 after 2 failed attempts, retry in 1m30s: container main: exit code 1",
    ]


def test_a_deployment_that_nobody_has_touched_has_a_view() -> None:
    assert lines(view({}, NOW)) == ["Failures: 0 of 3 in a row"]
    assert lines(view({"metadata": {"annotations": {CRASH_LOOP: '{"enabled":false}'}}}, NOW)) == [
        "Crash-loop protection: off"
    ]


def test_resuming_ends_the_pause_and_every_block_and_keeps_what_was_counted() -> None:
    annotations = {**blocked(), CRASH_LOOP_PAUSED: "why", COUNTED_FAILURES: "{}"}
    assert resumed(annotations) == {CRASH_LOOP_PAUSED: None, BLOCKED_VERSIONS: None}
    assert resumed({}) == {}


@pytest.mark.parametrize(("seconds", "text"), [(59, "59s"), (60, "1m0s"), (3600, "1h0m"), (5430, "1h30m")])
def test_durations_are_short(seconds: int, text: str) -> None:
    assert duration(seconds) == text
