"""What a pod is in besides nodes: lower pods that could make way for it, its group, room that is kept for others.

For explanations, by looking at everything. The scheduler finds the same by searches that remember (`controllers/scheduler`);
where its search ends early because it has found enough, it may settle on another node than the best of all.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from .facts import Demand, NodeState
from .filters import CURED_BY_LEAVING, rejection
from .judging import Cluster, Verdict, refusal_of
from .victims import Budget, Plan, Resident, going, plan

LOOKS_MAX = 2_000_000
"""Pods that are looked at where pods' wishes about each other matter, each question being a look at every pod. In a cluster
where that is too little, only the first nodes are asked about."""
LOOKS_A_NODE = 8
"""Questions that the plan of a node takes, about."""
PLANS_MAX = 500
"""Nodes where making way would help among which the best is chosen; it is hardly better among more."""
GHOST = "nominated/"
"""Before the uid of a pod for which room is kept, where that counts as taken."""


@dataclass(frozen=True, slots=True)
class Membership:
    """The group that a pod is placed with."""

    name: str
    min_member: int | None
    """None when there is no such group."""
    members: int
    """Those that are there and wait or have a node, the pod itself included."""
    placed: int
    """Those that have a node."""


@dataclass(frozen=True, slots=True)
class Kept:
    """Room that is kept on a node until others have left it."""

    node: str
    pod: str
    """`namespace/name` of the pod for which."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What there is to know besides nodes and what is placed on them."""

    residents: Mapping[str, Resident] = field(default_factory=dict)
    """The placed pods, by the uid under which they are placed."""
    budgets: Sequence[Budget] = ()
    preempts: bool = False
    """Whether lower pods are made to go at all."""
    group: Membership | None = None
    kept: Sequence[Kept] = ()
    """For other pods; it counts as taken."""


ALONE = Situation()


def make_way(
    demand: Demand, priority: int, cluster: Cluster, verdicts: Sequence[Verdict], situation: Situation
) -> Plan | None:
    """The plan that hurts least; None when nobody's going helps."""
    nodes = {node.offer.name: node for node in cluster.nodes}
    candidates = [each.node for each in verdicts if each.rule in CURED_BY_LEAVING]
    is_related = _minds_others(demand, cluster)
    if is_related:
        pods = sum(len(node.residents) + 1 for node in cluster.nodes)
        del candidates[max(1, LOOKS_MAX // (LOOKS_A_NODE * pods)) :]

    def accepts(name: str, gone: Collection[str]) -> bool:
        left = _without(nodes[name], gone)
        if not is_related:
            return rejection(demand, left) is None
        others = [left if node.offer.name == name else node for node in cluster.nodes]
        return refusal_of(demand, left, others, cluster.namespaces, cluster.weights) is None

    budgets: dict[str, list[Budget]] = {}
    for budget in situation.budgets:
        budgets.setdefault(budget.namespace, []).append(budget)
    plans: list[Plan] = []
    for name in candidates:
        there = [known for uid in nodes[name].residents if (known := situation.residents.get(uid)) is not None]
        lower = {pod.uid for pod in there if pod.priority < priority}
        if not lower or not accepts(name, lower):
            continue  # before anything is asked about budgets
        near = [budget for namespace in {pod.namespace for pod in there} for budget in budgets.get(namespace, ())]
        if (found := plan(name, going(there, priority, near), accepts)) is not None:
            plans.append(found)
            if len(plans) >= PLANS_MAX:
                break
    return min(plans, key=lambda each: (each.cost, each.node), default=None)


def _minds_others(demand: Demand, cluster: Cluster) -> bool:
    """Whether a rule about other pods may refuse it."""
    wishes = demand.relations
    if wishes.near or wishes.apart or any(each.is_hard for each in wishes.spread):
        return True
    return any(other.relations.apart for node in cluster.nodes for other in node.residents.values())


def _without(node: NodeState, gone: Collection[str]) -> NodeState:
    left = NodeState(node.offer, node.row)
    left.residents = {uid: demand for uid, demand in node.residents.items() if uid not in gone}
    for demand in left.residents.values():
        left.take(demand)
    return left
