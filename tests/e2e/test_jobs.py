"""Jobs on a real API server with hollow nodes: they end, once, as people wait for them; and kubectl can make them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from stark.client.api import PatchType
from stark.client.errors import Invalid, NotFound
from stark.crds.batch import CONTROLLER_UID, JOB_NAME, Job
from stark.crds.conditions import find_condition, is_true
from stark.crds.events import Event
from stark.crds.meta import decode
from stark.crds.pods import Pod
from tests.support.reconciling import Cluster, cluster, controllers

IMAGE = "docker.io/library/sums:1"


def sums(**spec: Any) -> Job:
    body = {
        "metadata": {"name": "sums", "namespace": "default"},
        "spec": {
            "template": {"spec": {"containers": [{"name": "main", "image": IMAGE}], "restartPolicy": "Never"}},
            **spec,
        },
    }
    return decode(body, Job)


async def pods_of(c: Cluster, phase: str = "") -> list[Pod]:
    pods = (await c.api.list(Pod, "default")).items
    return [pod for pod in pods if not phase or pod.status.phase == phase]


async def running(c: Cluster, count: int) -> list[Pod] | None:
    pods = [pod for pod in await pods_of(c, "Running") if pod.metadata.deletion_timestamp is None]
    return pods if len(pods) == count else None


async def end(c: Cluster, pod: Pod, phase: str = "Succeeded") -> None:
    """As an agent tells it."""
    await c.api.patch(
        Pod, pod.metadata.name, {"status": {"phase": phase}}, "default", type=PatchType.STRATEGIC, subresource="status"
    )


async def has(c: Cluster, condition: str) -> Job | None:
    job = await c.api.get(Job, "sums", "default")
    return job if is_true(job.status.conditions, condition) else None


async def reasons(c: Cluster) -> set[str]:
    events = (await c.api.list(Event, "default")).items
    return {event.reason or "" for event in events if event.involved_object.kind == "Job"}


async def test_a_job_runs_exactly_as_often_as_asked_though_its_controller_restarts(tmp_path: Path) -> None:
    async with cluster(tmp_path) as c:
        made = await c.api.create(sums(completions=4, parallelism=2))
        assert made.spec.selector is not None
        assert made.spec.selector.match_labels == {CONTROLLER_UID: made.uid}
        assert made.spec.template.metadata.labels[JOB_NAME] == "sums"
        async with controllers(c.controllers_config):
            for pod in await c.until("two run", lambda: running(c, 2)):
                await end(c, pod)
            await asyncio.sleep(0.02)  # and cut it off wherever it is now
        async with controllers(c.controllers_config):
            for pod in await c.until("two more run", lambda: running(c, 2)):
                await end(c, pod)
            job = await c.until("it is complete", lambda: has(c, "Complete"))
            assert (job.status.succeeded, job.status.failed, job.status.active) == (4, None, None)
            assert job.status.completion_time is not None
            assert len(await pods_of(c, "Succeeded")) == len(await pods_of(c)) == 4

            async def told() -> bool:
                return {"SuccessfulCreate", "Completed"} <= await reasons(c)

            await c.until("it was told", told)


async def test_an_indexed_job_gives_every_pod_its_number_and_goes_when_its_time_is_over(tmp_path: Path) -> None:
    async with cluster(tmp_path) as c, controllers(c.controllers_config):
        await c.api.create(sums(completions=3, parallelism=3, completionMode="Indexed", ttlSecondsAfterFinished=1))
        pods = await c.until("three run", lambda: running(c, 3))
        assert sorted(pod.metadata.generate_name or "" for pod in pods) == ["sums-0-", "sums-1-", "sums-2-"]
        for pod in pods:
            await end(c, pod)
        job = await c.until("it is complete", lambda: has(c, "Complete"))
        assert job.status.completed_indexes == "0-2"

        async def gone() -> bool:
            try:
                await c.api.get(Job, "sums", "default")
            except NotFound:
                return not await pods_of(c)
            return False

        await c.until("job and pods are gone", gone)


async def test_a_job_gives_up_and_stops_what_still_runs(tmp_path: Path) -> None:
    async with cluster(tmp_path) as c, controllers(c.controllers_config):
        await c.api.create(sums(completions=2, parallelism=2, backoffLimit=0))
        first, _ = await c.until("two run", lambda: running(c, 2))
        await end(c, first, "Failed")
        job = await c.until("it has failed", lambda: has(c, "Failed"))
        verdict = find_condition(job.status.conditions, "Failed")
        assert verdict is not None
        assert verdict.reason == "BackoffLimitExceeded"
        assert job.status.failed == 2
        assert [pod.metadata.name for pod in await pods_of(c)] == [first.metadata.name]


async def test_a_suspended_job_has_no_pods_until_it_is_resumed_and_then_a_deadline(tmp_path: Path) -> None:
    async with cluster(tmp_path) as c, controllers(c.controllers_config):
        elsewhere = sums(managedBy="kueue.x-k8s.io/multikueue")
        meta = elsewhere.metadata.model_copy(update={"name": "elsewhere"})
        await c.api.create(elsewhere.model_copy(update={"metadata": meta}))
        await c.api.create(sums(suspend=True, activeDeadlineSeconds=2))
        await c.until("it is suspended", lambda: has(c, "Suspended"))
        assert await pods_of(c) == []
        await c.api.patch(Job, "sums", {"spec": {"suspend": False}}, "default")
        await c.until("it runs", lambda: running(c, 1))
        job = await c.until("it was too slow", lambda: has(c, "Failed"))
        verdict = find_condition(job.status.conditions, "Failed")
        assert verdict is not None
        assert verdict.reason == "DeadlineExceeded"
        left_alone = await c.api.get(Job, "elsewhere", "default")
        assert left_alone.status.start_time is None, "it is another controller's"


async def test_what_a_job_cannot_be_is_refused_with_the_field(tmp_path: Path) -> None:
    async with cluster(tmp_path) as c:
        always = {"spec": {"containers": [{"name": "main", "image": IMAGE}], "restartPolicy": "Always"}}
        for spec, field in (
            ({"template": always}, "spec.template.spec.restartPolicy"),
            ({"completionMode": "Indexed", "parallelism": 2}, "spec.completions"),
            ({"selector": {"matchLabels": {"a": "b"}}}, "spec.selector"),
            ({"manualSelector": True}, "spec.selector"),
            ({"managedBy": "kueue"}, "spec.managedBy"),
        ):
            with pytest.raises(Invalid) as refused:
                await c.api.create(sums(**spec))
            assert field in str(refused.value)
        await c.api.create(sums())
        for change, field in (
            ({"completions": 2}, "spec.completions"),
            ({"template": {"metadata": {"labels": {"x": "y"}}}}, "spec.template"),
            ({"selector": None}, "spec.selector"),
            ({"managedBy": "kueue.x-k8s.io/multikueue"}, "spec.managedBy"),
        ):
            with pytest.raises(Invalid) as refused:
                await c.api.patch(Job, "sums", {"spec": change}, "default")
            assert f"{field}: " in str(refused.value)
            assert "immutable" in str(refused.value)
        await c.api.patch(Job, "sums", {"spec": {"parallelism": 3}}, "default")
