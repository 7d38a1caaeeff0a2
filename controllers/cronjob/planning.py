"""What a CronJob starts now, what it takes away, and when its next time comes. Pure.

A job's name is made of its scheduled time, so the same time never makes two, whoever tries it again. Times that passed
while nobody looked are missed but for the last one, which is caught up if that is not later than allowed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Literal

from stark.crds.batch import SCHEDULED_AT, CronJob, CronJobStatus, Job
from stark.crds.conditions import is_true
from stark.crds.cron import Schedule, parse_schedule, zone_of
from stark.crds.meta import ObjectMeta
from stark.crds.pods import ObjectReference

MISSED_MAX = 100
"""More missed times than that are a sign of a wrong clock or a long pause, and are told."""


@dataclass(frozen=True, slots=True)
class Told:
    """An event."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do about a CronJob now."""

    status: CronJobStatus
    start: Job | None = None
    replace: Sequence[Job] = ()
    """Jobs that are stopped before the new one starts."""
    forget: Sequence[Job] = ()
    """Finished jobs beyond the history limits."""
    told: Sequence[Told] = ()
    next_in_s: float | None = None
    """Seconds until the next time of the schedule."""


def plan(cronjob: CronJob, jobs: Sequence[Job], now: datetime) -> Plan:
    """The next step. `jobs` are the CronJob's own. Raises ScheduleError or ZoneInfoNotFoundError for what no server
    should have let in."""
    status, told = _status(cronjob, jobs)
    forget = _history(cronjob, jobs)
    if cronjob.metadata.deletion_timestamp is not None:
        return Plan(status)
    if cronjob.spec.suspend:
        return Plan(status, forget=forget, told=told)
    schedule, zone = parse_schedule(cronjob.spec.schedule), zone_of(cronjob.spec.time_zone)
    coming = schedule.next_after(now, zone)
    wait = (coming - now).total_seconds() if coming is not None else None
    missed = last_due(schedule, zone, _earliest(cronjob, status, now), now)
    if missed is None:
        return Plan(status, forget=forget, told=told, next_in_s=wait)
    if missed.too_many:
        told.append(
            Told("Warning", "TooManyMissedTimes", f"too many missed start times (> {MISSED_MAX}); check clock skew")
        )
    running = [job for job in jobs if _is_active(job)]
    if running and cronjob.spec.concurrency_policy == "Forbid":
        text = "Not starting job because prior execution is running and concurrency policy is Forbid"
        # Not counted as started: when the running job ends, this time is caught up unless it is too late by then.
        return Plan(status, forget=forget, told=[*told, Told("Normal", "JobAlreadyActive", text)], next_in_s=wait)
    replace = running if cronjob.spec.concurrency_policy == "Replace" else ()
    status = status.model_copy(update={"last_schedule_time": missed.at})
    return Plan(status, new_job(cronjob, missed.at), replace, forget, told, wait)


@dataclass(frozen=True, slots=True)
class Missed:
    """The last time of a schedule that is due."""

    at: datetime
    too_many: bool


def last_due(schedule: Schedule, zone: tzinfo, after: datetime, now: datetime) -> Missed | None:
    """The last time after `after` and not after `now`; None when there is none."""
    found = schedule.next_after(after, zone)
    if found is None or found > now:
        return None
    low, high = found - timedelta(seconds=1), now
    # Whether another time comes before now is true up to the last one and false from it on: so halve the interval.
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) / 2
        there = schedule.next_after(middle, zone)
        if there is not None and there <= now:
            low = middle
        else:
            high = middle
    last = schedule.next_after(low, zone)
    assert last is not None, (schedule, low)
    return Missed(last, _more_than(MISSED_MAX, schedule, zone, found, last))


def _more_than(limit: int, schedule: Schedule, zone: tzinfo, first: datetime, last: datetime) -> bool:
    count, at = 1, first
    while at < last and count <= limit:
        following = schedule.next_after(at, zone)
        assert following is not None, (schedule, at)
        count, at = count + 1, following
    return count > limit


