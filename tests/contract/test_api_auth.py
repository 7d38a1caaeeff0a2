"""Who one is and what one may do, as `kubectl auth` asks it: for masters, controllers, a node, and a user with a token."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from stark.apiserver.auth.kubeconfig import issue_kubeconfig
from tests.support.apiserver import Api
from tests.support.kubectl import SKEW, Kubectl, kubectl_on


@pytest.fixture
async def kubectl(tmp_path: Path) -> AsyncIterator[Kubectl]:
    async with kubectl_on(SKEW[-1], tmp_path, Kubectl) as program:
        yield program


def kubeconfig(api: Api, directory: Path, who: str) -> str:
    """The option that makes kubectl `who`: an identity, or a user of the static tokens."""
    path = directory / f"{who.replace(':', '-')}.kubeconfig"
    is_token = who == "jane"
    identity = "admin" if is_token else who
    issue_kubeconfig(api.running.authority, identity, server=api.running.url, path=path)
    if is_token:
        tokens = directory / "pki" / "tokens.csv"
        tokens.write_text('secret,jane,7,"team-a"\n')
        tokens.chmod(0o600)
        config = json.loads(path.read_text())
        config["users"][0]["user"] = {"token": "secret"}
        path.write_text(json.dumps(config))
    return f"--kubeconfig={path}"


@pytest.mark.parametrize(
    ("who", "name", "may", "may_not", "listed", "incomplete"),
    [
        ("admin", "admin", ("delete", "nodes"), (), "*.*", False),
        ("controllers", "system:stark-controllers", ("create", "pods"), ("create", "nodes"), "replicasets.apps", False),
        ("node:n1", "system:node:n1", ("get", "nodes/n1"), ("get", "nodes/n2"), "[n1]", True),
        ("jane", "jane", ("create", "selfsubjectaccessreviews"), ("get", "pods"), "selfsubjectreviews", False),
    ],
)
async def test_kubectl_auth_tells(
    kubectl: Kubectl,
    tmp_path: Path,
    who: str,
    name: str,
    may: tuple[str, ...],
    may_not: tuple[str, ...],
    listed: str,
    incomplete: bool,
) -> None:
    me = kubeconfig(kubectl.api, tmp_path, who)
    user = json.loads(await kubectl(me, "auth", "whoami", "-o", "json"))["status"]["userInfo"]
    assert user["username"] == name
    assert "system:authenticated" in user["groups"]
    assert "yes" in await kubectl(me, "auth", "can-i", *may)
    if may_not:
        assert "no" in await kubectl(me, "auth", "can-i", *may_not, code=1)
    rules = await kubectl(me, "auth", "can-i", "--list")
    assert listed in rules
    assert "/readyz" in rules or who == "admin"
    assert ("the list may be incomplete" in rules) is incomplete


async def test_masters_ask_for_others_in_the_cluster_and_in_a_namespace(kubectl: Kubectl) -> None:
    api = kubectl.api
    attributes = {"verb": "list", "resource": "pods", "namespace": "default"}
    spec = {"user": "u", "groups": ["system:controllers"], "resourceAttributes": attributes}
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
    answer = (await api.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", body)).ok(201)
    assert answer["status"] == {"allowed": True}
    local = {**body, "kind": "LocalSubjectAccessReview"}
    here = "/apis/authorization.k8s.io/v1/namespaces/default/localsubjectaccessreviews"
    answer = (await api.post(here, local)).ok(201)
    assert (answer["status"], answer["metadata"]["namespace"]) == ({"allowed": True}, "default")
    elsewhere = here.replace("default", "kube-system")
    assert "must match metadata.namespace" in (await api.post(elsewhere, local)).refused(422, "Invalid")
    (await api.post("/apis/authorization.k8s.io/v1/localsubjectaccessreviews", local)).refused(404, "NotFound")
    node = api.as_identity("node:n1")
    assert "cannot create" in (await api.post(here, local, session=node)).refused(403, "Forbidden")


async def test_kubectl_poses_reviews_from_files_and_explains_them(kubectl: Kubectl) -> None:
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": "not one of ours"}}
    answer = json.loads(await kubectl("create", "-f", "-", "-o", "json", stdin=json.dumps(review)))
    assert answer["status"] == {"user": {}}
    assert "resourceAttributes" in await kubectl("explain", "subjectaccessreviews.spec")
    misspelt = {**review, "spec": {"tokn": "x"}}
    assert 'unknown field "tokn"' in await kubectl("create", "-f", "-", stdin=json.dumps(misspelt), code=1)


AUTHORIZATION = "/apis/authorization.k8s.io/v1"
PODS = "/api/v1/namespaces/default/pods/none"


async def test_a_body_of_the_wrong_types_is_the_askers_mistake_and_not_ours(kubectl: Kubectl) -> None:
    asked = {"verb": "get", "resource": "pods"}
    wrong: list[tuple[str, str, object]] = [
        (f"{AUTHORIZATION}/selfsubjectaccessreviews", "SelfSubjectAccessReview", "x"),
        (f"{AUTHORIZATION}/selfsubjectaccessreviews", "SelfSubjectAccessReview", {"resourceAttributes": "x"}),
        (f"{AUTHORIZATION}/selfsubjectaccessreviews", "SelfSubjectAccessReview", {"resourceAttributes": {"verb": 3}}),
        (
            f"{AUTHORIZATION}/selfsubjectaccessreviews",
            "SelfSubjectAccessReview",
            {"resourceAttributes": {**asked, "fieldSelector": {"requirements": ["x"]}}},
        ),
        (f"{AUTHORIZATION}/selfsubjectrulesreviews", "SelfSubjectRulesReview", "x"),
        (f"{AUTHORIZATION}/selfsubjectrulesreviews", "SelfSubjectRulesReview", {"namespace": ["x"]}),
        (f"{AUTHORIZATION}/subjectaccessreviews", "SubjectAccessReview", {"user": ["x"], "resourceAttributes": asked}),
        (f"{AUTHORIZATION}/subjectaccessreviews", "SubjectAccessReview", {"groups": "x", "resourceAttributes": asked}),
        (
            f"{AUTHORIZATION}/subjectaccessreviews",
            "SubjectAccessReview",
            {"groups": [[1]], "resourceAttributes": asked},
        ),
        (f"{AUTHORIZATION}/subjectaccessreviews", "SubjectAccessReview", {"user": "x", "extra": {"a": 1}}),
    ]
    api = kubectl.api
    for path, kind, spec in wrong:
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec}
        assert (await api.post(path, body)).status == 422, (path, spec)
    assert (await api.post(f"{PODS}/eviction", {"deleteOptions": "x"})).status == 400
    assert (await api.post(f"{PODS}/eviction", {"deleteOptions": {"preconditions": "x"}})).status == 400
    assert (await api.post(f"{PODS}/eviction", {"deleteOptions": {"dryRun": 1}})).status == 422
    assert (await api.post(f"{PODS}/binding", {"target": "x"})).status == 400
