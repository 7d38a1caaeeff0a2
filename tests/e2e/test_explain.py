"""What is foretold is what the scheduler says; and fields are explained as kubectl explains them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stark.crds.conditions import find_condition
from stark.crds.pods import Pod
from tests.support.apiserver import pod
from tests.support.ctl import Ctl
from tests.support.kubectl import Kubectl, kubectl_on
from tests.support.reconciling import cluster, controllers

FIELDS = (
    "pods",
    "pods.spec.containers",
    "pods.metadata.labels",
    "packs.spec",
    "jobs.spec.template",
    "hpa.spec",
    "pods.spec.volumes.emptyDir.medium",
)


@pytest.mark.slow
async def test_a_dry_run_says_of_a_pod_that_fits_nowhere_what_the_scheduler_then_says(tmp_path: Path) -> None:
    async with cluster(tmp_path, ("n1", "n2")) as c:
        for name, cpu, selector in (("huge", "900", {}), ("choosy", "1m", {"disk": "none"})):
            body = pod(name)
            body["spec"]["nodeSelector"] = selector
            body["spec"]["containers"][0]["resources"] = {"requests": {"cpu": cpu}}
            foretold = (await c.server.post("/api/v1/namespaces/default/pods?dryRun=All", body)).ok(201)
            (condition,) = foretold["status"]["conditions"]
            (await c.server.post("/api/v1/namespaces/default/pods", body)).ok(201)
            async with controllers(c.controllers_config, ("scheduler",)):

                async def refused(name: str = name) -> str | None:
                    found = find_condition((await c.api.get(Pod, name, "default")).status.conditions, "PodScheduled")
                    return found.message if found is not None else None

                assert await c.until("the scheduler says why", refused) == condition["message"]
            placement = await c.api.get_json(f"/api/v1/namespaces/default/pods/{name}/placement")
            assert placement["status"]["message"] == condition["message"], json.dumps(placement)


@pytest.mark.slow
async def test_fields_are_explained_sign_for_sign_as_kubectl_explains_them(tmp_path: Path) -> None:
    async with kubectl_on("1.33", tmp_path, Kubectl) as stock:
        ctl = Ctl(stock.api, tmp_path / "home")
        for field in FIELDS:
            for flags in ((), ("--recursive",)):
                assert (await ctl.admin("explain", field, *flags)).ok() == await stock("explain", field, *flags), field
