"""What a job does next: the pods to make and to stop, its status, the events to tell, and when to look again. Pure.

The verdict comes first and stays: SuccessCriteriaMet or FailureTarget is written before the last pods are stopped, and
Complete or Failed when none is left and each has been counted. So a controller that is interrupted at any write goes on
to the same end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

from stark.crds.annotations import DEADLINE
from stark.crds.batch import (
    COMPLETION_INDEX,
    COMPLETION_INDEX_VARIABLE,
    INDEX_FAILURES,
    INDEX_IGNORED_FAILURES,
    JOB_TRACKING,
    Job,
    JobStatus,
)
from stark.crds.completions import format_indexes, parse_indexes
from stark.crds.conditions import Condition, find_condition, is_true, set_condition
from stark.crds.meta import ObjectMeta
from stark.crds.podfacts import is_ready
from stark.crds.pods import Container, EnvVar, EnvVarSource, ObjectFieldSelector, Pod

from .counting import Count, count, finished_at
from .failures import waits_for_phase
from .per_index import NONE, Attempts, is_counted_per_index
from .tracking import index_of, is_held, is_indexed, is_tracked

BURST_MAX = 500
"""Pods made or deleted in one reconcile; the rest follows when the cache has seen these."""
BACKOFF_FIRST_S = 10.0
BACKOFF_MAX_S = 360.0
"""After the first failure in a row the next pod waits 10 s, then 20, 40 ... at most six minutes."""
HOSTNAME_MAX = 63

VERDICTS = {"SuccessCriteriaMet": "Complete", "FailureTarget": "Failed"}
"""What has been decided, and what it is called when the last pod has ended."""


@dataclass(frozen=True, slots=True)
class Told:
    """An event."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do about a job now, in this order. The status is written first: a pod is made only by a job that says it
    began, and let go only by one that has counted it."""

    status: JobStatus
    release: Sequence[Pod] = ()
    """Pods that need not be held any more."""
    hold: Sequence[Pod] = ()
    """Pods that run and are held by nothing: somebody let go of them, or was cut off before he deleted them."""
    delete: Sequence[Pod] = ()
    """Pods that are not wanted any more, and are let go before: they do not count."""
    fail: Sequence[Pod] = ()
    """Pods that the job takes with it as it fails: they are deleted as they are, which counts them."""
    create: Sequence[int | None] = ()
    """A pod each, with its index if the job is indexed."""
    attempts: Mapping[int, Attempts] = field(default_factory=dict)
    """Of indexes that have failed before, how often."""
    told: Sequence[Told] = ()
    recheck_after_s: float | None = None
    expire: bool = False
    """Its time to live is over: the job itself is to be deleted."""


def plan(job: Job, pods: Sequence[Pod], now: datetime) -> Plan:
    """The next step. `pods` are the job's own."""
    step = _step(job, count(job, pods), now)
    if is_over(job) or job.metadata.deletion_timestamp is not None:
        # Nothing will be counted any more, or nobody is left to ask.
        step = replace(step, release=[pod for pod in pods if is_held(pod)])
    return replace(step, release=tuple(step.release[:BURST_MAX]))


def _step(job: Job, counted: Count, now: datetime) -> Plan:
    if is_over(job):
        return _afterlife(job, counted, now)
    verdict = _verdict(job, counted, now)
    if verdict is not None:
        return _end(job, counted, verdict, now)
    if job.spec.suspend:
        return _suspended(job, counted, now)
    return _running(job, counted, now)


def is_over(job: Job) -> bool:
    """Whether it is complete or has failed: nothing ever changes that."""
    return any(is_true(job.status.conditions, type_) for type_ in VERDICTS.values())


def _afterlife(job: Job, counted: Count, now: datetime) -> Plan:
    """Stragglers are stopped, and in the end the job goes too."""
    ttl, ended = job.spec.ttl_seconds_after_finished, _ended_at(job)
    kept = Plan(job.status, delete=counted.active[:BURST_MAX])
    if ttl is None or ended is None or job.metadata.deletion_timestamp is not None:
        return kept
    left = (ended + timedelta(seconds=ttl) - now).total_seconds()
    return Plan(job.status, delete=kept.delete, expire=left <= 0, recheck_after_s=left if left > 0 else None)


