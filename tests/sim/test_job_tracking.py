"""A job's controller that dies after every single write, on a real API server: every pod counts, and counts once.

A process of the controller lives for one write. Between the writes pods finish, fail, and are deleted in every way that
people and nodes delete them. A model notes what became of each pod; in the end the job's numbers are the model's, and no
more pods were made than the failures and deletions called for.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from stark.client.api import Client, PatchType
from stark.client.errors import ApiError, NotFound
from stark.controllers.job.controller import Jobs
from stark.controllers.kit import Context, InformerFactory
from stark.controllers.kit.recorder import Recorder
from stark.crds.batch import JOB_TRACKING, Job
from stark.crds.conditions import is_true
from stark.crds.meta import decode
from stark.crds.nodes import Node
from stark.crds.pods import Pod
from tests.support.apiserver import api_server
from tests.support.mortal import Killed, Mortal
from tests.support.reconciling import config_of

KEY = "default/sums"
LIVES_MAX = 600
CAUGHT_UP_S = 10.0


def late() -> datetime:
    """A clock by which every back-off is over: this is not about waiting."""
    return datetime.now(UTC) + timedelta(hours=1)


@asynccontextmanager
async def process(api: Client) -> AsyncIterator[tuple[Jobs, Mortal]]:
    """A fresh controller with caches of its own."""
    informers, mortal = InformerFactory(api), Mortal(api)
    jobs = Jobs(Context(mortal, informers, Recorder(api, "job"), late))  # type: ignore[arg-type]
    task = asyncio.create_task(informers.run())
    try:
        await informers.synced()
        yield jobs, mortal
    finally:
        task.cancel()
        await asyncio.wait({task})


class History:
    """The server, the job and what the model knows of its pods."""

    def __init__(self, api: Client, controllers: Client, dice: random.Random) -> None:
        self.api, self.dice, self._controllers = api, dice, controllers
        self.won: set[str] = set()
        self.lost: set[str] = set()
        self.made: set[str] = set()

    async def live(self) -> bool:
        """One life of the controller. Returns whether it wrote anything."""
        async with process(self._controllers) as (jobs, mortal):
            keys = [KEY, *(f"#{pod.key}" for pod in await self.pods())]
            for key in keys:
                try:
                    await jobs.reconcile(key)
                except (Killed, ApiError):
                    return True
            return mortal.writes > 0

    async def pods(self) -> list[Pod]:
        found = (await self.api.list(Pod, "default")).items
        self.made |= {pod.uid for pod in found}
        return found

    async def happen(self) -> None:
        """Something happens to one of the pods that have not ended, or are over and were not deleted."""
        pods = [pod for pod in await self.pods() if pod.metadata.deletion_timestamp is None]
        if not pods:
            return
        pod = self.dice.choice(pods)
        over = pod.uid in self.won | self.lost
        what = self.dice.choice(["delete", "force"] if over else ["win", "win", "win", "lose", "delete", "force"])
        if what in ("win", "lose"):
            phase = "Succeeded" if what == "win" else "Failed"
            (self.won if what == "win" else self.lost).add(pod.uid)
            await self.tell(pod, phase)
            return
        if not over:
            self.lost.add(pod.uid)
        await self.delete(pod, 0 if what == "force" else None)

    async def tell(self, pod: Pod, phase: str) -> None:
        patch = {"metadata": {"uid": pod.uid}, "status": {"phase": phase}}
        meta = pod.metadata
        await self.api.patch(Pod, meta.name, patch, meta.namespace, type=PatchType.STRATEGIC, subresource="status")

    async def delete(self, pod: Pod, grace_s: int | None) -> None:
        try:
            await self.api.delete(Pod, pod.metadata.name, pod.metadata.namespace, uid=pod.uid, grace_period_s=grace_s)
        except NotFound:
            return

    async def serve(self) -> None:
        """What scheduler and agent do: bind what waits, and end what is being deleted."""
        for pod in await self.pods():
            if pod.metadata.deletion_timestamp is None and not pod.spec.node_name:
                await self.api.bind("default", pod.metadata.name, "n1", uid=pod.uid)
            elif pod.metadata.deletion_timestamp is not None and pod.metadata.deletion_grace_period_seconds:
                await self.delete(pod, 0)

    async def job(self) -> Job:
        return await self.api.get(Job, "sums", "default")


def sums(**spec: Any) -> Job:
    template = {
        "spec": {"containers": [{"name": "main", "image": "docker.io/library/sums:1"}], "restartPolicy": "Never"}
    }
    meta = {"name": "sums", "namespace": "default"}
    return decode({"metadata": meta, "spec": {"template": template, "backoffLimit": 99, **spec}}, Job)


@asynccontextmanager
async def history(directory: Path, seed: int, job: Job) -> AsyncIterator[History]:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(api_server(directory))
        api = await stack.enter_async_context(Client(config_of(server, "admin")))
        controllers = await stack.enter_async_context(Client(config_of(server, "controllers")))
        await api.create(decode({"metadata": {"name": "n1"}}, Node))
        await api.create(job)
        yield History(api, controllers, random.Random(seed))


@pytest.mark.parametrize("mode", [pytest.param("NonIndexed", marks=pytest.mark.slow), "Indexed"])
@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 6))])
async def test_every_pod_counts_once_though_the_controller_dies_after_every_write(
    tmp_path: Path, mode: str, seed: int
) -> None:
    async with history(tmp_path, seed, sums(completions=3, parallelism=2, completionMode=mode)) as told:
        for _ in range(LIVES_MAX):
            await told.serve()
            wrote = await told.live()
            if is_true((await told.job()).status.conditions, "Complete") and not wrote:
                break
            if not wrote or told.dice.random() < 0.3:
                await told.happen()
        else:
            pytest.fail("the job never ends")
        status = (await told.job()).status
        assert (status.succeeded, status.failed or 0) == (len(told.won), len(told.lost))
        assert status.succeeded == 3
        assert len(told.made) == len(told.won) + len(told.lost)
        noted = status.uncounted_terminated_pods
        assert noted is not None
        assert noted.succeeded == noted.failed == []
        assert [pod.key for pod in await told.pods() if JOB_TRACKING in pod.metadata.finalizers] == []


async def test_a_job_that_fails_counts_the_pods_it_takes_with_it_once(tmp_path: Path) -> None:
    async with history(tmp_path, 1, sums(completions=3, parallelism=3, backoffLimit=0)) as told:
        while await told.live():
            await told.serve()
        await told.tell((await told.pods())[0], "Failed")
        while await told.live():
            await told.serve()
        status = (await told.job()).status
        assert is_true(status.conditions, "Failed")
        assert (status.failed, status.succeeded, len(told.made)) == (3, None, 3)
        assert [pod.status.phase for pod in await told.pods()] == ["Failed"]


async def test_pods_that_a_smaller_job_stops_are_not_counted(tmp_path: Path) -> None:
    async with history(tmp_path, 1, sums(completions=3, parallelism=3)) as told:
        while await told.live():
            await told.serve()
        await told.api.patch(Job, "sums", {"spec": {"parallelism": 1}}, "default")
        while await told.live():
            await told.serve()
        assert len(await told.pods()) == 1
        status = (await told.job()).status
        assert (status.active, status.failed, status.succeeded) == (1, None, None)


@pytest.mark.slow
@pytest.mark.parametrize("propagation", ["Background", "Orphan", "Foreground"])
async def test_pods_of_a_job_that_is_deleted_are_let_go(tmp_path: Path, propagation: str) -> None:
    async with history(tmp_path, 1, sums(completions=3, parallelism=3)) as told:
        while await told.live():
            await told.serve()
        first, second, _ = await told.pods()
        await told.tell(first, "Succeeded")
        if propagation == "Orphan":  # as the garbage collector goes about it
            owners: dict[str, Any] = {"metadata": {"ownerReferences": None}}
            await told.api.patch(Pod, second.metadata.name, owners, "default")
        await told.api.delete(Job, "sums", "default", propagation=propagation)
        while await told.live():
            await told.serve()
        assert [pod.metadata.finalizers for pod in await told.pods()] == [[], [], []]
