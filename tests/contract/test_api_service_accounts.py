"""Tokens of service accounts through the whole server: asked for, used, reviewed, verified by strangers, and ended."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest
import pytest_asyncio

from tests.support.apiserver import Answer, Api, api_server, pod
from tests.support.kubectl import Kubectl, kubectl_of

ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
PODS = "/api/v1/namespaces/default/pods"
AUTHENTICATION = "authentication.k8s.io/v1"
ISSUER = "https://kubernetes.default.svc.cluster.local"
MINORS = [pytest.param(f"1.{minor}", marks=[] if minor in (27, 33) else pytest.mark.slow) for minor in range(27, 34)]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("accounts")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(home: Path) -> AsyncIterator[Api]:
    async with api_server(home) as server:
        for name in ("robot", "plain"):
            (await server.post(ACCOUNTS, account(name))).ok(201)
        yield server


pytestmark = pytest.mark.asyncio(loop_scope="module")


def account(name: str, **rest: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}, **rest}


async def request(api: Api, name: str, session: aiohttp.ClientSession | None = None, **spec: Any) -> Answer:
    body = {"apiVersion": AUTHENTICATION, "kind": "TokenRequest", "spec": spec}
    return await api.post(f"{ACCOUNTS}/{name}/token", body, session=session)


async def token_of(api: Api, name: str, **spec: Any) -> str:
    return str((await request(api, name, **spec)).ok(201)["status"]["token"])


async def review(api: Api, token: str, **spec: Any) -> dict[str, Any]:
    body = {"apiVersion": AUTHENTICATION, "kind": "TokenReview", "spec": {"token": token, **spec}}
    return dict((await api.post(f"/apis/{AUTHENTICATION}/tokenreviews", body)).ok(201)["status"])


async def as_token(api: Api, token: str, method: str, path: str, body: Any = None) -> Answer:
    bearer = {"Authorization": f"Bearer {token}"}
    return await api.ask(method, path, body, headers=bearer, session=api.as_nobody())


def bound(name: str, uid: str = "", kind: str = "Pod") -> dict[str, Any]:
    reference = {"apiVersion": "v1", "kind": kind, "name": name}
    return {"boundObjectRef": {**reference, "uid": uid} if uid else reference}


async def test_a_token_opens_the_api_and_is_good_for_nothing_after_its_account(api: Api) -> None:
    (await api.post(ACCOUNTS, account("shortlived"))).ok(201)
    token = await token_of(api, "shortlived")
    me = {"apiVersion": AUTHENTICATION, "kind": "SelfSubjectReview"}
    path = f"/apis/{AUTHENTICATION}/selfsubjectreviews"
    told = (await as_token(api, token, "POST", path, me)).ok(201)["status"]["userInfo"]
    assert told["username"] == "system:serviceaccount:default:shortlived"
    assert "system:authenticated" in told["groups"]
    assert told["extra"]["authentication.kubernetes.io/credential-id"][0].startswith("JTI=")
    (await as_token(api, token, "GET", PODS)).refused(403, "Forbidden")
    (await api.delete(f"{ACCOUNTS}/shortlived")).ok()
    (await as_token(api, token, "POST", path, me)).refused(401, "Unauthorized")
    (await api.post(ACCOUNTS, account("shortlived"))).ok(201)
    (await as_token(api, token, "POST", path, me)).refused(401, "Unauthorized")


async def test_a_review_tells_whose_a_token_is_and_for_whom(api: Api) -> None:
    token = await token_of(api, "robot", audiences=["vault", "other"])
    status = await review(api, token, audiences=["vault", "third"])
    assert (status["authenticated"], status["audiences"]) == (True, ["vault"])
    assert status["user"]["groups"][-1] == "system:authenticated"
    assert "audiences" in (await review(api, token))["error"]
    (await as_token(api, token, "GET", "/version")).refused(401, "Unauthorized")
    assert await review(api, "who-knows") == {"user": {}}
    empty = {"apiVersion": AUTHENTICATION, "kind": "TokenReview", "spec": {}}
    path = f"/apis/{AUTHENTICATION}/tokenreviews"
    assert (await api.post(path, empty)).refused(
        400, "BadRequest"
    ) == "token is required for TokenReview in authentication"
    (await as_token(api, await token_of(api, "robot"), "POST", path, empty)).refused(403, "Forbidden")


async def test_a_token_ends_with_the_pod_it_is_bound_to(api: Api) -> None:
    made = (await api.post(PODS, pod("web", serviceAccountName="robot", nodeName="n1"))).ok(201)
    token = await token_of(api, "robot", **bound("web", made["metadata"]["uid"]))
    extra = (await review(api, token))["user"]["extra"]
    assert extra["authentication.kubernetes.io/pod-name"] == ["web"]
    assert extra["authentication.kubernetes.io/pod-uid"] == [made["metadata"]["uid"]]
    assert extra["authentication.kubernetes.io/node-name"] == ["n1"]
    (await api.delete(f"{PODS}/web", {"gracePeriodSeconds": 0})).ok()
    assert (await review(api, token))["error"] == "service account token has been invalidated"
    (await request(api, "robot", **bound("web"))).refused(404, "NotFound")


async def test_a_node_gets_tokens_for_its_own_pods_only(api: Api) -> None:
    node = api.as_identity("node:n1")
    own = (await api.post(PODS, pod("own", serviceAccountName="robot", nodeName="n1"))).ok(201)["metadata"]["uid"]
    foreign = (await api.post(PODS, pod("foreign", serviceAccountName="robot", nodeName="n2"))).ok(201)["metadata"][
        "uid"
    ]
    assert (await request(api, "robot", node, **bound("own", own))).status == 201
    refusals = {
        "not bound to a pod": {},
        "without a uid": bound("own"),
        "on a different node": bound("foreign", foreign),
        "is not that of a pod": bound("own", foreign),
    }
    for words, spec in refusals.items():
        assert words in (await request(api, "robot", node, **spec)).refused(403, "Forbidden")
    (await request(api, "plain", node, **bound("own", own))).refused(400, "BadRequest")


async def test_a_stranger_verifies_a_token_by_the_published_keys(api: Api) -> None:
    token = await token_of(api, "robot", audiences=["vault"])
    reader = await token_of(api, "plain")
    document = (await as_token(api, reader, "GET", "/.well-known/openid-configuration")).ok()
    assert document["issuer"] == ISSUER
    assert document["jwks_uri"].startswith(api.running.url)
    answer = await as_token(api, reader, "GET", document["jwks_uri"].removeprefix(api.running.url))
    assert answer.headers["Content-Type"] == "application/jwk-set+json"
    keys = jwt.PyJWKSet.from_dict(answer.ok())
    key = keys[jwt.get_unverified_header(token)["kid"]]
    algorithms = document["id_token_signing_alg_values_supported"]
    claims = jwt.decode(
        token, key, algorithms, audience="vault", issuer=ISSUER, options={"require": ["exp", "sub", "jti"]}
    )
    assert claims["sub"] == "system:serviceaccount:default:robot"


async def test_a_pod_has_from_its_account_what_it_does_not_say_itself(api: Api) -> None:
    quiet = account("quiet", automountServiceAccountToken=False, imagePullSecrets=[{"name": "registry"}])
    (await api.post(ACCOUNTS, quiet)).ok(201)
    spec = (await api.post(PODS, pod("quiet", serviceAccount="quiet"))).ok(201)["spec"]
    assert (spec["serviceAccountName"], spec["automountServiceAccountToken"]) == ("quiet", False)
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    own = pod("loud", serviceAccountName="quiet", automountServiceAccountToken=True, imagePullSecrets=[{"name": "own"}])
    spec = (await api.post(PODS, own)).ok(201)["spec"]
    assert (spec["automountServiceAccountToken"], spec["imagePullSecrets"]) == (True, [{"name": "own"}])


async def test_an_account_that_enforces_its_secrets_lets_its_pods_use_no_others(api: Api) -> None:
    strict = account("strict", secrets=[{"name": "known"}])
    strict["metadata"]["annotations"] = {"kubernetes.io/enforce-mountable-secrets": "true"}
    (await api.post(ACCOUNTS, strict)).ok(201)

    def using(name: str, secret: str) -> dict[str, Any]:
        made = pod(name, serviceAccountName="strict")
        source = {"secretKeyRef": {"name": secret, "key": "k"}}
        made["spec"]["containers"][0]["env"] = [{"name": "KEY", "valueFrom": source}]
        return made

    (await api.post(PODS, using("good", "known"))).ok(201)
    words = 'container main with envVar KEY referencing secret.secretName="unknown" is not allowed'
    assert words in (await api.post(PODS, using("bad", "unknown"))).refused(403, "Forbidden")
    mounting = pod(
        "mounting", serviceAccountName="strict", volumes=[{"name": "v", "secret": {"secretName": "unknown"}}]
    )
    words = 'volume with secret.secretName="unknown" is not allowed because service account strict does not reference'
    assert words in (await api.post(PODS, mounting)).refused(403, "Forbidden")
    pulling = pod("pulling", serviceAccountName="strict", imagePullSecrets=[{"name": "x"}])
    assert "does not reference that imagePullSecret" in (await api.post(PODS, pulling)).refused(403, "Forbidden")


def kept_token(account_name: str, name: str = "kept", **data: str) -> dict[str, Any]:
    annotations = {"kubernetes.io/service-account.name": account_name}
    metadata = {"name": name, "annotations": annotations if account_name else {}}
    kind = "kubernetes.io/service-account-token"
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": kind, "data": data}


async def test_a_secret_for_an_account_is_filled_with_a_token_that_lasts_as_long_as_it(api: Api) -> None:
    secrets = "/api/v1/namespaces/default/secrets"
    made = (await api.post(secrets, kept_token("robot"))).ok(201)
    content = {key: base64.b64decode(value).decode() for key, value in made["data"].items()}
    assert (content["namespace"], content["ca.crt"]) == ("default", api.running.authority.certificate_pem.decode())
    status = await review(api, content["token"])
    assert status["user"]["username"] == "system:serviceaccount:default:robot"
    assert (await review(api, content["token"], audiences=["vault"]))["error"]
    touched = (await api.patch(f"{secrets}/kept", {"metadata": {"labels": {"a": "b"}}})).ok()
    assert touched["data"] == made["data"]
    emptied = (await api.patch(f"{secrets}/kept", {"data": {"token": None}})).ok()
    assert await review(api, base64.b64decode(emptied["data"]["token"]).decode()) == status
    (await api.delete(f"{secrets}/kept")).ok()
    assert (await review(api, content["token"]))["error"] == "service account token has been invalidated"


async def test_a_secret_for_nobodys_account_stays_empty_and_one_for_none_is_refused(api: Api) -> None:
    secrets = "/api/v1/namespaces/default/secrets"
    assert not (await api.post(secrets, kept_token("nobody", "early"))).ok(201)["data"]
    words = "metadata.annotations[kubernetes.io/service-account.name]: Required value"
    assert words in (await api.post(secrets, kept_token("", "nameless"))).refused(422, "Invalid")


async def test_the_path_takes_a_post_and_nothing_else(api: Api) -> None:
    (await api.get(f"{ACCOUNTS}/robot/token")).refused(405, "MethodNotAllowed")
    (await api.post(f"{ACCOUNTS}/robot/token/more", {})).refused(404, "NotFound")
    (await request(api, "nobody")).refused(404, "NotFound")
    listed = (await api.get("/api/v1")).ok()["resources"]
    (told,) = [one for one in listed if one["name"] == "serviceaccounts/token"]
    assert (told["kind"], told["group"], told["verbs"]) == ("TokenRequest", "authentication.k8s.io", ["create"])


@pytest.mark.parametrize("minor", MINORS)
async def test_kubectl_creates_a_token_and_uses_it(api: Api, home: Path, minor: str) -> None:
    kubectl = Kubectl(kubectl_of(minor), home, api)
    name = f"web-{minor.replace('.', '-')}"
    await kubectl(
        "run", name, "--image=docker.io/library/busybox:1.36", "--overrides", '{"spec":{"serviceAccountName":"robot"}}'
    )
    options = ("--duration=20m", "--audience", ISSUER, "--bound-object-kind=Pod", f"--bound-object-name={name}")
    token = (await kubectl("create", "token", "robot", *options)).strip()
    claims = jwt.decode(token, options={"verify_signature": False})
    assert (claims["exp"] - claims["iat"], claims["kubernetes.io"]["pod"]["name"]) == (1200, name)
    said = await kubectl("create", "token", "robot", "--duration=1m", code=1)
    assert "may not specify a duration less than 10 minutes" in said
    if minor != "1.27":  # whose whoami asks for a version that was never stable
        config = home / "robot.kubeconfig"
        parts = json.loads((home / "admin.kubeconfig").read_text())
        parts["users"][0]["user"] = {"token": token}
        config.write_text(json.dumps(parts))
        told = json.loads(await kubectl(f"--kubeconfig={config}", "auth", "whoami", "-o", "json"))
        assert told["status"]["userInfo"]["extra"]["authentication.kubernetes.io/pod-name"] == [name]
