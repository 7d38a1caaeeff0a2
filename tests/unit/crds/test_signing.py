"""What a signature on a pack is about, and when a policy is met."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from stark.crds.packs import PackSpec
from stark.crds.signing import KeyUnusable, distrusts, public_key, signers, statement
from tests.support.signed_packs import CI, DIGEST, OPS, STRANGER, pack, pem, policy


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"name": "hullo"}, id="another name"),
        pytest.param({"version": "1.0.1"}, id="another version"),
        pytest.param({"runtime": "python"}, id="another runtime"),
        pytest.param({"metadata": {"entrypoint": "other", "env": {"A": "b"}}}, id="another function"),
        pytest.param({"metadata": {"env": {"A": "c"}}}, id="another environment"),
        pytest.param({"metadata": {"env": {"A": "b"}, "any": 1}}, id="something more for the program"),
        pytest.param({"bundles": [{"sha256": "cd" * 32, "size": 3}]}, id="other bytes"),
        pytest.param({"bundles": [{"architecture": "amd64", "sha256": DIGEST, "size": 3}]}, id="a bundle less"),
    ],
)
def test_a_signature_is_worth_nothing_for(changes: dict[str, Any]) -> None:
    assert signers(pack(OPS, **changes), [pem(OPS)]) == set()


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="the same"),
        pytest.param({"description": "hi", "visibility": "public"}, id="what says nothing about what runs"),
        pytest.param({"metadata": {"env": {"A": "b"}, "timeout": None}}, id="a default left out"),
        pytest.param({"bundles": list(reversed(pack()["bundles"]))}, id="another order"),
    ],
)
def test_a_signature_holds_for(changes: dict[str, Any]) -> None:
    assert signers(pack(OPS, **changes), [pem(OPS)]) == {public_key(pem(OPS))[0]}


def test_a_pack_says_the_same_read_as_a_model_as_on_the_wire() -> None:
    odd = {"entrypoint": "main", "timeout": 5, "other": {"a": None, "b": [1.0, 1e30, 2**53 + 1, "é"]}, "none": None}
    wire = pack(OPS, metadata=odd)
    model = PackSpec.model_validate(wire)
    assert statement(model.model_dump(mode="json", by_alias=True, exclude_none=True)) == statement(wire)


def test_what_is_signed_is_a_dsse_payload_of_its_own_type() -> None:
    said = statement(pack(bundles=[{"sha256": DIGEST, "size": 3}], metadata={}))
    payload = (
        '{"bundles":[{"architecture":"any","sha256":"' + DIGEST + '","size":3}],"metadata":{"entrypoint":"default"},'
        '"name":"hello","runtime":"node","version":"1.0.0"}'
    )
    assert said == f"DSSEv1 34 application/vnd.stark.pack.v1+json {len(payload)} {payload}".encode()


def forged() -> dict[str, Any]:
    """Signed by a stranger, in the name of the key that is trusted."""
    spec = pack(STRANGER)
    spec["signatures"][0]["keyID"] = public_key(pem(OPS))[0]
    return spec


def broken(signature: str) -> dict[str, Any]:
    spec = copy.deepcopy(pack(OPS))
    spec["signatures"][0]["signature"] = signature
    return spec


@pytest.mark.parametrize(
    ("spec", "asked", "trusted"),
    [
        pytest.param(pack(OPS), policy(OPS), True, id="one signature of one key"),
        pytest.param(pack(), policy(OPS), False, id="no signature"),
        pytest.param(pack(STRANGER), policy(OPS), False, id="a stranger's signature"),
        pytest.param(forged(), policy(OPS), False, id="a stranger's signature under a known name"),
        pytest.param(broken("AAAA"), policy(OPS), False, id="a signature that is none"),
        pytest.param(broken("%"), policy(OPS), False, id="a signature that is not base64"),
        pytest.param(pack(CI), policy(OPS, CI), True, id="one of two keys"),
        pytest.param(pack(CI), policy(OPS, CI, threshold=2), False, id="one of two needed"),
        pytest.param(pack(CI, OPS, STRANGER), policy(OPS, CI, threshold=2), True, id="both needed, and one more"),
        pytest.param(pack(), policy(OPS, packs=["web-*"]), True, id="a policy about other packs"),
        pytest.param(pack(), policy(OPS, packs=["web-*", "hel*"]), False, id="a policy about such packs"),
        pytest.param(
            pack(), policy(OPS, namespaceSelector={"matchLabels": {"env": "test"}}), True, id="a policy for elsewhere"
        ),
        pytest.param(
            pack(), policy(OPS, namespaceSelector={"matchLabels": {"env": "prod"}}), False, id="a policy for here"
        ),
    ],
)
def test_a_policy_trusts(spec: dict[str, Any], asked: dict[str, Any], trusted: bool) -> None:
    found = distrusts([asked], {"env": "prod"}, spec)
    assert (found == []) is trusted
    assert [one.policy for one in found] == ([] if trusted else ["release"])


def test_every_policy_must_be_met() -> None:
    asked = [policy(OPS), policy(CI, action="Warn")]
    assert [one.action for one in distrusts(asked, {}, pack(OPS))] == ["Warn"]
    assert distrusts(asked, {}, pack(CI))[0].message == "0 of 1 needed signatures by key0 (1 signatures there are)"


@pytest.mark.parametrize("text", ["", "hello", pem(ec.generate_private_key(ec.SECP256R1()))])
def test_a_key_of_another_kind_is_refused(text: str) -> None:
    with pytest.raises(KeyUnusable):
        public_key(text)
