"""What an agent may do: everything about its own node and the pods bound to it, and nothing about anybody else's.

Decides on what a request says; what a write *contains* (labels, taints, names inside a body) is checked by the
NodeRestriction plugin of admission. The two together are Kubernetes' node authorization mode.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from stark.crds.selectors import demanded_value

from ..request import User
from .authorization import NO_OPINION, AuthorizationAttributes, Decision
from .identities import NODE_PREFIX, NODES
from .references import CONFIG_MAPS, PACKS, SECRETS, PodSource, References
from .rules import EVENTS, READ, Resolution, Rule

LEASE_NAMESPACE = "kube-node-lease"
ROOT_CA = "kube-root-ca.crt"
"""The ConfigMap with the authority's certificate, in every namespace: nobody's, and no secret."""
NAME, NODE = "metadata.name", "spec.nodeName"
ALLOWED = Decision(allowed=True)


class Lookup(Protocol):
    """How objects are read: from the watch caches (the same shape as admission's Lookup)."""

    async def get(self, group: str, plural: str, namespace: str, name: str) -> Mapping[str, Any] | None:
        """The object, or None."""
        ...

    async def list(self, group: str, plural: str, namespace: str = "") -> list[Mapping[str, Any]]:
        """All objects of the resource; of one namespace when given."""
        ...


def node_name(user: User) -> str:
    """The node an agent speaks for; empty for everybody else."""
    if NODES not in user.groups or not user.name.startswith(NODE_PREFIX):
        return ""
    return user.name.removeprefix(NODE_PREFIX)


class NodeAuthorizer:
    """Authorizes agents."""

    def __init__(self, lookup: Lookup, pods: PodSource) -> None:
        self._lookup = lookup
        self._references = References(pods)

    async def authorize(self, attributes: AuthorizationAttributes) -> Decision:
        """Yes for what an agent needs of its own node and pods; a no names the reason."""
        node = node_name(attributes.user)
        if not node or not attributes.resource:
            return NO_OPINION
        match (attributes.group, attributes.full_resource):
            case ("", "nodes"):
                return self._own_node(attributes, node)
            case ("", "nodes/status"):
                return self._only(attributes, ("get", "update", "patch"), node, "its own Node")
            case ("coordination.k8s.io", "leases"):
                return self._own_lease(attributes, node)
            case ("", "pods"):
                return await self._pods(attributes, node)
            case ("", "pods/status"):
                return await self._bound_pod(attributes, ("get", "update", "patch"), node)
            case ("", "pods/log"):  # what a browser's pods say, which nobody can ask it for
                return await self._bound_pod(attributes, ("create",), node)
            case ("", "secrets"):
                return await self._referenced(attributes, node, SECRETS)
            case ("", "configmaps"):
                return await self._referenced(attributes, node, CONFIG_MAPS)
            case ("", "serviceaccounts/token"):
                # For its own pods' accounts only, which the body names: NodeRestriction looks at it.
                return ALLOWED if attributes.verb == "create" and attributes.name else NO_OPINION
            case ("" | "events.k8s.io", "events"):
                return ALLOWED if attributes.verb in ("create", "update", "patch") else NO_OPINION
            case ("stark.dev", "packs" | "packs/bundles"):
                return await self._named_pack(attributes, node)
            # NodeRestriction sees to it that a node asks for itself alone.
            case ("certificates.k8s.io", "certificatesigningrequests"):
                return ALLOWED if attributes.verb in ("create", "get", "list", "watch") else NO_OPINION
            case ("", "namespaces"):  # policies choose them by their labels
                return ALLOWED if attributes.verb == "get" else NO_OPINION
            case ("stark.dev", "clusterconfigs"):  # how often to say that it is alive
                return ALLOWED if attributes.verb == "get" else NO_OPINION
            case ("stark.dev", "packtrustpolicies"):
                return ALLOWED if attributes.verb in READ else NO_OPINION
        return NO_OPINION

    async def rules_for(self, user: User, namespace: str) -> Resolution:
        """What holds whatever the pods are. What a node may do with its own pods, and for them, no rule can say."""
        node = node_name(user)
        if not node:
            return Resolution()
        own = (
            Rule(("create",), ("",), ("nodes",)),
            Rule(("get", "list", "watch", "update", "patch"), ("",), ("nodes",), names=(node,)),
            Rule(("get", "update", "patch"), ("",), ("nodes/status",), names=(node,)),
            EVENTS,
            Rule(("create", *READ), ("certificates.k8s.io",), ("certificatesigningrequests",)),
            Rule(("get",), ("",), ("namespaces",)),
            Rule(("get",), ("stark.dev",), ("clusterconfigs",)),
            Rule(READ, ("stark.dev",), ("packtrustpolicies",)),
        )
        leases = (
            Rule(("create",), ("coordination.k8s.io",), ("leases",)),
            Rule(("get", "update", "patch", "delete"), ("coordination.k8s.io",), ("leases",), names=(node,)),
        )
        unresolved = f"node {node!r} may read and report its own pods and read what they use: no rule can list these"
        return Resolution((*own, *(leases if namespace == LEASE_NAMESPACE else ())), unresolved)

    def _own_node(self, asked: AuthorizationAttributes, node: str) -> Decision:
        # The name of a new object is in its body, not in the path: NodeRestriction looks at it.
        if asked.verb == "create":
            return ALLOWED
        if asked.verb in ("list", "watch") and demanded_value(asked.field_selector, NAME) == node:
            return ALLOWED
        return self._only(asked, ("get", "watch", "update", "patch"), node, "its own Node")

    def _own_lease(self, asked: AuthorizationAttributes, node: str) -> Decision:
        if asked.namespace != LEASE_NAMESPACE:
            return Decision(allowed=False, reason=f"a node's Lease is in the namespace {LEASE_NAMESPACE}")
        if asked.verb == "create":
            return ALLOWED
        return self._only(asked, ("get", "update", "patch", "delete"), node, "its own Lease")

    @staticmethod
    def _only(asked: AuthorizationAttributes, verbs: tuple[str, ...], node: str, what: str) -> Decision:
        if asked.verb not in verbs:
            return NO_OPINION
        if asked.name != node:
            return Decision(allowed=False, reason=f"node {node!r} may {asked.verb} only {what}")
        return ALLOWED

    async def _pods(self, asked: AuthorizationAttributes, node: str) -> Decision:
        if asked.verb in ("list", "watch"):
            if demanded_value(asked.field_selector, NODE) == node:
                return ALLOWED
            return Decision(allowed=False, reason=f"can only {asked.verb} pods with fieldSelector spec.nodeName={node}")
        # No watch of one pod by its name: a namesake that comes later may be another node's.
        return await self._bound_pod(asked, ("get", "delete"), node)

    async def _bound_pod(self, asked: AuthorizationAttributes, verbs: tuple[str, ...], node: str) -> Decision:
        if asked.verb not in verbs or not asked.name:
            return NO_OPINION
        pod = await self._lookup.get("", "pods", asked.namespace, asked.name)
        # A pod that is gone tells nothing and changes nothing: the handler's 404 is what an agent that cleans up needs.
        if pod is None or pod.get("spec", {}).get("nodeName") == node:
            return ALLOWED
        return Decision(allowed=False, reason=f"the pod is not bound to node {node!r}")

    async def _referenced(self, asked: AuthorizationAttributes, node: str, plural: str) -> Decision:
        if asked.verb not in ("get", "list", "watch"):
            return NO_OPINION
        name = asked.name or demanded_value(asked.field_selector, NAME)
        if not name or not asked.namespace:
            return Decision(allowed=False, reason="a node reads this resource by name only")
        owners = await self._references.owners(node, (plural, asked.namespace, name))
        if not owners:
            return _unrelated(node)
        if (plural == CONFIG_MAPS and name == ROOT_CA) or not all(owner.is_restricted for owner in owners):
            return ALLOWED
        # Whose pod may name only its owner's: an object that somebody else has put in that place stays unread.
        return Decision(allowed=True, own_only=True, owners=frozenset(owner.name for owner in owners))

    async def _named_pack(self, asked: AuthorizationAttributes, node: str) -> Decision:
        if asked.verb not in (("get",) if asked.subresource else ("get", "list", "watch")):
            return NO_OPINION
        name = asked.name or demanded_value(asked.field_selector, NAME)
        if not name:
            return Decision(allowed=False, reason="a node reads packs by name only")
        return ALLOWED if await self._references.owners(node, (PACKS, "", name)) else _unrelated(node)


def _unrelated(node: str) -> Decision:
    return Decision(allowed=False, reason=f"no relationship found between node {node!r} and this object")
