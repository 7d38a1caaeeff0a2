"""What a pod's affinity and spread constraints say, read once into values."""

from __future__ import annotations

from collections.abc import Iterable

from ..affinity import (
    Affinity,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    PodAffinityTerm,
    TopologySpreadConstraint,
)
from ..labels import LabelSelector
from ..pods import PodSpec
from ..selectors import EXISTS, GREATER, IN, LESS, NOT_EXISTS, NOT_IN, NOTHING, Requirement, Selector, SelectorError
from ..tenancy import NOBODY, Owner
from .facts import NodeTerm
from .relations import NO_RELATIONS, Group, PodTerm, Relations, Spread

_OPERATORS = {"In": IN, "NotIn": NOT_IN, "Exists": EXISTS, "DoesNotExist": NOT_EXISTS, "Gt": GREATER, "Lt": LESS}


def required_terms(affinity: Affinity | None) -> tuple[NodeTerm, ...] | None:
    """The required node affinity; None when there is none."""
    nodes = affinity.node_affinity if affinity is not None else None
    required = nodes.required_during_scheduling_ignored_during_execution if nodes is not None else None
    return None if required is None else tuple(_node_term(term) for term in required.node_selector_terms)


def preferred_terms(affinity: Affinity | None) -> tuple[tuple[int, NodeTerm], ...]:
    """The preferred node affinity, with its weights."""
    nodes = affinity.node_affinity if affinity is not None else None
    preferred = nodes.preferred_during_scheduling_ignored_during_execution if nodes is not None else ()
    return tuple((each.weight, _node_term(each.preference)) for each in preferred)


def _node_term(term: NodeSelectorTerm) -> NodeTerm:
    return NodeTerm(_requirements(term.match_expressions), _requirements(term.match_fields))


def _requirements(found: Iterable[NodeSelectorRequirement]) -> tuple[Requirement, ...]:
    return tuple(Requirement(each.key, _OPERATORS[each.operator], tuple(sorted(each.values))) for each in found)


def relations_of(spec: PodSpec, namespace: str, whose: Owner = NOBODY) -> Relations:
    """What the pod says about others. `namespace` is its own, which is meant where none is named; `whose` its owner."""
    whose = whose if whose.is_restricted else NOBODY  # for all others it is the same who says it
    spread = tuple(_spread(each, namespace, whose) for each in spec.topology_spread_constraints)
    affinity = spec.affinity
    near = affinity.pod_affinity if affinity is not None else None
    apart = affinity.pod_anti_affinity if affinity is not None else None
    if near is None and apart is None:
        return Relations(spread=spread) if spread else NO_RELATIONS
    preferred: list[tuple[int, PodTerm]] = []
    for sign, side in ((1, near), (-1, apart)):
        if side is not None:
            for each in side.preferred_during_scheduling_ignored_during_execution:
                preferred.append((sign * each.weight, _pod_term(each.pod_affinity_term, namespace, whose)))
    return Relations(
        near=_pod_terms(near.required_during_scheduling_ignored_during_execution if near else (), namespace, whose),
        apart=_pod_terms(apart.required_during_scheduling_ignored_during_execution if apart else (), namespace, whose),
        preferred=tuple(preferred),
        spread=spread,
    )


def _pod_terms(terms: Iterable[PodAffinityTerm], namespace: str, whose: Owner) -> tuple[PodTerm, ...]:
    return tuple(_pod_term(term, namespace, whose) for term in terms)


def _pod_term(term: PodAffinityTerm, namespace: str, whose: Owner) -> PodTerm:
    further = term.namespace_selector
    own = not term.namespaces and further is None
    names = frozenset((namespace,) if own else term.namespaces)
    return PodTerm(
        Group(_selector(term.label_selector), names, _selector(further) if further is not None else None, whose=whose),
        term.topology_key,
    )


def _spread(constraint: TopologySpreadConstraint, namespace: str, whose: Owner) -> Spread:
    return Spread(
        group=Group(_selector(constraint.label_selector), frozenset((namespace,)), whose=whose),
        topology_key=constraint.topology_key,
        max_skew=constraint.max_skew,
        is_hard=constraint.when_unsatisfiable == "DoNotSchedule",
        min_domains=constraint.min_domains or 1,
        honors_affinity=constraint.node_affinity_policy != "Ignore",
        honors_taints=constraint.node_taints_policy == "Honor",
    )


def _selector(selector: LabelSelector | None) -> Selector:
    if selector is None:
        return NOTHING
    try:
        return selector.compiled()
    except SelectorError:
        return NOTHING  # nothing that admission lets in
