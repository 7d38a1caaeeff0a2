"""Which certificate requests need no person, and what becomes of requests and tokens when their time is over."""

from __future__ import annotations

from base64 import b64encode
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from stark.agent.joining.requesting import request_pem as agents_request_pem
from stark.controllers.bootstrap_tokens import wanted_data
from stark.controllers.certificate_approver.planning import judge, read
from stark.controllers.certificate_cleaner import ends_at
from stark.crds.bootstrap_tokens import BadToken, Token, is_signed, new_token, read_secret, secret_of
from stark.crds.certificates import CertificateSigningRequest
from stark.crds.meta import decode
from stark.crds.nodes import Node
from tests.support.certificates import (
    NODE_SERVING,
    SERVING_USAGES,
    csr,
    new_key,
    node_csr,
    request_pem,
)
from tests.support.workloads import NOW

TOKEN_USER = "system:bootstrap:abcdef"
KEY = new_key()
TIME = NOW.isoformat()


def asked(
    username: str, node: str = "n1", *types: str, uid: str = "1", key: ec.EllipticCurvePrivateKey = KEY, at: str = TIME
) -> CertificateSigningRequest:
    body = node_csr(f"r-{uid}", node, key=key, username=username)
    body["metadata"] |= {"uid": uid, "creationTimestamp": at}
    conditions = [{"type": kind, "status": "True", "lastTransitionTime": at} for kind in types]
    return decode({**body, "status": {"conditions": conditions}}, CertificateSigningRequest)


def serving(username: str, *hosts: str, node: str = "n1") -> CertificateSigningRequest:
    pem = request_pem(f"system:node:{node}", ["system:nodes"], hosts)
    return decode(csr("s", pem, NODE_SERVING, SERVING_USAGES, username=username), CertificateSigningRequest)


def named_by_address(name: str) -> CertificateSigningRequest:
    """As an agent asks whose node has an address for a name: it is certified as the address that it is."""
    pem = agents_request_pem(name, new_key(), [name])
    return decode(
        csr("s", pem, NODE_SERVING, SERVING_USAGES, username=f"system:node:{name}"), CertificateSigningRequest
    )


def node(name: str = "n1", owner: str = "", *addresses: str) -> Node:
    body: dict[str, Any] = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}
    if owner:
        body["metadata"]["annotations"] = {"stark.dev/owner": owner}
    body["status"] = {"addresses": [{"type": "InternalIP", "address": address} for address in addresses]}
    return decode(body, Node)


def test_a_new_name_is_given_to_whoever_may_let_nodes_in_and_what_was_issued_for_it_is_revoked() -> None:
    request = read(asked(TOKEN_USER))
    assert request is not None
    assert request.right == "nodeclient"
    verdict = judge(request, None, [], [], NOW)
    assert verdict is not None
    assert (verdict.type, verdict.revokes) == ("Approved", True)


@pytest.mark.parametrize(
    ("username", "owner", "reason"),
    [
        pytest.param(TOKEN_USER, "", "NodeExists", id="a token, an unowned node"),
        pytest.param(TOKEN_USER, "admin", "NodeExists", id="a token, an administrators' node"),
        pytest.param(TOKEN_USER, TOKEN_USER, "NodeExists", id="a token never owns a node"),
        pytest.param("eve@example.com", "ann@example.com", "NodeExists", id="somebody else's node"),
        pytest.param("system:node:n2", "system:node:n2", "NodeExists", id="another node"),
        pytest.param("ann@example.com", "ann@example.com", "AutoApproved", id="one's own node"),
    ],
)
def test_a_node_that_is_there_is_taken_over_by_its_owner_alone(username: str, owner: str, reason: str) -> None:
    request = read(asked(username))
    assert request is not None
    verdict = judge(request, node(owner=owner), [], [], NOW)
    assert verdict is not None
    assert verdict.reason == reason


@pytest.mark.parametrize(
    ("rival", "reason"),
    [
        pytest.param(asked(TOKEN_USER, "n1", "Approved", uid="2", key=new_key()), "NameClaimed", id="another key"),
        pytest.param(asked(TOKEN_USER, "n1", "Approved", uid="2"), "AutoApproved", id="the same key once more"),
        pytest.param(asked(TOKEN_USER, "n1", uid="2", key=new_key()), "AutoApproved", id="one that only waits"),
        pytest.param(asked(TOKEN_USER, "n2", "Approved", uid="2", key=new_key()), "AutoApproved", id="another node"),
        pytest.param(
            asked(TOKEN_USER, "n1", "Approved", "Failed", uid="2", key=new_key()), "AutoApproved", id="one that failed"
        ),
        pytest.param(
            asked(TOKEN_USER, "n1", "Approved", uid="2", key=new_key(), at=(NOW - timedelta(hours=1)).isoformat()),
            "AutoApproved",
            id="one that never came",
        ),
    ],
)
def test_of_two_machines_that_join_by_one_name_one_gets_it(rival: CertificateSigningRequest, reason: str) -> None:
    request = read(asked(TOKEN_USER))
    assert request is not None
    verdict = judge(request, None, [rival], [], NOW)
    assert verdict is not None
    assert verdict.reason == reason


