"""What a service account's token must survive, and what ends it: signature, time, audience, and what it is bound to."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from stark.apiserver.auth.authentication import TokenRefused
from stark.apiserver.auth.pki import PkiError
from stark.apiserver.auth.service_accounts.claims import Claims, Named
from stark.apiserver.auth.service_accounts.keys import TokenKeys, verification_key
from stark.apiserver.auth.service_accounts.requests import (
    EXTENDED_EXPIRATION_S,
    POD_EXPIRATION_S,
    Issuing,
    TokenRequests,
)
from stark.apiserver.auth.service_accounts.tokens import SECRET_TYPE, VERIFIED_MAX, ServiceAccountTokens
from stark.apiserver.errors import ApiError

ISSUER = "https://issuer.example"
AUDIENCE = "https://api.example"
NOW = 1_800_000_000
KEYS = TokenKeys(ec.generate_private_key(ec.SECP256R1()))
POD = Claims("team", Named("robot", "u1"), (AUDIENCE,), "j1", NOW - 10, NOW - 10, NOW + 600, pod=Named("web", "p1"))
PLAIN = replace(POD, pod=None)


def obj(uid: str, deleted_s_ago: int | None = None, **rest: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {"uid": uid}
    if deleted_s_ago is not None:
        moment = datetime.fromtimestamp(NOW - deleted_s_ago, UTC)
        metadata["deletionTimestamp"] = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"metadata": metadata, **rest}


class Objects:
    """A lookup over a dictionary: `plural/namespace/name`."""

    def __init__(self, **objects: Mapping[str, Any]) -> None:
        self.known = {name.replace("__", "/"): value for name, value in objects.items()}

    async def get(self, group: str, plural: str, namespace: str, name: str) -> Mapping[str, Any] | None:
        return self.known.get("/".join(part for part in (plural, namespace, name) if part))

    async def list(self, group: str, plural: str, namespace: str = "") -> list[Mapping[str, Any]]:
        return list(self.known.values())


def objects(**changed: Mapping[str, Any]) -> Objects:
    spec = {"serviceAccountName": "robot", "nodeName": "n1"}
    there: dict[str, Mapping[str, Any]] = {
        "serviceaccounts__team__robot": obj("u1"),
        "pods__team__web": obj("p1", spec=spec),
        "secrets__team__safe": obj("s1"),
        "nodes__n1": obj("n1-uid"),
    }
    return Objects(**{**there, **changed})


def tokens(known: Objects | None = None, keys: TokenKeys = KEYS, now: float = NOW) -> ServiceAccountTokens:
    return ServiceAccountTokens(keys, [ISSUER], [AUDIENCE], known or objects(), lambda: now)


def signed(claims: Claims, **changed: Any) -> str:
    return KEYS.sign({**claims.to_wire(ISSUER), **changed})


async def test_a_pods_token_speaks_for_its_account_and_says_where_it_lives() -> None:
    claims = replace(POD, node=Named("n1", "n1-uid"))
    found = await tokens().identify(signed(claims), [AUDIENCE, "other"])
    assert found is not None
    assert (found.user.name, found.user.uid, found.audiences) == ("system:serviceaccount:team:robot", "u1", (AUDIENCE,))
    assert found.user.groups == ("system:serviceaccounts", "system:serviceaccounts:team")
    assert found.user.extra == {
        "authentication.kubernetes.io/credential-id": ("JTI=j1",),
        "authentication.kubernetes.io/node-name": ("n1",),
        "authentication.kubernetes.io/node-uid": ("n1-uid",),
        "authentication.kubernetes.io/pod-name": ("web",),
        "authentication.kubernetes.io/pod-uid": ("p1",),
    }
    assert found.audit == {}


GONE = "service account token has been invalidated"


@pytest.mark.parametrize(
    ("claims", "changed", "now", "reason"),
    [
        pytest.param(POD, {}, NOW + 600, "has expired", id="at its end"),
        pytest.param(POD, {}, NOW - 11, "not valid yet", id="before its beginning"),
        pytest.param(replace(POD, audiences=("else",)), {}, NOW, "is invalid for the target audiences", id="audience"),
        pytest.param(PLAIN, {"serviceaccounts__team__robot": obj("u2")}, NOW, "UID (u2)", id="its account made anew"),
        pytest.param(POD, {"pods__team__web": obj("p2")}, NOW, "pod UID (p2) does not match", id="its pod made anew"),
        pytest.param(POD, {"pods__team__web": obj("p1", 120)}, NOW, GONE, id="its pod long past its end"),
        pytest.param(replace(POD, pod=Named("gone", "p9")), {}, NOW, GONE, id="its pod gone"),
        pytest.param(replace(PLAIN, secret=Named("gone", "s9")), {}, NOW, GONE, id="its secret gone"),
        pytest.param(replace(PLAIN, node=Named("gone", "n9")), {}, NOW, GONE, id="its node gone"),
        pytest.param(replace(PLAIN, account=Named("gone", "u9")), {}, NOW, "has been deleted", id="its account gone"),
    ],
)
async def test_a_token_ends(claims: Claims, changed: dict[str, Any], now: int, reason: str) -> None:
    with pytest.raises(TokenRefused) as refused:
        await tokens(objects(**changed), now=now).identify(signed(claims), [AUDIENCE])
    assert reason in str(refused.value)


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"pods__team__web": obj("p1", 0)}, id="its pod is just being stopped"),
        pytest.param({"pods__team__web": obj("p1", -300)}, id="its pod has five minutes left"),
    ],
)
async def test_a_token_goes_on_while(changed: dict[str, Any]) -> None:
    assert await tokens(objects(**changed)).identify(signed(POD), [AUDIENCE]) is not None


def part(value: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def without_signature() -> str:
    return f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(POD.to_wire(ISSUER))}."


def signed_with_the_public_key() -> str:
    """The oldest confusion: an asymmetric key's public half taken for a shared secret."""
    key = serialization.load_der_public_key(
        next(iter(KEYS._keys.values())).key.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    body = f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part(POD.to_wire(ISSUER))}"
    mark = base64.urlsafe_b64encode(hmac.new(pem, body.encode(), hashlib.sha256).digest()).rstrip(b"=").decode()
    return f"{body}.{mark}"


