"""The condition CrashLoop of a deployment, by what its annotations say now. Pure.

It is computed anew at every look, so that one which could not be written, or was overwritten, comes right by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from stark.crds.annotations import (
    CRASH_LOOP_PAUSED,
    LAST_SUCCESSFUL_TEMPLATE,
    LAST_SUCCESSFUL_VERSION,
    BlockedVersion,
)
from stark.crds.apps import Deployment, DeploymentCondition
from stark.crds.conditions import ConditionStatus, find_condition
from stark.crds.crash_loop import (
    CONDITION,
    block_remaining_s,
    counted_of,
    moment,
    readable_blocks,
    settings_or_default,
)
from stark.crds.templates import fingerprint, pack_of

from .planning import is_complete

PAUSED, PENDING, ROLLED_BACK = "CrashLoopPaused", "RollbackPending", "RolledBack"
COUNTING, TRIED_AGAIN, QUIET, OFF = "FailuresCounted", "TriedAgain", "NoCrashLoop", "Disabled"

Judged = tuple[ConditionStatus, str, str]


def condition(deployment: Deployment, annotations: Mapping[str, str], now: datetime) -> DeploymentCondition | None:
    """The condition to write; None when it is as it should be. `annotations` are those after what was just written."""
    known = find_condition(deployment.status.conditions, CONDITION)
    judged = _judge(deployment, annotations, now)
    if judged is None and known is None:
        return None  # nothing to tell, and nothing was told
    status, reason, message = judged or _quiet(deployment, annotations)
    if known is not None and (known.status, known.reason, known.message) == (status, reason, message):
        return None
    at = now.replace(microsecond=0)
    same = known is not None and known.status == status
    since = known.last_transition_time if same and known is not None else at
    return DeploymentCondition(
        type=CONDITION,
        status=status,
        reason=reason,
        message=message,
        observed_generation=deployment.metadata.generation,
        last_update_time=at,
        last_transition_time=since or at,
    )


def _quiet(deployment: Deployment, annotations: Mapping[str, str]) -> Judged:
    if not settings_or_default(annotations).enabled:
        return "False", OFF, "Crash-loop protection is switched off"
    return "False", QUIET, f"Version {_version(deployment)} is not crash-looping"


def next_change_s(annotations: Mapping[str, str], now: datetime) -> float | None:
    """Seconds until a block ends and the condition with it; None when nothing is blocked."""
    settings = settings_or_default(annotations)
    left = [block_remaining_s(each, settings, now) for each in readable_blocks(annotations)]
    return min((each for each in left if each > 0), default=None)


def _judge(deployment: Deployment, annotations: Mapping[str, str], now: datetime) -> Judged | None:
    settings = settings_or_default(annotations)
    if not settings.enabled:
        return None
    if CRASH_LOOP_PAUSED in annotations:
        text = annotations[CRASH_LOOP_PAUSED]
        return "True", PAUSED, f"Paused: {text}"
    mark, counted = fingerprint(deployment.spec.template), counted_of(annotations)
    failures = counted.count if counted is not None and counted.template == mark else 0
    if failures >= settings.threshold:
        return (
            "True",
            PENDING,
            f"Version {_version(deployment)} failed {failures} times in a row; the rollback waits for resume",
        )
    blocks = [each for each in readable_blocks(annotations) if block_remaining_s(each, settings, now) > 0]
    if blocks:
        began = {each: moment(each.until) - timedelta(seconds=settings.backoff_s(each.attempts)) for each in blocks}
        return _blocked(deployment, annotations, mark, max(blocks, key=began.__getitem__))
    if failures:
        text = f"Version {_version(deployment)} failed {failures} times in a row, of {settings.threshold}"
        return "False", COUNTING, text
    before = next((each for each in readable_blocks(annotations) if each.template == mark), None)
    if before is not None:
        text = (
            f"Version {before.version} crash-looped ({before.cause}) and is tried again after attempt {before.attempts}"
        )
        return "False", TRIED_AGAIN, text
    return None


def _blocked(deployment: Deployment, annotations: Mapping[str, str], mark: str, last: BlockedVersion) -> Judged:
    """A version is blocked, and another one runs or comes back: until that is complete, the loop is not over."""
    text = (
        f"Version {last.version} crash-looped ({last.cause}) and is blocked until {last.until}, attempt {last.attempts}"
    )
    if annotations.get(LAST_SUCCESSFUL_TEMPLATE) != mark:
        return "False", ROLLED_BACK, text
    instead = annotations.get(LAST_SUCCESSFUL_VERSION, mark)
    if is_complete(deployment):
        return "False", ROLLED_BACK, f"{text}; version {instead} runs in its place"
    return "True", ROLLED_BACK, f"{text}; version {instead} comes back in its place"


def _version(deployment: Deployment) -> str:
    pack = pack_of(deployment.spec.template)
    return pack.version if pack is not None and pack.version else fingerprint(deployment.spec.template)
