"""The scheduler's tables against its definition: after any history both name the same node, or both none.

Histories are drawn from seeds by our own dice instead of Hypothesis: rules about other pods say something only in a
cluster that is mostly healthy and well filled, and thousands of decisions are needed to see each of them matter.
"""

from __future__ import annotations

import random
from dataclasses import fields
from types import ModuleType
from typing import Any, TypeVar

import pytest

from stark.controllers.scheduler import crowding, snapshot, topology
from stark.controllers.scheduler.snapshot import Snapshot
from stark.crds.placement.facts import NAME_FIELD, Demand, HostPort, NodeTaint, NodeTerm, Offer, PodToleration, Where
from stark.crds.placement.filters import CURED_BY_LEAVING
from stark.crds.placement.judging import Cluster, Verdict, best, judge, judge_nodes, refuse
from stark.crds.placement.relations import Group, PodTerm, Profile, Relations, Spread
from stark.crds.placement.weights import POLICIES, Weights
from stark.crds.selectors import EXISTS, IN, NOTHING, Requirement, Selector

T = TypeVar("T")
ZONE, HOSTNAME = "topology.kubernetes.io/zone", "kubernetes.io/hostname"
GIB = 1 << 30
NODES = 7
STEPS = 60
IN_ZONE_A = NodeTerm((Requirement(ZONE, IN, ("a",)),))
ON_N2 = NodeTerm((), (Requirement(NAME_FIELD, IN, ("n2",)),))
HAS_HOST = NodeTerm((Requirement(HOSTNAME, EXISTS),))
X, Y = (Selector((Requirement("app", IN, (value,)),)) for value in "xy")
RED = Selector((Requirement("team", IN, ("red",)),))


