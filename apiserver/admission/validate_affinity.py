"""What is wrong with a pod's wishes about nodes, and how they may change. Kubernetes' wording and paths."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stark.crds.names import dns_subdomain_problems, label_key_problems, label_value_problems

from ..errors import Cause
from .complaints import bad_value, not_allowed, required

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
