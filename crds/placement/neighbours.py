"""The rules about other pods, by their plain definitions: pod affinity, anti-affinity, topology spread.

A `Neighbourhood` is what one pod finds in a cluster, gathered once by looking at every pod; then it judges each node.
The arithmetic is kube-scheduler's (InterPodAffinity, PodTopologySpread). The scheduler keeps the same numbers in tables
and property tests hold the two against each other: whoever changes a rule here changes it there.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from ..annotations import HOSTNAME, ZONE
from .facts import Demand, NodeState, Offer
from .filters import admits, is_selected, is_tolerated
from .relations import NamespaceLabels, PodTerm, Profile, Relations, Spread, of_one_owner

NEAR_REFUSED = "node(s) didn't match pod affinity rules"
APART_REFUSED = "node(s) didn't match pod anti-affinity rules"
KEPT_AWAY = "node(s) didn't satisfy existing pods anti-affinity rules"
SKEWED = "node(s) didn't match pod topology spread constraints"
UNLABELLED = "node(s) didn't match pod topology spread constraints (missing required label)"

NEAR_NEEDED_WORTH = 1
"""What a pod counts for whose required affinity means the newcomer (Kubernetes' hardPodAffinityWeight)."""
DEFAULT_SKEWS = ((ZONE, 5), (HOSTNAME, 3))
"""How an owner's pods are spread that do not say it themselves (Kubernetes' system defaults)."""

Place = tuple[str, str]
"""A label of nodes and its value."""


def spread_of(demand: Demand, *, by_default: bool) -> tuple[Spread, ...]:
    """The constraints that hold for a pod: its own, or else those that every owner's pods have."""
    if demand.relations.spread or not by_default or not demand.owner:
        return demand.relations.spread
    group = of_one_owner(demand.owner)
    return tuple(Spread(group, key, skew, is_hard=False) for key, skew in DEFAULT_SKEWS)


def counts_node(spread: Spread, demand: Demand, offer: Offer) -> bool:
    """Whether the pods of a node are counted: its policies may leave out nodes where this pod cannot go."""
    where = demand.where
    if spread.honors_affinity and is_selected(where, offer):
        return False
    return not (spread.honors_taints and (is_tolerated(where, offer) or admits(where, offer)))


def spread_points(counts: Iterable[tuple[int, Spread, float]]) -> int:
    """How crowded a node's places are: for each constraint its count, itself, and the logarithm of its places."""
    total = 0.0
    for count, spread, factor in counts:
        total += count * factor + (spread.max_skew - 1)
    return math.floor(total + 0.5)


def place_factor(places: int) -> float:
    """What one pod counts for when there are so many places: with many, each has few."""
    return math.log(places + 2)


class Neighbourhood:
    """One pod's view of all others."""

    def __init__(
        self, demand: Demand, nodes: Sequence[NodeState], namespaces: NamespaceLabels, *, by_default: bool
    ) -> None:
        self._demand = demand
        self._nodes = nodes
        self._namespaces = namespaces
        constraints = spread_of(demand, by_default=by_default)
        self._hard = [each for each in constraints if each.is_hard]
        self._soft = [each for each in constraints if not each.is_hard]
        self._needs_labels = bool(demand.relations.spread)
        self._near: Counter[Place] = Counter()
        self._apart: Counter[Place] = Counter()
        self._kept: Counter[Place] = Counter()
        self._worth: Counter[Place] = Counter()
        for node in nodes:
            for resident in node.residents.values():
                self._meet(resident, node.offer.labels)
        self._hard_counts = [self._count(each, self._hard) for each in self._hard]

    # --- what is found ---

    def _means(self, term: PodTerm, pod: Profile) -> bool:
        return term.group.has(pod, self._namespaces)

    def _meet(self, resident: Demand, labels: Mapping[str, str]) -> None:
        ours, pod, me = self._demand.relations, resident.profile, self._demand.profile
        if ours.near and all(self._means(term, pod) for term in ours.near):
            _add(self._near, ours.near, labels)
        _add(self._apart, [term for term in ours.apart if self._means(term, pod)], labels)
        for worth, term in ours.preferred:
            if self._means(term, pod):
                _add(self._worth, [term], labels, worth)
        theirs = resident.relations
        _add(self._kept, [term for term in theirs.apart if self._means(term, me)], labels)
        for worth, term in worths(theirs):
            if self._means(term, me):
                _add(self._worth, [term], labels, worth)

    def _count(self, spread: Spread, together: Sequence[Spread]) -> Counter[str]:
        """The pods of each place; a place of counted nodes is there with 0 pods, too. Nodes that lack the label of one of
        the constraints `together` are not counted."""
        found: Counter[str] = Counter()
        for node in self._nodes:
            labels = node.offer.labels
            if any(each.topology_key not in labels for each in together):
                continue
            if spread.topology_key in labels and counts_node(spread, self._demand, node.offer):
                found[labels[spread.topology_key]] += self._members(spread, node)
        return found

    def _members(self, spread: Spread, node: NodeState) -> int:
        pods = (resident.profile for resident in node.residents.values())
        return sum(not pod.is_leaving and spread.group.has(pod, self._namespaces) for pod in pods)

    # --- what forbids ---

    def spread_refusal(self, offer: Offer) -> Sequence[str]:
        """Placing the pod here would break no bound of its own."""
        for spread, counts in zip(self._hard, self._hard_counts, strict=True):
            value = offer.labels.get(spread.topology_key)
            if value is None:
                return (UNLABELLED,)
            fewest = min(counts.values(), default=0) if len(counts) >= spread.min_domains else 0
            itself = spread.group.has(self._demand.profile, self._namespaces)
            if counts[value] + itself - fewest > spread.max_skew:
                return (SKEWED,)
        return ()

    def affinity_refusal(self, offer: Offer) -> Sequence[str]:
        """There is somebody it must be near to, nobody it must be apart from, and nobody who wants it away."""
        labels = offer.labels
        if not self._is_near(labels):
            return (NEAR_REFUSED,)
        if any(self._at(self._apart, term.topology_key, labels) for term in self._demand.relations.apart):
            return (APART_REFUSED,)
        if any(labels.get(key) == value for key, value in self._kept):
            return (KEPT_AWAY,)
        return ()

    def _is_near(self, labels: Mapping[str, str]) -> bool:
        near = self._demand.relations.near
        if any(term.topology_key not in labels for term in near):
            return False
        # The first of a group that belongs together has nobody to be near to yet.
        if not self._near and all(self._means(term, self._demand.profile) for term in near):
            return True
        return all(self._at(self._near, term.topology_key, labels) for term in near)

    def _at(self, found: Counter[Place], key: str, labels: Mapping[str, str]) -> int:
        return found[key, labels[key]] if key in labels else 0

    # --- what is better ---

    def affinity_worth(self, offer: Offer) -> int:
        """The sum of what the pods in the node's places are worth."""
        labels = offer.labels
        return sum(worth for (key, value), worth in self._worth.items() if labels.get(key) == value)

    def crowding(self, feasible: Sequence[NodeState]) -> list[int | None]:
        """For each feasible node how crowded its places are; None when it lacks a label of the pod's own constraints."""
        soft = self._soft
        keys = [each.topology_key for each in soft]
        offers = [node.offer.labels for node in feasible]
        scored = [labels for labels in offers if not self._needs_labels or all(key in labels for key in keys)]
        factors = [place_factor(len({labels[key] for labels in scored if key in labels})) for key in keys]
        counts = [self._count(spread, soft if self._needs_labels else ()) for spread in soft]
        parts = list(zip(soft, factors, counts, strict=True))
        return [self._crowded(labels, parts) for labels in offers]

    def _crowded(self, labels: Mapping[str, str], parts: Sequence[tuple[Spread, float, Counter[str]]]) -> int | None:
        keys = [spread.topology_key for spread, _, _ in parts]
        if self._needs_labels and any(key not in labels for key in keys):
            return None
        known = [part for part in parts if part[0].topology_key in labels]
        return spread_points((counts[labels[spread.topology_key]], spread, factor) for spread, factor, counts in known)


def worths(carried: Relations) -> Iterable[tuple[int, PodTerm]]:
    """What a placed pod's terms are worth to a newcomer whom they mean."""
    yield from ((NEAR_NEEDED_WORTH, term) for term in carried.near)
    yield from carried.preferred


def _add(found: Counter[Place], terms: Iterable[PodTerm], labels: Mapping[str, str], amount: int = 1) -> None:
    for term in terms:
        if (value := labels.get(term.topology_key)) is not None:
            found[term.topology_key, value] += amount
