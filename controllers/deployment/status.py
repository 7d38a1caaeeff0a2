"""How far a deployment is, in the numbers, conditions and reasons that `kubectl rollout status` and health checks
read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from stark.crds.annotations import CRASH_LOOP_PAUSED
from stark.crds.apps import Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet
from stark.crds.conditions import ConditionStatus, find_condition, without_condition

from .strategy import max_unavailable

NEW_AVAILABLE = "NewReplicaSetAvailable"
UPDATED = "ReplicaSetUpdated"
TIMED_OUT = "ProgressDeadlineExceeded"
NO_DEADLINE_SECONDS = 2**31 - 1
"""kubectl's way to say that a rollout may take for ever."""

Conditions = list[DeploymentCondition]


def put(
    conditions: Conditions, type_: str, status: ConditionStatus, reason: str, message: str, now: datetime
) -> Conditions:
    """The list with this conclusion. The same status for the same reason is no news and keeps message and times."""
    old = find_condition(conditions, type_)
    if old is not None and (old.status, old.reason) == (status, reason):
        return conditions
    moment = now.replace(microsecond=0)
    since = old.last_transition_time if old is not None and old.status == status else moment
    new = DeploymentCondition(
        type=type_, status=status, reason=reason, message=message, last_update_time=moment, last_transition_time=since
    )
    return [*without_condition(conditions, type_), new]


@dataclass(frozen=True, slots=True)
class Tally:
    """The pods of a deployment by what they are, and how many there should be."""

    desired: int
    floor: int
    """Available pods without which the deployment is not available."""
    there: int
    updated: int
    ready: int
    available: int
    unavailable: int
    terminating: int | None = None
    """Unknown while a ReplicaSet does not say."""

    @property
    def is_complete(self) -> bool:
        """Every pod wanted is of the current template and available, and no other is left."""
        return self.updated == self.there == self.available == self.desired


def tally(deployment: Deployment, new: ReplicaSet | None, olds: Sequence[ReplicaSet]) -> Tally:
    """What the ReplicaSets say together."""
    sets = [*olds, *([new] if new else [])]
    available = sum(rs.status.available_replicas or 0 for rs in sets)
    leaving = [rs.status.terminating_replicas for rs in sets]
    known = [number for number in leaving if number is not None]
    return Tally(
        desired=deployment.spec.replicas,
        floor=deployment.spec.replicas - max_unavailable(deployment),
        there=sum(rs.status.replicas for rs in sets),
        updated=new.status.replicas if new else 0,
        ready=sum(rs.status.ready_replicas or 0 for rs in sets),
        available=available,
        unavailable=max(0, sum(rs.spec.replicas for rs in sets) - available),
        terminating=sum(known) if len(known) == len(leaving) else None,
    )


def count(deployment: Deployment, tally: Tally, conditions: Conditions, now: datetime) -> DeploymentStatus:
    """The numbers, and the Available condition that follows from them."""
    if tally.available >= tally.floor:
        text = "Deployment has minimum availability."
        conditions = put(conditions, "Available", "True", "MinimumReplicasAvailable", text, now)
    else:
        text = "Deployment does not have minimum availability."
        conditions = put(conditions, "Available", "False", "MinimumReplicasUnavailable", text, now)
    return DeploymentStatus(
        observed_generation=deployment.metadata.generation,
        replicas=tally.there,
        updated_replicas=tally.updated,
        ready_replicas=tally.ready,
        available_replicas=tally.available,
        unavailable_replicas=tally.unavailable,
        terminating_replicas=tally.terminating,
        collision_count=deployment.status.collision_count,
        conditions=conditions,
    )


def _is_progressing(old: DeploymentStatus, new: DeploymentStatus) -> bool:
    """Whether something moved forward since the last look."""
    before, after = _counts(old), _counts(new)
    return (
        after["updated"] > before["updated"]
        or after["old"] < before["old"]
        or after["ready"] > before["ready"]
        or after["available"] > before["available"]
    )


def _counts(status: DeploymentStatus) -> dict[str, int]:
    updated = status.updated_replicas or 0
    return {
        "updated": updated,
        "old": (status.replicas or 0) - updated,
        "ready": status.ready_replicas or 0,
        "available": status.available_replicas or 0,
    }


def deadline(deployment: Deployment) -> timedelta | None:
    """How long a rollout may stand still; None for ever."""
    seconds = deployment.spec.progress_deadline_seconds
    return None if seconds in (0, NO_DEADLINE_SECONDS) else timedelta(seconds=seconds)