def changed_after_signing() -> str:
    head, _, mark = signed(POD).split(".")
    return f"{head}.{part({**POD.to_wire(ISSUER), 'sub': 'system:serviceaccount:kube-system:root'})}.{mark}"


def of_another_key() -> str:
    return jwt.encode(POD.to_wire(ISSUER), ec.generate_private_key(ec.SECP256R1()), "ES256")


def with_a_key_of_its_own() -> str:
    """A header that brings or names its key is not listened to."""
    key = ec.generate_private_key(ec.SECP256R1())
    jwk = verification_key(key.public_key()).to_wire()
    return jwt.encode(POD.to_wire(ISSUER), key, "ES256", headers={"jwk": jwk, "jku": "https://evil.example/keys"})


@pytest.mark.parametrize(
    "forge",
    [without_signature, signed_with_the_public_key, changed_after_signing, of_another_key, with_a_key_of_its_own],
)
async def test_a_forged_token_is_refused(forge: Any) -> None:
    with pytest.raises(TokenRefused, match="invalid signature"):
        await tokens().identify(forge(), [AUDIENCE])


@pytest.mark.parametrize(
    "changed",
    [
        {"sub": "system:serviceaccount:team:other"},
        {"kubernetes.io": "x"},
        {"kubernetes.io": {"namespace": "team", "serviceaccount": {"name": "robot"}}},
        {"kubernetes.io": {"namespace": ["team"], "serviceaccount": {"name": "robot", "uid": "u1"}}},
        {"aud": []},
        {"aud": [1]},
        {"exp": "tomorrow"},
        {"exp": None},
    ],
)
async def test_claims_that_cannot_be_are_refused_though_signed(changed: dict[str, Any]) -> None:
    with pytest.raises(TokenRefused):
        await tokens().identify(signed(PLAIN, **changed), [AUDIENCE])


@pytest.mark.parametrize(
    "text", ["", "abc", "a.b.c", "...", f"x.{part({'iss': 'https://other.example'})}.y", "x.W10.y"]
)
async def test_what_is_no_token_of_ours_is_left_to_others(text: str) -> None:
    assert await tokens().identify(text, [AUDIENCE]) is None


def legacy(text: str | None = None) -> tuple[str, Objects]:
    token = KEYS.sign(Claims("team", Named("robot", "u1"), secret=Named("safe")).to_wire(ISSUER))
    kept = base64.b64encode((text or token).encode()).decode()
    return token, objects(secrets__team__safe=obj("s1", type=SECRET_TYPE, data={"token": kept}))


