"""Failures of each completion of an indexed job by itself: how often, and which completions are given up (KEP-3850).

A pod carries how often its index had failed before it was made. So nothing is kept beside the pods: the newest pod of an
index says how often it has failed, and a failed pod is held until a newer one has taken that over, or the index is done.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from stark.crds.batch import INDEX_FAILURES, INDEX_IGNORED_FAILURES, Job
from stark.crds.completions import parse_indexes
from stark.crds.podfacts import is_active
from stark.crds.pods import Pod

from .failures import judge
from .tracking import index_of


@dataclass(frozen=True, slots=True)
class Attempts:
    """What became of an index so far."""

    failures: int = 0
    ignored: int = 0
    """Failures that were passed over: they count for the wait before the next attempt only."""
    last: Pod | None = None
    """The pod that failed last; None while nothing has failed."""
    gives_up: bool = False
    """A rule says that the index fails whatever its limit."""

    @property
    def total(self) -> int:
        """Attempts that failed, counted or not."""
        return self.failures + self.ignored


NONE = Attempts()


def is_counted_per_index(job: Job) -> bool:
    """Whether every completion has a limit of its own."""
    return job.spec.backoff_limit_per_index is not None and job.spec.completion_mode == "Indexed"


def attempts_of(job: Job, dead: Iterable[Pod]) -> dict[int, Attempts]:
    """By index, what the pods that failed say."""
    found: dict[int, Attempts] = {}
    for pod in dead:
        index = index_of(pod)
        if index is None or index >= (job.spec.completions or 0):
            continue
        action = judge(job, pod).action
        passed = action == "Ignore"
        mine = Attempts(
            _number(pod, INDEX_FAILURES) + (not passed),
            _number(pod, INDEX_IGNORED_FAILURES) + passed,
            pod,
            action == "FailIndex",
        )
        known = found.get(index, NONE)
        if mine.gives_up or (mine.total > known.total and not known.gives_up):
            found[index] = mine
    return found


def given_up(job: Job, attempts: Mapping[int, Attempts], succeeded: frozenset[int]) -> frozenset[int]:
    """The indexes that have failed for good: as the status remembers them, and those whose limit is passed now."""
    limit, goal = job.spec.backoff_limit_per_index or 0, job.spec.completions or 0
    over = {index for index, each in attempts.items() if each.gives_up or each.failures > limit}
    known = set(parse_indexes(job.status.failed_indexes))
    return frozenset(index for index in over | known if index < goal and index not in succeeded)


def is_still_told_by(pod: Pod, attempts: Mapping[int, Attempts], pods: Iterable[Pod], over: frozenset[int]) -> bool:
    """Whether a pod that failed is the only one that knows how often its index has failed."""
    index = index_of(pod)
    if index is None or index in over or pod.status.phase == "Succeeded":
        return False
    known = attempts.get(index)
    if known is None or known.last is not pod:
        return False
    return not any(index_of(other) == index and is_active(other) for other in pods)


def _number(pod: Pod, key: str) -> int:
    text = pod.metadata.annotations.get(key, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
