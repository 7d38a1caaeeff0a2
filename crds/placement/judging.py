"""What every node says about one pod, by looking at all of them: the definition of the scheduler's answers.

The scheduler itself answers from tables (`controllers/scheduler`), which property tests hold against this. Whoever
explains a decision, or foretells one, asks here. A judgement costs a look at every pod of the cluster.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from . import scores
from .facts import Demand, NodeState, Offer
from .filters import Refused, Rule, rejection
from .neighbours import Neighbourhood, spread_of
from .relations import NamespaceLabels
from .weights import Weights

NORMALISED = ("taint_toleration", "node_affinity", "pod_topology_spread", "inter_pod_affinity")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why no node would do: how many nodes gave which reason, and which rules they belong to."""

    nodes: int
    reasons: Mapping[str, int]
    rules: frozenset[Rule]

    @property
    def message(self) -> str:
        """The sentence people know from kube-scheduler."""
        if not self.nodes:
            return "no nodes available to schedule pods"
        counted = sorted(f"{count} {reason}" for reason, count in self.reasons.items())
        return f"0/{self.nodes} nodes are available: {', '.join(counted)}."


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one node says. A node that may run the pod has points, any other the rule that refused and its reasons."""

    node: str
    rule: Rule | None = None
    reasons: Sequence[str] = ()
    points: int = 0
    """Hundredths of a point: each score by its weight."""
    parts: Mapping[str, int] = field(default_factory=dict)
    """Every score that counts, 0 to 100, before its weight. Names as in ClusterConfig `schedulingWeights`."""
    tie: int = 0

    @property
    def rank(self) -> tuple[int, int]:
        """For comparing; the larger is better, and of equal ones the first by name."""
        return self.points, self.tie


class Cluster:
    """Nodes, the pods on them, the labels of namespaces, and the weights of scores."""

    def __init__(
        self,
        offers: Iterable[Offer],
        placed: Mapping[str, tuple[str, Demand]],
        namespaces: NamespaceLabels | None = None,
        weights: Weights | None = None,
    ) -> None:
        """`placed`: by uid of the pod the name of its node and its demand."""
        by_node: dict[str, dict[str, Demand]] = {}
        for uid, (name, demand) in placed.items():
            by_node.setdefault(name, {})[uid] = demand
        self.nodes = [NodeState(offer, row) for row, offer in enumerate(offers)]
        for node in self.nodes:
            node.residents = by_node.get(node.offer.name, {})
            for demand in node.residents.values():
                node.take(demand)
        self.namespaces = namespaces or {}
        self.weights = weights or Weights()


def judge(demand: Demand, cluster: Cluster) -> list[Verdict]:
    """What each node says, in the order of the nodes."""
    return judge_nodes(demand, cluster.nodes, cluster.namespaces, cluster.weights)


def judge_nodes(
    demand: Demand, nodes: Sequence[NodeState], namespaces: NamespaceLabels, weights: Weights
) -> list[Verdict]:
    """`judge` for nodes that somebody keeps."""
    around = Neighbourhood(demand, nodes, namespaces, by_default=weights.spreads_by_default)
    refused = [_refused(demand, node, around) for node in nodes]
    feasible = [node for node, no in zip(nodes, refused, strict=True) if no is None]
    found = iter(_scored(demand, feasible, around, weights))
    return [
        next(found) if no is None else Verdict(node.offer.name, *no) for node, no in zip(nodes, refused, strict=True)
    ]


def refusal_of(
    demand: Demand, node: NodeState, nodes: Sequence[NodeState], namespaces: NamespaceLabels, weights: Weights
) -> Refused | None:
    """What one of the nodes says; None when it takes the pod."""
    return _refused(demand, node, Neighbourhood(demand, nodes, namespaces, by_default=weights.spreads_by_default))


def _refused(demand: Demand, node: NodeState, around: Neighbourhood) -> Refused | None:
    if (no := rejection(demand, node)) is not None:
        return no
    if reasons := around.spread_refusal(node.offer):
        return Rule.SPREAD, reasons
    if reasons := around.affinity_refusal(node.offer):
        return Rule.AFFINITY, reasons
    return None


def _scored(
    demand: Demand, feasible: Sequence[NodeState], around: Neighbourhood, weights: Weights
) -> Iterable[Verdict]:
    where, offers = demand.where, [node.offer for node in feasible]
    taints = scores.normalised_taints([scores.soft_taints(where, offer) for offer in offers])
    wishes = scores.normalised_wishes([scores.wished(where, offer) for offer in offers])
    worth = scores.normalised_worth([around.affinity_worth(offer) for offer in offers])
    crowding = [0] * len(feasible)
    if any(not each.is_hard for each in spread_of(demand, by_default=weights.spreads_by_default)):
        crowding = scores.normalised_crowding(around.crowding(feasible))
    for node, *normalised in zip(feasible, taints, wishes, crowding, worth, strict=True):
        parts = dict(zip(NORMALISED, normalised, strict=True))
        points = sum(getattr(weights, name) * each for name, each in parts.items())
        parts["pack_preference"] = scores.pack_preference(where, node.offer)
        points = scores.HUNDREDTHS * (points + weights.pack_preference * parts["pack_preference"])
        points += scores.local_points(demand, node, weights)
        shown = {name: part for name, part in {**parts, **_local_parts(demand, node)}.items() if getattr(weights, name)}
        yield Verdict(node.offer.name, points=points, parts=shown, tie=scores.tie(demand, node, weights))


def _local_parts(demand: Demand, node: NodeState) -> dict[str, int]:
    return {
        "least_allocated": scores.least_allocated(demand, node),
        "most_allocated": scores.most_allocated(demand, node),
        "balanced_allocation": scores.balanced_allocation(demand, node),
        "fewest_pods": scores.fewest_pods(node),
        "best_fit": scores.best_fit(demand, node) // scores.HUNDREDTHS,
    }


def best(verdicts: Iterable[Verdict]) -> str | None:
    """The node to choose; None when every node refuses."""
    allowed = sorted((each for each in verdicts if each.rule is None), key=lambda each: each.node)
    return max(allowed, key=lambda each: each.rank).node if allowed else None


def refuse(verdicts: Iterable[Verdict]) -> Refusal:
    """Count the reasons of nodes that all say no."""
    total = 0
    reasons: Counter[str] = Counter()
    rules: set[Rule] = set()
    for verdict in verdicts:
        total += 1
        reasons.update(verdict.reasons)
        if verdict.rule is not None:
            rules.add(verdict.rule)
    return Refusal(total, reasons, frozenset(rules))
