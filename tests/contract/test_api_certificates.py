"""Certificates on request (certificates.k8s.io/v1): asked for, approved, signed by the server, shown as kubectl shows it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from stark.apiserver.auth.identities import CLOCK_SKEW
from stark.controllers.catalog import builder_of
from stark.controllers.kit import Builder
from stark.crds.bootstrap_tokens import DEFAULT_GROUP, Token, secret_of
from tests.support.apiserver import Api, api_server
from tests.support.certificates import (
    CSRS,
    NODE_CLIENT,
    NODE_SERVING,
    SERVING_USAGES,
    approve,
    certificate_of,
    csr,
    node_csr,
    odd_request_pem,
    request_pem,
    settled,
)
from tests.support.kubectl import SKEW, Kubectl, kubectl_on
from tests.support.reconciling import config_of, controllers


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with api_server(tmp_path) as server:
        yield server


async def test_an_approved_request_is_signed_for_whoever_has_the_key_with_what_the_server_knows_of_its_creator(
    api: Api,
) -> None:
    body = csr("jane", request_pem("jane", ["team-a"]), expirationSeconds=3600, username="forged", groups=["forged"])
    made = (await api.post(CSRS, body)).ok(201)
    assert (made["spec"]["username"], "system:masters" in made["spec"]["groups"]) == ("admin", True)
    assert "generation" not in made["metadata"] or made["metadata"]["generation"] == 1

    stolen = {**made, "spec": {**made["spec"], "username": "forged", "usages": ["server auth"]}}
    assert (await api.put(f"{CSRS}/jane", stolen)).ok()["spec"] == made["spec"], "the spec never changes"
    condition = {"type": "Approved", "status": "True", "reason": "Test", "message": "applied"}
    applied = {"apiVersion": made["apiVersion"], "kind": made["kind"], "metadata": {"name": "jane"}}
    applied["status"] = {"conditions": [condition]}
    path = f"{CSRS}/jane/approval?fieldManager=test"
    (await api.patch(path, applied, "application/apply-patch+yaml")).ok()
    certificate = certificate_of(await settled(api, "jane"))
    assert certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "jane"
    assert api.running.authority.signed(certificate)
    lifetime = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert lifetime == timedelta(hours=1, minutes=5), "and five minutes for clocks that are behind"

    twice = (await api.get(f"{CSRS}/jane")).ok()
    twice["status"]["certificate"] = "Zm9v"
    assert "once it was issued" in (await api.put(f"{CSRS}/jane/status", twice)).refused(422, "Invalid")
    twice["status"] = {}
    assert "may not remove" in (await api.put(f"{CSRS}/jane/approval", twice)).refused(422, "Invalid")


async def test_what_is_denied_or_not_in_the_signers_rules_is_not_signed(api: Api) -> None:
    (await api.post(CSRS, csr("no", request_pem("jane")))).ok(201)
    await approve(api, "no", "Denied")
    found = (await api.get(f"{CSRS}/no")).ok()
    found["status"]["conditions"].append({"type": "Approved", "status": "True"})
    assert "mutually exclusive" in (await api.put(f"{CSRS}/no/approval", found)).refused(422, "Invalid")

    wrong = csr("wrong", request_pem("jane", ["system:nodes"], ["n1"]), NODE_CLIENT)
    (await api.post(CSRS, wrong)).ok(201)
    await approve(api, "wrong")
    failed = (await settled(api, "wrong"))["status"]["conditions"][-1]
    assert (failed["type"], failed["reason"]) == ("Failed", "SignerValidationFailure")
    assert "subject must be" in failed["message"]

    masters = csr("masters", request_pem("jane", ["system:masters"]))
    assert "system:masters group is not allowed" in (await api.post(CSRS, masters)).refused(403, "Forbidden")


@pytest.mark.filterwarnings("ignore:Attribute's length")
@pytest.mark.parametrize(
    ("common_name", "organization", "why"),
    [
        ("system:node:" + "n" * 60, "system:nodes", "64"),
        ("system:node:a\x00b", "system:nodes", "no node has the name"),
        ("system:node:A_B", "system:nodes", "no node has the name"),
    ],
)
async def test_a_subject_that_no_certificate_can_have_fails_its_request_and_not_the_server(
    api: Api, common_name: str, organization: str, why: str
) -> None:
    (await api.post(CSRS, csr("odd", odd_request_pem(common_name, organization), NODE_CLIENT))).ok(201)
    await approve(api, "odd")
    (condition,) = [each for each in (await settled(api, "odd"))["status"]["conditions"] if each["type"] == "Failed"]
    assert why in condition["message"]
    (await api.post(CSRS, node_csr("good", "n1"))).ok(201)
    await approve(api, "good")
    assert certificate_of(await settled(api, "good"))
    assert not api.running.background.done()


async def test_only_who_may_approve_for_a_signer_approves_and_the_status_is_no_way_around(api: Api) -> None:
    (await api.post(CSRS, csr("jane", request_pem("jane")))).ok(201)
    found = (await api.get(f"{CSRS}/jane")).ok()
    found["status"] = {"conditions": [{"type": "Approved", "status": "True"}]}
    assert "may not add" in (await api.put(f"{CSRS}/jane/status", found)).refused(422, "Invalid")
    body = {**found, "status": {**found["status"], "certificate": "Zm9v"}}
    changed = (await api.put(f"{CSRS}/jane/approval", body)).ok()
    assert certificate_of(await settled(api, "jane")), changed
    node = api.as_identity("node:n1")
    assert (await api.put(f"{CSRS}/jane/approval", body, session=node)).status == 403


async def test_a_node_asks_for_itself_alone(api: Api) -> None:
    node = api.as_identity("node:n1")
    own = csr("own", request_pem("system:node:n1", ["system:nodes"], ["n1", "10.0.0.7"]), NODE_SERVING, SERVING_USAGES)
    (await api.post(CSRS, own, session=node)).ok(201)
    other = node_csr("other", "n2")
    assert "n2" in (await api.post(CSRS, other, session=node)).refused(403, "Forbidden")
    await approve(api, "own")
    taken = csr("taken", request_pem("system:node:n1", ["system:nodes"], ["localhost"]), NODE_SERVING, SERVING_USAGES)
    (await api.post(CSRS, taken, session=node)).ok(201)
    await approve(api, "taken")
    assert "know the API server" in (await settled(api, "taken"))["status"]["conditions"][-1]["message"]
    names = certificate_of(await settled(api, "own")).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.value.get_values_for_type(x509.DNSName) == ["n1"]


async def test_kubectl_shows_and_approves_requests(tmp_path: Path) -> None:
    async with kubectl_on(SKEW[-1], tmp_path, Kubectl) as kubectl:
        (await kubectl.api.post(CSRS, csr("a", request_pem("a"), expirationSeconds=86400))).ok(201)
        (await kubectl.api.post(CSRS, csr("b", request_pem("b")))).ok(201)
        assert "approved" in await kubectl("certificate", "approve", "a")
        assert "denied" in await kubectl("certificate", "deny", "b")
        await settled(kubectl.api, "a")
        heading, first, second = (line.split() for line in (await kubectl("get", "csr")).splitlines())
        assert heading == ["NAME", "AGE", "SIGNERNAME", "REQUESTOR", "REQUESTEDDURATION", "CONDITION"]
        assert first[2:] == ["kubernetes.io/kube-apiserver-client", "admin", "24h", "Approved,Issued"]
        assert second[4:] == ["<none>", "Denied"]


REVOCATIONS = "/apis/stark.dev/v1/certificaterevocations"


def revocation(name: str, **spec: str) -> dict[str, object]:
    return {
        "apiVersion": "stark.dev/v1", "kind": "CertificateRevocation", "metadata": {"name": name}, "spec": spec,
    }  # fmt: skip


async def ended(response: aiohttp.ClientResponse) -> None:
    """Return when the server has cut the answer off."""
    try:
        while await response.content.readline():
            pass
    except aiohttp.ClientError:
        return


async def test_a_revoked_certificate_is_refused_at_once_on_kept_connections_and_its_watches_end(api: Api) -> None:
    node = api.as_identity("node:n1")
    url = f"{api.running.url}/api/v1/nodes?fieldSelector=metadata.name%3Dn1&watch=1"
    assert (await api.get("/version", session=node)).status == 200
    async with node.get(url) as response:
        assert response.status == 200
        made = (await api.post(REVOCATIONS, revocation("stolen", username="system:node:n1"))).ok(201)
        assert made["spec"]["issuedBefore"]
        async with asyncio.timeout(5):
            await ended(response)
    assert (await api.get("/api/v1/nodes/n1", session=node)).refused(401, "Unauthorized")
    assert (await api.get("/api/v1/nodes/n1", session=api.as_identity("node:n2"))).status == 403
    changed = {**made, "spec": {"username": "system:node:n3"}}
    assert "immutable" in (await api.put(f"{REVOCATIONS}/stolen", changed)).refused(422, "Invalid")
    (await api.delete(f"{REVOCATIONS}/stolen")).ok()
    assert (await api.get("/api/v1/nodes/n1", session=node)).status == 404


async def test_what_the_holder_of_a_revoked_certificate_asked_for_before_is_not_issued_after(api: Api) -> None:
    node = api.as_identity("node:n1")
    (await api.post(CSRS, node_csr("renewal", "n1"), session=node)).ok(201)
    (await api.post(REVOCATIONS, revocation("stolen", username="system:node:n1"))).ok(201)
    await approve(api, "renewal")
    found = await settled(api, "renewal")
    assert not found["status"].get("certificate")
    assert "revoked since" in found["status"]["conditions"][-1]["message"]


async def test_what_is_approved_in_the_second_of_a_revocation_is_good_and_what_is_revoked_until_later_is_not(
    api: Api,
) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    ban = revocation("banned", username="system:node:n2", issuedBefore=later.strftime("%Y-%m-%dT%H:%M:%SZ"))
    (await api.post(REVOCATIONS, ban)).ok(201)
    for name in ("n1", "n2"):
        (await api.post(CSRS, node_csr(name, name))).ok(201)
        (await api.post(REVOCATIONS, revocation(f"former-{name}", username=f"system:node:{name}"))).ok(201)
        await approve(api, name)
        begins = certificate_of(await settled(api, name)).not_valid_before_utc + CLOCK_SKEW
        revoked = (await api.get(f"{REVOCATIONS}/former-{name}")).ok()["spec"]["issuedBefore"]
        assert name == "n2" or begins > datetime.fromisoformat(revoked)
        assert begins < later


async def test_one_certificate_is_revoked_by_its_serial_number(api: Api) -> None:
    first, second = api.as_identity("node:n1"), api.as_identity("admin")
    certificate = x509.load_pem_x509_certificate(
        (api.running.authority.directory / "test-system-node-n1.pem").read_bytes()
    )
    both = revocation("both", serialNumber="1", username="x")
    assert "one of" in (await api.post(REVOCATIONS, both)).refused(422, "Invalid")
    serial = f"00{certificate.serial_number:X}"
    (await api.post(REVOCATIONS, revocation("one", serialNumber=serial[-40:]))).ok(201)
    assert (await api.get("/api/v1/nodes/n1", session=first)).status == 401
    assert (await api.get("/api/v1/nodes", session=second)).status == 200


async def test_a_token_lets_one_new_machine_in_by_a_name_and_takes_nothing_that_is_there(tmp_path: Path) -> None:
    async with reconciled(tmp_path, ["certificate-approver", "bootstrap-token"]) as api:
        text = "abcdef.0123456789abcdef"
        token = Token("abcdef", "0123456789abcdef", ("authentication", "signing"), (DEFAULT_GROUP,))
        (await api.post("/api/v1/namespaces/kube-system/secrets", secret_of(token))).ok(201)
        bearer = {"headers": {"Authorization": f"Bearer {text}"}, "session": api.as_nobody()}
        wrong = {"headers": {"Authorization": f"Bearer {text[:-1]}0"}, "session": api.as_nobody()}
        assert (await api.post(CSRS, node_csr("a", "n1"), **wrong)).status == 401
        for path in ("/api/v1/nodes", "/api/v1/namespaces/kube-system/secrets"):
            assert (await api.get(path, **bearer)).refused(403, "Forbidden")

        made = (await api.post(CSRS, node_csr("a", "n1"), **bearer)).ok(201)
        assert made["spec"]["username"] == "system:bootstrap:abcdef"
        (await api.post(CSRS, node_csr("b", "n1"), **bearer)).ok(201)
        first, second = await settled(api, "a"), await settled(api, "b")
        assert certificate_of(first).subject.rfc4514_string() == "CN=system:node:n1,O=system:nodes"
        assert second["status"]["conditions"][0]["reason"] == "NameClaimed"

        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n2"}}
        (await api.post("/api/v1/nodes", node)).ok(201)
        (await api.post(CSRS, node_csr("c", "n2"), **bearer)).ok(201)
        assert (await settled(api, "c"))["status"]["conditions"][0]["reason"] == "NodeExists"
        (await api.delete("/api/v1/namespaces/kube-system/secrets/bootstrap-token-abcdef")).ok()
        assert (await api.get(f"{CSRS}/a", **bearer)).status == 401


@asynccontextmanager
async def reconciled(directory: Path, names: list[str]) -> AsyncIterator[Api]:
    """A server with some controllers."""
    async with api_server(directory) as api, controllers(config_of(api, "controllers"), names):
        yield api


async def test_tokens_and_requests_whose_time_is_over_are_taken_away(tmp_path: Path) -> None:
    def later(build: Builder) -> Builder:
        return lambda context: build(replace(context, clock=lambda: datetime.now(UTC) + timedelta(hours=2)))

    async with api_server(tmp_path) as api:
        secrets = "/api/v1/namespaces/kube-system/secrets"
        for number, hours in enumerate((1, 3)):
            end = datetime.now(UTC) + timedelta(hours=hours)
            (await api.post(secrets, secret_of(Token(f"abcde{number}", "0" * 16, ("signing",), (), end)))).ok(201)
        for name in ("denied", "waiting"):
            (await api.post(CSRS, csr(name, request_pem("x")))).ok(201)
        await approve(api, "denied", "Denied")
        names = ["certificate-cleaner", "bootstrap-token"]
        late = {name: later(builder_of(name)) for name in names}
        async with (
            api.watch(f"{CSRS}?fieldSelector=metadata.name%3Ddenied") as requests,
            api.watch(f"{secrets}?fieldSelector=metadata.name%3Dbootstrap-token-abcde0") as tokens,
            controllers(config_of(api, "controllers"), names[:1], late),
        ):
            assert [kind for kind, _ in await requests.names(2)] == ["ADDED", "DELETED"]
            assert [kind for kind, _ in await tokens.names(2)] == ["ADDED", "DELETED"]
        left = [item["metadata"]["name"] for item in (await api.get(CSRS)).ok()["items"]]
        assert left == ["waiting"]
        assert (await api.get(f"{secrets}/bootstrap-token-abcde1")).status == 200
