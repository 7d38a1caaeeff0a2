"""What a job's pods add up to: which run, which succeeded, which failed and when. Pure.

The pods of a tracked job are counted one by one, see `tracking`. A job that an older version began is counted by the
pods that are there: a number in its status never falls, so that a finished pod that somebody took away after it was
counted stays counted, and one that vanished before is run again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from stark.crds.batch import Job
from stark.crds.conditions import find_condition
from stark.crds.podfacts import is_active, is_finished, is_ready
from stark.crds.pods import Pod

from .failures import judge
from .per_index import Attempts, attempts_of, given_up, is_counted_per_index, is_still_told_by
from .tracking import Tally, done_indexes, has_ended, is_held, is_indexed, is_tracked, tally


@dataclass(frozen=True, slots=True)
class Count:
    """The pods of a job, sorted out."""

    active: Sequence[Pod]
    succeeded: int
    failed: int
    terminating: int
    indexes: frozenset[int]
    """Of an indexed job, the indexes that have succeeded."""
    failed_in_a_row: int
    """Pods that failed since the last one succeeded."""
    last_failure: datetime | None
    tally: Tally | None
    """The numbers as the status says them, which are behind these by what is noted; None of a job not tracked."""
    settled: Sequence[Pod]
    """Pods that are held and may go when the status is stored."""
    fatal: str = ""
    """Why a failed pod ends the job; empty when none does."""
    attempts: Mapping[int, Attempts] = field(default_factory=dict)
    """Of a job that counts failures per index, what became of each that has failed."""
    failed_indexes: frozenset[int] = frozenset()
    """The indexes that are given up."""

    @property
    def ready(self) -> int:
        """How many of the active ones are ready."""
        return sum(is_ready(pod) for pod in self.active)


def count(job: Job, pods: Iterable[Pod]) -> Count:
    """Count the job's own pods, and what its status remembers."""
    every = list(pods)
    won = [pod for pod in every if pod.status.phase == "Succeeded"]
    # One that was evicted has both failed and been deleted; one that the job itself stopped is not held any more.
    dead = [p for p in every if p.status.phase == "Failed" and (p.metadata.deletion_timestamp is None or is_held(p))]
    lost = [pod for pod in dead if pod.metadata.deletion_timestamp is None]
    exact = tally(job, every) if is_tracked(job) else None
    if exact is not None:
        uncounted, indexes, settled = exact.uncounted, exact.indexes, exact.settled
        succeeded, failed = exact.succeeded + len(uncounted.succeeded), exact.failed + len(uncounted.failed)
    else:
        indexes = done_indexes(job, won) if is_indexed(job) else frozenset()
        succeeded = len(indexes) if is_indexed(job) else max(len(won), job.status.succeeded or 0)
        counted = sum(judge(job, pod).action != "Ignore" for pod in lost)
        failed = max(counted, job.status.failed or 0)
        settled = [pod for pod in every if is_held(pod) and has_ended(job, pod)]
    attempts = attempts_of(job, dead) if is_counted_per_index(job) else {}
    lost_indexes = given_up(job, attempts, indexes) if is_counted_per_index(job) else frozenset[int]()
    over = indexes | lost_indexes
    settled = [pod for pod in settled if not is_still_told_by(pod, attempts, every, over)]
    last_success = max(map(finished_at, won), default=None)
    failures = [finished_at(pod) for pod in lost]
    return Count(
        active=[pod for pod in every if is_active(pod)],
        succeeded=succeeded,
        failed=failed,
        terminating=sum(pod.metadata.deletion_timestamp is not None and not is_finished(pod) for pod in every),
        indexes=indexes,
        failed_in_a_row=sum(last_success is None or moment > last_success for moment in failures),
        last_failure=max(failures, default=None),
        tally=exact,
        settled=settled,
        attempts=attempts,
        failed_indexes=lost_indexes,
        fatal=next((each.message for each in map(partial(judge, job), dead) if each.action == "FailJob"), ""),
    )


def finished_at(pod: Pod) -> datetime:
    """When the last container ended, else when the pod stopped being ready, else when it was made."""
    ends = [
        status.state.terminated.finished_at
        for status in pod.status.container_statuses
        if status.state.terminated is not None and status.state.terminated.finished_at is not None
    ]
    if ends:
        return max(ends)
    ready = find_condition(pod.status.conditions, "Ready")
    if ready is not None and ready.last_transition_time is not None:
        return ready.last_transition_time
    assert pod.metadata.creation_timestamp is not None, pod.key
    return pod.metadata.creation_timestamp
