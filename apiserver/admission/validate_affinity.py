"""What is wrong with a pod's wishes about nodes and other pods, and how they may change. Kubernetes' wording and paths."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stark.crds.names import dns_label_problems, dns_subdomain_problems, label_key_problems, label_value_problems

from ..errors import Cause
from .complaints import bad_value, duplicate, not_allowed, required

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
WEIGHT_MAX = 100
NAME_FIELD = "metadata.name"

Mapped = Mapping[str, Any]


def affinity_causes(path: str, affinity: Mapped) -> Iterator[Cause]:
    """Every complaint about `spec.affinity`."""
    nodes = affinity.get("nodeAffinity")
    if nodes is not None:
        yield from _node_affinity_causes(f"{path}.nodeAffinity", nodes)
    for side in ("podAffinity", "podAntiAffinity"):
        for where, term in pod_terms(affinity.get(side) or {}, f"{path}.{side}"):
            yield from _pod_term_causes(where, term)
        for index, each in enumerate((affinity.get(side) or {}).get(PREFERRED) or ()):
            yield from weight_causes(f"{path}.{side}.{PREFERRED}[{index}]", each)


def _node_affinity_causes(path: str, affinity: Mapped) -> Iterator[Cause]:
    if (needed := affinity.get(REQUIRED)) is not None:
        terms, where = needed.get("nodeSelectorTerms") or (), f"{path}.{REQUIRED}.nodeSelectorTerms"
        if not terms:
            yield required(where, "must have at least one node selector term")
        for index, term in enumerate(terms):
            yield from _node_term_causes(f"{where}[{index}]", term)
    for index, each in enumerate(affinity.get(PREFERRED) or ()):
        where = f"{path}.{PREFERRED}[{index}]"
        yield from weight_causes(where, each)
        yield from _node_term_causes(f"{where}.preference", each.get("preference") or {})


def weight_causes(path: str, weighted: Mapped) -> Iterator[Cause]:
    """A complaint when the weight is out of its range."""
    weight = weighted.get("weight") or 0
    if not 1 <= weight <= WEIGHT_MAX:
        yield bad_value(f"{path}.weight", weight, f"must be in the range 1-{WEIGHT_MAX}")


def pod_terms(side: Mapped, path: str) -> Iterator[tuple[str, Mapped]]:
    """Every term of a podAffinity or podAntiAffinity, with its path."""
    for index, term in enumerate(side.get(REQUIRED) or ()):
        yield f"{path}.{REQUIRED}[{index}]", term
    for index, each in enumerate(side.get(PREFERRED) or ()):
        yield f"{path}.{PREFERRED}[{index}].podAffinityTerm", each.get("podAffinityTerm") or {}


def _pod_term_causes(path: str, term: Mapped) -> Iterator[Cause]:
    yield from selector_causes(f"{path}.labelSelector", term.get("labelSelector"))
    yield from selector_causes(f"{path}.namespaceSelector", term.get("namespaceSelector"))
    for index, namespace in enumerate(term.get("namespaces") or ()):
        for problem in dns_label_problems(namespace):
            yield bad_value(f"{path}.namespaces[{index}]", namespace, problem)
    for field, other in (("matchLabelKeys", "mismatchLabelKeys"), ("mismatchLabelKeys", "")):
        yield from _label_keys_causes(path, field, term, other)
    yield from _topology_key_causes(f"{path}.topologyKey", term.get("topologyKey") or "")


def _topology_key_causes(path: str, key: str) -> Iterator[Cause]:
    if not key:
        yield required(path, "can not be empty")
        return
    for problem in label_key_problems(key):
        yield bad_value(path, key, problem)


def selector_causes(path: str, selector: Mapped | None) -> Iterator[Cause]:
    """Complaints about a LabelSelector."""
    for key, value in ((selector or {}).get("matchLabels") or {}).items():
        for problem in label_key_problems(key):
            yield bad_value(f"{path}.matchLabels", key, problem)
        for problem in label_value_problems(value):
            yield bad_value(f"{path}.matchLabels", value, problem)
    for index, expression in enumerate((selector or {}).get("matchExpressions") or ()):
        yield from _label_requirement_causes(f"{path}.matchExpressions[{index}]", expression)


def _label_keys_causes(path: str, field: str, holder: Mapped, other: str) -> Iterator[Cause]:
    """Complaints about keys whose values the server takes from the pod's labels."""
    keys = holder.get(field) or ()
    selector = holder.get("labelSelector")
    if keys and selector is None:
        yield not_allowed(f"{path}.{field}", "must not be specified when labelSelector is not set")
        return
    for index, key in enumerate(keys):
        where = f"{path}.{field}[{index}]"
        for problem in label_key_problems(key):
            yield bad_value(where, key, problem)
        if other and key in (holder.get(other) or ()):
            yield bad_value(where, key, f"exists in both matchLabelKeys and {other}")


