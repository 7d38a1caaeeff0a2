"""`starkctl deployment`, `rollout` and `pod` as people type them, on a real server with the real controllers."""

from __future__ import annotations

from pathlib import Path

import pytest

from stark.crds.annotations import BLOCKED_VERSIONS, BlockedVersion, format_blocked_versions
from stark.crds.apps import Deployment
from stark.crds.meta import decode
from stark.crds.packs import Pack
from tests.support.ctl import Ctl
from tests.support.reconciling import Cluster, cluster, controllers

CONTROLLERS = ("deployment", "replicaset", "daemonset", "scheduler", "garbage")


async def release(c: Cluster, version: str) -> None:
    bundle = {"architecture": "any", "sha256": "ab" * 32, "size": 1}
    spec = {"name": "web", "version": version, "runtime": "node", "visibility": "public", "bundles": [bundle]}
    made = await c.api.create(decode({"metadata": {"name": f"web.{version}"}, "spec": spec}, Pack))
    await c.api.patch(Pack, made.metadata.name, {"status": {"phase": "Available"}}, subresource="status")


@pytest.mark.slow
async def test_a_deployment_is_made_rolled_back_scaled_and_deleted(tmp_path: Path) -> None:
    async with cluster(tmp_path, ("n1", "n2")) as c, controllers(c.controllers_config, CONTROLLERS):
        ctl = Ctl(c.server, tmp_path / "home")
        for version in ("1.0.0", "1.1.0"):
            await release(c, version)
        made = await ctl.admin("deploy", "create", "web", "--pack", "web", "-r", "3", "-V", "1.0.0", "--wait")
        assert made.ok().startswith("deployment.apps/web created: pack.stark/web:1.0.0 with 3 replicas")
        assert made.out.endswith('deployment "web" successfully rolled out\n')
        again = await ctl.admin("deployment", "create", "web", "--pack", "web")
        assert (again.code, "already exists" in again.err) == (1, True)
        await ctl.admin("rollout", "pause", "deployment/web")
        assert (await ctl.admin("rollout", "restart", "deployment/web")).code == 1
        assert (await ctl.admin("deploy", "resume", "web")).ok() == "deployment.apps/web resumed\n"
        assert "is not paused" in (await ctl.admin("deploy", "resume", "web")).err
        block = BlockedVersion("2.0.0", "2099-01-01T00:00:00Z", 1, "12345678", "exit code 1")
        noted = {"metadata": {"annotations": {BLOCKED_VERSIONS: format_blocked_versions((block,))}}}
        await c.api.patch(Deployment, "web", noted, "default")
        assert (await ctl.admin("deploy", "resume", "web")).ok() == "deployment.apps/web resumed\n"
        assert BLOCKED_VERSIONS not in (await c.api.get(Deployment, "web", "default")).metadata.annotations
        back = await ctl.admin("deploy", "rollback", "web", "-V", "1.1.0", "-r", "better")
        assert back.ok() == "deployment.apps/web rolled back: web 1.0.0 -> 1.1.0\n"
        (await ctl.admin("rollout", "status", "deployment/web", "--timeout", "20s")).ok()
        history = (await ctl.admin("rollout", "history", "deployment/web")).ok().splitlines()
        assert history[2:4] == ["1          <none>", "2          rollback: web 1.0.0 -> 1.1.0: better"]
        assert "pack.stark/web:1.0.0" in (await ctl.admin("rollout", "history", "deploy/web", "--revision", "1")).ok()
        assert (await ctl.admin("deploy", "undo", "web")).ok() == "deployment.apps/web rolled back to revision 1\n"
        assert "VERSION_NOT_FOUND" in (await ctl.admin("deploy", "rollback", "web", "-V", "9.0.0")).err
        (await ctl.admin("rollout", "status", "deployment/web")).ok()
        (await ctl.admin("deploy", "scale", "web", "-r", "0")).ok()
        (await ctl.admin("rollout", "status", "deployment/web", "--timeout", "20s")).ok()
        listed = (await ctl.admin("deployment", "ls", "-o", "plain")).ok().split("\t")
        assert listed[:4] == ["web", "1.0.0", "2/2 (DaemonSet)", "active"]
        told = (await ctl.admin("deployment", "status", "web")).ok()
        assert "Pack:           web 1.0.0" in told
        assert "2 running" in told
        assert "did you mean `web`?" in (await ctl.admin("deployment", "status", "wob")).err
        kept = await ctl.admin("deploy", "rm", "web")
        assert (kept.code, "Nothing was deleted: say --force" in kept.err) == (1, True)
        (await ctl.admin("deploy", "rm", "web", "--force")).ok()
        assert "No such pods" in (await ctl.admin("pod", "list")).err


async def test_pods_of_ones_own_are_made_rolled_back_and_stopped(tmp_path: Path) -> None:
    async with cluster(tmp_path, ("n1",)) as c, controllers(c.controllers_config, ("scheduler",)):
        ctl = Ctl(c.server, tmp_path / "home")
        for version in ("1.0.0", "1.1.0"):
            await release(c, version)
        made = (await ctl.admin("pod", "run", "web", "-V", "1.0.0", "-r", "2", "-p", "70", "-o", "name")).ok().split()
        assert len(made) == 2
        one = made[0]

        async def runs() -> bool:
            return (await ctl.admin("pod", "ls", "-s", "running", "-o", "name")).ok().split() == sorted(made)

        await c.until("both run", runs)
        assert "has run no other version" in (await ctl.admin("pod", "rollback", one)).err
        assert "SAME_VERSION" in (await ctl.admin("pod", "rollback", one, "-V", "1.0.0")).err
        (await ctl.admin("pod", "rollback", one, "-V", "1.1.0", "-r", "try")).ok()
        (await ctl.admin("pod", "rollback", one)).ok()
        status = dict(
            line.split(":", 1) for line in (await ctl.admin("pod", "status", one)).ok().splitlines() if ":" in line
        )
        assert [status[key].strip() for key in ("Pack", "Node", "Priority")] == ["web 1.0.0", "n1", "70"]
        assert (await ctl.admin("pod", "status", status["Id"].strip())).code == 0
        history = (await ctl.admin("pod", "history", one)).ok()
        assert "1.0.0 -> 1.1.0: try" in history
        assert "created" in history
        assert (await ctl.admin("pod", "stop", *made)).ok().split() == [made[0], "stopping", made[1], "stopping"]
        nowhere = await ctl.admin("pod", "run", "web", "-n", "n12")
        assert (nowhere.code, "did you mean `n1`?" in nowhere.err) == (1, True)
