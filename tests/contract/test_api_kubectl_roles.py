"""Stock kubectl in the hands of each role: what it shows, does and is refused, with a certificate of that person's own."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from stark.apiserver.auth.identities import Identity
from stark.apiserver.auth.kubeconfig import write_kubeconfig
from tests.support.kubectl import SKEW, Kubectl, kubectl_on

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

MANIFEST = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME}
spec:
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec: {containers: [{name: main, image: "docker.io/library/busybox:1.36"}]}
---
apiVersion: v1
kind: Secret
metadata: {name: NAME}
stringData: {key: treasure}
"""


class People:
    """kubectl as several people of one cluster."""

    def __init__(self, kubectl: Kubectl) -> None:
        self._kubectl = kubectl

    async def __call__(self, who: str, *words: str, ok: bool = True, stdin: str = "") -> str:
        """`who`: name and role, as `alice/user`."""
        name, _, role = who.partition("/")
        path = self._kubectl.home / f"{name}.kubeconfig"
        if not path.exists():
            running = self._kubectl.api.running
            identity = Identity(name, (f"stark:{role}",))
            ca = running.authority.certificate_pem
            credential = running.authority.issue(identity)
            write_kubeconfig(path, server=running.url, ca_pem=ca, credential=credential, user=name)
        return await self._kubectl(f"--kubeconfig={path}", *words, stdin=stdin, code=0 if ok else 1)


@pytest.fixture(params=[SKEW[0], SKEW[-1]])
async def people(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[People]:
    async with kubectl_on(request.param, tmp_path, Kubectl) as kubectl:
        people = People(kubectl)
        for who in ("alice", "bob"):
            said = await people(f"{who}/user", "apply", "-f-", stdin=MANIFEST.replace("NAME", who))
            assert said == f"deployment.apps/{who} created\nsecret/{who} created\n"
        yield people


async def test_a_user_works_with_their_own_and_finds_nothing_else(people: People) -> None:
    assert (await people("bob/user", "get", "deploy,secrets", "-o", "name")).split() == [
        "deployment.apps/bob",
        "secret/bob",
    ]
    assert "alice" not in await people("bob/user", "get", "deploy", "-A", "-o", "wide")
    assert "alice" not in await people("bob/user", "get", "secrets", "--chunk-size=1", "-o", "yaml")
    for words in (
        ("get", "secret/alice"),
        ("describe", "secret/alice"),
        ("delete", "deploy/alice"),
        ("rollout", "restart", "deploy/alice"),
        ("set", "image", "deploy/alice", "main=docker.io/library/busybox:2"),
        ("annotate", "deploy/alice", "--overwrite", "stark.dev/owner=bob"),
        ("set", "env", "deploy/bob", "--from=secret/alice"),
    ):
        assert "only what is their own" in await people("bob/user", *words, ok=False), words
    stolen = MANIFEST.replace("NAME", "alice")
    for command in (("apply",), ("apply", "--server-side", "--force-conflicts"), ("replace",)):
        assert "Forbidden" in await people("bob/user", *command, "-f-", ok=False, stdin=stolen), command
    assert "scaled" in await people("bob/user", "scale", "deploy/bob", "--replicas=2")
    assert "labeled" in await people("bob/user", "label", "deploy/bob", "a=b")
    forged = await people("bob/user", "annotate", "deploy/bob", "--overwrite", "stark.dev/owner=alice", ok=False)
    assert "field is immutable" in forged
    assert "bob" in await people("bob/user", "delete", "deploy,secrets", "--all")
    assert (await people("alice/user", "get", "deploy,secrets", "-o", "name")).split() == [
        "deployment.apps/alice",
        "secret/alice",
    ]


async def test_a_user_makes_a_namespace_and_takes_it_away(people: People) -> None:
    assert "created" in await people("alice/user", "create", "namespace", "house")
    assert "belongs to another user" in await people("bob/user", "-n", "house", "create", "cm", "x", ok=False)
    assert "house" in await people("bob/user", "get", "namespaces")
    assert "Forbidden" in await people("bob/user", "delete", "namespace", "house", ok=False)
    assert "deleted" in await people("alice/user", "delete", "namespace", "house", "--wait=false")


async def test_a_viewer_sees_what_runs_and_no_secret_and_changes_nothing(people: People) -> None:
    assert (await people("vera/viewer", "get", "deploy", "-o", "name")).split() == [
        "deployment.apps/alice",
        "deployment.apps/bob",
    ]
    for words in (("get", "secrets"), ("get", "secret/alice"), ("delete", "deploy/alice"), ("create", "cm", "x")):
        assert "cannot" in await people("vera/viewer", *words, ok=False), words


async def test_who_brings_machines_has_nodes_and_no_workloads(people: People) -> None:
    assert "No resources found" in await people("nora/node", "get", "nodes,pods")
    assert "cannot create" in await people("nora/node", "create", "cm", "x", ok=False)
    assert "cannot" in await people("nora/node", "get", "deploy,secrets", ok=False)


async def test_an_administrator_hands_an_object_over(people: People) -> None:
    assert "alice" in await people("anna/admin", "get", "secrets")
    await people("anna/admin", "annotate", "secret/alice", "--overwrite", "stark.dev/owner=bob")
    assert (await people("bob/user", "get", "secrets", "-o", "name")).split() == ["secret/alice", "secret/bob"]
    assert "only what is their own" in await people("alice/user", "get", "secret/alice", ok=False)
    mine = json.loads(await people("bob/user", "get", "secret/alice", "-o", "json"))
    assert mine["metadata"]["annotations"]["stark.dev/owner"] == "bob"
