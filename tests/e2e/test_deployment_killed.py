"""The deployment controller is killed right after each single write, and the next one brings everything to the same end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from stark.client.api import Client, PatchType
from stark.client.config import ClientConfig
from stark.controllers.catalog import builder_of
from stark.controllers.kit import InformerFactory, Runner, run_controllers
from stark.crds.apps import DaemonSet, Deployment, ReplicaSet
from stark.crds.meta import decode
from stark.crds.packs import Pack
from stark.crds.pods import Pod
from tests.support.reconciling import Cluster, cluster, controllers

REVISION = "deployment.kubernetes.io/revision"


class Mortal(Client):
    """A client whose program dies when its writes are used up: the last one reaches the server, its answer nobody."""

    def __init__(self, config: ClientConfig, writes: int) -> None:
        super().__init__(config)
        self.left = [writes]  # shared with the fenced copies
        self.dead = asyncio.Event()

    async def _write(self, method: str, path: str, body: bytes, **more: Any) -> bytes:
        is_event = "/events" in path
        if self.left[0] <= 0 and not is_event:
            await asyncio.get_running_loop().create_future()  # dead programs write nothing
        answer = await super()._write(method, path, body, **more)
        if is_event:
            return answer
        self.left[0] -= 1
        if self.left[0] <= 0:
            self.dead.set()
            await asyncio.get_running_loop().create_future()
        return answer


@asynccontextmanager
async def life(config: ClientConfig, writes: int) -> AsyncIterator[asyncio.Event]:
    """One life of the deployment controller, and its end."""
    async with Mortal(config, writes) as api:
        informers = InformerFactory(api)
        runner = Runner("deployment", builder_of("deployment"), api, informers)
        task = asyncio.create_task(run_controllers(informers, [runner]))
        try:
            yield api.dead
        finally:
            task.cancel()
            await asyncio.wait({task})


async def lives_until(c: Cluster, writes: int, what: str, done: Any) -> None:
    """Kill and start again after every so many writes, until it is done."""

    async def reap() -> None:
        while True:
            async with life(c.controllers_config, writes) as dead:
                await dead.wait()

    reaper = asyncio.create_task(reap())
    try:
        await c.until(what, done, 60)
    finally:
        reaper.cancel()
        await asyncio.wait({reaper})


async def release(c: Cluster, version: str) -> None:
    bundle = {"architecture": "any", "sha256": "ab" * 32, "size": 1}
    spec = {"name": "web", "version": version, "runtime": "node", "visibility": "public", "bundles": [bundle]}
    made = await c.api.create(decode({"metadata": {"name": f"web.{version}"}, "spec": spec}, Pack))
    await c.api.patch(Pack, made.metadata.name, {"status": {"phase": "Available"}}, subresource="status")


def web(strategy: dict[str, Any]) -> Deployment:
    container = {"name": "main", "image": "pack.stark/web:1.0.0"}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}}
    meta = {"name": "web", "namespace": "default", "annotations": {"stark.dev/follow-latest": "true"}}
    spec = {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": template, "strategy": strategy}
    return decode({"metadata": meta, "spec": spec}, Deployment)


async def state(c: Cluster) -> tuple[Any, ...]:
    """What there is, without names and times: the rollout's end, and the history."""
    live = await c.api.get(Deployment, "web", "default")
    sets = (await c.api.list(ReplicaSet, "default")).items
    daemons = (await c.api.list(DaemonSet, "default")).items
    pods = (await c.api.list(Pod, "default")).items
    status = live.status
    return (
        live.spec.template.spec.containers[0].image,
        live.metadata.annotations.get(REVISION),
        (status.replicas, status.updated_replicas, status.available_replicas),
        status.observed_generation == live.metadata.generation,
        sorted((rs.metadata.annotations[REVISION], rs.spec.replicas) for rs in sets),
        len(daemons),
        sorted(pod.spec.containers[0].image or "" for pod in pods),
    )


@pytest.mark.slow
@pytest.mark.parametrize(("strategy", "writes"), [("RollingUpdate", 1), ("RollingUpdate", 3), ("Recreate", 1)])
async def test_the_end_is_the_same_whichever_write_was_the_last(tmp_path: Path, strategy: str, writes: int) -> None:
    others = ("replicaset", "daemonset", "scheduler", "garbage")
    async with cluster(tmp_path, ("n1", "n2")) as c, controllers(c.controllers_config, others):
        await release(c, "1.0.0")
        await c.api.create(web({"type": strategy}))
        one, two = "pack.stark/web:1.0.0", "pack.stark/web:1.1.0"

        def reached(*wanted: Any) -> Any:
            async def look() -> bool:
                return await state(c) == wanted

            return look

        begun = reached(one, "1", (3, 3, 3), True, [("1", 3)], 0, [one] * 3)
        await lives_until(c, writes, "three of the first", begun)
        await release(c, "1.1.0")
        followed = reached(two, "2", (3, 3, 3), True, [("1", 0), ("2", 3)], 0, [two] * 3)
        await lives_until(c, writes, "three of the second", followed)
        mode: dict[str, Any] = {"metadata": {"annotations": {"stark.dev/mode": "DaemonSet"}}, "spec": {"replicas": 0}}
        await c.api.patch(Deployment, "web", mode, "default", type=PatchType.STRATEGIC)
        everywhere = reached(two, "2", (2, 2, 2), True, [("1", 0), ("2", 0)], 1, [two] * 2)
        await lives_until(c, writes, "one on each node", everywhere)
        mode = {"metadata": {"annotations": {"stark.dev/mode": None}}, "spec": {"replicas": 3}}
        await c.api.patch(Deployment, "web", mode, "default", type=PatchType.STRATEGIC)
        await lives_until(c, writes, "three again", followed)