class Dice:
    """Nodes, pods and events from a seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.pick = self._random.choice

    def rarely(self, what: T, otherwise: T, one_in: int = 6) -> T:
        return what if self._random.randrange(one_in) == 0 else otherwise

    def some(self, most: int, of: list[T]) -> tuple[T, ...]:
        return tuple(self.pick(of) for _ in range(self._random.randint(0, most)))

    # --- nodes ---

    def offer(self) -> Offer:
        name = f"n{self._random.randrange(NODES)}"
        labels = {ZONE: self.pick("aabbc"), HOSTNAME: name, "kubernetes.io/arch": self.pick(["amd64", "arm64"])}
        labels |= {"stark.dev/runtime-node": "22", "stark.dev/node-type": self.rarely("browser", "server")}
        labels |= self.rarely({}, {"stark.dev/isolation-strict": "true"}, 3)
        if self.rarely(True, False):
            del labels[self.pick([ZONE, HOSTNAME, "stark.dev/runtime-node"])]
        return Offer(
            name=name,
            milli_cpu=self.rarely(0, self.pick([2000, 4000, 8000]), 12),
            memory=self.rarely(0, self.pick([4 * GIB, 9 * GIB]), 12),
            pods=self.rarely(2, 110),
            labels=labels,
            taints=self.rarely(self.some(2, [self._taint()]), ()),
            unschedulable=self.rarely(True, False, 12),
            ready=self.rarely(False, True, 12),
            extended=self.pick([{}, {"a.b/gpu": 4}, {"a.b/gpu": 1, "ephemeral-storage": 9}]),
        )

    def _taint(self) -> NodeTaint:
        effect = self.pick(["NoSchedule", "PreferNoSchedule", "PreferNoSchedule"])
        return NodeTaint(self.pick(["dedicated", "disk"]), self.pick(["", "gpu"]), effect)

    # --- pods ---

    def demand(self) -> Demand:
        profile = Profile(
            namespace=self.pick(["one", "one", "two"]),
            labels=self.pick([(("app", "x"),), (("app", "x"),), (("app", "y"),), ()]),
            owner=self.pick(["", "", "rs-1", "rs-2"]),
            is_leaving=self.rarely(True, False),
        )
        return Demand(
            where=self._where(),
            milli_cpu=self.pick([0, 100, 500, 700]),
            memory=self.pick([0, GIB // 4, GIB]),
            extended=self.rarely(self.pick([(("a.b/gpu", 1),), (("a.b/gpu", 1), ("ephemeral-storage", 2))]), ()),
            ports=self.rarely(frozenset({HostPort("TCP", 80)}), frozenset()),
            owner=profile.owner,
            relations=self._relations(),
            profile=profile,
        )

    def _where(self) -> Where:
        tolerated = [PodToleration(self.pick(["", "disk"]), "Exists", "", self.pick(["", "PreferNoSchedule"]))]
        return Where(
            node_name=self.rarely("n1", "", 15),
            selector=self.rarely(((ZONE, "a"),), (), 8),
            required=self.rarely((IN_ZONE_A, ON_N2), None),
            preferred=self.rarely(self.pick([((10, IN_ZONE_A),), ((3, IN_ZONE_A), (7, HAS_HOST))]), (), 3),
            tolerations=self.some(1, tolerated),
            isolation=self.pick(["", "", "strict"]),
            runtimes=self.pick([(), (frozenset({"node"}),), (frozenset({"node", "browser"}),)]),
            architectures=self.rarely(frozenset({"amd64"}), None),
        )

    def _relations(self) -> Relations:
        terms = [PodTerm(self._group(), self.pick([ZONE, HOSTNAME])) for _ in range(3)]
        weighed = [(self.pick([1, 5, -5, 100]), term) for term in terms]
        match self._random.randrange(7):
            case 0:
                return Relations(near=self.some(2, terms))
            case 1:
                return Relations(apart=self.some(2, terms))
            case 2:
                return Relations(preferred=self.some(3, weighed))
            case 3 | 4:
                return Relations(spread=self.some(3, [self._spread() for _ in range(3)]))
            case 5:
                spread = self.some(1, [self._spread()])
                return Relations(self.some(1, terms), self.some(1, terms), self.some(2, weighed), spread)
            case _:
                return Relations()

    def _group(self) -> Group:
        names = self.pick([frozenset({"one"}), frozenset({"one", "two"}), frozenset[str]()])
        return Group(self.pick([X, X, Y, Selector(), NOTHING]), names, self.pick([None, None, Selector(), RED]))

    def _spread(self) -> Spread:
        return Spread(
            group=Group(self.pick([X, X, Y, Selector()]), frozenset({"one"})),
            topology_key=self.pick([ZONE, HOSTNAME]),
            max_skew=self.pick([1, 1, 2]),
            is_hard=self.pick([True, False]),
            min_domains=self.pick([1, 1, 4]),
            honors_affinity=self.pick([True, False]),
            honors_taints=self.pick([True, False]),
        )

    # --- events ---

    def weights(self) -> Weights:
        names = [each.name for each in fields(Weights) if each.name != "spreads_by_default"]
        drawn: dict[str, Any] = {name: self.pick([0, 1, 2, 7]) for name in names}
        return self.pick([*POLICIES.values(), Weights(**drawn, spreads_by_default=self.pick([True, False]))])


class Story:
    """A snapshot, and what happens to it."""

    def __init__(self, seed: int) -> None:
        self.dice = dice = Dice(seed)
        self.snapshot = Snapshot()
        self.classes = [dice.demand() for _ in range(6)]
        self.placed: list[str] = []
        for _ in range(2 * NODES):
            self.snapshot.set_node(dice.offer())

    def go_on(self, steps: int) -> None:
        for number in range(steps):
            self._step(f"pod-{number}")

    def _step(self, uid: str) -> None:
        dice, snapshot = self.dice, self.snapshot
        match dice.pick(["pod"] * 14 + ["node", "drop", "gone", "gone", "weigh", "namespace", "no namespace", "class"]):
            case "node":
                snapshot.set_node(dice.offer())
            case "drop":
                snapshot.remove_node(dice.offer().name)
            case "gone" if self.placed:
                snapshot.remove(self.placed.pop(0))
            case "weigh":
                snapshot.configure(dice.weights())
            case "namespace":
                snapshot.set_namespace("two", {"team": dice.pick(["red", "blue"])})
            case "no namespace":
                snapshot.drop_namespace("two")
            case "class":
                self.classes[dice.pick(range(6))] = dice.demand()
            case _:
                self._place(uid, dice.pick(self.classes))

    def _place(self, uid: str, demand: Demand) -> None:
        snapshot = self.snapshot
        expected = self.verdicts(demand)
        chosen = snapshot.choose(demand)
        assert chosen == best(expected), expected
        assert sorted(snapshot.curable(demand)) == [each.node for each in expected if each.rule in CURED_BY_LEAVING]
        if chosen is not None:
            snapshot.place(uid, chosen, demand)
            self.placed.append(uid)
            return
        refusal = snapshot.refusal(demand)
        assert refusal == refuse(expected)
        assert (len(snapshot) == 0) == (not refusal.reasons)

    def verdicts(self, demand: Demand) -> list[Verdict]:
        nodes = sorted(self.snapshot.nodes, key=lambda node: node.offer.name)
        return judge_nodes(demand, nodes, self.snapshot.namespaces, self.snapshot.weights)


def many(first: int, last: int, at_once: int) -> list[Any]:
    """Slow seeds in portions, each of which has the time of a test."""
    portions = [range(start, min(start + at_once, last)) for start in range(first, last, at_once)]
    return [pytest.param(seeds, id=f"many from {seeds[0]}", marks=pytest.mark.slow) for seeds in portions]


@pytest.mark.parametrize("seeds", [pytest.param(range(40), id="some"), *many(40, 500, 115)])
def test_the_tables_choose_as_the_plain_definition_does(seeds: range) -> None:
    for seed in seeds:
        Story(seed).go_on(STEPS)


@pytest.mark.parametrize(
    ("limit", "value"),
    [
        pytest.param((crowding, "PLACES_MAX"), 0, id="by counts"),
        pytest.param((crowding, "CELLS_MAX"), 1, id="row by row"),
        pytest.param((crowding, "POPULATED_MAX"), 2, id="by cells while they are few"),
        pytest.param((topology, "CHANGES_MAX"), 2, id="with a short memory"),
        pytest.param((snapshot, "ONE_BY_ONE_MAX"), 0, id="many rows at once"),
    ],
)
def test_limits_change_no_answer(limit: tuple[ModuleType, str], value: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowding, "HEIGHT_MIN", 1)
    monkeypatch.setattr(*limit, value)
    for seed in range(500, 512):
        Story(seed).go_on(STEPS)


@pytest.mark.parametrize("seeds", [pytest.param(range(12), id="some"), *many(12, 120, 36)])
def test_a_node_is_judged_as_if_some_pods_had_left(seeds: range) -> None:
    for seed in seeds:
        story = Story(seed)
        story.go_on(STEPS)
        snapshot, gone = story.snapshot, set(story.placed[::3])
        placed = {
            uid: (node.offer.name, demand)
            for node in snapshot.nodes
            for uid, demand in node.residents.items()
            if uid not in gone
        }
        left = Cluster([node.offer for node in snapshot.nodes], placed, snapshot.namespaces, snapshot.weights)
        for demand in story.classes:
            before = snapshot.choose(demand)
            for verdict in judge(demand, left):
                refused = snapshot.rejection(demand, verdict.node, gone)
                assert (refused or (None, ())) == (verdict.rule, verdict.reasons), seed
            assert snapshot.choose(demand) == before


def test_no_node_is_ever_given_more_than_it_has() -> None:
    for seed in range(15):
        story = Story(seed)
        story.go_on(STEPS)
        for node in story.snapshot.nodes:
            there = list(node.residents.values())
            assert node.pods == len(there)
            assert node.milli_cpu == sum(demand.milli_cpu for demand in there)
            assert all(count == sum(port in each.ports for each in there) for port, count in node.ports.items())
