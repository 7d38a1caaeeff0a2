"""Which of the allowed nodes is the better one.

In this order: the kind of node the pack prefers and the taints it would rather avoid (together: the reluctance), the
share of the node that stays free (the more the better, or the less where the cluster fills its nodes one by one), fewer
pods of the same owner, and at last the name, so that the same cluster always gives the same answer. The order is packed
into one integer, more is better, which is what lets a table of nodes be searched at once.
"""

from __future__ import annotations

from stark.crds.annotations import NODE_TYPE, NODE_TYPE_BROWSER
from stark.crds.placement.facts import Demand, NodeState, Offer, Where

RELUCTANCE_MAX = 255
TAINTS_COUNTED_MAX = 127
BROWSER_RELUCTANCE = 128
"""More than all taints together: a browser tab comes and goes, so a pack that runs on both belongs on a server."""

SCORE_MAX = 100
OWNED_MAX = (1 << 20) - 1
NODES_MAX = (1 << 20) - 1
"""Rows that the packed key can tell apart; a cluster has fewer nodes than that."""

RANK_BITS = 20
OWNED_BITS = 20
SCORE_BITS = 7


def reluctance(where: Where, offer: Offer) -> int:
    """How unwelcome the node is although allowed, 0 to RELUCTANCE_MAX."""
    count = 0
    if offer.taints:
        count = sum(t.effect == "PreferNoSchedule" and not where.tolerates(t) for t in offer.taints)
    either = any("browser" in runtimes and len(runtimes) > 1 for runtimes in where.runtimes)
    browser = either and offer.labels.get(NODE_TYPE) == NODE_TYPE_BROWSER
    return min(count, TAINTS_COUNTED_MAX) + (BROWSER_RELUCTANCE if browser else 0)


def least_allocated(demand: Demand, node: NodeState) -> int:
    """The mean of the shares of cpu and memory left free after placing the pod, 0 to 100 (Kubernetes' arithmetic)."""
    offer = node.offer
    cpu = _free_share(offer.milli_cpu, node.scored_milli_cpu + demand.scored_milli_cpu)
    memory = _free_share(offer.memory, node.scored_memory + demand.scored_memory)
    return (cpu + memory) // 2


def _free_share(capacity: int, taken: int) -> int:
    return (capacity - taken) * SCORE_MAX // capacity if 0 < capacity >= taken else 0


def share(demand: Demand, node: NodeState, *, fills: bool) -> int:
    """The part of the score that is about room, 0 to 100: emptier is better, or fuller when nodes are to be filled."""
    free = least_allocated(demand, node)
    return SCORE_MAX - free if fills else free


def owned(demand: Demand, node: NodeState) -> int:
    """How many pods of the same owner the node has."""
    return node.owners[demand.owner] if demand.owner else 0


def preference(reluctance: int, score: int, owned: int) -> int:
    """The three packed into one integer that is larger for the better node."""
    key = (RELUCTANCE_MAX - reluctance) << SCORE_BITS | score
    return key << OWNED_BITS | (OWNED_MAX - min(owned, OWNED_MAX))


def prefer(demand: Demand, node: NodeState, *, fills: bool = False) -> int:
    """`preference` of one allowed node."""
    return preference(reluctance(demand.where, node.offer), share(demand, node, fills=fills), owned(demand, node))