def spread_causes(path: str, constraints: Sequence[Mapped]) -> Iterator[Cause]:
    """Every complaint about `spec.topologySpreadConstraints`."""
    known: set[tuple[str, str]] = set()
    for index, each in enumerate(constraints):
        where, key, action = f"{path}[{index}]", each.get("topologyKey") or "", each.get("whenUnsatisfiable") or ""
        if (skew := each.get("maxSkew") or 0) <= 0:
            yield bad_value(f"{where}.maxSkew", skew, "must be greater than zero")
        yield from _topology_key_causes(f"{where}.topologyKey", key)
        if (key, action) in known:
            yield duplicate(f"{where}.{{topologyKey, whenUnsatisfiable}}", f"{{{key}, {action}}}")
        known.add((key, action))
        yield from _min_domains_causes(f"{where}.minDomains", each.get("minDomains"), action)
        yield from selector_causes(f"{where}.labelSelector", each.get("labelSelector"))
        yield from _label_keys_causes(where, "matchLabelKeys", each, "")


def _min_domains_causes(path: str, value: int | None, action: str) -> Iterator[Cause]:
    if value is None:
        return
    if value <= 0:
        yield bad_value(path, value, "must be greater than zero")
    if action != "DoNotSchedule":
        yield bad_value(path, value, "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not " + action)


def _node_term_causes(path: str, term: Mapped) -> Iterator[Cause]:
    for index, expression in enumerate(term.get("matchExpressions") or ()):
        yield from _label_requirement_causes(f"{path}.matchExpressions[{index}]", expression)
    for index, expression in enumerate(term.get("matchFields") or ()):
        yield from _field_requirement_causes(f"{path}.matchFields[{index}]", expression)


def _label_requirement_causes(path: str, expression: Mapped) -> Iterator[Cause]:
    operator, values = expression.get("operator"), expression.get("values") or ()
    if operator in ("In", "NotIn") and not values:
        yield required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'")
    if operator in ("Exists", "DoesNotExist") and values:
        yield not_allowed(f"{path}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
    if operator in ("Gt", "Lt") and len(values) != 1:
        yield required(f"{path}.values", "must be specified single value when `operator` is 'Lt' or 'Gt'")
    for problem in label_key_problems(expression.get("key") or ""):
        yield bad_value(f"{path}.key", expression.get("key") or "", problem)
    for index, value in enumerate(values):
        for problem in label_value_problems(value):
            yield bad_value(f"{path}.values[{index}]", value, problem)


def _field_requirement_causes(path: str, expression: Mapped) -> Iterator[Cause]:
    operator, values, key = expression.get("operator"), expression.get("values") or (), expression.get("key") or ""
    if operator not in ("In", "NotIn"):
        yield bad_value(f"{path}.operator", operator, "not a valid selector operator")
    elif len(values) != 1:
        yield required(
            f"{path}.values", "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
        )
    if key != NAME_FIELD:
        yield bad_value(f"{path}.key", key, "not a valid field selector key")
        return
    for index, value in enumerate(values):
        for problem in dns_subdomain_problems(value):
            yield bad_value(f"{path}.values[{index}]", value, problem)


# --- how a pod that is held back by scheduling gates may change ---


def tightening_causes(spec: Mapped, old: Mapped) -> Iterator[Cause]:
    """While a gate holds a pod back, its wishes about nodes may grow narrower, and never wider (KEP-3838)."""
    selector, before = spec.get("nodeSelector") or {}, old.get("nodeSelector") or {}
    if any(selector.get(key) != value for key, value in before.items()):
        message = "only additions to spec.nodeSelector are allowed (no mutations or deletions)"
        yield bad_value("spec.nodeSelector", selector, message)
    terms, known = _required_terms(spec), _required_terms(old)
    path = f"spec.affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms"
    if not known:
        return
    if len(terms) != len(known):
        yield bad_value(path, terms, "no additions/deletions to non-empty NodeSelectorTerms list are allowed")
        return
    for index, (term, was) in enumerate(zip(terms, known, strict=True)):
        if not _has_only_additions(term, was):
            message = "only additions are allowed (no mutations or deletions)"
            yield bad_value(f"{path}[{index}]", term, message)


def without_node_wishes(spec: Mapped) -> dict[str, Any]:
    """The spec less what `tightening_causes` judges, for comparing the rest."""
    left = {key: value for key, value in spec.items() if key != "nodeSelector"}
    affinity = {key: value for key, value in (spec.get("affinity") or {}).items() if key != "nodeAffinity"}
    left["affinity"] = {key: value for key, value in affinity.items() if value}
    return left


def _required_terms(spec: Mapped) -> Sequence[Mapped]:
    nodes = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    return (nodes.get(REQUIRED) or {}).get("nodeSelectorTerms") or ()


def _has_only_additions(term: Mapped, was: Mapped) -> bool:
    before = [was.get("matchExpressions") or [], was.get("matchFields") or []]
    after = [term.get("matchExpressions") or [], term.get("matchFields") or []]
    # A term without expressions matches nothing, so any expression would widen it.
    if not any(before) and any(after):
        return False
    return all(new[: len(old)] == old for new, old in zip(after, before, strict=True))
