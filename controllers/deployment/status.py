"""How far a deployment is, in the numbers, conditions and reasons that `kubectl rollout status` and health checks
read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

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


def count(
    deployment: Deployment, new: ReplicaSet | None, olds: Sequence[ReplicaSet], conditions: Conditions, now: datetime
) -> DeploymentStatus:
    """The numbers, and the Available condition that follows from them."""
    sets = [*olds, *([new] if new else [])]
    available = sum(rs.status.available_replicas or 0 for rs in sets)
    enough = available >= deployment.spec.replicas - max_unavailable(deployment)
    if enough:
        text = "Deployment has minimum availability."
        conditions = put(conditions, "Available", "True", "MinimumReplicasAvailable", text, now)
    else:
        text = "Deployment does not have minimum availability."
        conditions = put(conditions, "Available", "False", "MinimumReplicasUnavailable", text, now)
    return DeploymentStatus(
        observed_generation=deployment.metadata.generation,
        replicas=sum(rs.status.replicas for rs in sets),
        updated_replicas=new.status.replicas if new else 0,
        ready_replicas=sum(rs.status.ready_replicas or 0 for rs in sets),
        available_replicas=available,
        unavailable_replicas=max(0, sum(rs.spec.replicas for rs in sets) - available),
        collision_count=deployment.status.collision_count,
        conditions=conditions,
    )


def is_complete(deployment: Deployment, status: DeploymentStatus) -> bool:
    """Every pod wanted is of the current template and available, and no other is left."""
    replicas = deployment.spec.replicas
    return status.updated_replicas == status.replicas == status.available_replicas == replicas


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
    deployment: Deployment, new: ReplicaSet | None, status: DeploymentStatus, now: datetime
) -> DeploymentStatus:
    """The status with the Progressing condition of a rollout that is not paused."""
    conditions = list(status.conditions)
    known = find_condition(conditions, "Progressing")
    if deadline(deployment) is None:
        return status.model_copy(update={"conditions": without_condition(conditions, "Progressing")})
    if status.replicas == status.updated_replicas and known is not None and known.reason == NEW_AVAILABLE:
        return status
    what = f'ReplicaSet "{new.metadata.name}"' if new else f'Deployment "{deployment.metadata.name}"'
    if is_complete(deployment, status):
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


def with_pause(deployment: Deployment, conditions: Conditions, now: datetime) -> Conditions:
    """The conditions after noticing that the rollout was paused or resumed; the clock of the deadline stands still
    meanwhile."""
    if deadline(deployment) is None:
        return conditions
    known = find_condition(conditions, "Progressing")
    if known is not None and known.reason == TIMED_OUT:
        return conditions
    was_paused = known is not None and known.reason == "DeploymentPaused"
    if deployment.spec.paused and not was_paused:
        return put(conditions, "Progressing", "Unknown", "DeploymentPaused", "Deployment is paused", now)
    if not deployment.spec.paused and was_paused:
        return put(conditions, "Progressing", "Unknown", "DeploymentResumed", "Deployment is resumed", now)
    return conditions


def recheck_after_s(deployment: Deployment, status: DeploymentStatus, now: datetime) -> float | None:
    """When to look again because a deadline may have passed; None when none is running."""
    known = find_condition(status.conditions, "Progressing")
    allowed = deadline(deployment)
    if known is None or allowed is None or known.last_update_time is None:
        return None
    if deployment.spec.paused or known.reason in (TIMED_OUT, NEW_AVAILABLE) or is_complete(deployment, status):
        return None
    # The times on the wire have whole seconds, hence the extra one.
    return max(0.0, (known.last_update_time + allowed - now).total_seconds()) + 1.0