def _earliest(cronjob: CronJob, status: CronJobStatus, now: datetime) -> datetime:
    began = status.last_schedule_time or cronjob.metadata.creation_timestamp or now
    deadline = cronjob.spec.starting_deadline_seconds
    if deadline is None:
        return began
    return max(began, now - timedelta(seconds=deadline))


def _is_over(job: Job) -> bool:
    return is_true(job.status.conditions, "Complete") or is_true(job.status.conditions, "Failed")


def _is_active(job: Job) -> bool:
    """Made for a scheduled time (not by `kubectl create job --from`), and not finished."""
    return SCHEDULED_AT in job.metadata.annotations and not _is_over(job) and job.metadata.deletion_timestamp is None


def _status(cronjob: CronJob, jobs: Sequence[Job]) -> tuple[CronJobStatus, list[Told]]:
    """What there is; and the jobs that were running when we looked last and are over now."""
    before = cronjob.status
    scheduled = [scheduled_at(job) for job in jobs]
    starts = [each for each in (before.last_schedule_time, *scheduled) if each is not None]
    ends = [each for each in (before.last_successful_time, *(job.status.completion_time for job in jobs)) if each]
    known = {reference.uid for reference in before.active}
    told = [
        Told("Normal", "SawCompletedJob", f"Saw completed job: {job.metadata.name}, condition: {_how(job)}")
        for job in jobs
        if job.uid in known and _is_over(job)
    ]
    active = sorted((job for job in jobs if _is_active(job)), key=lambda job: job.metadata.name)
    status = CronJobStatus(
        active=[reference_to(job) for job in active],
        last_schedule_time=max(starts, default=None),
        last_successful_time=max(ends, default=None),
    )
    return status, told


def _how(job: Job) -> str:
    return "Complete" if is_true(job.status.conditions, "Complete") else "Failed"


def scheduled_at(job: Job) -> datetime | None:
    """The time that a job was made for."""
    text = job.metadata.annotations.get(SCHEDULED_AT)
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        return None  # written by somebody else


def reference_to(job: Job) -> ObjectReference:
    """How the status names a job."""
    return ObjectReference(
        api_version=Job.RESOURCE.api_version,
        kind=Job.RESOURCE.kind,
        namespace=job.metadata.namespace,
        name=job.metadata.name,
        uid=job.metadata.uid,
    )


def _history(cronjob: CronJob, jobs: Iterable[Job]) -> list[Job]:
    over = [job for job in jobs if _is_over(job) and job.metadata.deletion_timestamp is None]
    surplus: list[Job] = []
    for how, limit in (
        ("Complete", cronjob.spec.successful_jobs_history_limit),
        ("Failed", cronjob.spec.failed_jobs_history_limit),
    ):
        oldest_first = sorted((job for job in over if _how(job) == how), key=_age)
        surplus += oldest_first[: max(0, len(oldest_first) - limit)]
    return surplus


def _age(job: Job) -> tuple[float, str]:
    began = job.status.start_time or job.metadata.creation_timestamp
    return (began.timestamp() if began else 0.0, job.metadata.name)


def new_job(cronjob: CronJob, at: datetime) -> Job:
    """The job of a scheduled time. Its name is that time's, in minutes."""
    template = cronjob.spec.job_template
    meta = ObjectMeta(
        name=f"{cronjob.metadata.name}-{int(at.timestamp()) // 60}",
        namespace=cronjob.metadata.namespace,
        labels=template.metadata.labels,
        annotations={**template.metadata.annotations, SCHEDULED_AT: at.strftime("%Y-%m-%dT%H:%M:%SZ")},
        owner_references=[cronjob.owner_reference()],
    )
    return Job(metadata=meta, spec=template.spec)


def same_status(one: CronJobStatus, other: CronJobStatus) -> bool:
    """Whether writing one over the other would change nothing."""
    return one.model_dump(exclude_defaults=True) == other.model_dump(exclude_defaults=True)
