"""Stock kubectl against the API: the oldest, a middle and the newest version whose skew we promise."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.kubectl import COMMAND_TIMEOUT_S, SKEW, Kubectl, kubectl_on

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: main, image: "docker.io/library/busybox:1.36"}]}
"""


@pytest.fixture(params=SKEW)
async def kubectl(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Kubectl]:
    async with kubectl_on(request.param, tmp_path, Kubectl) as program:
        yield program


@pytest.mark.slow
async def test_the_usual_day_of_a_deployment(kubectl: Kubectl) -> None:
    assert "deployment.apps/web created" in await kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
    assert "deployment.apps/web unchanged" in await kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
    changed = DEPLOYMENT.replace("1.36", "1.37")
    assert "1.37" in await kubectl("diff", "-f", "-", stdin=changed, code=1)
    assert "configured" in await kubectl("apply", "-f", "-", stdin=changed)
    assert "scaled" in await kubectl("scale", "deployment/web", "--replicas=5")
    assert "labeled" in await kubectl("label", "deployment", "web", "tier=front")
    assert "annotate" in await kubectl("annotate", "deployment", "web", "note=x")
    assert "image updated" in await kubectl("set", "image", "deployment/web", "main=docker.io/library/busybox:1.38")
    assert "patched" in await kubectl("patch", "deployment", "web", "-p", '{"spec":{"paused":true}}')
    shown = json.loads(await kubectl("get", "deployment", "web", "-o", "json"))
    assert (shown["spec"]["replicas"], shown["spec"]["paused"]) == (5, True)
    assert "0/5" in await kubectl("get", "deployments", "--selector=tier=front")
    assert "FIELD: replicas" in await kubectl("explain", "deployment.spec.replicas")
    assert "deleted" in await kubectl("delete", "deployment", "web")
    assert "not found" in await kubectl("get", "deployment", "web", code=1)


@pytest.mark.slow
async def test_everything_kubectl_can_create(kubectl: Kubectl) -> None:
    for command in (
        ("namespace", "room"),
        ("configmap", "settings", "--from-literal=a=b"),
        ("secret", "generic", "password", "--from-literal=a=b"),
        ("serviceaccount", "robot"),
        ("deployment", "web", "--image=docker.io/library/busybox:1", "--replicas=0", "--port=80"),
    ):
        assert "created" in await kubectl("create", *command)
    assert json.loads(await kubectl("get", "secret", "password", "-o", "json"))["data"] == {"a": "Yg=="}
    web = json.loads(await kubectl("get", "deployment", "web", "-o", "json"))
    assert web["spec"]["replicas"] == 0
    assert web["spec"]["template"]["spec"]["containers"][0]["ports"] == [{"containerPort": 80, "protocol": "TCP"}]
    assert await kubectl("auth", "can-i", "create", "pods") == "yes\n"
    # Before 1.28 whoami asks for a beta version of the review only.
    if not kubectl.binary.name.endswith("1.27"):
        assert "admin" in await kubectl("auth", "whoami")
    resources = await kubectl("api-resources", "--no-headers")
    assert "deploy" in resources


@pytest.mark.slow
async def test_a_node_is_drained(kubectl: Kubectl) -> None:
    node = '{"apiVersion":"v1","kind":"Node","metadata":{"name":"n1"}}'
    await kubectl("create", "-f", "-", stdin=node)
    await kubectl("run", "job", "--image=docker.io/library/busybox:1", '--overrides={"spec":{"nodeName":"n1"}}')
    await kubectl.api.patch("/api/v1/namespaces/default/pods/job/status", {"status": {"phase": "Succeeded"}})
    assert "cordoned" in await kubectl("cordon", "n1")
    assert "tainted" in await kubectl("taint", "node", "n1", "maintenance=yes:NoSchedule")
    assert "node/n1 drained" in await kubectl("drain", "n1", "--force")
    assert "No resources found" in await kubectl("get", "pods")
    assert "n1" in await kubectl("describe", "node", "n1")


@pytest.mark.slow
async def test_get_watch_prints_what_happens(kubectl: Kubectl) -> None:
    maps = "/api/v1/namespaces/default/configmaps"
    process = await asyncio.create_subprocess_exec(
        str(kubectl.binary),
        *("get", "configmaps", "--watch"),
        env={**os.environ, "HOME": str(kubectl.home), "KUBECONFIG": str(kubectl.home / "admin.kubeconfig")},
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    body = {"metadata": {"name": "settings"}, "data": {"a": "b"}}
    try:
        async with asyncio.timeout(COMMAND_TIMEOUT_S):
            while True:
                if any(c.watchers.count for c in kubectl.api.running.feed.caches() if c.prefix.plural == "configmaps"):
                    break
                await asyncio.sleep(0.05)
            (await kubectl.api.post(maps, body)).ok(201)
            header, row = await process.stdout.readline(), await process.stdout.readline()
            assert header.split()[0] == b"NAME"
            assert row.split()[:2] == [b"settings", b"1"]
    finally:
        process.terminate()
        await process.wait()