@pytest.mark.parametrize(
    ("request_", "own", "others", "is_approved"),
    [
        pytest.param(serving("system:node:n1", "n1"), None, (), True, id="its name, before it is there"),
        pytest.param(serving("system:node:n1", "n1", "10.0.0.1"), None, (), False, id="an address nobody knows of"),
        pytest.param(serving("system:node:n1", "n1", "10.0.0.1"), ("10.0.0.1",), (), True, id="its own address"),
        pytest.param(
            serving("system:node:n1", "10.0.0.1"), ("10.0.0.1",), ("10.0.0.1",), False, id="an address of two nodes"
        ),
        pytest.param(named_by_address("10.0.0.2"), None, ("10.0.0.2",), False, id="a name that is another's address"),
        pytest.param(named_by_address("10.0.0.2"), None, ("10.0.0.3",), True, id="a name that is an address"),
        pytest.param(serving("system:node:n1", "n2"), ("10.0.0.1",), (), False, id="another's name"),
        pytest.param(serving("system:node:kubernetes", "kubernetes", node="kubernetes"), (), (), False, id="reserved"),
    ],
)
def test_a_node_serves_by_its_own_names(
    request_: CertificateSigningRequest, own: tuple[str, ...] | None, others: tuple[str, ...], is_approved: bool
) -> None:
    request = read(request_)
    assert request is not None
    mine = None if own is None else node("n1", "", *own)
    verdict = judge(request, mine, [], [*([mine] if mine else []), node("n2", "", *others)], NOW)
    assert (verdict is not None and verdict.type == "Approved") == is_approved


def test_what_is_no_agents_business_is_left_to_a_person() -> None:
    assert read(serving("ann@example.com", "n1")) is None, "somebody else asks for what a node serves by"
    person = csr("x", request_pem("jane"))
    assert read(decode(person, CertificateSigningRequest)) is None
    renewed = read(asked("system:node:n1"))
    assert renewed is not None
    assert renewed.right == "selfnodeclient"
    assert judge(renewed, node(), [], [], NOW) is not None


@pytest.mark.parametrize(
    ("types", "certificate", "hours"),
    [((), "", 24), (("Approved",), "", 24), (("Approved",), "eA==", 1), (("Denied",), "", 1), (("Failed",), "", 1)],
)
def test_requests_go_when_they_have_served_their_purpose(types: tuple[str, ...], certificate: str, hours: int) -> None:
    request = asked(TOKEN_USER, "n1", *types)
    status = request.status.model_copy(update={"certificate": certificate})
    assert ends_at(request.model_copy(update={"status": status})) == NOW + timedelta(hours=hours)


def test_a_token_is_what_its_secret_says() -> None:
    token_id, _, secret = new_token().partition(".")
    token = Token(token_id, secret, ("authentication",), ("system:bootstrappers:x",), NOW, "text")
    written = secret_of(token)
    assert read_secret(_stored(written)) == token
    assert secret not in repr(token)
    for change in ({"token-id": "x"}, {"expiration": "soon"}, {"auth-extra-groups": "system:masters"}):
        with pytest.raises(BadToken):
            read_secret(_stored({**written, "stringData": {**written["stringData"], **change}}))
    assert token.is_over(NOW)


def _stored(secret: dict[str, Any]) -> dict[str, Any]:
    data = {key: b64encode(value.encode()).decode() for key, value in secret["stringData"].items()}
    return {"metadata": secret["metadata"], "data": data}


def test_the_cluster_vouches_for_itself_to_whoever_has_a_token_that_is_good_and_for_that() -> None:
    good = Token("aaaaaa", "s" * 16, ("signing",))
    over, other = good._replace(token_id="bbbbbb", expires_at=NOW), good._replace(token_id="cccccc", usages=())
    data = wanted_data("text", [good, over, other], NOW)
    assert sorted(data) == ["jws-kubeconfig-aaaaaa", "kubeconfig"]
    assert is_signed("text", data["jws-kubeconfig-aaaaaa"], "aaaaaa", "s" * 16)
    assert not is_signed("text", data["jws-kubeconfig-aaaaaa"], "aaaaaa", "t" * 16)
    assert not is_signed("other", data["jws-kubeconfig-aaaaaa"], "aaaaaa", "s" * 16)
