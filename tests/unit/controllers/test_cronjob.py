"""What a CronJob starts at which time, what it makes way for, what it catches up and what it forgets."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from stark.controllers.cronjob.planning import MISSED_MAX, Plan, plan
from stark.crds.batch import SCHEDULED_AT, CronJob, Job
from stark.crds.meta import decode
from tests.support.workloads import NOW, at, job, meta

MINUTE = 60


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def cronjob(schedule: str = "*/5 * * * *", status: dict[str, Any] | None = None, **spec: Any) -> CronJob:
    inner = {"template": {"spec": {"containers": [{"name": "main", "image": "a/b"}], "restartPolicy": "Never"}}}
    body = {
        "metadata": meta("tick"),
        "spec": {"schedule": schedule, "jobTemplate": {"metadata": {"labels": {"a": "b"}}, "spec": inner}, **spec},
        "status": status or {},
    }
    return decode(body, CronJob)


def made(name: str, *, ended: str = "", created: float = 0, scheduled: float | None = 0) -> Job:
    conditions = [{"type": ended, "status": "True"}] if ended else []
    annotations = {} if scheduled is None else {SCHEDULED_AT: at(scheduled)}
    status: dict[str, Any] = {"conditions": conditions, "startTime": at(created)}
    if ended == "Complete":
        status["completionTime"] = at(created + 1)
    return job(name, created=created, metadata={"annotations": annotations}, status=status)


def started(step: Plan) -> str | None:
    return step.start.metadata.annotations[SCHEDULED_AT] if step.start is not None else None


@pytest.mark.parametrize(
    ("spec", "status", "after_s", "expected"),
    [
        pytest.param({}, {}, 299, None, id="nothing before its time"),
        pytest.param({}, {}, 300, 300, id="at its time"),
        pytest.param({}, {}, 301, 300, id="and a little after"),
        pytest.param({}, {"lastScheduleTime": at(300)}, 301, None, id="once"),
        pytest.param({}, {"lastScheduleTime": at(300)}, 1500, 1500, id="of several missed times only the last"),
        pytest.param({"suspend": True}, {}, 300, None, id="not while suspended"),
        pytest.param({"startingDeadlineSeconds": 30}, {}, 325, 300, id="late, but not too late"),
        pytest.param({"startingDeadlineSeconds": 20}, {}, 325, None, id="too late"),
        pytest.param(
            {"timeZone": "Asia/Kathmandu", "schedule": "45 17 * * *"}, {}, 60, None, id="at noon in UTC it is 17:45"
        ),
        pytest.param({"timeZone": "Asia/Kathmandu", "schedule": "46 17 * * *"}, {}, 60, 60, id="a zone of its own"),
    ],
)
def test_a_job_is_started(spec: dict[str, Any], status: dict[str, Any], after_s: float, expected: float | None) -> None:
    step = plan(cronjob(status=status, **spec), [], later(after_s))
    assert started(step) == (None if expected is None else at(expected))
    if expected is not None:
        assert step.status.last_schedule_time == later(expected)


def test_a_job_is_named_after_its_time_and_belongs_to_its_cronjob() -> None:
    start = plan(cronjob(), [], later(300)).start
    assert start is not None
    assert start.metadata.name == f"tick-{int(later(300).timestamp()) // 60}"
    assert start.metadata.labels == {"a": "b"}
    assert [owner.uid for owner in start.metadata.owner_references] == ["uid-tick"]


def test_a_job_that_was_made_before_a_crash_is_not_made_again() -> None:
    step = plan(cronjob(), [made("tick-1", scheduled=300)], later(301))
    assert step.start is None
    assert step.status.last_schedule_time == later(300)
    assert [each.name for each in step.status.active] == ["tick-1"]


@pytest.mark.parametrize(
    ("policy", "starts", "replaced"), [("Allow", True, []), ("Forbid", False, []), ("Replace", True, ["old"])]
)
def test_a_job_that_still_runs_is(policy: str, starts: bool, replaced: list[str]) -> None:
    by_hand = made("by-hand", scheduled=None)
    step = plan(cronjob(concurrencyPolicy=policy), [made("old"), by_hand], later(300))
    assert (step.start is not None, [each.metadata.name for each in step.replace]) == (starts, replaced)
    assert ("JobAlreadyActive" in [told.reason for told in step.told]) == (policy == "Forbid")


def test_a_forbidden_time_is_caught_up_when_the_last_job_ends() -> None:
    forbids = cronjob(concurrencyPolicy="Forbid")
    waiting = plan(forbids, [made("old")], later(300))
    again = forbids.model_copy(update={"status": waiting.status})
    step = plan(again, [made("old", ended="Complete")], later(400))
    assert started(step) == at(300)
    assert [told.reason for told in step.told] == ["SawCompletedJob"]
    assert step.status.last_successful_time == later(1)


@pytest.mark.parametrize(("missed", "warns"), [(MISSED_MAX, False), (MISSED_MAX + 1, True), (50_000, True)])
def test_too_many_missed_times_are_told_and_the_last_is_caught_up(missed: int, warns: bool) -> None:
    step = plan(cronjob("* * * * *"), [], later(missed * MINUTE + 5))
    assert started(step) == at(missed * MINUTE)
    assert ([told.reason for told in step.told] == ["TooManyMissedTimes"]) == warns


def test_finished_jobs_beyond_the_limits_are_forgotten_oldest_first() -> None:
    jobs = [made(f"good-{n}", ended="Complete", created=n) for n in (3, 1, 2)]
    jobs += [made(f"bad-{n}", ended="Failed", created=n) for n in (2, 1)]
    jobs.append(made("running"))
    step = plan(cronjob(successfulJobsHistoryLimit=1, failedJobsHistoryLimit=1), jobs, later(10))
    assert [each.metadata.name for each in step.forget] == ["good-1", "good-2", "bad-1"]


def test_a_day_in_virtual_time_makes_a_job_an_hour_whenever_it_is_looked_at() -> None:
    hourly, now, jobs = cronjob("@hourly"), NOW, list[Job]()
    for _ in range(200):
        step = plan(hourly, jobs, now)
        if step.start is not None:
            jobs.append(made(step.start.metadata.name, ended="Complete", scheduled=(now - NOW).total_seconds()))
        hourly = hourly.model_copy(update={"status": step.status})
        assert step.next_in_s is not None
        now += timedelta(seconds=min(step.next_in_s, 1234))
    hours = int((now - NOW).total_seconds()) // 3600
    assert len({each.metadata.name for each in jobs}) == len(jobs) == hours
