"""A DaemonSet on a real API server with hollow nodes: a pod on every node that will have it, also while it changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stark.client.api import PatchType
from stark.crds.apps import DaemonSet
from stark.crds.meta import decode
from stark.crds.nodes import Node
from stark.crds.pods import Pod
from tests.support.reconciling import Cluster, cluster, controllers

ONE, TWO = "docker.io/library/logs:1", "docker.io/library/logs:2"


def logs(image: str = ONE, **spec: Any) -> DaemonSet:
    template = {
        "metadata": {"labels": {"app": "logs"}},
        "spec": {"containers": [{"name": "main", "image": image}], "nodeSelector": {"logs": "yes"}},
    }
    body = {
        "metadata": {"name": "logs", "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": "logs"}}, "template": template, **spec},
    }
    return decode(body, DaemonSet)


async def rolled_out(c: Cluster, nodes: set[str], image: str) -> list[Pod] | None:
    """The pods, once the set says that it is complete, in the way `kubectl rollout status` asks."""
    live = await c.api.get(DaemonSet, "logs", "default")
    status, wanted = live.status, len(nodes)
    if status.observed_generation != live.metadata.generation or status.desired_number_scheduled != wanted:
        return None
    if not (status.updated_number_scheduled == status.number_available == status.number_ready == wanted):
        return None
    pods = (await c.api.list(Pod, "default")).items
    there = [(pod.spec.node_name or "", pod.spec.containers[0].image) for pod in pods]
    return pods if sorted(there) == [(name, image) for name in sorted(nodes)] else None


async def label(c: Cluster, node: str, value: str | None) -> None:
    await c.api.patch(Node, node, {"metadata": {"labels": {"logs": value}}})


async def test_every_node_that_is_chosen_has_one_pod_through_joins_leaves_and_updates(tmp_path: Path) -> None:
    async with cluster(tmp_path, ()) as c, controllers(c.controllers_config):
        for name in ("n1", "n2"):
            await c.nodes.join(name, labels={"logs": "yes"})
        await c.nodes.join("n3")
        await c.api.create(logs())
        await c.until("both have a pod", lambda: rolled_out(c, {"n1", "n2"}, ONE))
        await label(c, "n3", "yes")
        await c.until("a third node", lambda: rolled_out(c, {"n1", "n2", "n3"}, ONE))
        await label(c, "n1", None)
        await c.until("one less", lambda: rolled_out(c, {"n2", "n3"}, ONE))
        template = {"spec": {"containers": [{"name": "main", "image": TWO}]}}
        await c.api.patch(DaemonSet, "logs", {"spec": {"template": template}}, "default", type=PatchType.STRATEGIC)
        await c.until("the new version", lambda: rolled_out(c, {"n2", "n3"}, TWO))
        assert c.nodes.most_pods <= 3
        pods = await c.until("still", lambda: rolled_out(c, {"n2", "n3"}, TWO))
        await c.api.delete(Pod, pods[0].metadata.name, "default")

        async def replaced() -> bool:
            now = await rolled_out(c, {"n2", "n3"}, TWO)
            return now is not None and pods[0].uid not in {pod.uid for pod in now}

        await c.until("it was replaced", replaced)
