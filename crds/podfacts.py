"""What one asks about a pod: is it alive, ready, available."""

from __future__ import annotations

from datetime import datetime, timedelta

from .conditions import find_condition
from .pods import Pod

FINAL_PHASES = frozenset({"Succeeded", "Failed"})


def is_finished(pod: Pod) -> bool:
    """Its programs have ended and will not be started again."""
    return pod.status.phase in FINAL_PHASES


def is_active(pod: Pod) -> bool:
    """It runs or will run: neither finished nor on its way out."""
    return not is_finished(pod) and pod.metadata.deletion_timestamp is None


def ready_since(pod: Pod) -> datetime | None:
    """Since when it has been ready; None when it is not."""
    condition = find_condition(pod.status.conditions, "Ready")
    if condition is None or condition.status != "True":
        return None
    return condition.last_transition_time or pod.metadata.creation_timestamp


def is_ready(pod: Pod) -> bool:
    """Its Ready condition is True."""
    condition = find_condition(pod.status.conditions, "Ready")
    return condition is not None and condition.status == "True"


def available_in(pod: Pod, min_ready_s: int, now: datetime) -> timedelta | None:
    """How long until it has been ready for `min_ready_s` seconds: zero when it has; None when it is not ready."""
    if not is_ready(pod):
        return None
    since = ready_since(pod)
    if min_ready_s == 0 or since is None:
        return timedelta(0)
    return max(timedelta(0), since + timedelta(seconds=min_ready_s) - now)


def is_available(pod: Pod, min_ready_s: int, now: datetime) -> bool:
    """It has been ready for at least `min_ready_s` seconds."""
    return available_in(pod, min_ready_s, now) == timedelta(0)
