"""For how long pods have been seen Ready without a break.

Measured on the clock of this process, which nobody sets, and not by the pods' own times: a node whose clock is wrong, or
one that is put right, must neither hide a success nor make one up. What is measured is lost with the process; then a
success is seen a little later.
"""

from __future__ import annotations

from collections.abc import Sequence

from stark.crds.podfacts import is_ready, ready_since
from stark.crds.pods import Pod

_Mark = tuple[str, int]


class Steadiness:
    """The pods of one deployment."""

    def __init__(self) -> None:
        self._since: dict[str, tuple[_Mark, float]] = {}

    def look(self, pods: Sequence[Pod], at_s: float) -> dict[str, float]:
        """Uid -> seconds for those that are Ready at `at_s`. Pods that are not among them are forgotten."""
        marks = {pod.uid: _mark(pod) for pod in pods if is_ready(pod) and pod.metadata.deletion_timestamp is None}
        kept = {}
        for uid, mark in marks.items():
            known = self._since.get(uid)
            kept[uid] = known if known is not None and known[0] == mark else (mark, at_s)
        self._since = kept
        return {uid: at_s - since for uid, (_, since) in kept.items()}


def _mark(pod: Pod) -> _Mark:
    """What changes when readiness was lost and came back between two looks."""
    return str(ready_since(pod)), sum(status.restart_count for status in pod.status.container_statuses)
