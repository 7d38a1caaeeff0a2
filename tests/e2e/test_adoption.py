"""Who belongs to whom, on a real server: pods and ReplicaSets of nobody are adopted, what no longer fits is let go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stark.crds.apps import Deployment, ReplicaSet
from stark.crds.meta import controller_of, decode
from stark.crds.pods import Pod
from tests.support.reconciling import Cluster, cluster, controllers

IMAGE = "docker.io/library/web:1"
CONTROLLERS = ("deployment", "replicaset", "scheduler", "garbage")


def pod(name: str, **labels: str) -> Pod:
    spec = {"containers": [{"name": "main", "image": IMAGE}]}
    return decode({"metadata": {"name": name, "namespace": "default", "labels": labels}, "spec": spec}, Pod)


def spec(replicas: int) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "main", "image": IMAGE}]}}
    return {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template}


async def owned(c: Cluster, uid: str) -> set[str]:
    """Names of the pods that it controls."""
    pods = (await c.api.list(Pod, "default")).items
    return {each.metadata.name for each in pods if (owner := controller_of(each)) is not None and owner.uid == uid}


async def test_pods_are_adopted_released_and_orphaned(tmp_path: Path) -> None:
    async with cluster(tmp_path, ("n1",)) as c, controllers(c.controllers_config, CONTROLLERS):
        await c.api.create(pod("mine", app="web"))
        await c.api.create(pod("other", app="else"))
        body = {"metadata": {"name": "web", "namespace": "default"}, "spec": spec(2)}
        made = await c.api.create(decode(body, ReplicaSet))

        async def both() -> set[str] | None:
            names = await owned(c, made.uid)
            return names if len(names) == 2 and "mine" in names else None

        await c.until("the pod of nobody is one of the two", both)
        await c.api.patch(Pod, "mine", {"metadata": {"labels": {"app": "debugged"}}}, "default")

        async def released() -> bool:
            live = await c.api.get(Pod, "mine", "default")
            return not live.metadata.owner_references and len(await owned(c, made.uid)) == 2

        await c.until("the pod that fits no more is let go, and replaced", released)
        kept = await owned(c, made.uid)
        await c.api.delete(ReplicaSet, "web", "default", propagation="Orphan")

        async def orphaned() -> bool:
            sets = (await c.api.list(ReplicaSet, "default")).items
            pods = (await c.api.list(Pod, "default")).items
            free = {each.metadata.name for each in pods if not each.metadata.owner_references}
            return not sets and kept | {"mine", "other"} == free

        await c.until("its pods stay behind", orphaned)
        again = await c.api.create(decode(body, ReplicaSet))

        async def taken() -> bool:
            return await owned(c, again.uid) == kept

        await c.until("and a namesake takes them in", taken)


@pytest.mark.slow
async def test_a_deployment_takes_in_the_replica_set_of_its_template_and_lets_others_alone(tmp_path: Path) -> None:
    async with cluster(tmp_path, ("n1",)) as c, controllers(c.controllers_config, CONTROLLERS):
        body = {"metadata": {"name": "web", "namespace": "default"}, "spec": spec(2)}
        first = await c.api.create(decode(body, Deployment))

        async def replica_set(of: str) -> ReplicaSet | None:
            sets = (await c.api.list(ReplicaSet, "default")).items
            found = [rs for rs in sets if (owner := controller_of(rs)) is not None and owner.uid == of]
            return found[0] if len(found) == len(sets) == 1 and found[0].status.available_replicas == 2 else None

        before = await c.until("it has its replica set", lambda: replica_set(first.uid))
        pods = await owned(c, before.uid)
        await c.api.delete(Deployment, "web", "default", propagation="Orphan")

        async def alone() -> bool:
            live = await c.api.get(ReplicaSet, before.metadata.name, "default")
            gone = not (await c.api.list(Deployment, "default")).items
            return gone and controller_of(live) is None

        await c.until("the replica set stays behind", alone)
        second = await c.api.create(decode(body, Deployment))
        after = await c.until("a namesake takes it in", lambda: replica_set(second.uid))
        assert (after.uid, await owned(c, after.uid)) == (before.uid, pods)
