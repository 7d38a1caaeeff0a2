"""Random clusters and histories, with schedulers that die between any two bindings: groups are whole, nobody is put on
a node that is full, nobody goes for an equal, and nobody waits for room that is there."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from stark.controllers.scheduler.core import Bind, Core, Preempt, Refuse
from stark.crds.meta import decode
from stark.crds.placement.explaining import explain
from stark.crds.placement.judging import Cluster
from stark.crds.placement.making_way import Situation
from stark.crds.placement.reading import demand_of, offer_of
from stark.crds.placement.victims import Resident
from stark.crds.pod_groups import PodGroup
from stark.crds.pods import Pod
from tests.support.workloads import at, meta, node, pack, pod

PACKS = {"web.1.0.0": pack("web", "1.0.0")}
CORES = 4
SETTLED_S = 1_000
"""Longer than any back-off and than room is kept for a group."""


@dataclass
class World:
    """What the server has, and a scheduler that hears of every change at once."""

    groups: dict[str, int]
    pods: dict[str, Pod] = field(default_factory=dict)
    nodes: set[str] = field(default_factory=set)
    now: float = 0
    made: int = 0
    victims: list[tuple[int, int]] = field(default_factory=list)
    """(priority of the pod, priority of who went for it)."""
    core: Core = field(init=False)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """A scheduler that knows nothing but the objects."""
        self.core = Core(self.pods.get, PACKS.get)
        for name in sorted(self.nodes):
            self.core.set_node(node(name))
        for name, members in self.groups.items():
            spec = {"minMember": members, "scheduleTimeoutSeconds": 60}
            self.core.set_group(decode({"metadata": meta(name), "spec": spec}, PodGroup), self.now)
        for each in self.pods.values():
            self.core.set_pod(each, self.now)
        self.core.adopt(self.pods.values())

    def add(self, cpu: int, group: str = "", priority: int = 0) -> None:
        self.made += 1
        container = {"name": "main", "image": "pack.stark/web:1.0.0", "resources": {"requests": {"cpu": str(cpu)}}}
        labels = {"stark.dev/pod-group": group} if group else {}
        spec = {"containers": [container], "priority": priority}
        made = pod(f"p{self.made}", spec=spec, metadata={"labels": labels})
        self._put(made)

    def _put(self, changed: Pod) -> None:
        self.pods[changed.key] = changed
        self.core.set_pod(changed, self.now)

    def _change(self, key: str, **spec: Any) -> None:
        old = self.pods[key]
        self._put(old.model_copy(update={"spec": old.spec.model_copy(update=spec)}))

    def _nominate(self, key: str, node_name: str) -> None:
        old = self.pods[key]
        status = old.status.model_copy(update={"nominated_node_name": node_name or None})
        self._put(old.model_copy(update={"status": status}))

    def end(self, key: str) -> None:
        gone = self.pods.pop(key, None)
        if gone is not None:
            self.core.drop_pod(gone, self.now)

    def drop_node(self, name: str) -> None:
        self.nodes.discard(name)
        self.core.drop_node(name)
        for key in [key for key, each in self.pods.items() if each.spec.node_name == name]:
            self.end(key)

    def decide(self, bindings: int | None = None) -> None:
        """Carry out decisions until there are none, or until the scheduler ends before its next binding."""
        while (decision := self.core.decide(self.now)) is not None:
            match decision:
                case Bind():
                    if bindings == 0:
                        self.start()
                        return
                    bindings = bindings - 1 if bindings is not None else None
                    self._change(decision.pod.key, node_name=decision.node)
                case Refuse():
                    self._tell(decision)
                case Preempt():
                    self._tell(decision.refuse)
                    for victim in decision.victims:
                        self.victims.append((decision.refuse.pod.spec.priority or 0, victim.priority))
                        self._leave(victim.key)

    def _tell(self, refuse: Refuse) -> None:
        if refuse.pod.key in self.pods and (refuse.pod.status.nominated_node_name or "") != refuse.nominated:
            self._nominate(refuse.pod.key, refuse.nominated)

    def _leave(self, key: str) -> None:
        old = self.pods.get(key)
        if old is not None:
            body = {**old.model_dump(mode="json", by_alias=True, exclude_none=True)}
            body["metadata"]["deletionTimestamp"] = at(0)
            self._put(decode(body, Pod))

    def settle(self) -> None:
        """Everybody who leaves has left, every back-off is over, every decision carried out."""
        for _ in range(6):
            self.decide()
            for key in [key for key, each in self.pods.items() if each.metadata.deletion_timestamp is not None]:
                self.end(key)
            self.now += SETTLED_S
        self.decide()

    # --- what must hold ---

    def bound(self, group: str) -> int:
        return sum(
            bool(each.spec.node_name)
            for each in self.pods.values()
            if each.metadata.labels.get("stark.dev/pod-group") == group
        )

    def free(self) -> dict[str, int]:
        left = dict.fromkeys(self.nodes, CORES)
        for each in self.pods.values():
            if each.spec.node_name:
                left[each.spec.node_name] -= cores(each)
        return left


def cores(each: Pod) -> int:
    resources = each.spec.containers[0].resources
    return int(resources.requests["cpu"]) if resources else 0


node_names = st.sampled_from([f"n{number}" for number in range(6)])
sizes = st.sampled_from([1, 2, 3, 4])
common = [
    st.tuples(st.just("node"), node_names),
    st.tuples(st.just("node"), node_names),
    st.tuples(st.just("member"), sizes, st.sampled_from(["g", "h"])),
    st.tuples(st.just("member"), sizes, st.sampled_from(["g", "h"])),
    st.tuples(st.just("member"), sizes, st.sampled_from(["g", "h"])),
    st.tuples(st.just("pod"), sizes, st.sampled_from([0, 0, 5])),
    st.tuples(st.just("wait"), st.sampled_from([1.0, 20.0])),
    st.tuples(st.just("decide"), st.none()),
]
crashes = st.tuples(st.just("decide"), st.integers(0, 4))
ends = st.tuples(st.just("end"), st.integers(0, 30))
restarts = st.tuples(st.just("restart"))
drops = st.tuples(st.just("drop"), node_names)


def play(world: World, step: tuple[Any, ...], *, equal: bool) -> None:
    match step:
        case ("node", str(name)) if name not in world.nodes:
            world.nodes.add(name)
            world.core.set_node(node(name))
        case ("drop", name):
            world.drop_node(name)
        case ("member", size, group):
            world.add(size, group, 0 if equal else 3)
        case ("pod", size, priority):
            world.add(size, "", 0 if equal else priority)
        case ("end", number):
            world.end(f"default/p{number}")
        case ("wait", seconds):
            world.now += seconds
        case ("restart",):
            world.start()
        case ("decide", bindings):
            world.decide(bindings)


@settings(max_examples=120, deadline=None)
@given(
    st.fixed_dictionaries({"g": st.integers(1, 4), "h": st.integers(2, 5)}),
    st.lists(st.one_of(*common, crashes, crashes, restarts), min_size=4, max_size=40),
)
def test_no_group_is_bound_in_part_wherever_the_scheduler_ends(
    groups: dict[str, int], history: list[tuple[Any, ...]]
) -> None:
    world = World(groups)
    for step in history:
        play(world, step, equal=True)
        if step == ("decide", None):
            # Whatever an earlier scheduler left half done, this one has completed.
            assert all(world.bound(name) == 0 or world.bound(name) >= least for name, least in groups.items())
    world.settle()
    assert all(world.bound(name) == 0 or world.bound(name) >= least for name, least in groups.items())
    assert world.victims == []


@settings(max_examples=120, deadline=None)
@given(st.lists(st.one_of(*common, crashes, ends, drops, restarts), min_size=4, max_size=40))
def test_only_lower_pods_go_and_nobody_waits_for_room_that_is_there(history: list[tuple[Any, ...]]) -> None:
    world = World({"g": 2, "h": 3})
    for step in history:
        play(world, step, equal=False)
        assert min(world.free().values(), default=0) >= 0
    world.settle()
    assert min(world.free().values(), default=0) >= 0
    assert all(victim < pod for pod, victim in world.victims)
    most = max(world.free().values(), default=0)
    for each in world.pods.values():
        if not each.spec.node_name and "stark.dev/pod-group" not in each.metadata.labels:
            assert cores(each) > most, (each.metadata.name, world.free())
        assert not (each.spec.node_name and each.metadata.deletion_timestamp)


def test_an_explanation_names_the_victims_that_the_scheduler_then_takes() -> None:
    preempted = 0
    for seed in range(150):
        dice = random.Random(seed)
        nodes = [node(f"n{number}") for number in range(dice.randint(1, 4))]
        there = [
            pod(
                f"p{number}", node=dice.choice(nodes).metadata.name, spec=asking(dice.randint(1, 3), dice.randint(0, 3))
            )
            for number in range(dice.randint(3, 9))
        ]
        high = pod("high", spec=asking(dice.randint(1, 4), dice.randint(1, 4)))
        pods = {each.key: each for each in (*there, high)}
        core = Core(pods.get, PACKS.get)
        for offered in nodes:
            core.set_node(offered)
        for each in pods.values():
            core.set_pod(each, 0)
        decided = core.decide(0)
        placed = {each.uid: (each.spec.node_name or "", demand_of(each, PACKS.get)) for each in there}
        situation = Situation(residents={each.uid: Resident.of(each) for each in there}, preempts=True)
        told = explain(high, PACKS.get, Cluster([offer_of(each) for each in nodes], placed), situation)
        match decided:
            case Bind():
                assert (told.chosen, told.plan) == (decided.node, None), seed
            case Refuse():
                assert (told.message, told.plan) == (decided.message, None), seed
            case Preempt():
                assert told.plan is not None, seed
                assert (told.plan.node, told.plan.victims) == (decided.refuse.nominated, decided.victims), seed
                preempted += 1
    assert preempted > 20


def asking(cpu: int, priority: int) -> dict[str, Any]:
    container = {"name": "main", "image": "pack.stark/web:1.0.0", "resources": {"requests": {"cpu": str(cpu)}}}
    return {"containers": [container], "priority": priority}
