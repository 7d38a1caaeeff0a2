"""A Secret changes, and the pods that read it are replaced: by the real controllers over the real API server."""

from __future__ import annotations

from pathlib import Path

from stark.client.api import PatchType
from stark.crds.apps import Deployment, ReplicaSet
from stark.crds.config import Secret
from stark.crds.meta import decode
from tests.support.reconciling import cluster, controllers


async def test_a_changed_secret_rolls_out_once_and_a_label_or_an_undo_does_not(tmp_path: Path) -> None:
    secret = {"metadata": {"name": "web", "namespace": "default"}, "stringData": {"password": "one"}}
    container = {"name": "main", "image": "docker.io/library/web:1", "envFrom": [{"secretRef": {"name": "web"}}]}
    deployment = {
        "metadata": {"name": "web", "namespace": "default", "annotations": {"stark.dev/rollout-on-change": "true"}},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}},
        },
    }
    async with (
        cluster(tmp_path, nodes=()) as c,
        controllers(c.controllers_config, ["deployment", "replicaset", "config-rollout"]),
    ):
        made = await c.api.create(decode(secret, Secret))
        assert made.metadata.generation == 1
        await c.api.create(decode(deployment, Deployment))

        async def live() -> Deployment:
            return await c.api.get(Deployment, "web", "default")

        async def sets() -> int:
            return len((await c.api.list(ReplicaSet, "default")).items)

        async def remembered() -> bool:
            return "stark.dev/config-versions" in (await live()).metadata.annotations and await sets() == 1

        await c.until("versions are remembered", remembered)
        assert (await live()).metadata.generation == 1

        labelled = await c.api.patch(Secret, "web", {"metadata": {"labels": {"a": "b"}}}, "default")
        assert labelled.metadata.generation == 1
        changed = await c.api.patch(Secret, "web", {"stringData": {"password": "two"}}, "default", type=PatchType.MERGE)
        assert changed.metadata.generation == 2

        async def rolled_out() -> bool:
            return await sets() == 2

        await c.until("a second ReplicaSet", rolled_out)
        seen = await live()
        assert seen.metadata.generation == 2
        assert seen.spec.template.metadata is not None
        assert len(seen.spec.template.metadata.annotations["stark.dev/config-checksum"]) == 16

        undone = [{"op": "remove", "path": "/spec/template/metadata/annotations"}]
        await c.api.patch(Deployment, "web", undone, "default", type=PatchType.JSON)
        await c.api.patch(Secret, "web", {"metadata": {"labels": {"a": "c"}}}, "default")
        assert await sets() == 2
        assert (await live()).spec.template.metadata.annotations == {}
