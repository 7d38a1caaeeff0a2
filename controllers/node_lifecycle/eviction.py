"""Which pods of a tainted node go now, and when the next one goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from stark.crds.nodes import Taint
from stark.crds.pods import Pod
from stark.crds.tolerations import tolerates


@dataclass(frozen=True, slots=True)
class Evictions:
    """Pods to delete now, and when to look again."""

    now: Sequence[Pod] = ()
    recheck_after_s: float | None = None


def evict_at(pod: Pod, taints: Sequence[Taint], now: datetime) -> datetime | None:
    """When the pod has to go because of NoExecute taints; None when it may stay for ever."""
    due: list[datetime] = []
    for taint in taints:
        if taint.effect != "NoExecute":
            continue
        matching = [toleration for toleration in pod.spec.tolerations if tolerates(toleration, taint)]
        if not matching:
            return now
        limits = [t.toleration_seconds for t in matching if t.toleration_seconds is not None]
        if limits:
            due.append((taint.time_added or now) + timedelta(seconds=max(0, min(limits))))
    return min(due) if due else None


def plan_evictions(taints: Sequence[Taint], pods: Sequence[Pod], now: datetime) -> Evictions:
    """What becomes of a node's pods. Pods that are on their way out already are left alone."""
    going: list[Pod] = []
    waits: list[float] = []
    for pod in pods:
        if pod.metadata.deletion_timestamp is not None:
            continue
        due = evict_at(pod, taints, now)
        if due is None:
            continue
        if due <= now:
            going.append(pod)
        else:
            waits.append((due - now).total_seconds())
    return Evictions(going, min(waits) if waits else None)
