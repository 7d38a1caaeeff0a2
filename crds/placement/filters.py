"""Which nodes a pod may go to: one pure function a rule, each with the reason people read when it says no.

The wording is kube-scheduler's where the rule is, because people and tools look for those sentences. `FILTERS` is in
Kubernetes' order: the first rule that says no gives a node's reasons. The fixed rules look only at the offer and the
`where` of a demand, so their answers can be kept until one of the two changes; the moving ones also look at what is
taken. The rules that look at other nodes as well, too, are in `neighbours` and come last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum

from ..annotations import ARCH, ISOLATION_PREFIX, RUNTIME_PREFIX, TAINT_UNSCHEDULABLE
from ..tenancy import node_refusal
from .facts import Demand, NodeState, NodeTaint, Offer, Where

UNSCHEDULABLE_TAINT = NodeTaint(TAINT_UNSCHEDULABLE, "", "NoSchedule")
PORTS_TAKEN = "node(s) didn't have free ports for the requested pod ports"
HARD_EFFECTS = frozenset({"NoSchedule", "NoExecute"})


class Rule(StrEnum):
    """The names of the rules, as metrics and the queue know them."""

    UNSCHEDULABLE = "NodeUnschedulable"
    NODE_NAME = "NodeName"
    READY = "NodeReady"
    TAINTS = "TaintToleration"
    SELECTOR = "NodeAffinity"
    RUNTIME = "PackRuntime"
    ISOLATION = "IsolationClass"
    ARCHITECTURE = "PackArchitecture"
    OWNER = "NodeOwner"
    PORTS = "NodePorts"
    RESOURCES = "NodeResourcesFit"
    SPREAD = "PodTopologySpread"
    AFFINITY = "InterPodAffinity"
    PACK = "PackAvailable"
    """Not about nodes: the pack itself is missing. Judged before any node is looked at."""
    GROUP = "PodGroup"
    """Not about nodes: the pod is placed together with others, and they are too few."""


CURED_BY_LEAVING = frozenset({Rule.PORTS, Rule.RESOURCES, Rule.SPREAD, Rule.AFFINITY})
"""The rules that may say yes when pods have left the node."""


def admits(where: Where, offer: Offer) -> Sequence[str]:
    """A cordoned node takes only pods that tolerate the taint of cordoned nodes."""
    if not offer.unschedulable or where.tolerates(UNSCHEDULABLE_TAINT):
        return ()
    return ("node(s) were unschedulable",)


def has_name(where: Where, offer: Offer) -> Sequence[str]:
    """A pod that names its node goes nowhere else."""
    if not where.node_name or where.node_name == offer.name:
        return ()
    return ("node(s) didn't match the requested node name",)


def is_ready(_where: Where, offer: Offer) -> Sequence[str]:
    """The node's agent says that it works."""
    return () if offer.ready else ("node(s) were not ready",)


def is_tolerated(where: Where, offer: Offer) -> Sequence[str]:
    """Every taint that forbids is tolerated; the first one that is not is named."""
    for taint in offer.taints:
        if taint.effect in HARD_EFFECTS and not where.tolerates(taint):
            return (f"node(s) had untolerated taint {{{taint.key}: {taint.value}}}",)
    return ()


def is_selected(where: Where, offer: Offer) -> Sequence[str]:
    """Every key and value of the node selector is a label of the node, and one of the required terms holds."""
    labels = offer.labels
    if all(labels.get(key) == value for key, value in where.selector) and (
        where.required is None or any(term.holds(offer) for term in where.required)
    ):
        return ()
    return ("node(s) didn't match Pod's node affinity/selector",)


def has_runtime(where: Where, offer: Offer) -> Sequence[str]:
    """For each container the node has a runtime that can run it."""
    for runtimes in where.runtimes:
        if not any(RUNTIME_PREFIX + runtime in offer.labels for runtime in runtimes):
            return (f"node(s) didn't have runtime {' or '.join(sorted(runtimes))}",)
    return ()


