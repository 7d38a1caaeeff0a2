"""What an autoscaler scales may be of any kind with a `scale` subresource, and belongs to whoever wrote the autoscaler."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stark.client.kinds import unstructured
from stark.crds.autoscaling import HorizontalPodAutoscaler
from stark.crds.conditions import find_condition
from stark.crds.extensions import CustomResourceDefinition
from stark.crds.meta import ResourceDef, decode
from tests.support.reconciling import Cluster, cluster, controllers

RACKS = ResourceDef(group="example.com", version="v1", kind="Rack", plural="racks", namespaced=True)
OWNED = {"stark.dev/owner": "ada", "stark.dev/owner-role": "user"}


def definition() -> CustomResourceDefinition:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    paths = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"scale": {**paths, "labelSelectorPath": ".status.selector"}},
    }
    names = {"kind": "Rack", "plural": "racks"}
    spec = {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]}
    return decode({"metadata": {"name": "racks.example.com"}, "spec": spec}, CustomResourceDefinition)


def autoscaler(name: str, target: str, **annotations: str) -> HorizontalPodAutoscaler:
    reference = {"apiVersion": "example.com/v1", "kind": "Rack", "name": target}
    meta = {"name": name, "namespace": "default", "annotations": annotations}
    spec = {"scaleTargetRef": reference, "minReplicas": 3, "maxReplicas": 5}
    return decode({"metadata": meta, "spec": spec}, HorizontalPodAutoscaler)


async def replicas(c: Cluster, name: str) -> int:
    found = await c.api.get(unstructured(RACKS), name, "default")
    return int(found["spec"]["replicas"])


async def reason(c: Cluster, name: str, type_: str) -> str:
    found = await c.api.get(HorizontalPodAutoscaler, name, "default")
    condition = find_condition(found.status.conditions, type_)
    return (condition.reason or "") if condition is not None else ""


async def test_a_kind_of_ones_own_is_scaled_and_somebody_elses_is_not(tmp_path: Path) -> None:
    async with cluster(tmp_path, ()) as c, controllers(c.controllers_config, ["horizontal-autoscaler"]):
        await c.api.create(definition())

        async def served() -> bool:
            return any(each.kind == "Rack" for each in await c.api.discover())

        await c.until("the kind is served", served)
        for name, annotations in (("own", OWNED), ("foreign", {})):
            meta = {"name": name, "namespace": "default", "annotations": annotations}
            rack: dict[str, Any] = {"metadata": meta, "spec": {"replicas": 1}}
            await c.api.create(rack, kind=unstructured(RACKS), namespace="default")
        await c.api.create(autoscaler("own", "own", **OWNED))
        await c.api.create(autoscaler("foreign", "foreign", **OWNED))
        await c.api.create(autoscaler("lost", "nothing"))

        async def scaled() -> bool:
            return await replicas(c, "own") == 3

        async def refused() -> bool:
            found = [await reason(c, name, "AbleToScale") for name in ("foreign", "lost")]
            return found == ["FailedGetScale", "FailedGetScale"]

        await c.until("one's own is scaled to the least", scaled)
        await c.until("the others are not found", refused)
        assert await replicas(c, "foreign") == 1
