"""What one asks about a pod: is it alive, ready, available."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

from .annotations import DEADLINE, POD_GROUP
from .pods import Pod, PodCondition

NO_TIME = timedelta(0)
DEFAULT_SCHEDULER = "default-scheduler"
FINAL_PHASES = frozenset({"Succeeded", "Failed"})


def is_finished(pod: Pod) -> bool:
    """Its programs have ended and will not be started again."""
    return pod.status.phase in FINAL_PHASES


def is_active(pod: Pod) -> bool:
    """It runs or will run: neither finished nor on its way out."""
    return not is_finished(pod) and pod.metadata.deletion_timestamp is None


def _ready(pod: Pod) -> PodCondition | None:
    """Its Ready condition when that is True. A plain loop: controllers ask this of every pod of a large set."""
    for condition in pod.status.conditions:
        if condition.type == "Ready":
            return condition if condition.status == "True" else None
    return None


def ready_since(pod: Pod) -> datetime | None:
    """Since when it has been ready; None when it is not."""
    condition = _ready(pod)
    return (condition.last_transition_time or pod.metadata.creation_timestamp) if condition is not None else None


def is_ready(pod: Pod) -> bool:
    """Its Ready condition is True."""
    return _ready(pod) is not None


def is_waiting(pod: Pod) -> bool:
    """Whether the cluster's scheduler has to place it some time: not bound, not finished, not leaving, not another's."""
    waiting = not pod.spec.node_name and not is_finished(pod) and pod.metadata.deletion_timestamp is None
    return waiting and pod.spec.scheduler_name in ("", DEFAULT_SCHEDULER)


def has_place(pod: Pod) -> bool:
    """Whether it counts for its group: it has a node, has not failed there and is not leaving."""
    stays = pod.metadata.deletion_timestamp is None and pod.status.phase != "Failed"
    return stays and bool(pod.spec.node_name)


def available_in(pod: Pod, min_ready_s: int, now: datetime) -> timedelta | None:
    """How long until it has been ready for `min_ready_s` seconds: zero when it has; None when it is not ready."""
    condition = _ready(pod)
    if condition is None:
        return None
    since = condition.last_transition_time or pod.metadata.creation_timestamp
    if min_ready_s == 0 or since is None:
        return NO_TIME
    return max(NO_TIME, since + timedelta(seconds=min_ready_s) - now)


def is_available(pod: Pod, min_ready_s: int, now: datetime) -> bool:
    """It has been ready for at least `min_ready_s` seconds."""
    return available_in(pod, min_ready_s, now) == timedelta(0)


def deadline_of(pod: Pod) -> float:
    """When its work must be done, in seconds since the epoch; infinity when that is left open."""
    return deadline(pod.metadata.annotations.get(DEADLINE, ""))


def deadline(text: str) -> float:
    """A time in seconds since the epoch; infinity for what is none, or has no zone."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return math.inf
    return moment.timestamp() if moment.tzinfo is not None else math.inf


def group_of(pod: Pod) -> str:
    """`namespace/name` of the PodGroup with which it is placed; empty for a pod of its own."""
    name = pod.metadata.labels.get(POD_GROUP, "")
    return f"{pod.metadata.namespace}/{name}" if name else ""


GATED_REASON = "SchedulingGated"
GATED_MESSAGE = "Scheduling is blocked due to non-empty scheduling gates"
"""What a pod is told whose gates hold it back (KEP-3521)."""


def is_gated(pod: Pod) -> bool:
    """Somebody holds it back from being placed."""
    return bool(pod.spec.scheduling_gates)
