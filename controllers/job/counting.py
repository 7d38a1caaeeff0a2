"""What a job's pods add up to: which run, which succeeded, which failed and when. Pure.

Pods are counted where they are; no finalizer holds them until they are counted. A number in the job's status never
falls, so that a finished pod that somebody took away after it was counted stays counted; one that vanished before is
run again. An indexed job's completions are told by their index, so they are exact whatever happens to the pods.
A pod that somebody deleted while it ran has not failed: it is replaced.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from stark.crds.batch import COMPLETION_INDEX, Job
from stark.crds.conditions import find_condition
from stark.crds.pods import Pod

from ..kit.podfacts import is_active, is_finished, is_ready


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

    @property
    def ready(self) -> int:
        """How many of the active ones are ready."""
        return sum(is_ready(pod) for pod in self.active)


def count(job: Job, pods: Iterable[Pod]) -> Count:
    """Count the job's own pods, and what its status remembers."""
    every = list(pods)
    won = [pod for pod in every if pod.status.phase == "Succeeded"]
    lost = [pod for pod in every if pod.status.phase == "Failed" and pod.metadata.deletion_timestamp is None]
    indexes: frozenset[int] = frozenset()
    succeeded = max(len(won), job.status.succeeded or 0)
    if is_indexed(job):
        goal = job.spec.completions or 0
        seen = {index for index in map(index_of, won) if index is not None}
        indexes = frozenset(index for index in seen | set(parse_indexes(job.status.completed_indexes)) if index < goal)
        succeeded = len(indexes)
    last_success = max(map(finished_at, won), default=None)
    failures = [finished_at(pod) for pod in lost]
    return Count(
        active=[pod for pod in every if is_active(pod)],
        succeeded=succeeded,
        failed=max(len(lost), job.status.failed or 0),
        terminating=sum(pod.metadata.deletion_timestamp is not None and not is_finished(pod) for pod in every),
        indexes=indexes,
        failed_in_a_row=sum(last_success is None or moment > last_success for moment in failures),
        last_failure=max(failures, default=None),
    )


def is_indexed(job: Job) -> bool:
    """Whether every completion has a number."""
    return job.spec.completion_mode == "Indexed"


def index_of(pod: Pod) -> int | None:
    """The completion that a pod is for; None when it does not say so."""
    text = pod.metadata.annotations.get(COMPLETION_INDEX, "")
    return int(text) if text.isascii() and text.isdigit() else None


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


def parse_indexes(text: str | None) -> Iterator[int]:
    """The numbers of `0,2-5`."""
    for part in (text or "").split(","):
        first, _, last = part.partition("-")
        if first:
            yield from range(int(first), int(last or first) + 1)


def format_indexes(indexes: Iterable[int]) -> str:
    """Numbers as `0,2-5`; only three or more in a row become a range, as in Kubernetes."""
    runs: list[list[int]] = []
    for index in sorted(indexes):
        if runs and index == runs[-1][-1] + 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return ",".join(_run(run) for run in runs)


def _run(run: Sequence[int]) -> str:
    return ",".join(map(str, run)) if len(run) < 3 else f"{run[0]}-{run[-1]}"
