"""What each score says of a node, and that the cluster's policy and weights are read."""

from __future__ import annotations

from typing import Any

import pytest

from stark.crds.cluster import ClusterConfigSpec
from stark.crds.placement import scores
from stark.crds.placement.facts import Demand, NodeState, NodeTaint, NodeTerm, Offer, PodToleration, Where
from stark.crds.placement.judging import Cluster, best, judge
from stark.crds.placement.weights import POLICIES, Weights
from stark.crds.selectors import IN, Requirement

GIB = 1 << 30


def node(*taken: Demand, cpu: int = 1000, memory: int = GIB, **more: Any) -> NodeState:
    state = NodeState(Offer("n", cpu, memory, 110, **more), 0)
    for demand in taken:
        state.take(demand)
    return state


def asks(cpu: int = 0, memory: int = 0) -> Demand:
    return Demand(milli_cpu=cpu, memory=memory)


@pytest.mark.parametrize(
    ("demand", "there", "least", "most"),
    [
        pytest.param(asks(500, GIB // 2), node(), 50, 50, id="half"),
        pytest.param(asks(250, GIB // 2), node(asks(250, 0)), 40, 59, id="a pod without requests counts a little"),
        pytest.param(asks(1000, GIB), node(), 0, 100, id="full"),
        pytest.param(asks(100, 0), node(asks(1000, GIB)), 0, 100, id="over-committed"),
        pytest.param(asks(100, 0), node(cpu=0, memory=0), 0, 0, id="a node that says nothing"),
    ],
)
def test_room_is_scored_before_and_behind(demand: Demand, there: NodeState, least: int, most: int) -> None:
    assert (scores.least_allocated(demand, there), scores.most_allocated(demand, there)) == (least, most)


@pytest.mark.parametrize(
    ("demand", "there", "score"),
    [
        pytest.param(asks(500, GIB // 2), node(), 100, id="alike"),
        pytest.param(asks(1000, 0), node(), 50, id="all of one, none of the other"),
        pytest.param(asks(500, GIB // 4), node(), 87, id="half and a quarter"),
        pytest.param(asks(), node(asks(1000, 0)), 0, id="a pod that asks for nothing changes no balance"),
        pytest.param(asks(500, 0), node(memory=0), 100, id="nothing to compare with"),
    ],
)
def test_balance_is_how_alike_the_fractions_are(demand: Demand, there: NodeState, score: int) -> None:
    assert scores.balanced_allocation(demand, there) == score


@pytest.mark.parametrize(("pods", "score"), [(0, 100), (1, 90), (9, 10), (10, 0), (50, 0)])
def test_every_pod_takes_ten_points_off(pods: int, score: int) -> None:
    assert scores.fewest_pods(node(*[asks()] * pods)) == score


def test_the_best_fit_leaves_the_smallest_sum_of_fractions() -> None:
    demand = asks(500, GIB // 2)
    assert scores.best_fit(demand, node()) == 5000
    assert scores.best_fit(demand, node(asks(500, GIB // 2))) == 10_000
    assert scores.best_fit(demand, node(cpu=1000, memory=2 * GIB)) == 10_000 - 2500 - 3750
    assert scores.best_fit(demand, node(cpu=0, memory=0)) == 0


def offers(*sizes: tuple[int, int]) -> list[Offer]:
    return [Offer(f"n{index}", cpu, memory * GIB, 110) for index, (cpu, memory) in enumerate(sizes)]


@pytest.mark.parametrize(
    ("policy", "chosen"),
    [("spread", "n2"), ("leastLoaded", "n2"), ("balanced", "n1"), ("binpack", "n3"), ("bestFit", "n3")],
)
def test_a_policy_chooses_its_node(policy: Any, chosen: str) -> None:
    # n1 is used evenly, n2 is the emptiest, n3 the fullest.
    there = {"a": ("n1", asks(3000, 3 * GIB)), "b": ("n3", asks(5000, 7 * GIB)), "c": ("n2", asks(0, 3 * GIB))}
    cluster = Cluster(offers((0, 0), (8000, 8), (9000, 9), (8000, 9)), there, None, POLICIES[policy])
    cluster.nodes[0].take(Demand(extended=(("x", 1),)))  # n0 has no room for anything that asks
    assert best(judge(asks(1000, GIB), cluster)) == chosen


def test_equal_fits_go_to_the_node_with_fewer_free_cpus() -> None:
    cluster = Cluster(offers((8000, 8), (4000, 4)), {}, None, POLICIES["bestFit"])
    cluster.nodes[0].take(asks(4000, 4 * GIB))
    cluster.nodes[1].take(asks(1000, GIB))
    # Both keep a quarter of each after placing: 8000 less 6000, 4000 less 3000.
    first, second = judge(asks(2000, 2 * GIB), cluster)
    assert first.points == second.points
    assert best([first, second]) == "n1"


@pytest.mark.parametrize(
    ("raw", "wishes", "taints", "worth", "crowding"),
    [
        pytest.param([0, 5, 10], [0, 50, 100], [100, 50, 0], [0, 50, 100], [100, 50, 0], id="in proportion"),
        pytest.param([3, 4], [75, 100], [25, 0], [0, 100], [100, 75], id="from the least or from zero"),
        pytest.param([0, 0], [0, 0], [100, 100], [0, 0], [100, 100], id="nothing anywhere"),
        pytest.param([7, 7], [100, 100], [0, 0], [0, 0], [100, 100], id="the same everywhere"),
        pytest.param([], [], [], [], [], id="no node"),
    ],
)
def test_feasible_nodes_are_compared_with_one_another(
    raw: list[int], wishes: list[int], taints: list[int], worth: list[int], crowding: list[int]
) -> None:
    assert scores.normalised_wishes(raw) == wishes
    assert scores.normalised_taints(raw) == taints
    assert scores.normalised_worth(raw) == worth
    assert scores.normalised_crowding(raw) == crowding


def test_a_node_that_cannot_be_compared_has_no_points() -> None:
    assert scores.normalised_crowding([None, 4, 2]) == [0, 50, 100]


def test_the_weights_of_terms_that_hold_are_added() -> None:
    here, there = (NodeTerm((Requirement("zone", IN, (zone,)),)) for zone in "ab")
    where = Where(preferred=((10, here), (5, here), (50, there), (7, NodeTerm())))
    assert scores.wished(where, Offer("n", labels={"zone": "a"})) == 15


def test_only_soft_taints_that_are_not_tolerated_count() -> None:
    taints = (NodeTaint("a", "", "PreferNoSchedule"), NodeTaint("b", "", "PreferNoSchedule"))
    where = Where(tolerations=(PodToleration("a", "Exists", "", ""),))
    assert scores.soft_taints(where, Offer("n", taints=taints)) == 1


@pytest.mark.parametrize(
    ("runtimes", "node_type", "score"),
    [
        pytest.param({"node", "browser"}, "browser", 0, id="a browser is second choice for what runs on both"),
        pytest.param({"node", "browser"}, "server", 100, id="a server is first choice"),
        pytest.param({"browser"}, "browser", 100, id="what runs in browsers only has no other choice"),
    ],
)
def test_servers_come_before_browsers(runtimes: set[str], node_type: str, score: int) -> None:
    where = Where(runtimes=(frozenset(runtimes),))
    assert scores.pack_preference(where, Offer("n", labels={"stark.dev/node-type": node_type})) == score


def test_the_cluster_chooses_policy_and_weights() -> None:
    given = {"schedulingPolicy": "binpack", "schedulingWeights": {"nodeAffinity": 0, "bestFit": 9}}
    weights = Weights.of(ClusterConfigSpec.model_validate(given))
    assert (weights.most_allocated, weights.least_allocated, weights.spreads_by_default) == (1, 0, False)
    assert (weights.node_affinity, weights.best_fit) == (0, 9)
    assert Weights.of(ClusterConfigSpec()) == Weights()