def can_isolate(where: Where, offer: Offer) -> Sequence[str]:
    """A pod that asks for a class of isolation goes where its agent says that it can give it."""
    if not where.isolation or offer.labels.get(ISOLATION_PREFIX + where.isolation) == "true":
        return ()
    return (f"node(s) couldn't give isolation class {where.isolation}",)


def has_architecture(where: Where, offer: Offer) -> Sequence[str]:
    """There is a bundle for the node's processor."""
    if where.architectures is None or offer.labels.get(ARCH) in where.architectures:
        return ()
    return (f"node(s) didn't match the pack's architectures {{{', '.join(sorted(where.architectures))}}}",)


def is_served(where: Where, offer: Offer) -> Sequence[str]:
    """The node is the pod's owner's or an administrator's, or its owner takes such pods in."""
    reason = node_refusal(where.owner, offer.terms, is_private=where.is_private)
    return (reason,) if reason else ()


def has_ports(demand: Demand, node: NodeState) -> Sequence[str]:
    """No other pod on the node has one of the host ports asked for."""
    if not demand.ports or demand.ports.isdisjoint(node.ports):
        return ()
    return (PORTS_TAKEN,)


def has_resources(demand: Demand, node: NodeState) -> Sequence[str]:
    """What is requested still fits; every resource that does not is named."""
    offer = node.offer
    reasons = []
    if node.pods + 1 > offer.pods:
        reasons.append("Too many pods")
    # As in Kubernetes a pod that asks for nothing fits even on a node that is over-committed.
    if demand.milli_cpu and node.milli_cpu + demand.milli_cpu > offer.milli_cpu:
        reasons.append("Insufficient cpu")
    if demand.memory and node.memory + demand.memory > offer.memory:
        reasons.append("Insufficient memory")
    for name, amount in demand.extended:
        if node.extended[name] + amount > offer.extended.get(name, 0):
            reasons.append(f"Insufficient {name}")
    return reasons


FixedFilter = Callable[[Where, Offer], Sequence[str]]
MovingFilter = Callable[[Demand, NodeState], Sequence[str]]

FIXED_FILTERS: tuple[tuple[Rule, FixedFilter], ...] = (
    (Rule.UNSCHEDULABLE, admits),
    (Rule.NODE_NAME, has_name),
    (Rule.READY, is_ready),
    (Rule.TAINTS, is_tolerated),
    (Rule.SELECTOR, is_selected),
    (Rule.RUNTIME, has_runtime),
    (Rule.ISOLATION, can_isolate),
    (Rule.ARCHITECTURE, has_architecture),
    (Rule.OWNER, is_served),
)
MOVING_FILTERS: tuple[tuple[Rule, MovingFilter], ...] = ((Rule.PORTS, has_ports), (Rule.RESOURCES, has_resources))


def fits(demand: Demand, node: NodeState) -> bool:
    """Whether all moving rules say yes."""
    # Spelled out because it runs for every decision; the rules are those of MOVING_FILTERS.
    offer = node.offer
    if node.pods >= offer.pods or (demand.ports and not demand.ports.isdisjoint(node.ports)):
        return False
    if demand.milli_cpu and node.milli_cpu + demand.milli_cpu > offer.milli_cpu:
        return False
    if demand.memory and node.memory + demand.memory > offer.memory:
        return False
    if not demand.extended:
        return True
    return all(node.extended[name] + amount <= offer.extended.get(name, 0) for name, amount in demand.extended)


Refused = tuple[Rule, Sequence[str]]
"""The first rule that says no, and its reasons."""


def fixed_rejection(where: Where, offer: Offer) -> Refused | None:
    """What the fixed rules say; None when they all say yes."""
    for rule, fixed in FIXED_FILTERS:
        if reasons := fixed(where, offer):
            return rule, reasons
    return None


def rejection(demand: Demand, node: NodeState) -> Refused | None:
    """The first rule about the node itself that says no; None when all say yes."""
    if (refused := fixed_rejection(demand.where, node.offer)) is not None:
        return refused
    for rule, moving in MOVING_FILTERS:
        if reasons := moving(demand, node):
            return rule, reasons
    return None
