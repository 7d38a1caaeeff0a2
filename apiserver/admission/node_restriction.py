"""What an agent's writes may contain: its own node, without its taints and protected labels, and its own pods.

The other half of the node authorizer (`auth.nodes`), which sees only paths. Rules as in Kubernetes' NodeRestriction.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stark.crds.annotations import ARCH, HOSTNAME, ISOLATION_PREFIX, NODE_TYPE, OS, RUNTIME_PREFIX, SERVER, ZONE
from stark.crds.certificates import NODE_CLIENT_SIGNER, NODE_SERVING_SIGNER
from stark.crds.pkcs10 import BadRequestFile, read_request

from ..auth.nodes import LEASE_NAMESPACE, node_name
from .attributes import Attributes, Lookup
from .complaints import refused

ALLOWED_LABELS = frozenset(
    {
        HOSTNAME,
        ARCH,
        OS,
        ZONE,
        NODE_TYPE,
        SERVER,
        "node.kubernetes.io/instance-type",
        "topology.kubernetes.io/region",
        "beta.kubernetes.io/arch",
        "beta.kubernetes.io/os",
    }
)
ALLOWED_PREFIXES = (RUNTIME_PREFIX, ISOLATION_PREFIX)
ALLOWED_DOMAINS = ("kubelet.kubernetes.io", "node.kubernetes.io")
PROTECTED_DOMAINS = ("kubernetes.io", "k8s.io", "stark.dev")
FORBIDDEN_DOMAIN = "node-restriction.kubernetes.io"

Mapped = Mapping[str, Any]


async def node_restriction(attributes: Attributes, lookup: Lookup) -> None:
    """Refuse what an agent must not write. Writes of anybody else pass."""
    node = node_name(attributes.user)
    if not node:
        return
    match (attributes.resource.group, attributes.resource.plural):
        case ("", "nodes"):
            _check_node(attributes, node)
        case ("", "pods"):
            _check_pod(attributes, node)
        case ("", "serviceaccounts"):
            await _check_token(attributes, node, lookup)
        case ("coordination.k8s.io", "leases"):
            _check_lease(attributes, node)
        case ("certificates.k8s.io", "certificatesigningrequests"):
            _check_certificate(attributes, node)


def _written_name(attributes: Attributes) -> str:
    if attributes.name:
        return attributes.name
    return str(_metadata(attributes.object).get("name") or "")


def _metadata(obj: Mapped | None) -> Mapped:
    return (obj or {}).get("metadata") or {}


def _check_node(attributes: Attributes, node: str) -> None:
    if _written_name(attributes) != node:
        raise refused(attributes, f'node "{node}" is not allowed to modify node "{_written_name(attributes)}"')
    if attributes.operation == "DELETE" or attributes.object is None:
        return
    before, after = _metadata(attributes.old), _metadata(attributes.object)
    changed = _changed_labels(before.get("labels") or {}, after.get("labels") or {})
    bad = sorted(label for label in changed if not may_set_label(label))
    if bad:
        raise refused(attributes, f"is not allowed to set or remove the following labels: {', '.join(bad)}")
    if attributes.operation != "UPDATE":
        return
    old_taints = ((attributes.old or {}).get("spec") or {}).get("taints") or []
    if (attributes.object.get("spec") or {}).get("taints", []) != old_taints and not attributes.subresource:
        raise refused(attributes, f'node "{node}" is not allowed to modify taints')
    if (before.get("ownerReferences") or []) != (after.get("ownerReferences") or []):
        raise refused(attributes, f'node "{node}" is not allowed to modify ownerReferences')


def _changed_labels(before: Mapped, after: Mapped) -> set[str]:
    return {label for label in before.keys() | after.keys() if before.get(label) != after.get(label)}


def may_set_label(label: str) -> bool:
    """Whether an agent may set or remove this label on its own node."""
    domain = label.rpartition("/")[0]
    if _within(domain, FORBIDDEN_DOMAIN):
        return False
    if not any(_within(domain, protected) for protected in PROTECTED_DOMAINS):
        return True
    if label in ALLOWED_LABELS or label.startswith(ALLOWED_PREFIXES):
        return True
    return any(_within(domain, allowed) for allowed in ALLOWED_DOMAINS)


def _within(domain: str, parent: str) -> bool:
    return domain == parent or domain.endswith(f".{parent}")


def _check_pod(attributes: Attributes, node: str) -> None:
    if attributes.operation == "CREATE" and not attributes.subresource:
        raise refused(attributes, f'node "{node}" cannot create pods')
    if attributes.subresource not in ("", "status"):
        raise refused(attributes, f'node "{node}" cannot use the subresource {attributes.subresource} of pods')
    bound_to = ((attributes.old or {}).get("spec") or {}).get("nodeName") or ""
    if bound_to != node:
        raise refused(attributes, f'node "{node}" can only write pods with spec.nodeName set to itself')
    if attributes.operation != "UPDATE":
        return
    if attributes.subresource != "status":
        raise refused(attributes, f'node "{node}" can only update the status of pods')
    before, after = _metadata(attributes.old), _metadata(attributes.object)
    for field in ("labels", "finalizers", "ownerReferences"):
        if (before.get(field) or None) != (after.get(field) or None):
            raise refused(attributes, f'node "{node}" cannot update {field} through pod status')


def _check_lease(attributes: Attributes, node: str) -> None:
    if attributes.namespace != LEASE_NAMESPACE:
        raise refused(attributes, f'node "{node}" can only access leases in the namespace {LEASE_NAMESPACE}')
    if _written_name(attributes) != node:
        raise refused(attributes, f'node "{node}" can only access the lease with the same name as itself')


async def _check_token(attributes: Attributes, node: str, lookup: Lookup) -> None:
    """A node gets tokens that end with one of its own pods. That the pod acts as the account is checked for everybody."""
    if attributes.operation != "CREATE" or attributes.subresource != "token" or attributes.object is None:
        return
    spec = attributes.object.get("spec")
    bound = spec.get("boundObjectRef") if isinstance(spec, Mapping) else None
    if not isinstance(bound, Mapping) or bound.get("kind") != "Pod" or bound.get("apiVersion") != "v1":
        raise refused(attributes, "node requested token not bound to a pod")
    name, uid = str(bound.get("name") or ""), bound.get("uid")
    if not uid:
        raise refused(attributes, "node requested token with a pod binding without a uid")
    pod = await lookup.get("", "pods", attributes.namespace, name)
    if pod is None or pod["metadata"].get("uid") != uid:
        raise refused(attributes, f"the UID in the bound object reference ({uid}) is not that of a pod {name}")
    if (pod.get("spec") or {}).get("nodeName") != node:
        raise refused(attributes, "node requested token bound to a pod scheduled on a different node")


def _check_certificate(attributes: Attributes, node: str) -> None:
    """An agent that is broken into asks for no other node's identity, not even of somebody who approves by hand."""
    spec = (attributes.object or {}).get("spec") or {}
    if attributes.operation != "CREATE" or spec.get("signerName") not in (NODE_CLIENT_SIGNER, NODE_SERVING_SIGNER):
        return
    try:
        wanted = read_request(str(spec.get("request") or ""))
    except BadRequestFile:
        return  # told with its place in the object by the kind's own rules
    if wanted.common_name != attributes.user.name:
        raise refused(
            attributes, f'node "{node}" can only request certificates for itself, not for "{wanted.common_name}"'
        )
