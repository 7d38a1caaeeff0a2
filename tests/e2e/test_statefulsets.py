"""A StatefulSet on a real API server with hollow nodes: names and an order, also while nodes and controllers fail."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stark.client.api import PatchType
from stark.client.errors import Fenced
from stark.controllers.kit import Context, Controller
from stark.controllers.node_lifecycle.controller import NodeLifecycle
from stark.controllers.node_lifecycle.settings import NodeSettings
from stark.controllers.statefulset.controller import StatefulSets
from stark.crds.apps import ControllerRevision, StatefulSet
from stark.crds.meta import decode
from stark.crds.pods import Pod
from stark.crds.policy import PodDisruptionBudget
from tests.support.reconciling import Cluster, cluster, controllers

ONE, TWO, BROKEN = (f"docker.io/library/db:{tag}" for tag in ("1", "2", "broken"))
NEEDED = ["scheduler", "statefulset", "garbage", "disruption", "pod-gc"]


def stateful(replicas: int = 3, image: str = ONE, **spec: Any) -> StatefulSet:
    template = {
        "metadata": {"labels": {"app": "db"}},
        "spec": {"containers": [{"name": "main", "image": image}]},
    }
    selector = {"matchLabels": {"app": "db"}}
    body = {
        "metadata": {"name": "db", "namespace": "default"},
        "spec": {"replicas": replicas, "selector": selector, "template": template, "serviceName": "db", **spec},
    }
    return decode(body, StatefulSet)


async def pods(c: Cluster) -> dict[str, Pod]:
    return {pod.metadata.name: pod for pod in (await c.api.list(Pod, "default")).items}


async def is_settled(c: Cluster, images: dict[str, str]) -> bool:
    """These pods of these images and no others, and the set knows it."""
    live = await c.api.get(StatefulSet, "db", "default")
    status, count = live.status, len(images)
    if status.observed_generation != live.metadata.generation or status.replicas != count:
        return False
    if (status.ready_replicas or 0, status.available_replicas) != (count, count):
        return False
    return {name: pod.spec.containers[0].image for name, pod in (await pods(c)).items()} == images


def named(count: int, image: str = ONE) -> dict[str, str]:
    return {f"db-{number}": image for number in range(count)}


async def change(c: Cluster, **spec: Any) -> None:
    await c.api.patch(StatefulSet, "db", {"spec": spec}, "default", type=PatchType.STRATEGIC)


def image(text: str) -> dict[str, Any]:
    return {"template": {"spec": {"containers": [{"name": "main", "image": text}]}}}


async def test_it_is_scaled_rolled_out_to_its_partition_and_left_to_its_orphans(tmp_path: Path) -> None:
    async with cluster(tmp_path) as c, controllers(c.controllers_config, NEEDED):
        terms = {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "db"}}}
        budget = {"metadata": {"name": "db", "namespace": "default"}, "spec": terms}
        await c.api.create(decode(budget, PodDisruptionBudget))
        await c.api.create(stateful())
        await c.until("three pods", lambda: is_settled(c, named(3)))
        created = [(await pods(c))[name].metadata.creation_timestamp for name in sorted(named(3))]
        assert created == sorted(created, key=str)

        async def counted() -> bool:
            live = await c.api.get(PodDisruptionBudget, "db", "default")
            return (live.status.expected_pods, live.status.disruptions_allowed) == (3, 1)

        await c.until("its budget knows how many there should be", counted)
        before = (await pods(c))["db-1"].uid
        await c.api.delete(Pod, "db-1", "default")
        await c.until("another one of the name", lambda: is_settled(c, named(3)))
        assert (await pods(c))["db-1"].uid != before
        await change(c, updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}, **image(TWO))
        await c.until("down to the partition", lambda: is_settled(c, {**named(2), "db-2": TWO}))
        await change(c, replicas=1)
        await c.until("one is left", lambda: is_settled(c, named(1)))
        await c.api.delete(StatefulSet, "db", "default", propagation="Orphan")

        async def orphaned() -> bool:
            owned = any(pod.metadata.owner_references for pod in (await pods(c)).values())
            return not owned and not (await c.api.list(StatefulSet, "default")).items

        await c.until("its pod is nobody's", orphaned)
        kept = (await pods(c))["db-0"].uid
        await c.api.create(stateful(2))
        await c.until("a new one has taken it on", lambda: is_settled(c, named(2)))
        assert (await pods(c))["db-0"].uid == kept
        revisions = (await c.api.list(ControllerRevision, "default")).items
        assert len({each.metadata.name for each in revisions}) == 2
        await c.api.delete(StatefulSet, "db", "default", propagation="Background")

        async def gone() -> bool:
            return not await pods(c) and not (await c.api.list(ControllerRevision, "default")).items

        await c.until("everything has gone with it", gone)


async def test_a_pod_on_a_lost_node_is_not_made_a_second_time_until_it_is_gone(tmp_path: Path) -> None:
    patience = NodeSettings(grace_period_s=2.5, suspect_after_s=1.0, eviction_rate_per_s=100.0, stopped_recheck_s=0.2)
    nodes = {"node-lifecycle": lambda context: NodeLifecycle(context, patience)}
    async with cluster(tmp_path) as c, controllers(c.controllers_config, NEEDED, nodes):
        tolerations = [
            {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 0}
            for key in ("node.kubernetes.io/unreachable", "node.kubernetes.io/not-ready")
        ]
        sts = stateful(2)
        spec = {**sts.spec.template.model_dump(by_alias=True, exclude_unset=True)["spec"], "tolerations": tolerations}
        template = {"metadata": {"labels": {"app": "db"}}, "spec": spec}
        await c.api.create(stateful(2, template=template))
        await c.until("two pods", lambda: is_settled(c, named(2)))
        lost = (await pods(c))["db-1"]
        c.nodes.silent.add(lost.spec.node_name or "")

        async def ending() -> bool:
            return (await pods(c))["db-1"].metadata.deletion_timestamp is not None

        await c.until("it is asked to go", ending)
        await change(c, replicas=3)

        async def seen() -> bool:
            live = await c.api.get(StatefulSet, "db", "default")
            return live.status.observed_generation == live.metadata.generation

        await c.until("the change is seen", seen)
        there = await pods(c)
        assert sorted(there) == ["db-0", "db-1"]
        assert there["db-1"].uid == lost.uid
        await c.api.delete(Pod, "db-1", "default", grace_period_s=0)
        await c.until("somebody who knows has said that it is gone", lambda: is_settled(c, named(3)))


class Life:
    """How often a controller may still write. What comes after that never reaches the server."""

    def __init__(self, writes: int) -> None:
        self.left = writes
        self.is_over = False

    def fence(self) -> float:
        """Asked before every write."""
        if self.left == 0:
            self.is_over = True
            raise Fenced("this process is gone")
        self.left -= 1
        return 10.0

    def build(self, context: Context) -> Controller:
        """A controller that dies with it."""
        return StatefulSets(replace(context, api=context.api.fenced(self.fence)))


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["OrderedReady", "Parallel"])
async def test_it_gets_there_when_its_controller_dies_after_any_write(tmp_path: Path, policy: str) -> None:
    async with cluster(tmp_path) as c, controllers(c.controllers_config, ["scheduler", "garbage"]):
        await c.api.create(stateful(2, podManagementPolicy=policy))
        for replicas, version in ((2, ONE), (3, TWO), (1, ONE)):
            await change(c, replicas=replicas, **image(version))
            await lives(c, named(replicas, version))
        assert c.nodes.most_pods <= 3
        revisions = (await c.api.list(ControllerRevision, "default")).items
        assert sorted(each.revision for each in revisions) == [2, 3]


async def lives(c: Cluster, wanted: dict[str, str]) -> None:
    """Controllers that die after one write, the next after two, one, two ..., until all is as it should be."""
    for number in range(60):
        if await is_settled(c, wanted):
            return
        life = Life(1 + number % 2)

        async def over(life: Life = life) -> bool:
            return life.is_over or await is_settled(c, wanted)

        async with controllers(c.controllers_config, ["pod-gc"], {"statefulset": life.build}):
            await c.until("it has died, or there is nothing left to do", over)
    raise AssertionError("it does not get on")
