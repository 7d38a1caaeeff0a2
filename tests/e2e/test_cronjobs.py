"""A CronJob on a real API server: its jobs come at their time, one each, and the old ones go."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from stark.client.errors import Invalid
from stark.controllers.cronjob.controller import CronJobs
from stark.controllers.kit import Context, Controller
from stark.crds.batch import CronJob, Job
from stark.crds.conditions import is_true
from stark.crds.meta import decode
from tests.support.reconciling import Cluster, cluster, controllers


def tick(**spec: Any) -> CronJob:
    container = {"name": "main", "image": "docker.io/library/tick:1"}
    template = {"spec": {"containers": [container], "restartPolicy": "Never"}}
    body = {
        "metadata": {"name": "tick", "namespace": "default"},
        # Nothing to do, so that each job is complete without a pod.
        "spec": {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": template, "completions": 0}}, **spec},
    }
    return decode(body, CronJob)


async def test_jobs_come_each_minute_and_old_ones_go(tmp_path: Path) -> None:
    # A clock that stands still in the middle of a minute: a real one would begin another minute in the middle of a check.
    now, ahead = datetime.now(UTC).replace(second=30, microsecond=0), timedelta(0)

    def build(context: Context) -> Controller:
        return CronJobs(Context(context.api, context.informers, context.recorder, lambda: now + ahead))

    async with cluster(tmp_path, ()) as c:
        await c.api.create(tick(successfulJobsHistoryLimit=2))
        seen: set[str] = set()
        for minute in range(1, 5):
            ahead = timedelta(minutes=minute)
            # A controller that begins anew each minute, as after a crash: it goes on from what is stored.
            async with controllers(c.controllers_config, ["job", "garbage"], {"cronjob": build}):
                jobs = await c.until("a new job is complete", partial(_done, c, frozenset(seen)))
                seen |= {each.metadata.name for each in jobs}
                await c.until("the history is short", partial(_kept, c, min(minute, 2)))
        assert len(seen) == 4
        status = (await c.api.get(CronJob, "tick", "default")).status
        assert status.last_successful_time is not None
        assert status.last_schedule_time is not None
        assert f"tick-{int(status.last_schedule_time.timestamp()) // 60}" in seen


async def _done(c: Cluster, seen: frozenset[str]) -> list[Job] | None:
    jobs = (await c.api.list(Job, "default")).items
    new = [each for each in jobs if each.metadata.name not in seen and is_true(each.status.conditions, "Complete")]
    return new or None


async def _kept(c: Cluster, count: int) -> bool:
    status = (await c.api.get(CronJob, "tick", "default")).status
    return len((await c.api.list(Job, "default")).items) == count and not status.active


async def test_what_a_cronjob_cannot_be_is_refused_with_the_field(tmp_path: Path) -> None:
    async with cluster(tmp_path, ()) as c:
        for spec, field in (
            ({"schedule": "61 * * * *"}, "spec.schedule"),
            ({"timeZone": "Mars/Base"}, "spec.timeZone"),
        ):
            with pytest.raises(Invalid) as refused:
                await c.api.create(tick(**spec))
            assert field in str(refused.value)
