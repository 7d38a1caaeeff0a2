"""An autoscaler over HTTP, in both versions: the same object, whichever way it is read or written."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.apiserver import MERGE_PATCH, api_server

V1, V2 = (f"/apis/autoscaling/{version}/namespaces/default/horizontalpodautoscalers" for version in ("v1", "v2"))
REFERENCE = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
FORGED = [{"type": "AbleToScale", "status": "True"}]
PREFIX = "autoscaling.alpha.kubernetes.io"


async def test_both_versions_are_one_object(tmp_path: Path) -> None:
    async with api_server(tmp_path) as api:
        spec = {"scaleTargetRef": REFERENCE, "maxReplicas": 3, "targetCPUUtilizationPercentage": 60}
        meta = {"name": "web", "annotations": {f"{PREFIX}/conditions": json.dumps(FORGED)}}
        made = (await api.post(V1, {"metadata": meta, "spec": spec})).ok(201)
        assert (made["apiVersion"], made["spec"]["minReplicas"]) == ("autoscaling/v1", 1)
        newer = (await api.get(f"{V2}/web")).ok()
        assert newer["metadata"]["uid"] == made["metadata"]["uid"]
        assert newer["spec"]["metrics"][0]["resource"]["target"] == {"type": "Utilization", "averageUtilization": 60}
        assert "conditions" not in newer["status"], "a status is not written by annotations"
        async with api.watch(f"{V1}?resourceVersion={newer['metadata']['resourceVersion']}") as watch:
            behavior = {"scaleDown": {"stabilizationWindowSeconds": 7}}
            path = f"{V2}/web"
            changed = await api.ask("PATCH", path, {"spec": {"behavior": behavior}}, content_type=MERGE_PATCH)
            assert changed.ok()["spec"]["behavior"]["scaleDown"]["selectPolicy"] == "Max"
            kind, seen = await watch.next()
        assert (kind, seen["apiVersion"]) == ("MODIFIED", "autoscaling/v1")
        assert json.loads(seen["metadata"]["annotations"][f"{PREFIX}/behavior"])["ScaleDown"]["SelectPolicy"] == "Max"
        changed_older = await api.ask(
            "PATCH", f"{V1}/web", {"spec": {"targetCPUUtilizationPercentage": 70}}, content_type=MERGE_PATCH
        )
        changed_older.ok()
        newer = (await api.get(f"{V2}/web")).ok()
        assert newer["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 70
        assert newer["spec"]["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 7, "what v1 cannot say is kept"
        assert "annotations" not in newer["metadata"]
        group = (await api.get("/apis/autoscaling")).ok()
        assert group["preferredVersion"]["version"] == "v2"
