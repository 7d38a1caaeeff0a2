"""The controllers at work on a real API server: what people see of a rollout, a dead node, a deletion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stark.client.api import PatchType
from stark.client.errors import NotFound
from stark.controllers.kit import Context, Controller
from stark.controllers.node_lifecycle.controller import NodeLifecycle
from stark.controllers.node_lifecycle.settings import NodeSettings
from stark.controllers.pod_gc import PodGc, PodGcSettings
from stark.crds.apps import Deployment, ReplicaSet
from stark.crds.conditions import find_condition
from stark.crds.events import Event
from stark.crds.meta import decode
from stark.crds.namespaces import Namespace
from stark.crds.nodes import Node
from stark.crds.pods import Pod
from tests.support.reconciling import Cluster, cluster, controllers

ONE, TWO = "docker.io/library/web:1", "docker.io/library/web:2"
REVISION = "deployment.kubernetes.io/revision"


def web(
    replicas: int = 3, image: str = ONE, *, namespace: str = "default", pod: dict[str, Any] | None = None
) -> Deployment:
    container = {"name": "main", "image": image, "resources": {"requests": {"cpu": "100m"}}}
    body = {
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container], **(pod or {})}},
        },
    }
    return decode(body, Deployment)


async def rolled_out(c: Cluster, image: str, replicas: int, namespace: str = "default") -> list[Pod] | None:
    """The pods, once the deployment says that it is complete, in the way `kubectl rollout status` asks."""
    live = await c.api.get(Deployment, "web", namespace)
    status = live.status
    if status.observed_generation != live.metadata.generation:
        return None
    if not (status.updated_replicas or 0) == (status.replicas or 0) == (status.available_replicas or 0) == replicas:
        return None
    pods = (await c.api.list(Pod, namespace)).items
    if [pod.spec.containers[0].image for pod in pods] != [image] * replicas:
        return None
    progress = find_condition(status.conditions, "Progressing")
    return pods if progress is not None and progress.reason == "NewReplicaSetAvailable" else None


async def set_image(c: Cluster, image: str, **spec: Any) -> None:
    """As `kubectl set image` does it."""
    template = {"spec": {"containers": [{"name": "main", "image": image}]}}
    await c.api.patch(Deployment, "web", {"spec": {"template": template, **spec}}, "default", type=PatchType.STRATEGIC)


async def test_a_deployment_rolls_from_one_version_to_the_next_and_back(tmp_path: Path) -> None:
    async with cluster(tmp_path) as c, controllers(c.controllers_config):
        await c.api.create(web())
        first = await c.until("v1 runs", lambda: rolled_out(c, ONE, 3))
        assert {pod.spec.node_name for pod in first} == {"n1", "n2", "n3"}
        await set_image(c, TWO)
        await c.until("v2 runs", lambda: rolled_out(c, TWO, 3))
        assert c.nodes.most_pods <= 4 + 3  # the surge, and old pods that are still on their way out
        sets = {rs.spec.template and rs.spec.template.spec.containers[0].image: rs for rs in await _sets(c)}
        assert {image: rs.metadata.annotations[REVISION] for image, rs in sets.items()} == {ONE: "1", TWO: "2"}
        assert sets[ONE].spec.replicas == 0
        # `kubectl rollout undo`: the old template again.
        await set_image(c, ONE)
        await c.until("v1 runs again", lambda: rolled_out(c, ONE, 3))
        live = await c.api.get(Deployment, "web", "default")
        assert live.metadata.annotations[REVISION] == "3"
        assert len(await _sets(c)) == 2
        told = await c.until("events", lambda: _events(c, "Deployment", 3))
        assert any("Scaled up replica set" in message for message in told)


async def _sets(c: Cluster) -> list[ReplicaSet]:
    return (await c.api.list(ReplicaSet, "default")).items


async def _events(c: Cluster, kind: str, least: int) -> list[str] | None:
    events = (await c.api.list(Event, "default")).items
    messages = [event.message or "" for event in events if event.involved_object.kind == kind]
    return messages if len(messages) >= least else None


async def test_a_broken_version_stops_in_mid_rollout_and_leaves_the_old_one_serving(tmp_path: Path) -> None:
    async with cluster(tmp_path) as c, controllers(c.controllers_config):
        c.nodes.broken.add(TWO)
        await c.api.create(web())
        await c.until("v1 runs", lambda: rolled_out(c, ONE, 3))
        await set_image(c, TWO, progressDeadlineSeconds=1)

        async def timed_out() -> Deployment | None:
            live = await c.api.get(Deployment, "web", "default")
            progress = find_condition(live.status.conditions, "Progressing")
            return live if progress is not None and progress.reason == "ProgressDeadlineExceeded" else None

        live = await c.until("the deadline is reported", timed_out)
        available = find_condition(live.status.conditions, "Available")
        assert available is not None
        assert available.status == "True"
        pods = (await c.api.list(Pod, "default")).items
        assert sum(pod.spec.containers[0].image == ONE for pod in pods) == 3
        await set_image(c, ONE)
        await c.until("the way back", lambda: rolled_out(c, ONE, 3))


async def test_a_pod_without_a_place_says_why_and_goes_when_there_is_one(tmp_path: Path) -> None:
    async with cluster(tmp_path, nodes=("n1",)) as c, controllers(c.controllers_config, ("scheduler",)):
        container = {"name": "main", "image": ONE, "resources": {"requests": {"cpu": "6"}}}
        body = {"metadata": {"name": "big", "namespace": "default"}, "spec": {"containers": [container]}}
        await c.api.create(decode(body, Pod))

        async def refused() -> str | None:
            pod = await c.api.get(Pod, "big", "default")
            found = find_condition(pod.status.conditions, "PodScheduled")
            return found.message if found is not None and found.reason == "Unschedulable" else None

        assert await c.until("the reason", refused) == "0/1 nodes are available: 1 Insufficient cpu."
        (message,) = await c.until("the event", lambda: _events(c, "Pod", 1))
        assert message == "0/1 nodes are available: 1 Insufficient cpu."
        await c.nodes.join("n2", cpu="8")

        async def bound() -> bool:
            pod = await c.api.get(Pod, "big", "default")
            placed = find_condition(pod.status.conditions, "PodScheduled")
            return pod.spec.node_name == "n2" and placed is not None and placed.status == "True"

        await c.until("it is bound", bound)


def impatient(context: Context) -> Controller:
    """Node lifecycle that waits one second where the real one waits forty."""
    return NodeLifecycle(context, NodeSettings(grace_period_s=1.5, eviction_rate_per_s=10, stopped_recheck_s=0.2))


async def test_a_silent_nodes_pods_are_replaced_elsewhere_and_a_node_that_is_back_is_used_again(tmp_path: Path) -> None:
    tolerations = [
        {"key": f"node.kubernetes.io/{name}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1}
        for name in ("not-ready", "unreachable")
    ]
    async with (
        cluster(tmp_path) as c,
        controllers(
            c.controllers_config, ("scheduler", "deployment", "replicaset"), builders={"node-lifecycle": impatient}
        ),
    ):
        await c.api.create(web(pod={"tolerations": tolerations}))
        await c.until("v1 runs", lambda: rolled_out(c, ONE, 3))
        c.nodes.silent.add("n2")

        async def unreachable() -> Node | None:
            node = await c.api.get(Node, "n2")
            ready = find_condition(node.status.conditions, "Ready")
            effects = {taint.effect for taint in node.spec.taints}
            return node if ready and ready.status == "Unknown" and effects == {"NoSchedule", "NoExecute"} else None

        await c.until("n2 is unreachable", unreachable)

        async def replaced() -> bool:
            pods = (await c.api.list(Pod, "default")).items
            alive = [pod for pod in pods if pod.metadata.deletion_timestamp is None]
            ready = [pod for pod in alive if pod.status.phase == "Running"]
            return len(ready) == 3 and "n2" not in {pod.spec.node_name for pod in alive}

        await c.until("its pod runs elsewhere", replaced)
        stuck = [pod for pod in (await c.api.list(Pod, "default")).items if pod.spec.node_name == "n2"]
        assert len(stuck) == 1  # nobody can say that it stopped, so it is still there
        condition = find_condition(stuck[0].status.conditions, "Ready")
        assert condition is not None
        assert condition.status == "False"
        await c.nodes.come_back("n2")

        async def clean() -> bool:
            node = await c.api.get(Node, "n2")
            pods = (await c.api.list(Pod, "default")).items
            return not node.spec.taints and len(pods) == 3

        await c.until("n2 is back and cleaned up", clean)


def hasty(context: Context) -> Controller:
    """Pod collection that gives nodes a moment to come back instead of forty seconds."""
    return PodGc(context, PodGcSettings(period_s=0.1, quarantine_s=0.3))


async def test_pods_of_a_node_that_was_deleted_are_given_up_and_replaced(tmp_path: Path) -> None:
    names = ("scheduler", "deployment", "replicaset")
    async with cluster(tmp_path) as c, controllers(c.controllers_config, names, builders={"pod-gc": hasty}):
        await c.api.create(web())
        await c.until("v1 runs", lambda: rolled_out(c, ONE, 3))
        c.nodes.silent.add("n2")
        await c.api.delete(Node, "n2")

        async def moved() -> bool:
            pods = await rolled_out(c, ONE, 3)
            return pods is not None and "n2" not in {pod.spec.node_name for pod in pods}

        await c.until("its pod runs elsewhere", moved)


async def test_when_every_node_falls_silent_nobody_is_evicted(tmp_path: Path) -> None:
    async with (
        cluster(tmp_path, nodes=("n1", "n2")) as c,
        controllers(c.controllers_config, ("scheduler",), builders={"node-lifecycle": impatient}),
    ):
        # One after the other, so that the first is on its way to be evicted when the second one goes.
        c.nodes.silent.add("n1")

        def effects(node: Node) -> set[str]:
            return {taint.effect for taint in node.spec.taints}

        async def first_lost() -> bool:
            return "NoExecute" in effects(await c.api.get(Node, "n1"))

        async def all_unknown() -> bool:
            nodes = (await c.api.list(Node)).items
            states = [find_condition(node.status.conditions, "Ready") for node in nodes]
            return all(state and state.status == "Unknown" for state in states)

        async def no_eviction() -> bool:
            return all(effects(node) == {"NoSchedule"} for node in (await c.api.list(Node)).items)

        await c.until("the first is tainted", first_lost)
        c.nodes.silent.add("n2")
        await c.until("both are unknown", all_unknown)
        await c.until("none is evicted", no_eviction)


@pytest.mark.parametrize("propagation", ["Background", "Foreground"])
async def test_what_belongs_to_a_deleted_deployment_goes_with_it(tmp_path: Path, propagation: str) -> None:
    async with cluster(tmp_path) as c, controllers(c.controllers_config):
        await c.api.create(web())
        await c.until("v1 runs", lambda: rolled_out(c, ONE, 3))
        await c.api.delete(Deployment, "web", "default", propagation=propagation)

        async def nothing_left() -> bool:
            left = [*(await c.api.list(Pod, "default")).items, *(await _sets(c))]
            return not left and not (await c.api.list(Deployment, "default")).items

        await c.until("all is gone", nothing_left)


async def test_orphans_live_on_and_are_adopted_by_the_next_owner(tmp_path: Path) -> None:
    async with cluster(tmp_path) as c, controllers(c.controllers_config):
        await c.api.create(web())
        before = {pod.uid for pod in await c.until("v1 runs", lambda: rolled_out(c, ONE, 3))}
        await c.api.delete(Deployment, "web", "default", propagation="Orphan")

        async def orphaned() -> bool:
            gone = not (await c.api.list(Deployment, "default")).items
            return gone and not any(rs.metadata.owner_references for rs in await _sets(c))

        await c.until("the deployment is gone and its set is nobody's", orphaned)
        await c.api.create(web())
        after = {pod.uid for pod in await c.until("the next one is complete", lambda: rolled_out(c, ONE, 3))}
        assert after == before


async def test_a_namespace_is_emptied_before_it_goes(tmp_path: Path) -> None:
    async with cluster(tmp_path) as c, controllers(c.controllers_config):
        await c.api.create(decode({"metadata": {"name": "shop"}}, Namespace))
        await c.api.create(web(namespace="shop"))
        await c.until("it runs", lambda: rolled_out(c, ONE, 3, "shop"))
        await c.api.delete(Namespace, "shop")

        async def gone() -> bool:
            try:
                await c.api.get(Namespace, "shop")
            except NotFound:
                return not (await c.api.list(Pod, "shop")).items and not (await c.api.list(Deployment, "shop")).items
            return False

        await c.until("it is gone with everything in it", gone)


async def test_a_rollout_survives_controllers_that_stop_at_any_moment(tmp_path: Path) -> None:
    """Cancelled again and again, at other places each time; whoever goes on has only what is stored."""
    async with cluster(tmp_path) as c:
        await c.api.create(web(4))
        for round_ in range(6):
            if round_ == 3:
                await set_image(c, TWO)
            async with controllers(c.controllers_config, ("scheduler", "deployment", "replicaset")):
                try:
                    await c.until("never", lambda: rolled_out(c, "none", 4), timeout_s=0.15 + 0.05 * round_)
                except AssertionError:
                    continue
        async with controllers(c.controllers_config):
            await c.until("v2 runs", lambda: rolled_out(c, TWO, 4))
            assert len(await _sets(c)) <= 2
