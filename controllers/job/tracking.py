"""Which of a job's pods are counted already: every pod once, wherever the controller was cut off. Pure.

The order is that of KEP-2307. A pod is made with a finalizer. When it has ended, its uid goes into
`status.uncountedTerminatedPods`; once that is stored the finalizer is taken off; and when it is seen to be off, one
write drops the uid and raises the number. So a pod is held, or its uid is noted, or it is in the number; it is held and
noted for a while, but a noted pod is not noted again. Completions of an indexed job are told by their index instead.

A held pod that somebody deletes has failed, unless it has succeeded: it may never get to say how it ended. A pod that
the job itself stops is let go before it is deleted, and is not counted. Only a job whose status says so from the
beginning is tracked; one that an older version began is counted by the pods that are there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass

from stark.crds.batch import COMPLETION_INDEX, JOB_TRACKING, Job, UncountedTerminatedPods
from stark.crds.completions import parse_indexes
from stark.crds.podfacts import is_finished
from stark.crds.pods import Pod

from .failures import judge, waits_for_phase

UNCOUNTED_MAX = 500
"""Ends noted at the same time, so that the status stays small; more follow when these are counted. As in Kubernetes."""


@dataclass(frozen=True, slots=True)
class Tally:
    """The numbers as they are to be written, and the pods that may go once they are."""

    succeeded: int
    failed: int
    uncounted: UncountedTerminatedPods
    indexes: frozenset[int]
    """Of an indexed job, the indexes that have succeeded."""
    settled: Sequence[Pod]
    """Pods that are held and need not be any more when the rest is stored."""

    @property
    def pending(self) -> int:
        """Pods that are noted and not yet in the numbers."""
        return len(self.uncounted.succeeded) + len(self.uncounted.failed)


def is_tracked(job: Job) -> bool:
    """Whether its pods are counted by finalizer: so it says, or nothing has been said of it yet."""
    return job.status.uncounted_terminated_pods is not None or not job.status.model_dump(exclude_defaults=True)


def is_held(pod: Pod) -> bool:
    """Whether the pod waits to be counted."""
    return JOB_TRACKING in pod.metadata.finalizers


def is_indexed(job: Job) -> bool:
    """Whether every completion has a number."""
    return job.spec.completion_mode == "Indexed"


def index_of(pod: Pod) -> int | None:
    """The completion that a pod is for; None when it does not say so."""
    text = pod.metadata.annotations.get(COMPLETION_INDEX, "")
    return int(text) if text.isascii() and text.isdigit() else None


def done_indexes(job: Job, won: Iterable[Pod] = ()) -> frozenset[int]:
    """The indexes that the status remembers and those of `won`, as far as the job still asks for them."""
    goal = job.spec.completions or 0
    seen = {index for index in map(index_of, won) if index is not None}
    return frozenset(index for index in seen | set(parse_indexes(job.status.completed_indexes)) if index < goal)


def tally(job: Job, pods: Iterable[Pod]) -> Tally:
    """Count a tracked job's own pods one step further."""
    noted = job.status.uncounted_terminated_pods or UncountedTerminatedPods()
    held = {pod.uid: pod for pod in pods if is_held(pod)}
    won = [uid for uid in noted.succeeded if uid in held]
    lost = [uid for uid in noted.failed if uid in held]
    succeeded = (job.status.succeeded or 0) + len(noted.succeeded) - len(won)
    failed = (job.status.failed or 0) + len(noted.failed) - len(lost)
    indexes = set(done_indexes(job)) if is_indexed(job) else set[int]()
    settled = list[Pod]()
    room = UNCOUNTED_MAX - len(won) - len(lost)
    for pod in held.values():
        if not has_ended(job, pod):
            continue
        if pod.uid not in won and pod.uid not in lost and not _is_no_news(job, pod, indexes):
            if room <= 0:
                continue  # it stays held: its turn comes
            room -= 1
            _note(job, pod, won, lost, indexes)
        settled.append(pod)
    return Tally(
        succeeded=len(indexes) if is_indexed(job) else succeeded,
        failed=failed,
        uncounted=UncountedTerminatedPods(succeeded=won, failed=lost),
        indexes=frozenset(indexes),
        settled=settled,
    )


def has_ended(job: Job, pod: Pod) -> bool:
    """Whether it counts: it is finished, or somebody deleted it and it may never be.

    A job that waits for the end sees it in the phase, which the agent or the pod collector writes; only of a pod that was
    deleted without grace nothing more is to be heard.
    """
    if is_finished(pod) or pod.metadata.deletion_timestamp is None:
        return is_finished(pod)
    return not waits_for_phase(job) or pod.metadata.deletion_grace_period_seconds == 0


def _is_no_news(job: Job, pod: Pod, indexes: Set[int]) -> bool:
    """Whether it need not be noted: its failure is passed over, or the index of an indexed job has succeeded with it or
    before, or is not asked for."""
    if pod.status.phase != "Succeeded" and judge(job, pod).action == "Ignore":
        return True
    if not is_indexed(job):
        return False
    index = index_of(pod)
    if index is None or index >= (job.spec.completions or 0):
        return True
    return pod.status.phase == "Succeeded" and index in indexes


def _note(job: Job, pod: Pod, won: list[str], lost: list[str], indexes: set[int]) -> None:
    if pod.status.phase != "Succeeded":
        lost.append(pod.uid)
    elif is_indexed(job):
        index = index_of(pod)
        assert index is not None, pod.key
        indexes.add(index)
    else:
        won.append(pod.uid)
