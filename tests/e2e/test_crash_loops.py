"""A release that crashes is taken back, by the real controllers; with hollow nodes for speed, and once with a real agent."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from stark.client.api import PatchType
from stark.controllers.crash_loop import metrics
from stark.crds.annotations import CRASH_LOOP, CRASH_LOOP_PAUSED, LAST_SUCCESSFUL_VERSION, MODE, blocked_versions
from stark.crds.apps import Deployment
from stark.crds.conditions import find_condition
from stark.crds.events import Event
from stark.crds.meta import decode
from stark.crds.pods import Pod
from tests.support.reconciling import Cluster, cluster, controllers
from tests.support.up import Up

GOOD, BAD, FIXED = (f"docker.io/library/web:{number}" for number in (1, 2, 3))
CONTROLLERS = ("deployment", "replicaset", "daemonset", "scheduler", "garbage", "crash-loop")
AT_ONCE = {CRASH_LOOP: '{"successSeconds": 0, "initialBackoffSeconds": 600}'}


def web(image: str, annotations: dict[str, str] | None = None, **spec: Any) -> Deployment:
    body = {
        "metadata": {"name": "web", "namespace": "default", "annotations": {**AT_ONCE, **(annotations or {})}},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "main", "image": image}]},
            },
            **spec,
        },
    }
    return decode(body, Deployment)


async def live(c: Cluster) -> Deployment:
    return await c.api.get(Deployment, "web", "default")


async def set_image(c: Cluster, image: str) -> None:
    body = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": image}]}}}}
    await c.api.patch(Deployment, "web", body, "default", type=PatchType.STRATEGIC)


async def runs(c: Cluster, images: Sequence[str]) -> bool:
    """The pods are these, and the template held."""
    pods = (await c.api.list(Pod, "default")).items
    held = LAST_SUCCESSFUL_VERSION in (await live(c)).metadata.annotations
    return held and sorted(str(pod.spec.containers[0].image) for pod in pods) == sorted(images)


async def judged(c: Cluster, status: str, reason: str) -> bool:
    found = find_condition((await live(c)).status.conditions, "CrashLoop")
    return found is not None and (found.status, found.reason) == (status, reason)


async def reasons(c: Cluster) -> set[str]:
    return {str(event.reason) for event in (await c.api.list(Event, "default")).items}


@pytest.mark.parametrize("mode", ["Replicas", pytest.param("DaemonSet", marks=pytest.mark.slow)])
async def test_a_crashing_release_is_taken_back_and_a_fixed_one_rolled_out(tmp_path: Path, mode: str) -> None:
    async with cluster(tmp_path, ("n1", "n2")) as c, controllers(c.controllers_config, CONTROLLERS):
        c.nodes.crashing.add(BAD)
        before = metrics.ROLLBACKS._value.get()
        await c.api.create(web(GOOD, {MODE: mode}))
        await c.until("1 holds", lambda: runs(c, [GOOD, GOOD]))
        await set_image(c, BAD)
        await c.until("it says so", lambda: judged(c, "False", "RolledBack"))
        await c.until("1 runs again", lambda: runs(c, [GOOD, GOOD]))
        back = await live(c)
        assert back.spec.template.spec.containers[0].image == GOOD
        (block,) = blocked_versions(back.metadata.annotations)
        assert (block.attempts, block.cause) == (1, "container main: exit code 1 (Error)")
        assert metrics.ROLLBACKS._value.get() == before + 1
        await c.until(
            "people are told", lambda: _told(c, {"CrashLoopFailure", "CrashLoopRollback", "VersionSucceeded"})
        )
        # The same again is not even begun, however it comes back; another one is.
        await set_image(c, BAD)
        await c.until("it waits", lambda: judged(c, "True", "CrashLoopPaused"))
        assert BAD not in [pod.spec.containers[0].image for pod in (await c.api.list(Pod, "default")).items]
        await set_image(c, FIXED)
        await c.until("3 holds", lambda: runs(c, [FIXED, FIXED]))
        assert CRASH_LOOP_PAUSED not in (await live(c)).metadata.annotations


async def _told(c: Cluster, wanted: set[str]) -> bool:
    return wanted <= await reasons(c)


async def test_a_first_release_that_crashes_is_paused_until_somebody_resumes_it(tmp_path: Path) -> None:
    async with cluster(tmp_path, ("n1",)) as c, controllers(c.controllers_config, CONTROLLERS):
        c.nodes.crashing.add(BAD)
        await c.api.create(web(BAD))
        await c.until("it is paused", lambda: judged(c, "True", "CrashLoopPaused"))
        await c.until("the rollout says so too", lambda: _progressing(c, "CrashLoopPaused"))
        assert (await live(c)).spec.paused is None
        c.nodes.crashing.clear()
        await c.api.patch(Deployment, "web", {"metadata": {"annotations": {CRASH_LOOP_PAUSED: None}}}, "default")
        for pod in (await c.api.list(Pod, "default")).items:
            await c.api.delete(Pod, pod.metadata.name, "default")
        await c.until("it runs", lambda: runs(c, [BAD, BAD]))
        await c.until("it says so", lambda: judged(c, "False", "NoCrashLoop"))


async def _progressing(c: Cluster, reason: str) -> bool:
    found = find_condition((await live(c)).status.conditions, "Progressing")
    return found is not None and found.reason == reason


CRASHING = "def default(context):\n    raise SystemExit(7)\n"
SERVING = "import asyncio\nasync def default(context):\n    await asyncio.Event().wait()\n"


def release(up: Up, directory: Path, version: str, source: str) -> None:
    bundle = directory / f"shop-{version}.py"
    bundle.write_text(source)
    words = ("--name", "shop", "--ver", version, "--runtime", "python")
    up.starkctl("pack", "register", str(bundle), *words)


@pytest.mark.slow
def test_a_real_release_that_crashes_is_taken_back_and_the_fixed_one_is_followed(on_sqlite: Up, tmp_path: Path) -> None:
    up = on_sqlite
    release(up, tmp_path, "1.0.0", SERVING)
    container = {"name": "shop", "image": "pack.stark/shop:1.0.0"}
    annotations = {"stark.dev/follow-latest": "true", "stark.dev/crash-loop": '{"successSeconds": 2}'}
    labels = {"app": "shop"}
    shop = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "shop", "annotations": annotations},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }
    up.starkctl("apply", "-f", "-", stdin=json.dumps(shop))

    def held() -> str:
        found: str = up.json("deployment", "shop")["metadata"]["annotations"].get(LAST_SUCCESSFUL_VERSION, "")
        return found

    def image() -> str:
        template = up.json("deployment", "shop")["spec"]["template"]
        found: str = template["spec"]["containers"][0]["image"]
        return found

    try:
        up.until("1.0.0 holds", lambda: held() == "1.0.0")
        release(up, tmp_path, "1.1.0", CRASHING)
        up.until("1.1.0 is followed", lambda: image().endswith("1.1.0"))
        up.until("and taken back", lambda: image().endswith("1.0.0"))
        status = up.starkctl("deployment", "status", "shop")
        assert "1.1.0" in status
        assert "exit code 7" in status
        history = up.kubectl("rollout", "history", "deployment/shop")
        assert "crash-loop protection: version 1.1.0 failed 3 times in a row" in history
        up.until("people are told", lambda: "CrashLoopRollback" in up.kubectl("describe", "deployment", "shop"))
        release(up, tmp_path, "1.2.0", SERVING)
        up.until("1.2.0 holds", lambda: held() == "1.2.0")
        assert image().endswith("1.2.0")
    finally:
        up.starkctl("delete", "deployment", "shop")
