"""Crash-loop protection as everybody reads it: settings of a deployment, what is counted and blocked, and a view for people.

The crash-loop controller alone writes what is read here; the deployment controller, the API server and starkctl only
read. Works on annotations and objects in wire form. Free of pydantic.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from .annotations import (
    BLOCKED_VERSIONS,
    COUNTED_FAILURES,
    CRASH_LOOP,
    CRASH_LOOP_PAUSED,
    LAST_SUCCESSFUL_VERSION,
    AnnotationError,
    BlockedVersion,
    blocked_versions,
)
from .images import ImageError, parse_image

CONDITION = "CrashLoop"
"""Type of the condition that the crash-loop controller keeps on Deployments."""

THRESHOLD, THRESHOLD_MAX = 3, 100
INITIAL_BACKOFF_S, INITIAL_BACKOFF_MAX_S = 60, 86_400
MAX_BACKOFF_S, MAX_BACKOFF_MAX_S = 3_600, 604_800
BACKOFF_FACTOR, BACKOFF_FACTOR_MAX = 2.0, 10.0
SUCCESS_S, SUCCESS_MAX_S = 10, 3_600
EXIT_CODE_MAX = 255
EXIT_CODES_MAX = 256
SHOWN_MAX = 200
"""Characters of unreadable settings that a complaint repeats."""
COUNT_MAX = 1_000_000
"""No count of failures or attempts is higher: a larger one was written by somebody else."""
YEARS = range(1970, 9_000)
"""Of a time that can be meant: near the ends of what Python knows, neither zones nor durations can be added."""
EXPONENT_MAX = 64
"""Attempts beyond this one wait no longer: a counter gone wild must not make a number of a million digits."""


# ---- Settings ----


@dataclass(frozen=True, slots=True)
class Settings:
    """When a version of a deployment counts as broken, and how long it is left alone then."""

    enabled: bool = True
    """Whether anything is counted at all."""
    threshold: int = THRESHOLD
    """Failures in a row."""
    initial_backoff_s: int = INITIAL_BACKOFF_S
    """Seconds the version is blocked after its first failed attempt."""
    max_backoff_s: int = MAX_BACKOFF_S
    """Seconds it is blocked at most."""
    backoff_factor: float = BACKOFF_FACTOR
    """By how much each further attempt prolongs the block."""
    success_s: int = SUCCESS_S
    """Seconds a pod must be Ready to count as a success; minReadySeconds when that is more."""
    counted_codes: frozenset[int] | None = None
    """The only exit codes that count. None: every one but 0."""
    ignored_codes: frozenset[int] = frozenset()
    """Exit codes that do not count."""

    def backoff_s(self, attempt: int) -> int:
        """Seconds a version is blocked after its `attempt`-th failed attempt, counted from 1."""
        assert attempt >= 1, attempt
        wait = self.initial_backoff_s * self.backoff_factor ** min(attempt - 1, EXPONENT_MAX)
        return int(min(self.max_backoff_s, wait))

    def counts_code(self, code: int) -> bool:
        """Whether a program that ended with this code has failed."""
        if self.counted_codes is not None:
            return code in self.counted_codes
        return code != 0 and code not in self.ignored_codes


class Problem(NamedTuple):
    """What is wrong with a setting."""

    path: str
    """Below the annotation, e.g. `exitCodes.count[1]`; empty for the whole."""
    value: Any
    message: str


_NUMBERS = {
    "threshold": (1, THRESHOLD_MAX),
    "initialBackoffSeconds": (1, INITIAL_BACKOFF_MAX_S),
    "maxBackoffSeconds": (1, MAX_BACKOFF_MAX_S),
    "successSeconds": (0, SUCCESS_MAX_S),
}
_FIELDS = ("enabled", *_NUMBERS, "backoffFactor", "exitCodes")


def settings_problems(text: str) -> list[Problem]:
    """Every complaint about the annotation `stark.dev/crash-loop`."""
    try:
        body = json.loads(text)
    except (ValueError, RecursionError) as error:
        return [Problem("", text[:SHOWN_MAX], f"must be JSON: {error}")]
    if not isinstance(body, dict):
        return [Problem("", text[:SHOWN_MAX], "must be a JSON object")]
    return list(_body_problems(body))


def _body_problems(body: Mapping[str, Any]) -> Iterator[Problem]:
    for key in body:
        if key not in _FIELDS:
            yield Problem(key, body[key], f"unknown setting; there are: {', '.join(sorted(_FIELDS))}")
    for key, (least, most) in _NUMBERS.items():
        if key in body and not _is_whole(body[key], least, most):
            yield Problem(key, body[key], f"must be a whole number from {least} to {most}")
    if not isinstance(body.get("enabled", True), bool):
        yield Problem("enabled", body["enabled"], "must be true or false")
    factor = body.get("backoffFactor", BACKOFF_FACTOR)
    if not isinstance(factor, int | float) or isinstance(factor, bool) or not 1 <= factor <= BACKOFF_FACTOR_MAX:
        yield Problem("backoffFactor", factor, f"must be a number from 1 to {BACKOFF_FACTOR_MAX:g}")
    first, longest = body.get("initialBackoffSeconds", 1), body.get("maxBackoffSeconds")
    if _is_whole(first, 1, INITIAL_BACKOFF_MAX_S) and _is_whole(longest, 1, MAX_BACKOFF_MAX_S) and longest < first:
        yield Problem("maxBackoffSeconds", longest, "must not be less than initialBackoffSeconds")
    yield from _code_problems(body.get("exitCodes", {}))


def _code_problems(codes: Any) -> Iterator[Problem]:
    if not isinstance(codes, dict):
        yield Problem("exitCodes", codes, "must be an object with either `count` or `ignore`")
        return
    for key in codes:
        if key not in ("count", "ignore"):
            yield Problem(f"exitCodes.{key}", codes[key], "unknown setting; there are: count, ignore")
    if len(codes.keys() & {"count", "ignore"}) > 1:
        yield Problem("exitCodes", codes, "`count` and `ignore` exclude each other")
    for key in sorted(codes.keys() & {"count", "ignore"}):
        listed = codes[key]
        if not isinstance(listed, list) or not 1 <= len(listed) <= EXIT_CODES_MAX:
            yield Problem(f"exitCodes.{key}", listed, f"must be a list of 1 to {EXIT_CODES_MAX} exit codes")
            continue
        for index, code in enumerate(listed):
            if not _is_whole(code, 0, EXIT_CODE_MAX):
                yield Problem(f"exitCodes.{key}[{index}]", code, f"must be a whole number from 0 to {EXIT_CODE_MAX}")


def _is_whole(value: Any, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def settings_of(annotations: Mapping[str, str] | None) -> Settings:
    """The settings of a deployment; defaults for what is absent. Raises AnnotationError for a value that is refused."""
    text = (annotations or {}).get(CRASH_LOOP)
    if not text:
        return Settings()
    for problem in settings_problems(text):
        raise AnnotationError(f"{CRASH_LOOP}: {problem.path or 'value'}: {problem.message}, got {problem.value!r}")
    body = json.loads(text)
    codes = body.get("exitCodes", {})
    initial = body.get("initialBackoffSeconds", INITIAL_BACKOFF_S)
    return Settings(
        enabled=body.get("enabled", True),
        threshold=body.get("threshold", THRESHOLD),
        initial_backoff_s=initial,
        max_backoff_s=body.get("maxBackoffSeconds", max(MAX_BACKOFF_S, initial)),
        backoff_factor=float(body.get("backoffFactor", BACKOFF_FACTOR)),
        success_s=body.get("successSeconds", SUCCESS_S),
        counted_codes=frozenset(codes["count"]) if "count" in codes else None,
        ignored_codes=frozenset(codes.get("ignore", ())),
    )


# ---- What is counted ----


class Seen(NamedTuple):
    """Failures of one pod that have been counted."""

    ends: int
    """Runs that ended."""
    waits: int
    """Attempts to start it that came to nothing since."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What the crash-loop controller knows about the template that a deployment has now."""

    template: str
    """Its fingerprint; when it is another template's, nothing of this holds any more."""
    count: int = 0
    """Failures in a row."""
    pods: Mapping[str, Seen] = field(default_factory=dict)
    """Pod uid -> what of it is in the count."""
    since: datetime | None = None
    """Nothing that ended before counts: the last success, or the end of a pause."""
    retry_at: datetime | None = None
    """When the pause ends; None while there is none."""