def _timed_out(deployment: Deployment, now: datetime) -> bool:
    known = find_condition(deployment.status.conditions, "Progressing")
    allowed = deadline(deployment)
    if known is None or allowed is None or known.reason == NEW_AVAILABLE:
        return False
    if known.reason == TIMED_OUT:
        return True
    return known.last_update_time is not None and known.last_update_time + allowed < now


def with_progress(
    deployment: Deployment, what: str, status: DeploymentStatus, now: datetime, *, complete: bool
) -> DeploymentStatus:
    """The status with the Progressing condition of a rollout that is not paused; `what` is its subject."""
    conditions = list(status.conditions)
    known = find_condition(conditions, "Progressing")
    if deadline(deployment) is None:
        return status.model_copy(update={"conditions": without_condition(conditions, "Progressing")})
    if status.replicas == status.updated_replicas and known is not None and known.reason == NEW_AVAILABLE:
        return status
    if complete:
        text = f"{what} has successfully progressed."
        conditions = put(conditions, "Progressing", "True", NEW_AVAILABLE, text, now)
    elif _is_progressing(deployment.status, status):
        conditions = _restarted(conditions, f"{what} is progressing.", now)
    elif _timed_out(deployment, now):
        conditions = put(conditions, "Progressing", "False", TIMED_OUT, f"{what} has timed out progressing.", now)
    return status.model_copy(update={"conditions": conditions})


def _restarted(conditions: Conditions, text: str, now: datetime) -> Conditions:
    """Every sign of progress restarts the deadline, so the update time moves although status and reason may stay."""
    old = find_condition(conditions, "Progressing")
    fresh = put(without_condition(conditions, "Progressing"), "Progressing", "True", UPDATED, text, now)
    if old is None or old.status != "True" or old.last_transition_time is None:
        return fresh
    return [*fresh[:-1], fresh[-1].model_copy(update={"last_transition_time": old.last_transition_time})]


def with_failures(status: DeploymentStatus, sets: Sequence[ReplicaSet], now: datetime) -> DeploymentStatus:
    """The status with what keeps a ReplicaSet from making pods; the new one (first in `sets`) speaks before the
    others."""
    for rs in sets:
        failure = find_condition(rs.status.conditions, "ReplicaFailure")
        if failure is not None and failure.status == "True":
            reason, text = failure.reason or "FailedCreate", failure.message or ""
            conditions = put(list(status.conditions), "ReplicaFailure", "True", reason, text, now)
            return status.model_copy(update={"conditions": conditions})
    return status.model_copy(update={"conditions": without_condition(status.conditions, "ReplicaFailure")})


PAUSED, CRASH_LOOP_STOPPED, RESUMED = "DeploymentPaused", "CrashLoopPaused", "DeploymentResumed"


def halted_by(deployment: Deployment) -> str:
    """Why no rollout goes on: the reason for its Progressing condition, empty while it does. A person's pause is
    `spec.paused`, the crash-loop controller's its annotation."""
    if deployment.spec.paused:
        return PAUSED
    return CRASH_LOOP_STOPPED if CRASH_LOOP_PAUSED in deployment.metadata.annotations else ""


def with_pause(deployment: Deployment, conditions: Conditions, now: datetime) -> Conditions:
    """The conditions after noticing that the rollout was paused or resumed; the clock of the deadline stands still
    meanwhile."""
    if deadline(deployment) is None:
        return conditions
    known = find_condition(conditions, "Progressing")
    halted = halted_by(deployment)
    if known is not None and known.reason == TIMED_OUT and halted != CRASH_LOOP_STOPPED:
        return conditions
    if halted == PAUSED:
        return put(conditions, "Progressing", "Unknown", PAUSED, "Deployment is paused", now)
    if halted == CRASH_LOOP_STOPPED:
        text = f"Deployment is stopped: {deployment.metadata.annotations[CRASH_LOOP_PAUSED]}"
        return put(conditions, "Progressing", "Unknown", CRASH_LOOP_STOPPED, text, now)
    if known is not None and known.reason in (PAUSED, CRASH_LOOP_STOPPED):
        return put(conditions, "Progressing", "Unknown", RESUMED, "Deployment is resumed", now)
    return conditions


def recheck_after_s(deployment: Deployment, status: DeploymentStatus, now: datetime, *, complete: bool) -> float | None:
    """When to look again because a deadline may have passed; None when none is running."""
    known = find_condition(status.conditions, "Progressing")
    allowed = deadline(deployment)
    if known is None or allowed is None or known.last_update_time is None:
        return None
    if complete or halted_by(deployment) or known.reason in (TIMED_OUT, NEW_AVAILABLE):
        return None
    # The times on the wire have whole seconds, hence the extra one.
    return max(0.0, (known.last_update_time + allowed - now).total_seconds()) + 1.0
