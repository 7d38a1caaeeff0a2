"""Who has which room: what is taken, what is kept for pods for which others make way, and who could be made to go.

The snapshot says where there is room; this adds the pods' priorities. Every piece of room that becomes free is noted by
its node (`freed`), for those who may be waiting for it.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

from stark.crds.placement.facts import Demand
from stark.crds.placement.filters import CURED_BY_LEAVING, Rule
from stark.crds.placement.victims import Accepts, Plan, Resident
from stark.crds.pods import Pod

from .nominations import Nominations
from .preemption import Preemption
from .queue import Waiting
from .residents import Residents, Taken
from .snapshot import Snapshot


class Rooms:
    """The snapshot, the pods in it, the nominations, and the search for victims."""

    def __init__(self) -> None:
        self.snapshot = Snapshot()
        self.residents = Residents()
        self.nominations = Nominations(self.snapshot, self.residents)
        self.preemption = Preemption(self.residents)
        self.preempts = True
        """Whether lower pods are made to go at all."""
        self.freed: dict[str, frozenset[Rule]] = {}
        """Nodes that could take more than before, and the rules that may answer differently about them."""
        self._company: dict[Demand, None] = {}
        """What came or went, wherever, as far as other pods may mind."""
        self.displaced: list[str] = []
        """Keys of pods whose nomination came to nothing."""

    def touch(self, node: str, rules: frozenset[Rule] = CURED_BY_LEAVING) -> None:
        """The node could take more than before."""
        if rules:
            self.freed[node] = self.freed.get(node, frozenset()) | rules

    @property
    def has_news(self) -> bool:
        """Whether anything happened that others may be waiting for."""
        return bool(self.freed or self._company or self.displaced)

    def take_company(self) -> Collection[Demand]:
        """The pods that came or went since this was asked last; equal ones once."""
        company = list(self._company)
        self._company.clear()
        return company

    # --- taking room ---

    def hold(self, pod: Pod, node: str, demand: Demand) -> None:
        """The pod is bound there."""
        placed = self.snapshot.placed(pod.uid)
        if placed is not None and (placed.node, placed.demand) != (node, demand):
            self.leave(pod.uid)
        if self.snapshot.placed(pod.uid) is None:
            self._company[demand] = None
        self.snapshot.place(pod.uid, node, demand)
        self.residents.put(node, Resident.of(pod))

    def assume(self, waiting: Waiting, pod: Pod, node: str) -> None:
        """The pod will be bound there; lower pods for which room was kept on the node look for another place."""
        self.nominations.drop(waiting.uid)
        self._displace(node, waiting.priority)
        self.hold(pod, node, waiting.demand)

    def imagine(self, pod: Pod, node: str, demand: Demand) -> None:
        """Take the room in thought only, until `dismiss`: nobody hears of it."""
        self.snapshot.place(pod.uid, node, demand)
        self.residents.put(node, Resident.of(pod))

    def dismiss(self, uid: str) -> None:
        """The end of `imagine`."""
        self.residents.drop(uid)
        self.snapshot.remove(uid)

    def leave(self, uid: str) -> None:
        """Whatever the pod took is free."""
        self.residents.drop(uid)
        if (placed := self.snapshot.remove(uid)) is not None:
            self._company[placed.demand] = None
            self.touch(placed.node)

    def renounce(self, uid: str) -> None:
        """No room is kept for the pod any more."""
        if (nomination := self.nominations.drop(uid)) is not None:
            self.touch(nomination.node)

    def drop_node(self, name: str) -> None:
        """The node is gone, and with it the room that was kept there."""
        self.snapshot.remove_node(name)
        self.residents.touch(name)
        for each in list(self.nominations.on(name)):
            self.nominations.drop(each.uid)
            self.displaced.append(each.key)

    # --- looking for room ---

    def accepts(self, demand: Demand, uid: str, priority: int) -> Accepts:
        """Whether a node would do for this pod. Room that is kept for lower pods counts as free."""

        alone = self.snapshot.judge_alone(demand)
        transparent = self.nominations.transparent

        def judge_alone(node: str, gone: Collection[str]) -> bool:
            assert alone is not None
            kept = transparent(node, uid, priority)
            return alone(node, kept.union(gone) if kept else gone)

        def judge(node: str, gone: Collection[str]) -> bool:
            if self.snapshot.offer(node) is None:
                return False
            return self.snapshot.rejection(demand, node, transparent(node, uid, priority).union(gone)) is None

        return judge if alone is None else judge_alone

    def find(self, waiting: Waiting) -> str | None:
        """The best node, or else one on which room is kept only for lower pods."""
        self.nominations.lift(waiting.uid)
        try:
            node = self.snapshot.choose(waiting.demand)
        finally:
            self.nominations.lower(waiting.uid)
        if node is None and len(self.nominations):
            accepts = self.accepts(waiting.demand, waiting.uid, waiting.priority)
            kept = (name for name in self.nominations.nodes() if self._has_lower(name, waiting.priority))
            node = next((name for name in kept if accepts(name, ())), None)
        return node

    def _has_lower(self, node: str, priority: int) -> bool:
        return any(each.priority < priority for each in self.nominations.on(node))

    # --- making room ---

    def plan(self, waiting: Waiting) -> Plan | None:
        """Who would have to go for the pod; None when nobody's going helps or nobody may be asked to."""
        if not self.preempts or not waiting.preempts or not self.residents.below(waiting.priority):
            return None
        accepts = self.accepts(waiting.demand, waiting.uid, waiting.priority)
        is_local = self.snapshot.judge_alone(waiting.demand) is not None
        nodes = partial(self.snapshot.curable, waiting.demand)
        is_hopeless = partial(self._is_hopeless, waiting.demand, waiting.priority)
        return self.preemption.best(waiting.demand, waiting.priority, accepts, nodes, is_hopeless, is_local=is_local)

    def _is_hopeless(self, demand: Demand, priority: int, node: str) -> bool:
        """Whether those who do not go leave too little cpu, memory or number of pods. What is found out about a node is
        the same for all classes of pods, so that a node that changed costs each of them next to nothing."""
        offer = self.snapshot.offer(node)
        if offer is None:
            return True
        known = self.residents.notes(node).taken
        taken = known.get(priority)
        if taken is None:
            taken = known[priority] = self._taken(node, priority)
        return (
            taken.pods >= offer.pods
            or (demand.milli_cpu > 0 and taken.milli_cpu + demand.milli_cpu > offer.milli_cpu)
            or (demand.memory > 0 and taken.memory + demand.memory > offer.memory)
        )

    def _taken(self, node: str, priority: int) -> Taken:
        demands = self.snapshot.pods_on(node)
        there = [demands[each.uid] for each in self.residents.at(node).values() if each.priority >= priority]
        return Taken(len(there), sum(each.milli_cpu for each in there), sum(each.memory for each in there))

    def is_coming(self, uid: str) -> bool:
        """Whether the room that is kept for the pod will be there when those have gone that are going already."""
        kept = self.nominations.get(uid)
        if kept is None:
            return False
        there = self.residents.at(kept.node).values()
        leaving = [pod.uid for pod in there if pod.is_leaving and pod.priority < kept.priority]
        return bool(leaving) and self.accepts(kept.demand, uid, kept.priority)(kept.node, leaving)

    def nominate(self, waiting: Waiting, plan: Plan) -> None:
        """Keep the room for the pod, and count the victims as leaving."""
        self._displace(plan.node, waiting.priority)
        self.nominations.keep(waiting, plan.node)
        for victim in plan.victims:
            self.residents.condemn(victim.uid)
        self.preemption.spend(plan.victims)

    def _displace(self, node: str, priority: int) -> None:
        for each in list(self.nominations.on(node)):
            if each.priority < priority:
                self.nominations.drop(each.uid)
                self.displaced.append(each.key)