def counted_of(annotations: Mapping[str, str] | None) -> Counted | None:
    """What is counted; None for nothing, and for what somebody else has written there."""
    try:
        body = json.loads((annotations or {}).get(COUNTED_FAILURES, ""))
        pods = {str(uid): Seen(_number(ends), _number(waits)) for uid, (ends, waits) in body.get("pods", {}).items()}
        since, retry = body.get("since"), body.get("retryAt")
        return Counted(str(body["template"]), _number(body.get("count", 0)), pods, _optional(since), _optional(retry))
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return None


def _number(value: Any) -> int:
    number = int(value)
    if not 0 <= number <= COUNT_MAX:
        raise ValueError(f"{value!r} counts nothing")
    return number


def format_counted(counted: Counted) -> str:
    """The annotation's value."""
    body: dict[str, Any] = {"template": counted.template, "count": counted.count}
    if counted.pods:
        body["pods"] = {uid: list(seen) for uid, seen in sorted(counted.pods.items())}
    if counted.since is not None:
        body["since"] = format_moment(counted.since)
    if counted.retry_at is not None:
        body["retryAt"] = format_moment(counted.retry_at)
    return json.dumps(body, separators=(",", ":"))


def moment(text: str) -> datetime:
    """A time in an annotation. Raises ValueError."""
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    if found.year not in YEARS:
        raise ValueError(f"{text!r} is no time that can be meant")
    return found


