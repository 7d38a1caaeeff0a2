"""Which certificate requests need no person: a new node's first, a node's own renewal, and what it serves by.

**A node's identity has one holder.** A token, or a person, makes new nodes. While a Node of the name exists, only its owner
may take its place, and never by a token: a token that was stolen must not become a machine that is there. Between approval
and the Node's registration the name is claimed by the key that was approved. And whenever somebody joins, what was issued
for the name before is revoked, so that a machine that was sent away does not come back as its successor.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Literal

from stark.crds.annotations import OWNER
from stark.crds.bootstrap_tokens import USER_PREFIX
from stark.crds.certificates import (
    APPROVED,
    DENIED,
    FAILED,
    NODE_CLIENT_SIGNER,
    NODE_SERVING_SIGNER,
    NODE_USER_PREFIX,
    CertificateSigningRequest,
)
from stark.crds.conditions import find_condition, is_true
from stark.crds.nodes import Node
from stark.crds.pkcs10 import BadRequestFile, Wanted, read_request, signer_complaints

CLAIM = timedelta(minutes=10)
"""How long a name is kept for the key that was approved for it, while no Node has been registered."""
RESERVED = frozenset({"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"})
"""Names that no agent serves by: clients of the API server know it by them."""

Right = Literal["nodeclient", "selfnodeclient", "selfnodeserver"]
"""Subresources of certificatesigningrequests that stand for "may have this approved"; the last is Stark's own."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that may be ours to approve."""

    request: CertificateSigningRequest
    wanted: Wanted
    right: Right

    @property
    def node(self) -> str:
        """The node it is about."""
        return self.wanted.node_name

    @property
    def addresses(self) -> set[str]:
        """Those it would serve by; a name that is an address is certified as what it is."""
        return {*self.wanted.names.addresses, *filter(_is_address, self.wanted.names.dns)}

    @property
    def requester(self) -> str:
        """Who created it."""
        return self.request.spec.username or ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to say, and whether certificates that were issued before are to be revoked with it."""

    type: Literal["Approved", "Denied"]
    reason: str
    message: str
    revokes: bool = False


def is_settled(request: CertificateSigningRequest) -> bool:
    """Whether there is nothing to say any more."""
    return any(condition.type in (APPROVED, DENIED, FAILED) for condition in request.status.conditions)


def read(request: CertificateSigningRequest) -> Asked | None:
    """The request as something we may judge; None for what is a person's to judge, and what its signer would not give."""
    spec = request.spec
    if spec.signer_name not in (NODE_CLIENT_SIGNER, NODE_SERVING_SIGNER):
        return None
    try:
        wanted = read_request(spec.request)
    except BadRequestFile:
        return None
    if list(signer_complaints(spec.signer_name, wanted, spec.usages)):
        return None
    is_own = spec.username == wanted.common_name
    if spec.signer_name == NODE_SERVING_SIGNER:
        return Asked(request, wanted, "selfnodeserver") if is_own else None
    return Asked(request, wanted, "selfnodeclient" if is_own else "nodeclient")


def judge(
    asked: Asked, node: Node | None, others: Sequence[CertificateSigningRequest], nodes: Iterable[Node], now: datetime
) -> Verdict | None:
    """The verdict about a request whose creator has the right; None leaves it to a person.

    `node` is the Node of the name, `others` all requests, `nodes` all Nodes.
    """
    if asked.right == "selfnodeclient":
        return Verdict("Approved", "AutoApproved", "the node renews its own certificate")
    if asked.right == "selfnodeserver":
        return _judge_serving(asked, node, nodes)
    return _judge_joining(asked, node, others, now)


def _judge_serving(asked: Asked, node: Node | None, nodes: Iterable[Node]) -> Verdict | None:
    names = asked.wanted.names
    if set(names.dns) - {asked.node} or asked.node in RESERVED:
        return None
    if not asked.addresses:
        return Verdict("Approved", "AutoApproved", "the node serves by its own name")
    own = _addresses(node) if node is not None else set()
    foreign = {address for one in nodes if one.metadata.name != asked.node for address in _addresses(one)}
    if set(names.addresses) - own or foreign & asked.addresses:
        return None
    return Verdict("Approved", "AutoApproved", "the node serves by its own name and addresses")


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _addresses(node: Node) -> set[str]:
    return {entry.address for entry in node.status.addresses if entry.type in ("InternalIP", "ExternalIP")}


def _judge_joining(
    asked: Asked, node: Node | None, others: Sequence[CertificateSigningRequest], now: datetime
) -> Verdict:
    if node is not None and not _is_owner(asked, node):
        message = (
            f'there is a node "{asked.node}" already: join with another name, or, if this machine takes its place, '
            f"delete the Node first (kubectl delete node {asked.node})"
        )
        return Verdict("Denied", "NodeExists", message)
    rival = _claimed_by(asked, others, now) if node is None else None
    if rival:
        message = f'another machine is joining as "{asked.node}" just now (request {rival}): choose another name'
        return Verdict("Denied", "NameClaimed", message)
    return Verdict("Approved", "AutoApproved", f'"{asked.requester}" may let a node in', revokes=True)


def _is_owner(asked: Asked, node: Node) -> bool:
    """Whether a person takes back a node that is their own. A token is nobody's: whoever has it is a stranger."""
    is_person = not asked.requester.startswith((USER_PREFIX, NODE_USER_PREFIX))
    return is_person and bool(asked.requester) and node.metadata.annotations.get(OWNER) == asked.requester


def _claimed_by(asked: Asked, others: Sequence[CertificateSigningRequest], now: datetime) -> str:
    """The name of a request by another key that was approved for the same node a moment ago; empty when there is none."""
    for other in others:
        approved = find_condition(other.status.conditions, APPROVED)
        if approved is None or is_true(other.status.conditions, FAILED) or other.uid == asked.request.uid:
            continue
        since = approved.last_transition_time
        if since is None or now - since > CLAIM:
            continue
        claim = read(other)
        if (
            claim is not None
            and claim.right == "nodeclient"
            and claim.node == asked.node
            and claim.wanted.fingerprint != asked.wanted.fingerprint
        ):
            return other.metadata.name
    return ""