def _ended_at(job: Job) -> datetime | None:
    over = (find_condition(job.status.conditions, type_) for type_ in VERDICTS.values())
    return next((each.last_transition_time for each in over if each is not None and each.status == "True"), None)


def _verdict(job: Job, counted: Count, now: datetime) -> Condition | None:
    """SuccessCriteriaMet or FailureTarget: what was decided before, or what is decided now."""
    for type_ in VERDICTS:
        decided = find_condition(job.status.conditions, type_)
        if decided is not None and decided.status == "True":
            return decided
    if _has_succeeded(job, counted):
        return _true("SuccessCriteriaMet", "CompletionsReached", "Reached expected number of succeeded pods")
    return _failure(job, counted, now) or _success_by_policy(job, counted)


def _failure(job: Job, counted: Count, now: datetime) -> Condition | None:
    if counted.fatal:
        return _true("FailureTarget", "PodFailurePolicy", counted.fatal)
    if _spent(job, counted):
        return _true("FailureTarget", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
    left = _deadline_in(job, now)
    if left is not None and left <= 0:
        return _true("FailureTarget", "DeadlineExceeded", "Job was active longer than specified deadline")
    lost, most = len(counted.failed_indexes), job.spec.max_failed_indexes
    if most is not None and lost > most:
        text = "Job has exceeded the specified maximal number of failed indexes"
        return _true("FailureTarget", "MaxFailedIndexesExceeded", text)
    if lost and lost + len(counted.indexes) >= (job.spec.completions or 0):
        return _true("FailureTarget", "FailedIndexes", "Job has failed indexes")
    return None


def _success_by_policy(job: Job, counted: Count) -> Condition | None:
    """Whether enough completions have succeeded (KEP-3998)."""
    policy = job.spec.success_policy
    for number, rule in enumerate(policy.rules if policy is not None else ()):
        named = rule.succeeded_indexes
        wanted = counted.indexes if named is None else counted.indexes & set(parse_indexes(named))
        goal = rule.succeeded_count
        if goal is None:
            goal = len(set(parse_indexes(named)))
        if len(wanted) >= goal:
            return _true("SuccessCriteriaMet", "SuccessPolicy", f"Matched rules at index {number}")
    return None


def _true(type_: str, reason: str, message: str) -> Condition:
    return Condition(type=type_, status="True", reason=reason, message=message)


def _has_succeeded(job: Job, counted: Count) -> bool:
    if job.spec.completions is None:
        return counted.succeeded > 0 and not counted.active
    return counted.succeeded >= job.spec.completions


def _spent(job: Job, counted: Count) -> bool:
    """Too many pods have failed, or with OnFailure the containers that run were restarted too often."""
    limit = job.spec.backoff_limit
    if counted.failed > limit:
        return True
    if job.spec.template.spec.restart_policy != "OnFailure":
        return False
    restarts = sum(
        status.restart_count
        for pod in counted.active
        for status in (*pod.status.init_container_statuses, *pod.status.container_statuses)
    )
    return restarts > 0 and restarts >= limit


def _deadline_in(job: Job, now: datetime) -> float | None:
    """Seconds until the deadline; None when there is none, or the job has not begun."""
    deadline, began = job.spec.active_deadline_seconds, job.status.start_time
    if deadline is None or began is None or job.spec.suspend or is_true(job.status.conditions, "Suspended"):
        return None
    return (began + timedelta(seconds=deadline) - now).total_seconds()


def _end(job: Job, counted: Count, verdict: Condition, now: datetime) -> Plan:
    """Stop what runs; when nothing is left, say how it ended."""
    new = not is_true(job.status.conditions, verdict.type)
    fails, tracked = verdict.type == "FailureTarget", counted.tally is not None
    failed = counted.failed
    if new and fails and not tracked:
        failed += len(counted.active)  # a job that fails takes its running pods with it, and they did not succeed
    conditions = set_condition(job.status.conditions, verdict, now)
    completion_time, told = None, []
    if not counted.active and not counted.terminating and not (counted.tally and counted.tally.pending):
        final = VERDICTS[verdict.type]
        conditions = set_condition(
            conditions, verdict.model_copy(update={"type": final, "last_transition_time": None}), now
        )
        if final == "Complete":
            completion_time = now.replace(microsecond=0)
            told.append(Told("Normal", "Completed", "Job completed"))
        else:
            told.append(Told("Warning", verdict.reason or "", verdict.message or ""))
    status = _status(job, counted, conditions, job.status.start_time or now, failed=None if tracked else failed)
    status = status.model_copy(update={"completion_time": completion_time})
    stopped = counted.active[:BURST_MAX]
    if fails and tracked:
        return Plan(status, counted.settled, fail=stopped, told=told)
    return Plan(status, counted.settled, delete=stopped, told=told)


def _suspended(job: Job, counted: Count, now: datetime) -> Plan:
    condition = _true("Suspended", "JobSuspended", "Job suspended")
    told = () if is_true(job.status.conditions, "Suspended") else (Told("Normal", "Suspended", "Job suspended"),)
    conditions = set_condition(job.status.conditions, condition, now)
    status = _status(job, counted, conditions, None)
    return Plan(status, counted.settled, delete=counted.active[:BURST_MAX], told=told)


def _running(job: Job, counted: Count, now: datetime) -> Plan:
    conditions, told = list(job.status.conditions), list[Told]()
    began = job.status.start_time or now
    if is_true(conditions, "Suspended"):
        condition = Condition(type="Suspended", status="False", reason="JobResumed", message="Job resumed")
        conditions, began = set_condition(conditions, condition, now), now
        told = [Told("Normal", "Resumed", "Job resumed")]
    status = _status(job, counted, conditions, began)
    waits = [_deadline_in(job.model_copy(update={"status": status}), now)]
    if job.metadata.deletion_timestamp is not None:
        return Plan(status, counted.settled, told=told)
    delete = _surplus(job, counted)
    kept = [pod for pod in counted.active if pod not in delete]
    create = _missing(job, counted, kept)
    pause = 0.0 if is_counted_per_index(job) else backoff_s(counted, now)
    if is_counted_per_index(job):
        create, wait = _due(create, counted, now)
        waits.append(wait)
    if create and pause > 0:
        create, waits = [], [*waits, pause]
    due = [wait for wait in waits if wait is not None]
    return Plan(
        status,
        counted.settled,
        hold=[pod for pod in kept if not is_held(pod)] if counted.tally is not None else (),
        delete=delete[:BURST_MAX],
        create=create[:BURST_MAX],
        attempts=counted.attempts,
        told=told,
        recheck_after_s=min(due) if due else None,
    )


def backoff_s(counted: Count, now: datetime) -> float:
    """Seconds until the next pod may be made."""
    if not counted.failed_in_a_row or counted.last_failure is None:
        return 0.0
    return _left_s(counted.failed_in_a_row, counted.last_failure, now)


def _left_s(failures: int, last: datetime, now: datetime) -> float:
    doublings = min(failures - 1, 16)  # far beyond the longest wait; the power itself has to end too
    delay = min(BACKOFF_FIRST_S * 2**doublings, BACKOFF_MAX_S)
    return max(0.0, (last + timedelta(seconds=delay) - now).total_seconds())


def _due(indexes: Sequence[int | None], counted: Count, now: datetime) -> tuple[Sequence[int | None], float | None]:
    """Which of the indexes may be tried now, and the seconds until the first of the others."""
    waits = {}
    for index in indexes:
        tried = counted.attempts.get(-1 if index is None else index)
        if tried is not None and tried.last is not None:
            waits[index] = _left_s(tried.total, finished_at(tried.last), now)
    later = [wait for wait in waits.values() if wait > 0]
    return [index for index in indexes if waits.get(index, 0.0) <= 0], min(later, default=None)


def _wanted(job: Job, counted: Count) -> int:
    """How many pods should run now."""
    parallelism = 1 if job.spec.parallelism is None else job.spec.parallelism
    if job.spec.completions is None:
        return min(parallelism, len(counted.active)) if counted.succeeded else parallelism
    return min(parallelism, job.spec.completions - counted.succeeded - len(counted.failed_indexes))


def _surplus(job: Job, counted: Count) -> list[Pod]:
    """Pods that are too many, for an index that is done or taken twice first, then those that got least far."""
    useless: list[Pod] = []
    useful = sorted(counted.active, key=_progress, reverse=True)
    if is_indexed(job):
        taken = set(counted.indexes | counted.failed_indexes)
        for pod in list(useful):
            index = index_of(pod)
            if index is None or index in taken or index >= (job.spec.completions or 0):
                useless.append(pod)
                useful.remove(pod)
            else:
                taken.add(index)
    return useless + useful[max(0, _wanted(job, counted)) :]


def _progress(pod: Pod) -> tuple[bool, bool, bool, float]:
    created = pod.metadata.creation_timestamp
    return (
        is_ready(pod),
        pod.status.phase == "Running",
        bool(pod.spec.node_name),
        -created.timestamp() if created else 0.0,
    )


def _missing(job: Job, counted: Count, kept: Sequence[Pod]) -> Sequence[int | None]:
    leaving = counted.terminating if waits_for_phase(job) else 0
    number = max(0, _wanted(job, counted) - len(kept) - leaving)
    if not is_indexed(job):
        return [None] * number
    taken = counted.indexes | counted.failed_indexes | {index_of(pod) for pod in kept}
    return [index for index in range(job.spec.completions or 0) if index not in taken][:number]


def _status(
    job: Job, counted: Count, conditions: list[Condition], began: datetime | None, *, failed: int | None = None
) -> JobStatus:
    told = counted if counted.tally is None else counted.tally
    return JobStatus(
        conditions=conditions,
        start_time=began.replace(microsecond=0) if began is not None else None,
        active=len(counted.active) or None,
        ready=counted.ready,
        terminating=counted.terminating,
        succeeded=told.succeeded or None,
        failed=(told.failed if failed is None else failed) or None,
        completed_indexes=format_indexes(counted.indexes) if is_indexed(job) else None,
        failed_indexes=format_indexes(counted.failed_indexes) if is_counted_per_index(job) else None,
        uncounted_terminated_pods=None if counted.tally is None else counted.tally.uncounted,
    )


def same_status(one: JobStatus, other: JobStatus) -> bool:
    """Whether writing one over the other would change nothing."""
    return one.model_dump(exclude_defaults=True) == other.model_dump(exclude_defaults=True)


def new_pod(job: Job, index: int | None, attempts: Attempts = NONE) -> Pod:
    """A pod of this job, for the completion `index` if the job is indexed; the server completes its name."""
    template = job.spec.template
    prefix = f"{job.metadata.name}-" if index is None else f"{job.metadata.name}-{index}-"
    labels, annotations = dict(template.metadata.labels), dict(template.metadata.annotations)
    spec = template.spec
    if index is not None:
        labels[COMPLETION_INDEX] = annotations[COMPLETION_INDEX] = str(index)
        if is_counted_per_index(job):
            annotations[INDEX_FAILURES] = str(attempts.failures)
            if attempts.ignored:
                annotations[INDEX_IGNORED_FAILURES] = str(attempts.ignored)
        numbered = {
            "init_containers": [_numbered(container) for container in spec.init_containers],
            "containers": [_numbered(container) for container in spec.containers],
        }
        hostname = spec.hostname or prefix[:HOSTNAME_MAX].rstrip("-.")
        spec = spec.model_copy(update={**numbered, "hostname": hostname.replace(".", "-")})
    if (deadline := _deadline(job)) is not None:
        annotations.setdefault(DEADLINE, deadline)
    held = [JOB_TRACKING] if is_tracked(job) and JOB_TRACKING not in template.metadata.finalizers else []
    meta = ObjectMeta(
        generate_name=prefix,
        namespace=job.metadata.namespace,
        labels=labels,
        annotations=annotations,
        finalizers=[*template.metadata.finalizers, *held],
        owner_references=[job.owner_reference()],
    )
    return Pod(metadata=meta, spec=spec)


def _deadline(job: Job) -> str | None:
    """When the job will be stopped if it is not done, for the scheduler's order among equals."""
    seconds, began = job.spec.active_deadline_seconds, job.status.start_time or job.metadata.creation_timestamp
    if seconds is None or began is None:
        return None
    try:
        return (began + timedelta(seconds=seconds)).isoformat()
    except OverflowError:
        return None  # so far away that it orders nothing


def _numbered(container: Container) -> Container:
    if any(variable.name == COMPLETION_INDEX_VARIABLE for variable in container.env):
        return container
    source = EnvVarSource(field_ref=ObjectFieldSelector(field_path=f"metadata.annotations['{COMPLETION_INDEX}']"))
    # First, so that the user's own variables may refer to it.
    env = [EnvVar(name=COMPLETION_INDEX_VARIABLE, value_from=source), *container.env]
    return container.model_copy(update={"env": env})
