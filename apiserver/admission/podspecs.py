"""Where pod specs are inside objects: in a pod itself, in a template, in a template of a template.

Found by shape, not by kind, so that a workload kind that is added later is pinned and defaulted like the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..resources import Resource
from .attributes import Attributes

TEMPLATE_PATHS = (("spec", "template"), ("spec", "jobTemplate", "spec", "template"))
CONTAINER_LISTS = ("initContainers", "containers")


@dataclass(frozen=True, slots=True)
class FoundSpec:
    """A pod spec inside an object, with its metadata and the path to the spec, e.g. `spec.template.spec`."""

    path: str
    spec: dict[str, Any]
    metadata: Mapping[str, Any]


def is_pod(resource: Resource) -> bool:
    """Whether the resource is core/v1 pods."""
    return resource.group == "" and resource.plural == "pods"


def writes_pod(attributes: Attributes) -> bool:
    """Whether a pod itself (not one of its subresources) is created or updated."""
    return is_pod(attributes.resource) and not attributes.subresource and attributes.object is not None


def find_spec(resource: Resource, obj: Mapping[str, Any] | None) -> FoundSpec | None:
    """The pod spec inside `obj`, if it has one."""
    if obj is None or "spec" not in obj:
        return None
    if is_pod(resource):
        return _found("spec", obj)
    for path in TEMPLATE_PATHS:
        holder: Any = obj
        for key in path:
            holder = holder.get(key) if isinstance(holder, dict) else None
        found = _found(".".join((*path, "spec")), holder)
        if found is not None:
            return found
    return None


def _found(path: str, holder: Any) -> FoundSpec | None:
    if not isinstance(holder, dict):
        return None
    spec = holder.get("spec")
    # A custom resource may have something else entirely at this path.
    if not isinstance(spec, dict) or not isinstance(spec.get("containers"), list):
        return None
    if not all(isinstance(container, dict) for container in spec["containers"]):
        return None
    metadata = holder.get("metadata")
    return FoundSpec(path, spec, metadata if isinstance(metadata, Mapping) else {})


def pod_concerns(resource: Resource, operation: str, subresource: str) -> bool:
    """`writes_pod` may be true."""
    return is_pod(resource) and not subresource and operation != "DELETE"


def written_spec(attributes: Attributes) -> FoundSpec | None:
    """The pod spec in the object being created or updated; None on subresources and deletions."""
    if attributes.subresource or attributes.operation == "DELETE":
        return None
    return find_spec(attributes.resource, attributes.object)


def spec_concerns(resource: Resource, operation: str, subresource: str) -> bool:
    """`written_spec` may find something: what the schema does not know was pruned before."""
    if subresource or operation == "DELETE":
        return False
    return is_pod(resource) or any(_may_have(resource.schema, path) for path in TEMPLATE_PATHS)


def _may_have(schema: Any, path: tuple[str, ...]) -> bool:
    for step in path:
        known = (schema.get("properties") or {}).get(step)
        if known is None:
            # A map's values, or fields that are kept although nobody knows them.
            is_map = schema.get("additionalProperties") not in (None, False)
            return is_map or bool(schema.get("x-kubernetes-preserve-unknown-fields"))
        schema = known
    return True


def containers(found: FoundSpec) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every container with its path, e.g. `spec.containers[0]`."""
    for key in CONTAINER_LISTS:
        for index, container in enumerate(found.spec.get(key) or ()):
            if isinstance(container, dict):
                yield f"{found.path}.{key}[{index}]", container
