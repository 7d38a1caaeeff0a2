"""What a namespace's life means for writes: nothing is created in one that is missing or going, some never go."""

from __future__ import annotations

from typing import Any

from stark.crds.annotations import NAMESPACE_NAME

from ..errors import Cause, NotFound
from ..resources import Resource
from .attributes import Attributes, Lookup
from .complaints import refused

RESERVED = frozenset({"default", "kube-system", "kube-public", "kube-node-lease", "stark-system"})
"""Namespaces that always exist."""

FINALIZER = "kubernetes"


def _is_namespace(attributes: Attributes) -> bool:
    return attributes.resource.group == "" and attributes.resource.plural == "namespaces"


def lifecycle_concerns(resource: Resource, operation: str, subresource: str) -> bool:
    """What is created in namespaces, and the end of these."""
    if resource.namespaced:
        return operation == "CREATE" and not subresource
    return operation == "DELETE" and (resource.group, resource.plural) == ("", "namespaces")


async def namespace_lifecycle(attributes: Attributes, lookup: Lookup) -> None:
    """Refuse creations in a missing (404) or terminating (403) namespace, and deletions of reserved ones (403)."""
    if _is_namespace(attributes):
        if attributes.operation == "DELETE" and attributes.name in RESERVED:
            raise refused(attributes, "this namespace may not be deleted")
        return
    if attributes.operation != "CREATE" or not attributes.resource.namespaced or attributes.subresource:
        return
    namespace = await lookup.get("", "namespaces", "", attributes.namespace)
    if namespace is None:
        message = f'namespaces "{attributes.namespace}" not found'
        raise NotFound(message, kind="namespaces", name=attributes.namespace)
    if is_terminating(namespace):
        raise refused(
            attributes,
            f"unable to create new content in namespace {attributes.namespace} because it is being terminated",
            [
                Cause(
                    "metadata.namespace",
                    f"namespace {attributes.namespace} is being terminated",
                    "NamespaceTerminating",
                )
            ],
        )


def is_terminating(namespace: Any) -> bool:
    """Whether a namespace is on its way out."""
    if (namespace.get("metadata") or {}).get("deletionTimestamp"):
        return True
    return bool((namespace.get("status") or {}).get("phase") == "Terminating")


async def namespace_defaults(attributes: Attributes, lookup: Lookup) -> None:
    """Give a namespace the label with its name, the finalizer that empties it first, and the phase Active."""
    namespace = attributes.object
    if not _is_namespace(attributes) or attributes.subresource or namespace is None:
        return
    metadata = namespace.setdefault("metadata", {})
    name = attributes.name or metadata.get("name", "")
    if name:  # with generateName the registry has not chosen one yet; the label follows with the first update
        metadata["labels"] = {**(metadata.get("labels") or {}), NAMESPACE_NAME: name}
    if attributes.operation == "CREATE":
        spec = namespace.setdefault("spec", {})
        if FINALIZER not in (spec.get("finalizers") or ()):
            spec["finalizers"] = [*(spec.get("finalizers") or ()), FINALIZER]
        namespace["status"] = {"phase": "Active"}