async def test_a_token_in_a_secret_holds_as_long_as_it_lies_there() -> None:
    token, there = legacy()
    found = await tokens(there).identify(token, [AUDIENCE])
    assert found is not None
    assert (found.audiences, found.audit) == ((AUDIENCE,), {"authentication.k8s.io/legacy-token": "safe"})
    with pytest.raises(TokenRefused, match="audiences"):
        await tokens(there).identify(token, ["other"])
    for known in (legacy("another")[1], objects(), objects(secrets__team__safe=obj("s1", data={}))):
        with pytest.raises(TokenRefused):
            await tokens(known).identify(token, [AUDIENCE])


async def test_the_use_of_a_token_that_should_have_been_renewed_is_noted() -> None:
    claims = replace(PLAIN, warn_after=NOW - 5)
    found = await tokens().identify(signed(claims), [AUDIENCE])
    assert found is not None
    stale = "subject: system:serviceaccount:team:robot, seconds after warning threshold: 5"
    assert found.audit == {"authentication.k8s.io/stale-token": stale}


async def test_a_verified_token_is_remembered_within_a_bound_and_its_objects_are_not() -> None:
    known = objects()
    authenticator, token = tokens(known), signed(POD)
    assert await authenticator.identify(token, [AUDIENCE])
    authenticator._verified.update({bytes([0, *number.to_bytes(4)]): POD for number in range(VERIFIED_MAX)})
    assert await authenticator.identify(signed(PLAIN), [AUDIENCE])
    assert len(authenticator._verified) <= VERIFIED_MAX + 1
    del known.known["pods/team/web"]
    with pytest.raises(TokenRefused, match="invalidated"):
        await authenticator.identify(token, [AUDIENCE])


def test_keys_are_made_once_private_and_a_former_one_is_still_believed(tmp_path: Path) -> None:
    first = TokenKeys.open(tmp_path / "pki")
    key_file = tmp_path / "pki" / "sa.key"
    assert key_file.stat().st_mode & 0o777 == 0o600
    token = first.sign({"iss": ISSUER})
    assert TokenKeys.open(tmp_path / "pki").verify(token) == {"iss": ISSUER}
    former = tmp_path / "former.pem"
    key_file.rename(former)
    rotated = TokenKeys.open(tmp_path / "pki", [former])
    assert rotated.verify(token) == {"iss": ISSUER}
    assert {key["kid"] for key in json.loads(rotated.published())["keys"]} > {jwt.get_unverified_header(token)["kid"]}
    assert jwt.get_unverified_header(rotated.sign({}))["kid"] != jwt.get_unverified_header(token)["kid"]
    for published in json.loads(rotated.published())["keys"]:
        assert "d" not in published
        assert jwt.PyJWK(published).key_id == published["kid"]