def format_moment(at: datetime) -> str:
    """RFC 3339, to the second."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _optional(text: str | None) -> datetime | None:
    return moment(text) if text is not None else None


# ---- What is blocked ----


def readable_blocks(annotations: Mapping[str, str] | None) -> tuple[BlockedVersion, ...]:
    """The blocked versions; none when somebody else has written there what cannot be read."""
    try:
        found = blocked_versions(annotations)
    except AnnotationError:
        return ()
    return tuple(each for each in found if _is_moment(each.until) and 1 <= each.attempts <= COUNT_MAX)


def _is_moment(text: str) -> bool:
    try:
        moment(text)
    except ValueError:
        return False
    return True


def remaining_s(until: datetime, longest_s: float, now: datetime) -> float:
    """Seconds until then, 0 when it is past; never more than `longest_s`, since a clock may have been set back."""
    return min(max(0.0, (until - now).total_seconds()), longest_s)


def block_remaining_s(block: BlockedVersion, settings: Settings, now: datetime) -> float:
    """Seconds for which the version stays blocked; 0 when it may be tried."""
    return remaining_s(moment(block.until), settings.backoff_s(block.attempts), now)


def is_template_blocked(annotations: Mapping[str, str] | None, template: str, now: datetime) -> bool:
    """Whether the template with this fingerprint has failed and its time is not over: then it is not rolled out."""
    settings = settings_or_default(annotations)
    blocks = readable_blocks(annotations) if settings.enabled else ()
    return any(each.template == template and block_remaining_s(each, settings, now) > 0 for each in blocks)


def settings_or_default(annotations: Mapping[str, str] | None) -> Settings:
    """The settings; the defaults when they were stored before anybody judged them."""
    try:
        return settings_of(annotations)
    except AnnotationError:
        return Settings()


def resumed(annotations: Mapping[str, str] | None) -> dict[str, str | None]:
    """The change of annotations by which a person ends the pause and every block at once: `deployment resume`.

    What is counted stays: by it the controller sees that it was resumed, and does not count the old failures again.
    """
    return {key: None for key in (CRASH_LOOP_PAUSED, BLOCKED_VERSIONS) if key in (annotations or {})}


# ---- A view for people ----


@dataclass(frozen=True, slots=True)
class Blocked:
    """One blocked version as people see it."""

    version: str
    attempts: int
    retry_in_s: int
    cause: str


@dataclass(frozen=True, slots=True)
class CrashLoopView:
    """How a deployment stands with its crash-loop protection."""

    enabled: bool
    version: str
    """What it should run: the version of its pack, else its first image."""
    last_successful: str | None
    failures: int
    """In a row, of the present template."""
    threshold: int
    paused: str
    """Why the controller stopped it; empty while it did not."""
    retry_in_s: int | None
    """Seconds until what is paused is tried again; None while nothing is."""
    blocked: tuple[Blocked, ...]
    """Versions that are left alone now, the one that is tried first at the front."""


def view(deployment: Mapping[str, Any], now: datetime) -> CrashLoopView:
    """The view of a Deployment in wire form."""
    annotations = (deployment.get("metadata") or {}).get("annotations") or {}
    settings, counted = settings_or_default(annotations), counted_of(annotations)
    retry_at = counted.retry_at if counted is not None and CRASH_LOOP_PAUSED in annotations else None
    left = [(block_remaining_s(each, settings, now), each) for each in readable_blocks(annotations)]
    blocked = [Blocked(each.version, each.attempts, _up(s), each.cause) for s, each in left if s > 0]
    return CrashLoopView(
        enabled=settings.enabled,
        version=_version(deployment),
        last_successful=annotations.get(LAST_SUCCESSFUL_VERSION),
        failures=counted.count if counted is not None else 0,
        threshold=settings.threshold,
        paused=annotations.get(CRASH_LOOP_PAUSED, ""),
        retry_in_s=None if retry_at is None else _up(remaining_s(retry_at, settings.max_backoff_s, now)),
        blocked=tuple(sorted(blocked, key=lambda each: each.retry_in_s)),
    )


def lines(seen: CrashLoopView) -> list[str]:
    """The view as lines `Name: value` of text, for `starkctl deployment status`."""
    if not seen.enabled:
        return ["Crash-loop protection: off"]
    told = [f"Failures: {seen.failures} of {seen.threshold} in a row"]
    if seen.last_successful is not None:
        told.append(f"Last successful version: {seen.last_successful}")
    if seen.paused:
        wait = "" if seen.retry_in_s is None else f" (retry in {duration(seen.retry_in_s)})"
        told.append(f"Paused by crash-loop protection: {seen.paused}{wait}")
    for each in seen.blocked:
        attempts = f"{each.attempts} failed attempt{'s' if each.attempts != 1 else ''}"
        why = f": {each.cause}" if each.cause else ""
        told.append(f"Blocked: {each.version} after {attempts}, retry in {duration(each.retry_in_s)}{why}")
    return told


def duration(seconds: float) -> str:
    """`59s`, `1m30s`, `1h0m`: the two largest units."""
    minutes, rest = divmod(int(seconds), 60)
    hours, left = divmod(minutes, 60)
    if hours:
        return f"{hours}h{left}m"
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def _up(seconds: float) -> int:
    return int(-(-timedelta(seconds=seconds) // timedelta(seconds=1)))


def _version(deployment: Mapping[str, Any]) -> str:
    template = ((deployment.get("spec") or {}).get("template") or {}).get("spec") or {}
    images = [str(container.get("image") or "") for container in template.get("containers") or ()]
    return next(_pack_versions(images), images[0] if images else "")


def _pack_versions(images: Iterable[str]) -> Iterator[str]:
    for image in images:
        try:
            reference = parse_image(image)
        except ImageError:
            continue
        if reference is not None and reference.version is not None:
            yield reference.version
