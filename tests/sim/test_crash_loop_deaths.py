"""A crash-loop controller that dies after every write, on a real API server: the bad release goes back all the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from stark.client.api import Client, PatchType
from stark.client.errors import ApiError
from stark.controllers.crash_loop.controller import CrashLoops
from stark.controllers.kit import Context, InformerFactory
from stark.controllers.kit.recorder import Recorder
from stark.crds.annotations import (
    COUNTED_FAILURES,
    CRASH_LOOP,
    CRASH_LOOP_PAUSED,
    LAST_SUCCESSFUL_VERSION,
    blocked_versions,
)
from stark.crds.apps import Deployment
from stark.crds.conditions import find_condition
from stark.crds.meta import decode
from tests.support.mortal import Killed, Mortal
from tests.support.reconciling import Cluster, cluster, controllers

GOOD, BAD = "docker.io/library/web:1", "docker.io/library/web:2"
OTHERS = ("deployment", "replicaset", "scheduler", "garbage")
LOOK_S = 0.02


@asynccontextmanager
async def short_lives(api: Client) -> AsyncIterator[list[int]]:
    """Controllers one after the other, each with caches of its own and one write to make; what is given counts deaths."""
    deaths = [0]

    async def live() -> None:
        informers, mortal = InformerFactory(api), Mortal(api)
        loops = CrashLoops(Context(mortal, informers, Recorder(api, "crash-loop")))  # type: ignore[arg-type]
        following = asyncio.create_task(informers.run())
        try:
            await informers.synced()
            while True:
                try:
                    await loops.reconcile("default/web")
                except ApiError:
                    pass  # a conflict: again, with a fresher cache
                except Killed:
                    deaths[0] += 1
                    return
                await asyncio.sleep(LOOK_S)
        finally:
            following.cancel()
            await asyncio.wait({following})

    async def lives() -> None:
        while True:
            await live()

    task = asyncio.create_task(lives())
    try:
        yield deaths
        if task.done():
            task.result()
    finally:
        task.cancel()
        await asyncio.wait({task})


def web() -> Deployment:
    body: dict[str, Any] = {
        "metadata": {"name": "web", "namespace": "default", "annotations": {CRASH_LOOP: '{"successSeconds": 0}'}},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "main", "image": GOOD}]},
            },
        },
    }
    return decode(body, Deployment)


async def live_one(c: Cluster) -> Deployment:
    return await c.api.get(Deployment, "web", "default")


async def test_a_bad_release_goes_back_though_the_controller_dies_after_every_write(tmp_path: Path) -> None:
    async with cluster(tmp_path, ("n1", "n2")) as c, controllers(c.controllers_config, OTHERS):
        c.nodes.crashing.add(BAD)
        await c.api.create(web())
        async with Client(c.controllers_config) as api, short_lives(api) as deaths:

            async def held() -> bool:
                return LAST_SUCCESSFUL_VERSION in (await live_one(c)).metadata.annotations

            await c.until("1 holds", held)
            body = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": BAD}]}}}}
            await c.api.patch(Deployment, "web", body, "default", type=PatchType.STRATEGIC)

            async def settled() -> bool:
                live = await live_one(c)
                told = find_condition(live.status.conditions, "CrashLoop")
                return told is not None and (told.status, told.reason) == ("False", "RolledBack")

            await c.until("2 is taken back", settled)
            assert deaths[0] >= 3
        back = await live_one(c)
        assert back.spec.template.spec.containers[0].image == GOOD
        (block,) = blocked_versions(back.metadata.annotations)
        assert block.attempts == 1
        assert not {CRASH_LOOP_PAUSED, COUNTED_FAILURES} & set(back.metadata.annotations)