@pytest.mark.parametrize("content", [b"", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", None])
def test_a_file_without_a_usable_key_is_told_with_its_path(tmp_path: Path, content: bytes | None) -> None:
    if content is None:
        content = ed25519.Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    (tmp_path / "sa.key").write_bytes(content)
    with pytest.raises(PkiError, match=r"sa\.key"):
        TokenKeys.open(tmp_path)


def test_an_operators_rsa_key_signs_too() -> None:
    keys = TokenKeys(rsa.generate_private_key(65537, 2048))
    assert keys.algorithms == ["RS256"]
    assert keys.verify(keys.sign({"a": 1})) == {"a": 1}


def requests(known: Objects | None = None, **issuing: Any) -> TokenRequests:
    return TokenRequests(KEYS, Issuing(ISSUER, (AUDIENCE,), **issuing), known or objects(), lambda: NOW)


async def issue(body: dict[str, Any], known: Objects | None = None, **issuing: Any) -> tuple[dict[str, Any], Any]:
    answer = await requests(known, **issuing).issue("team", "robot", body, [])
    return answer, KEYS.verify(answer["status"]["token"])


async def test_a_request_that_says_nothing_is_completed() -> None:
    answer, claims = await issue({})
    assert answer["spec"] == {"audiences": [AUDIENCE], "expirationSeconds": 3600, "boundObjectRef": None}
    assert answer["metadata"] == {"name": "robot", "namespace": "team"}
    assert answer["status"]["expirationTimestamp"] == "2027-01-15T09:00:00Z"
    assert (claims["iss"], claims["aud"], claims["sub"]) == (ISSUER, [AUDIENCE], "system:serviceaccount:team:robot")
    assert (claims["iat"], claims["nbf"], claims["exp"]) == (NOW, NOW, NOW + 3600)
    assert claims["kubernetes.io"] == {"namespace": "team", "serviceaccount": {"name": "robot", "uid": "u1"}}


def bound_to(kind: str, name: str, **rest: Any) -> dict[str, Any]:
    return {"spec": {"boundObjectRef": {"apiVersion": "v1", "kind": kind, "name": name}, **rest}}


@pytest.mark.parametrize(
    ("kind", "name", "private"),
    [
        ("Pod", "web", {"pod": {"name": "web", "uid": "p1"}, "node": {"name": "n1", "uid": "n1-uid"}}),
        ("Secret", "safe", {"secret": {"name": "safe", "uid": "s1"}}),
        ("Node", "n1", {"node": {"name": "n1", "uid": "n1-uid"}}),
    ],
)
async def test_a_token_is_bound_to(kind: str, name: str, private: dict[str, Any]) -> None:
    _, claims = await issue(bound_to(kind, name))
    assert {key: claims["kubernetes.io"][key] for key in private} == private
    assert set(claims["kubernetes.io"]) == {"namespace", "serviceaccount", *private}


async def test_a_pods_own_token_is_extended_and_says_when_it_should_have_been_renewed() -> None:
    body = bound_to("Pod", "web", expirationSeconds=POD_EXPIRATION_S)
    answer, claims = await issue(body)
    assert answer["status"]["expirationTimestamp"] == "2027-01-15T09:00:07Z"
    assert claims["exp"] == NOW + EXTENDED_EXPIRATION_S
    assert claims["kubernetes.io"]["warnafter"] == NOW + POD_EXPIRATION_S
    for other, extends in ((body, False), ({"spec": {**body["spec"], "audiences": ["vault"]}}, True)):
        _, claims = await issue(other, extends=extends)
        assert claims["exp"] == NOW + POD_EXPIRATION_S
        assert "warnafter" not in claims["kubernetes.io"]


async def test_an_operators_bound_shortens_and_says_so() -> None:
    warnings: list[str] = []
    body = {"spec": {"expirationSeconds": 90_000}}
    answer = await requests(expiration_max_s=7_200).issue("team", "robot", body, warnings)
    assert answer["spec"]["expirationSeconds"] == 7_200
    assert warnings == ["requested expiration of 90000 seconds shortened to 7200 seconds"]


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        ({"spec": {"expirationSeconds": 599}}, 422, "may not specify a duration less than 10 minutes"),
        ({"spec": {"expirationSeconds": (1 << 32) + 1}}, 422, "may not specify a duration larger than 2^32 seconds"),
        ({"spec": {"expirationSeconds": "3600"}}, 422, "must be a whole number"),
        ({"spec": {"audiences": "x"}}, 422, "must be a list of names"),
        ({"spec": {"audiences": [""] * 2}}, 422, "must be a list of names"),
        ({"spec": ["x"]}, 422, "must be an object"),
        ({"metadata": {"name": "other"}}, 422, "must match the service account name if specified"),
        ({"metadata": {"namespace": "other"}}, 422, "must match the service account namespace if specified"),
        (bound_to("ConfigMap", "x"), 400, "cannot bind token to object of type /v1, Kind=ConfigMap"),
        (bound_to("Pod", "gone"), 404, 'pods "gone" not found'),
        (
            {"spec": {"boundObjectRef": {"apiVersion": "apps/v1", "kind": "Pod", "name": "web"}}},
            400,
            "apps/v1, Kind=Pod",
        ),
        (
            {"spec": {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "web", "uid": "other"}}},
            409,
            "the UID in the bound object reference (other) does not match the UID in record",
        ),
    ],
)
async def test_a_request_is_refused(body: dict[str, Any], code: int, words: str) -> None:
    with pytest.raises(ApiError) as refused:
        await issue(body)
    assert refused.value.code == code
    assert words in refused.value.message


async def test_no_token_is_bound_to_a_pod_of_another_account() -> None:
    known = objects(pods__team__web=obj("p1", spec={"serviceAccountName": "other"}))
    with pytest.raises(ApiError, match="different serviceaccount name"):
        await issue(bound_to("Pod", "web"), known)
