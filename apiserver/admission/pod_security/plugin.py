"""Refuse, warn of and note in the audit log what a namespace's level forbids (KEP-2579).

Pods are refused; templates only warned of, since their pods will be. A pod that runs is not judged again when what
matters of it stays. A namespace that is given a stricter level says which of its pods would not be let in. Who may change
only their own namespaces may make them stricter, and not less strict: what is forbidden there is forbidden to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ...errors import invalid
from ...resources import Resource
from ..attributes import Attributes, Lookup
from ..complaints import named, refused
from ..podspecs import FoundSpec, find_spec, is_pod, spec_concerns, written_spec
from .checks import violations
from .levels import AUDIT, ENFORCE, LEVELS, PREFIX, WARN, Policy, label_causes, policy_of

PODS_LOOKED_AT_MAX: Final = 3_000
"""Of a namespace whose level changes; Kubernetes' bound."""
PODS_TOLD_MAX: Final = 10
MATTERS: Final = ("image", "securityContext", "ports")

Mapped = Mapping[str, Any]


async def pod_security(attributes: Attributes, lookup: Lookup) -> None:
    """A validating plugin. Raises Forbidden for a pod that its namespace's level forbids, Invalid for labels that mean
    nothing.
    """
    if _is_namespaces(attributes.resource):
        return await _namespace(attributes, lookup)
    found = written_spec(attributes)
    if found is None or attributes.resource.custom:
        return None
    before = find_spec(attributes.resource, attributes.old)
    if before is not None and _gist(before) == _gist(found):
        return None
    namespace = await lookup.get("", "namespaces", "", attributes.namespace)
    return _judge(attributes, found, _labels(namespace))


def security_concerns(resource: Resource, operation: str, subresource: str) -> bool:
    """Whether a write may be one of pods, templates or a namespace's labels."""
    return _is_namespaces(resource) or spec_concerns(resource, operation, subresource)


def _is_namespaces(resource: Resource) -> bool:
    return resource.group == "" and resource.plural == "namespaces"


def _judge(attributes: Attributes, found: FoundSpec, labels: Mapped) -> None:
    if is_pod(attributes.resource):
        enforced = policy_of(labels, ENFORCE)
        attributes.audit[f"{PREFIX}enforce-policy"] = str(enforced)
        if wrong := violations(enforced, found):
            raise refused(attributes, f'violates PodSecurity "{enforced}": {wrong}')
    for mode in (AUDIT, WARN):
        policy = policy_of(labels, mode)
        if not (wrong := violations(policy, found)):
            continue
        text = f'would violate PodSecurity "{policy}": {wrong}'
        if mode == WARN:
            attributes.warnings.append(text)
        else:
            attributes.audit[f"{PREFIX}audit-violations"] = text


async def _namespace(attributes: Attributes, lookup: Lookup) -> None:
    if attributes.object is None or attributes.subresource:
        return
    labels, before = _labels(attributes.object), _labels(attributes.old)
    if causes := list(label_causes(labels, before)):
        raise invalid("Namespace", named(attributes), causes)
    new, old = policy_of(labels, ENFORCE), policy_of(before, ENFORCE)
    if attributes.restricted and _loosens(labels, before, new, old):
        raise refused(attributes, f"{PREFIX}{ENFORCE} is loosened by administrators only")
    if attributes.old is None or new == old or LEVELS.index(new.level) < LEVELS.index(old.level):
        return
    pods = (await lookup.list("", "pods", attributes.name))[:PODS_LOOKED_AT_MAX]
    attributes.warnings += _warnings(attributes.name, new, pods)


def _loosens(labels: Mapped, before: Mapped, new: Policy, old: Policy) -> bool:
    key = PREFIX + ENFORCE
    said = labels.get(key) == LEVELS[0] and before.get(key) != LEVELS[0]
    return (
        said or LEVELS.index(new.level) < LEVELS.index(old.level) or (new.level == old.level and new.minor < old.minor)
    )


def _warnings(namespace: str, policy: Policy, pods: list[Mapped]) -> list[str]:
    """Pods that would be refused now, gathered by what is wrong with them."""
    by_text: dict[str, list[str]] = {}
    for pod in pods:
        metadata = pod.get("metadata") or {}
        if wrong := violations(policy, FoundSpec("spec", pod["spec"], metadata)):
            by_text.setdefault(wrong, []).append(str(metadata.get("name")))
    if not by_text:
        return []
    head = f'existing pods in namespace "{namespace}" violate the new PodSecurity enforce level "{policy}"'
    lines = []
    for wrong, names in sorted(by_text.items(), key=lambda item: min(item[1]))[:PODS_TOLD_MAX]:
        first, others = min(names), len(names) - 1
        more = f" (and {others} other pod{'s' if others > 1 else ''})" if others else ""
        lines.append(f"{first}{more}: {wrong}")
    return [head, *lines]


def _gist(found: FoundSpec) -> Any:
    spec = found.spec
    parts = [
        [{key: each.get(key) for key in MATTERS} for each in spec.get(kind) or ()]
        for kind in ("initContainers", "containers")
    ]
    return parts, spec.get("securityContext"), spec.get("volumes"), found.metadata.get("annotations")


def _labels(obj: Mapped | None) -> Mapped:
    return ((obj or {}).get("metadata") or {}).get("labels") or {}
