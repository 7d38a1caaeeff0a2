"""Which pods of a tainted node go now, and when the next one goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from stark.crds.nodes import Taint
from stark.crds.pods import Pod
from stark.crds.tolerations import tolerates


@dataclass(frozen=True, slots=True)
class Evictions:
    """Pods to delete now, and when to look again."""

    now: Sequence[Pod] = ()
    recheck_after_s: float | None = None


@dataclass(slots=True)
class TaintAges:
    """How long taints have been on nodes. From the first sight by a clock that nobody sets: a step of the time of day must
    neither empty nodes at once nor keep pods on them for hours."""

    _known: dict[str, dict[tuple[str, datetime], tuple[float, float]]] = field(default_factory=dict)
    """By node: for each taint how old it was at first sight, and when that was, in seconds of the steady clock."""

    def aged(self, node: str, taints: Sequence[Taint], now: datetime, steady_s: float) -> Sequence[Taint]:
        """The NoExecute taints, their times put right with regard to `now`."""
        former, self._known[node] = self._known.get(node, {}), {}
        return [self._put_right(node, taint, former, now, steady_s) for taint in taints if taint.effect == "NoExecute"]

    def forget(self, node: str) -> None:
        """It is gone, or has no such taint."""
        self._known.pop(node, None)

    def _put_right(
        self,
        node: str,
        taint: Taint,
        former: dict[tuple[str, datetime], tuple[float, float]],
        now: datetime,
        steady_s: float,
    ) -> Taint:
        if taint.time_added is None:
            return taint
        which = (taint.key, taint.time_added)
        age_s, seen_s = former.get(which) or (max(0.0, (now - taint.time_added).total_seconds()), steady_s)
        self._known[node][which] = (age_s, seen_s)
        return taint.model_copy(update={"time_added": now - timedelta(seconds=age_s + steady_s - seen_s)})


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
