"""For how long pods have been seen Ready without a break.

Measured on the clock of this process, which nobody sets, and not by the pods' own times: a node whose clock is wrong, or
one that is put right, must not make up a success. Only of pods that are Ready at the first look is their own word taken, and
for less: that they hold is enough against failures of others, and never enough to call a whole rollout a success.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from stark.crds.podfacts import ready_since
from stark.crds.pods import Pod

_Mark = tuple[datetime, int]


@dataclass(frozen=True, slots=True)
class Steady:
    """Pod uid -> seconds."""

    seen_s: Mapping[str, float] = field(default_factory=dict)
    """For which we saw it Ready."""
    told_s: Mapping[str, float] = field(default_factory=dict)
    """The same, and what the pod said of the time before our first look."""


class Steadiness:
    """The pods of one deployment."""

    def __init__(self) -> None:
        self._since: dict[str, tuple[_Mark, float, float]] = {}
        self._is_first = True

    def look(self, pods: Sequence[Pod], at_s: float, now: datetime) -> Steady:
        """Those that are Ready, at `at_s` on our own clock and `now` on the wall's. Other pods are forgotten."""
        kept: dict[str, tuple[_Mark, float, float]] = {}
        for pod in pods:
            since = ready_since(pod)
            if since is None or pod.metadata.deletion_timestamp is not None:
                continue
            mark, known = _mark(pod, since), self._since.get(pod.uid)
            if known is None or known[0] != mark:
                told_s = max(0.0, (now - _no_earlier(pod, since)).total_seconds()) if self._is_first else 0.0
                known = (mark, at_s, told_s)
            kept[pod.uid] = known
        self._since, self._is_first = kept, False
        seen = {uid: at_s - since for uid, (_, since, _) in kept.items()}
        return Steady(seen, {uid: seen[uid] + before for uid, (_, _, before) in kept.items()})


def _no_earlier(pod: Pod, since: datetime) -> datetime:
    """Ready since then; a node whose clock is slow says a time before the server had made the pod."""
    created = pod.metadata.creation_timestamp
    return since if created is None else max(since, created)


def _mark(pod: Pod, since: datetime) -> _Mark:
    """What changes when readiness was lost and came back between two looks."""
    return since, sum(s.restart_count for s in (*pod.status.init_container_statuses, *pod.status.container_statuses))
