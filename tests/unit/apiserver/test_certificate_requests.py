"""What a certificate request may say, and what each signer gives."""

from __future__ import annotations

from base64 import b64encode
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509 import CertificateSigningRequestBuilder, Name, load_pem_x509_csr

from stark.apiserver.__main__ import _parser, _settings
from stark.apiserver.registry.strategies.certificates import CertificateRequestStrategy
from stark.apiserver.signing import is_due, lifetime_of, owner_of
from stark.apiserver.variables import defaults
from stark.crds.pkcs10 import BadRequestFile, read_request, signer_complaints
from stark.crds.tenancy import NOBODY, Owner
from tests.support.certificates import CLIENT, NODE_CLIENT, NODE_SERVING, csr, node_csr, request_pem

STRATEGY = CertificateRequestStrategy()
NODE = ("system:node:n1", ["system:nodes"])


def encoded(pem: bytes) -> str:
    return b64encode(pem).decode()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        pytest.param({}, None, id="a whole request"),
        pytest.param({"request": "%%%"}, "spec.request: not base64", id="no base64"),
        pytest.param({"request": encoded(b"text")}, "spec.request: PEM block type", id="no PEM"),
        pytest.param(
            {"request": encoded(b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n")},
            "spec.request: not a PKCS#10",
            id="no PKCS#10",
        ),
        pytest.param({"expirationSeconds": 599}, "spec.expirationSeconds: may not", id="too short a life"),
        pytest.param({"signerName": "kubernetes.io/legacy-unknown"}, "spec.signerName: the legacy", id="legacy signer"),
        pytest.param({"signerName": "signer"}, "spec.signerName: must be a fully", id="no domain"),
        pytest.param({"signerName": "local/x"}, "spec.signerName: should be a domain", id="a domain without dots"),
        pytest.param({"signerName": "a.io/_"}, "spec.signerName: the path", id="no path"),
        pytest.param({"usages": []}, "spec.usages: Required", id="no usage"),
        pytest.param({"usages": ["x"]}, "spec.usages[0]: Unsupported", id="unknown usage"),
        pytest.param({"usages": ["any", "any"]}, "spec.usages[1]: Duplicate", id="a usage twice"),
    ],
)
def test_a_request_is_refused_when_it_is_made_for(change: dict[str, Any], complaint: str | None) -> None:
    body = csr("x", request_pem("x"))
    body["spec"].update(change)
    found = [f"{cause.field}: {cause.message}" for cause in STRATEGY.create_problems(body)]
    if complaint is None:
        assert found == []
    else:
        where, _, words = complaint.partition(": ")
        assert len(found) == 1
        assert found[0].startswith(where)
        assert words in found[0]


def test_a_request_that_was_not_signed_by_its_own_key_or_has_a_weak_one_is_refused() -> None:
    pem = request_pem("x")
    der = bytearray(_der(pem))
    der[-1] ^= 1
    body = b"-----BEGIN CERTIFICATE REQUEST-----\n" + b64encode(bytes(der)) + b"\n-----END CERTIFICATE REQUEST-----\n"
    with pytest.raises(BadRequestFile):
        read_request(encoded(body))
    weak = rsa.generate_private_key(65537, 1024)
    request = CertificateSigningRequestBuilder().subject_name(Name([])).sign(weak, hashes.SHA256())
    with pytest.raises(BadRequestFile, match="2048"):
        read_request(encoded(request.public_bytes(serialization.Encoding.PEM)))


