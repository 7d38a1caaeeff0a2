"""What is wrong with roles and their bindings, in Kubernetes' wording (pkg/apis/rbac/validation)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from stark.crds.annotations import SCOPE, SCOPE_OWN
from stark.crds.names import dns_subdomain_problems, path_segment_problems
from stark.crds.rbac import GROUP

from ..errors import Cause
from .attributes import Attributes, Lookup
from .complaints import bad_value, not_supported, required
from .validate_webhooks import selector_causes

SUBJECT_KINDS: Final = ("ServiceAccount", "User", "Group")

Mapped = Mapping[str, Any]


async def binding_defaults(attributes: Attributes, lookup: Lookup) -> None:
    """Say of which API group subjects are that do not say it themselves: users and groups are of this one."""
    obj = attributes.object
    if obj is None:
        return
    for subject in obj.get("subjects") or ():
        if subject.get("kind") in ("User", "Group") and not subject.get("apiGroup"):
            subject["apiGroup"] = GROUP
    ref = obj.get("roleRef")
    if ref is not None and not ref.get("apiGroup"):
        ref["apiGroup"] = GROUP


def role_causes(obj: Mapped) -> Iterator[Cause]:
    """Every complaint about a Role."""
    yield from _scope(obj)
    for index, rule in enumerate(obj.get("rules") or ()):
        yield from _rule(f"rules[{index}]", rule, is_namespaced=True)


def cluster_role_causes(obj: Mapped) -> Iterator[Cause]:
    """Every complaint about a ClusterRole."""
    yield from _scope(obj)
    for index, rule in enumerate(obj.get("rules") or ()):
        yield from _rule(f"rules[{index}]", rule, is_namespaced=False)
    aggregation = obj.get("aggregationRule")
    if aggregation is None:
        return
    path, selectors = "aggregationRule.clusterRoleSelectors", aggregation.get("clusterRoleSelectors") or ()
    if not selectors:
        yield required(path, "at least one clusterRoleSelector required if aggregationRule is non-nil")
    for index, selector in enumerate(selectors):
        yield from selector_causes(f"{path}[{index}]", selector)


def _scope(obj: Mapped) -> Iterator[Cause]:
    scope = (obj["metadata"].get("annotations") or {}).get(SCOPE)
    if scope is None:
        return
    if scope != SCOPE_OWN:
        yield not_supported(f"metadata.annotations[{SCOPE}]", scope, [SCOPE_OWN])
    elif any(rule.get("nonResourceURLs") for rule in obj.get("rules") or ()):
        yield bad_value(f"metadata.annotations[{SCOPE}]", scope, "non-resource URLs have no owner")


def _rule(path: str, rule: Mapped, *, is_namespaced: bool) -> Iterator[Cause]:
    if not rule.get("verbs"):
        yield required(f"{path}.verbs", "verbs must contain at least one value")
    urls = rule.get("nonResourceURLs")
    if urls:
        if is_namespaced:
            text = "namespaced rules cannot apply to non-resource URLs"
            yield bad_value(f"{path}.nonResourceURLs", urls, text)
        if any(rule.get(field) for field in ("apiGroups", "resources", "resourceNames")):
            text = "rules cannot apply to both regular resources and non-resource URLs"
            yield bad_value(f"{path}.nonResourceURLs", urls, text)
        return
    if not rule.get("apiGroups"):
        yield required(f"{path}.apiGroups", "resource rules must supply at least one api group")
    if not rule.get("resources"):
        yield required(f"{path}.resources", "resource rules must supply at least one resource")


def role_binding_causes(obj: Mapped, old: Mapped | None) -> Iterator[Cause]:
    """Every complaint about a RoleBinding."""
    yield from _binding(obj, old, ("Role", "ClusterRole"), is_namespaced=True)


def cluster_role_binding_causes(obj: Mapped, old: Mapped | None) -> Iterator[Cause]:
    """Every complaint about a ClusterRoleBinding."""
    yield from _binding(obj, old, ("ClusterRole",), is_namespaced=False)


def _binding(obj: Mapped, old: Mapped | None, kinds: tuple[str, ...], *, is_namespaced: bool) -> Iterator[Cause]:
    ref = obj["roleRef"]
    group, kind, name = ref.get("apiGroup") or "", ref.get("kind") or "", ref.get("name") or ""
    if group != GROUP:
        yield not_supported("roleRef.apiGroup", group, [GROUP])
    if kind not in kinds:
        yield not_supported("roleRef.kind", kind, kinds)
    if not name:
        yield required("roleRef.name")
    for problem in path_segment_problems(name):
        yield bad_value("roleRef.name", name, problem)
    for index, subject in enumerate(obj.get("subjects") or ()):
        yield from _subject(f"subjects[{index}]", subject, is_namespaced=is_namespaced)
    if old is not None and old["roleRef"] != ref:
        yield bad_value("roleRef", ref, "cannot change roleRef")


def _subject(path: str, subject: Mapped, *, is_namespaced: bool) -> Iterator[Cause]:
    kind, name, group = subject.get("kind") or "", subject.get("name") or "", subject.get("apiGroup") or ""
    if not name:
        yield required(f"{path}.name")
    if kind == "ServiceAccount":
        for problem in dns_subdomain_problems(name) if name else ():
            yield bad_value(f"{path}.name", name, problem)
        if group:
            yield not_supported(f"{path}.apiGroup", group, [""])
        if not is_namespaced and not subject.get("namespace"):
            yield required(f"{path}.namespace")
    elif kind not in SUBJECT_KINDS:
        yield not_supported(f"{path}.kind", kind, SUBJECT_KINDS)
    elif group != GROUP:
        yield not_supported(f"{path}.apiGroup", group, [GROUP])
