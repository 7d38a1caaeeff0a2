"""Stock kubectl applying from the server's side: create, change, conflict, force, remove; and moving over to it."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.apiserver import api_server
from tests.support.kubectl import SKEW, Kubectl, kubectl_on

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  minReadySeconds: 5
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: main, image: "docker.io/library/busybox:1.36"}]}
"""


class Applier(Kubectl):
    """kubectl with the words these tests repeat."""

    async def apply(self, manifest: str, *options: str, code: int = 0) -> str:
        return await self("apply", "--server-side", *options, "-f", "-", stdin=manifest, code=code)

    async def web(self) -> Any:
        return json.loads(await self("get", "deployment", "web", "-o", "json", "--show-managed-fields"))


@pytest.fixture(params=SKEW)
async def kubectl(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Applier]:
    async with kubectl_on(request.param, tmp_path, Applier) as program:
        yield program


def managers(obj: Any) -> set[tuple[str, str]]:
    return {(entry["manager"], entry["operation"]) for entry in obj["metadata"]["managedFields"]}


@pytest.mark.slow
async def test_the_usual_day_of_an_applied_object(kubectl: Applier) -> None:
    assert "web serverside-applied (server dry run)" in await kubectl.apply(DEPLOYMENT, "--dry-run=server")
    assert "not found" in await kubectl("get", "deployment", "web", code=1)
    assert "deployment.apps/web serverside-applied" in await kubectl.apply(DEPLOYMENT)
    first = await kubectl.web()
    assert managers(first) == {("kubectl", "Apply")}
    await kubectl.apply(DEPLOYMENT)
    assert await kubectl.web() == first
    changed = DEPLOYMENT.replace("1.36", "1.37").replace("  minReadySeconds: 5\n", "")
    assert "1.37" in await kubectl("diff", "--server-side", "-f", "-", stdin=changed, code=1)
    await kubectl.apply(changed)
    second = await kubectl.web()
    assert second["spec"]["template"]["spec"]["containers"][0]["image"].endswith("1.37")
    assert second["spec"].get("minReadySeconds", 0) == 0
    shown = await kubectl("get", "deployment", "web", "-o", "yaml")
    assert "managedFields" not in shown


@pytest.mark.slow
async def test_a_scaled_object_is_a_conflict_until_forced(kubectl: Applier) -> None:
    await kubectl.apply(DEPLOYMENT)
    await kubectl("scale", "deployment/web", "--replicas=5")
    said = await kubectl.apply(DEPLOYMENT, code=1)
    assert "Apply failed with 1 conflict: conflict with" in said
    assert ".spec.replicas" in said
    without = DEPLOYMENT.replace("  replicas: 2\n", "")
    await kubectl.apply(without)
    assert (await kubectl.web())["spec"]["replicas"] == 5
    await kubectl.apply(DEPLOYMENT, "--force-conflicts")
    assert (await kubectl.web())["spec"]["replicas"] == 2


@pytest.mark.slow
async def test_two_appliers_share_an_object(kubectl: Applier) -> None:
    await kubectl.apply(DEPLOYMENT)
    labels = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, labels: {team: blue}}\n"
    await kubectl.apply(labels, "--field-manager=labeler")
    assert managers(await kubectl.web()) == {("kubectl", "Apply"), ("labeler", "Apply")}
    await kubectl.apply(labels.replace(", labels: {team: blue}", ""), "--field-manager=labeler")
    assert "labels" not in (await kubectl.web())["metadata"]


@pytest.mark.slow
async def test_moving_over_from_the_clients_side(kubectl: Applier) -> None:
    await kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
    assert managers(await kubectl.web()) == {("kubectl-client-side-apply", "Update")}
    assert "minReadySeconds: 5" in await kubectl("apply", "view-last-applied", "deployment/web")
    changed = DEPLOYMENT.replace("replicas: 2", "replicas: 3").replace("  minReadySeconds: 5\n", "")
    await kubectl.apply(changed)
    web = await kubectl.web()
    assert web["spec"]["replicas"] == 3
    assert web["spec"].get("minReadySeconds", 0) == 0
    # kubectl applies what it had applied last under a name of its own, before it goes on.
    assert managers(web) - {("kubectl-last-applied", "Apply")} == {("kubectl", "Apply")}
    # And back: the annotation has been kept true.
    assert "web configured" in await kubectl("apply", "-f", "-", stdin=DEPLOYMENT)


@pytest.mark.slow
async def test_starkctl_applies_from_the_servers_side_too(tmp_path: Path) -> None:
    async with api_server(tmp_path) as api:
        starkctl = Kubectl(Path(sys.executable), tmp_path, api)
        (tmp_path / "web.yaml").write_text(DEPLOYMENT)
        apply = ("-m", "stark.ctl", "apply", "--server-side", "-f", str(tmp_path / "web.yaml"))
        get = ("-m", "stark.ctl", "get", "deployment", "web", "-o", "json")
        assert "web serverside-applied" in await starkctl(*apply)
        assert "managedFields" not in await starkctl(*get)
        assert managers(json.loads(await starkctl(*get, "--show-managed-fields"))) == {("starkctl", "Apply")}
        (tmp_path / "web.yaml").write_text(DEPLOYMENT.replace("replicas: 2", "replicas: 3"))
        refused = await starkctl(*apply, "--field-manager", "other", code=1)
        assert 'Apply failed with 1 conflict: conflict with "starkctl": .spec.replicas' in refused
        await starkctl(*apply, "--field-manager", "other", "--force-conflicts")
        assert json.loads(await starkctl(*get))["spec"]["replicas"] == 3
