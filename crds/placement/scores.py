"""Which of the allowed nodes is the better one: scores from 0 to 100, each counted by its weight.

Scores about the node alone can be kept until it changes. The others are Kubernetes' normalised ones: what they say of a
node depends on what the other feasible nodes are like. A total is a whole number of hundredths of a point, because the
best fit is that fine. Ties go to the node with fewer pods of the same owner (for the best fit: with fewer free cpus) and
then by name, so that the same cluster always gives the same answer.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..annotations import NODE_TYPE, NODE_TYPE_BROWSER
from .facts import Demand, NodeState, Offer, Where
from .weights import Weights

SCORE_MAX = 100
HUNDREDTHS = 100
FIT_MAX = SCORE_MAX * HUNDREDTHS
POINTS_OFF_A_POD = 10
"""What `fewest_pods` takes off for each pod on the node."""
TIE_MAX = (1 << 20) - 1
"""Pods of one owner on a node, or its free thousandths of cpus, that ties can tell apart."""

# --- about the node alone ---


def least_allocated(demand: Demand, node: NodeState) -> int:
    """The mean of the shares of cpu and memory left free after placing the pod."""
    offer = node.offer
    cpu = _free_share(offer.milli_cpu, node.scored_milli_cpu + demand.scored_milli_cpu)
    memory = _free_share(offer.memory, node.scored_memory + demand.scored_memory)
    return (cpu + memory) // 2


def _free_share(capacity: int, taken: int) -> int:
    return (capacity - taken) * SCORE_MAX // capacity if 0 < capacity >= taken else 0


def most_allocated(demand: Demand, node: NodeState) -> int:
    """The mean of the shares of cpu and memory taken after placing the pod; what is over-committed is full."""
    offer = node.offer
    cpu = _taken_share(offer.milli_cpu, node.scored_milli_cpu + demand.scored_milli_cpu)
    memory = _taken_share(offer.memory, node.scored_memory + demand.scored_memory)
    return (cpu + memory) // 2


def _taken_share(capacity: int, taken: int) -> int:
    return min(taken, capacity) * SCORE_MAX // capacity if capacity > 0 else 0


def balanced_allocation(demand: Demand, node: NodeState) -> int:
    """How alike the fractions of cpu and memory are that are requested; 0 for a pod that requests neither."""
    if not demand.milli_cpu and not demand.memory:
        return 0
    offer = node.offer
    if offer.milli_cpu <= 0 or offer.memory <= 0:
        return SCORE_MAX
    cpu = min((node.milli_cpu + demand.milli_cpu) / offer.milli_cpu, 1.0)
    memory = min((node.memory + demand.memory) / offer.memory, 1.0)
    return int((1.0 - abs(cpu - memory) / 2) * SCORE_MAX)


def fewest_pods(node: NodeState) -> int:
    """Fewer points for every pod that is there."""
    return max(0, SCORE_MAX - POINTS_OFF_A_POD * node.pods)


def best_fit(demand: Demand, node: NodeState) -> int:
    """In hundredths: the smaller the sum of what is left of cpu and memory, as fractions, the better."""
    offer = node.offer
    cpu = _left_over(offer.milli_cpu, node.milli_cpu + demand.milli_cpu)
    memory = _left_over(offer.memory, node.memory + demand.memory)
    return FIT_MAX - cpu - memory


def _left_over(capacity: int, taken: int) -> int:
    # A node that does not tell what it has counts as empty: it is the last choice.
    return max(0, capacity - taken) * (FIT_MAX // 2) // capacity if capacity > 0 else FIT_MAX // 2


def pack_preference(where: Where, offer: Offer) -> int:
    """A browser tab comes and goes, so a pack that runs on both belongs on a server."""
    either = any("browser" in runtimes and len(runtimes) > 1 for runtimes in where.runtimes)
    return 0 if either and offer.labels.get(NODE_TYPE) == NODE_TYPE_BROWSER else SCORE_MAX


def local_points(demand: Demand, node: NodeState, weights: Weights) -> int:
    """The weighted sum of the scores about the node alone, in hundredths, but for the pack's preference."""
    points = 0
    if weights.least_allocated:
        points += weights.least_allocated * least_allocated(demand, node)
    if weights.most_allocated:
        points += weights.most_allocated * most_allocated(demand, node)
    if weights.balanced_allocation:
        points += weights.balanced_allocation * balanced_allocation(demand, node)
    if weights.fewest_pods:
        points += weights.fewest_pods * fewest_pods(node)
    points *= HUNDREDTHS
    return points + weights.best_fit * best_fit(demand, node) if weights.best_fit else points


def tie(demand: Demand, node: NodeState, weights: Weights) -> int:
    """Among nodes of equal points the one with the larger number is chosen."""
    if weights.best_fit:
        return TIE_MAX - max(0, min(node.offer.milli_cpu - node.milli_cpu, TIE_MAX))
    return TIE_MAX - min(node.owners[demand.owner], TIE_MAX) if demand.owner else TIE_MAX


# --- about the node among the feasible ones ---


def soft_taints(where: Where, offer: Offer) -> int:
    """How many PreferNoSchedule taints the pod does not tolerate."""
    if not offer.taints:
        return 0
    return sum(taint.effect == "PreferNoSchedule" and not where.tolerates(taint) for taint in offer.taints)


def wished(where: Where, offer: Offer) -> int:
    """The sum of the weights of the preferred terms that hold."""
    return sum(weight for weight, term in where.preferred if term.holds(offer))


def normalised_wishes(raw: Sequence[int]) -> list[int]:
    """100 for the most wished for, in proportion for the others."""
    most = max(raw, default=0)
    return [SCORE_MAX * each // most if most else 0 for each in raw]


def normalised_taints(raw: Sequence[int]) -> list[int]:
    """0 for the most taints, 100 for none."""
    most = max(raw, default=0)
    return [SCORE_MAX - (SCORE_MAX * each // most if most else 0) for each in raw]


def normalised_worth(raw: Sequence[int]) -> list[int]:
    """0 for the least, 100 for the most; 0 for all when they are equal."""
    least, most = min(raw, default=0), max(raw, default=0)
    return [int(SCORE_MAX * ((each - least) / (most - least))) if most > least else 0 for each in raw]


def normalised_crowding(raw: Sequence[int | None]) -> list[int]:
    """100 for the least crowded; 0 for nodes that cannot be compared."""
    known = [each for each in raw if each is not None]
    least, most = min(known, default=0), max(known, default=0)
    return [0 if each is None else SCORE_MAX * (most + least - each) // most if most else SCORE_MAX for each in raw]