def _der(pem: bytes) -> bytes:
    return load_pem_x509_csr(pem).public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize(
    ("signer", "pem", "usages", "complaint"),
    [
        pytest.param(CLIENT, request_pem("jane", ["team"]), ["client auth"], "", id="client"),
        pytest.param(CLIENT, request_pem(""), ["client auth"], "no common name", id="client without a name"),
        pytest.param(CLIENT, request_pem("x", ["system:masters"]), ["client auth"], "masters", id="client in masters"),
        pytest.param(CLIENT, request_pem("system:apiserver"), ["client auth"], "apiserver", id="client as the server"),
        pytest.param(CLIENT, request_pem("x"), ["client auth", "server auth"], "server auth", id="client that serves"),
        pytest.param(CLIENT, request_pem("x"), ["digital signature"], "client auth", id="client without the usage"),
        pytest.param(NODE_CLIENT, request_pem(*NODE), ["client auth", "key encipherment"], "", id="node"),
        pytest.param(NODE_CLIENT, request_pem(*NODE, ["n1"]), ["client auth"], "no subject alt", id="node with names"),
        pytest.param(NODE_CLIENT, request_pem(NODE[0], ["system:nodes", "x"]), ["client auth"], "O=", id="two groups"),
        pytest.param(NODE_CLIENT, request_pem("n1", ["system:nodes"]), ["client auth"], "CN=", id="node of no prefix"),
        pytest.param(NODE_SERVING, request_pem(*NODE, ["n1", "10.0.0.1"]), ["server auth"], "", id="serving"),
        pytest.param(NODE_SERVING, request_pem(*NODE), ["server auth"], "needs a DNS", id="serving nowhere"),
        pytest.param(NODE_SERVING, request_pem(*NODE, ["n1", "spiffe://x"]), ["server auth"], "URIs", id="serving URI"),
    ],
)
def test_a_signer_gives_what_it_is_for(signer: str, pem: bytes, usages: list[str], complaint: str) -> None:
    found = "; ".join(signer_complaints(signer, read_request(encoded(pem)), usages))
    assert (complaint in found) if complaint else not found


def test_only_what_is_approved_and_unsettled_is_signed_for_as_long_as_is_wished_within_bounds() -> None:
    def request(signer: str = CLIENT, *types: str, certificate: str = "", **spec: Any) -> dict[str, Any]:
        body = csr("x", b"", signer, **spec)
        body["status"] = {"conditions": [{"type": kind} for kind in types], "certificate": certificate}
        return body

    assert is_due(request(CLIENT, "Approved"))
    assert not is_due(request(CLIENT))
    assert not is_due(request("example.com/other", "Approved"))
    assert not is_due(request(CLIENT, "Approved", "Failed"))
    assert not is_due(request(CLIENT, "Approved", certificate="x"))
    longest = timedelta(days=1)
    assert lifetime_of(request(), longest) == longest
    assert lifetime_of(request(expirationSeconds=3600), longest) == timedelta(hours=1)
    assert lifetime_of(request(expirationSeconds=10**6), longest) == longest


ANN = {"stark.dev/owner": ["ann"], "stark.dev/owner-role": ["admin"]}


def test_the_longest_life_is_a_flag(tmp_path: Path) -> None:
    usual = defaults({})
    plain = ["--data-dir", str(tmp_path)]
    given = _parser(usual).parse_args([*plain, "--cluster-signing-duration", "24h"])
    assert _settings(given, usual).certificate_lifetime_s == 86_400
    assert _settings(_parser(usual).parse_args(plain), usual).certificate_lifetime_s == 365 * 86_400
    with pytest.raises(SystemExit):
        _parser(usual).parse_args([*plain, "--cluster-signing-duration", "0h"])


@pytest.mark.parametrize(
    ("spec", "owner"),
    [
        pytest.param({"username": "ann@example.com"}, Owner("ann@example.com"), id="the person who joined it"),
        pytest.param(
            {"username": "ann", "groups": ["stark:admin"]}, Owner("ann", "admin"), id="an administrator who did"
        ),
        pytest.param({"username": "system:bootstrap:abcdef"}, NOBODY, id="nobody, by a token of nobody"),
        pytest.param(
            {"username": "system:bootstrap:abcdef", "extra": ANN}, Owner("ann", "admin"), id="a token's owner"
        ),
        pytest.param(
            {"username": "system:node:n1", "extra": {"stark.dev/owner": ["ann"]}},
            Owner("ann"),
            id="as before, at renewal",
        ),
        pytest.param({"username": "system:node:n1"}, NOBODY, id="nobody, at renewal"),
    ],
)
def test_a_nodes_certificate_says_who_answers_for_it(spec: dict[str, Any], owner: Owner) -> None:
    body = node_csr("x", "n1", **spec)
    assert owner_of(body, read_request(body["spec"]["request"])) == owner
    person = csr("x", request_pem("jane"), **spec)
    assert owner_of(person, read_request(person["spec"]["request"])) == NOBODY
