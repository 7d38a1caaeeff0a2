"""A Deployment that runs on every node, and one that follows the latest release, by the real controllers."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from stark.client.api import PatchType
from stark.client.errors import Conflict
from stark.crds.annotations import BlockedVersion, format_blocked_versions
from stark.crds.apps import DaemonSet, Deployment, ReplicaSet
from stark.crds.conditions import find_condition
from stark.crds.meta import decode
from stark.crds.nodes import Node
from stark.crds.packs import Pack
from stark.crds.pods import Pod
from tests.support.reconciling import Cluster, cluster, controllers

ONE, TWO = "docker.io/library/web:1", "docker.io/library/web:2"
DAEMON: dict[str, Any] = {"metadata": {"annotations": {"stark.dev/mode": "DaemonSet"}}, "spec": {"replicas": 0}}
CONTROLLERS = ("deployment", "replicaset", "daemonset", "scheduler", "garbage")


def web(image: str = ONE, replicas: int = 3, annotations: dict[str, str] | None = None, **spec: Any) -> Deployment:
    body = {
        "metadata": {"name": "web", "namespace": "default", "annotations": annotations or {}},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "main", "image": image}], **spec},
            },
        },
    }
    return decode(body, Deployment)


async def rolled_out(c: Cluster) -> Deployment | None:
    """The deployment, once it is complete in the way `kubectl rollout status` asks."""
    live = await c.api.get(Deployment, "web", "default")
    status, generation = live.status, live.metadata.generation
    if status.observed_generation != generation or (status.updated_replicas or 0) < live.spec.replicas:
        return None
    if (status.replicas or 0) > (status.updated_replicas or 0):
        return None
    return live if (status.available_replicas or 0) >= (status.updated_replicas or 0) else None


async def placed(c: Cluster, image: str, *nodes: str) -> bool:
    """Whether the rollout is complete, with exactly one pod of the image on each of the nodes."""
    if await rolled_out(c) is None:
        return False
    pods = (await c.api.list(Pod, "default")).items
    there = sorted((pod.spec.node_name or "", pod.spec.containers[0].image or "") for pod in pods)
    return there == [(node, image) for node in sorted(nodes)]


async def patch(c: Cluster, body: dict[str, Any]) -> None:
    await c.api.patch(Deployment, "web", body, "default", type=PatchType.STRATEGIC)


async def test_a_deployment_becomes_a_pod_on_every_node_and_replicas_again(tmp_path: Path) -> None:
    async with cluster(tmp_path, ("n1", "n2")) as c, controllers(c.controllers_config, CONTROLLERS):
        await c.api.create(web(nodeSelector={"kubernetes.io/arch": "amd64"}))

        async def three() -> bool:
            live = await rolled_out(c)
            return live is not None and live.status.available_replicas == 3

        await c.until("three replicas", three)
        await patch(c, DAEMON)
        await c.until("one on each node", lambda: placed(c, ONE, "n1", "n2"))
        await c.nodes.join("n3")
        await c.until("and on the new one", lambda: placed(c, ONE, "n1", "n2", "n3"))
        await c.api.patch(Node, "n1", {"metadata": {"labels": {"kubernetes.io/arch": "riscv64"}}})
        await c.until("none where it does not match", lambda: placed(c, ONE, "n2", "n3"))
        await patch(c, {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": TWO}]}}}})
        await c.until("a new version", lambda: placed(c, TWO, "n2", "n3"))
        live = await c.api.get(Deployment, "web", "default")
        assert live.metadata.annotations["deployment.kubernetes.io/revision"] == "2"
        sets = (await c.api.list(ReplicaSet, "default")).items
        assert sorted(rs.metadata.annotations["deployment.kubernetes.io/revision"] for rs in sets) == ["1", "2"]
        assert {rs.metadata.annotations["stark.dev/mode"] for rs in sets} == {"DaemonSet"}
        await patch(c, {"metadata": {"annotations": {"stark.dev/mode": None}}, "spec": {"replicas": 3}})

        async def back() -> bool:
            live = await rolled_out(c)
            gone = not (await c.api.list(DaemonSet, "default")).items
            return gone and live is not None and live.status.replicas == live.status.available_replicas == 3

        await c.until("replicas again", back)


async def release(c: Cluster, version: str) -> None:
    """A version is registered and its bundle uploaded."""
    bundle = {"architecture": "any", "sha256": "ab" * 32, "size": 1}
    spec = {"name": "web", "version": version, "runtime": "node", "visibility": "public", "bundles": [bundle]}
    made = await c.api.create(decode({"metadata": {"name": f"web.{version}"}, "spec": spec}, Pack))
    await c.api.patch(Pack, made.metadata.name, {"status": {"phase": "Available"}}, subresource="status")


async def test_a_follower_goes_forward_and_passes_over_what_is_blocked(tmp_path: Path) -> None:
    async with cluster(tmp_path, ("n1",)) as c, controllers(c.controllers_config, CONTROLLERS):
        await release(c, "1.0.0")
        await c.api.create(web("pack.stark/web", annotations={"stark.dev/follow-latest": "true"}))

        async def runs(version: str) -> bool:
            live = await rolled_out(c)
            return live is not None and live.spec.template.spec.containers[0].image == f"pack.stark/web:{version}"

        await c.until("the first", lambda: runs("1.0.0"))
        await release(c, "1.1.0")
        await c.until("the second", lambda: runs("1.1.0"))
        live = await c.api.get(Deployment, "web", "default")
        assert live.metadata.annotations["kubernetes.io/change-cause"] == "follow-latest: web 1.0.0 -> 1.1.0"
        until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        blocked = format_blocked_versions((BlockedVersion("1.3.0", until, 1),))
        await patch(c, {"metadata": {"annotations": {"stark.dev/blocked-versions": blocked}}})
        for version in ("1.3.0", "2.0.0-rc.1", "1.0.9", "1.2.0"):
            await release(c, version)
        await c.until("the one below the blocked one", lambda: runs("1.2.0"))


@pytest.mark.slow
async def test_conditions_of_another_writer_survive_a_rollout(tmp_path: Path) -> None:
    async with cluster(tmp_path, ("n1",)) as c, controllers(c.controllers_config, CONTROLLERS):
        await c.api.create(web(replicas=2))
        for number in range(20):
            condition = {"type": "CrashLoop", "status": "False", "reason": f"Round{number}"}
            body = {"status": {"conditions": [condition]}}
            await c.api.patch(Deployment, "web", body, "default", type=PatchType.STRATEGIC, subresource="status")
            image = {"containers": [{"name": "main", "image": f"docker.io/library/web:{number}"}]}
            with contextlib.suppress(Conflict):
                await patch(c, {"spec": {"template": {"spec": image}}})

        async def complete() -> Deployment | None:
            return await rolled_out(c)

        live = await c.until("rolled out", complete)
        found = find_condition(live.status.conditions, "CrashLoop")
        assert found is not None
        assert found.reason == "Round19"
