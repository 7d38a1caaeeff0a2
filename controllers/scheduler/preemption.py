"""The search for the node where making way hurts least, which remembers what it has found out about nodes.

What a plan for one node is, and what it costs, is defined in `crds/placement/victims`. Of all nodes the one is taken where
that hurts least. Nobody of an equal or higher priority is ever a victim.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from stark.crds.placement.facts import Demand
from stark.crds.placement.victims import Accepts, Budget, Plan, Resident, going, plan

from .residents import Residents

CANDIDATES_MIN = 100
CANDIDATES_SHARE = 10
"""A search may end when it has found so many nodes, and a tenth of all: kube-scheduler's numbers. What a larger search
finds hurts hardly less and costs the others in the queue their time."""
SEARCHES_MAX = 64
"""Classes of pods whose search is remembered."""
STALE_MAX = 1_000
"""Outdated entries a heap may have before it is made anew."""
IsHopeless = Callable[[str], bool]
"""(node) -> whether the pod could not go there even without all lower ones: a quick look, which need not see it."""


def _may_have_hope(_node: str) -> bool:
    return False


@dataclass(slots=True)
class Search:
    """What is known of one class of pods: a plan for each node looked at, the cheapest on top."""

    seen: int
    """How far in the log of the residents."""
    unseen: deque[str]
    plans: dict[str, Plan] = field(default_factory=dict)
    heap: list[tuple[tuple[int, int, int, int, float], str]] = field(default_factory=list)

    def keep(self, name: str, found: Plan | None) -> None:
        """The plan of a node, or that there is none."""
        if found is None:
            self.plans.pop(name, None)
            return
        self.plans[name] = found
        heapq.heappush(self.heap, (found.cost, name))
        if len(self.heap) > STALE_MAX + 2 * len(self.plans):
            self.heap = sorted((each.cost, each.node) for each in self.plans.values())

    def best(self) -> Plan | None:
        """The cheapest; among equals the first name."""
        while self.heap:
            cost, name = self.heap[0]
            found = self.plans.get(name)
            if found is not None and found.cost == cost:
                return found
            heapq.heappop(self.heap)
        return None


class Preemption:
    """Finds plans, and remembers for each class of pods what it found."""

    def __init__(self, residents: Residents) -> None:
        self._residents = residents
        self._searches: dict[tuple[Demand, int], Search] = {}
        self._budgets: dict[str, Budget] = {}
        self._offset = 0

    def set_budget(self, key: str, budget: Budget | None) -> None:
        """A budget as it is now; None when it is gone."""
        if self._budgets.get(key) == budget:
            return
        if budget is None:
            del self._budgets[key]
        else:
            self._budgets[key] = budget
        self._searches.clear()
        self._residents.forget_notes()

    def spend(self, victims: Iterable[Resident]) -> None:
        """These go. Until the budgets have been counted again they are counted here."""
        for key, budget in list(self._budgets.items()):
            gone = frozenset(victim.name for victim in victims if budget.covers(victim))
            if gone:
                less = replace(budget, allowed=budget.allowed - len(gone), disrupted=budget.disrupted | gone)
                self.set_budget(key, less)

    def forget(self) -> None:
        """Something changed that is not in the log of the residents."""
        self._searches.clear()

    def best(
        self,
        demand: Demand,
        priority: int,
        accepts: Accepts,
        nodes: Callable[[], Iterable[str]],
        is_hopeless: IsHopeless = _may_have_hope,
        *,
        is_local: bool,
    ) -> Plan | None:
        """The plan that hurts least; None when nobody's going would help.

        `nodes` names those that are worth a look, when none was looked at before. `is_local`: whether a node's answer
        depends on nothing beyond the node, so that it can be kept until the node changes.
        """
        if not self._residents.below(priority):
            return None

        def look(search: Search, name: str) -> None:
            found = None if is_hopeless(name) else self._look(name, priority, accepts)
            search.keep(name, found)

        search = self._search(demand, priority, look, nodes) if is_local else self._begin(nodes)
        wanted = max(CANDIDATES_MIN, len(self._residents) // CANDIDATES_SHARE)
        while len(search.plans) < wanted and search.unseen:
            look(search, search.unseen.popleft())
        return search.best()

    def _search(
        self,
        demand: Demand,
        priority: int,
        look: Callable[[Search, str], None],
        nodes: Callable[[], Iterable[str]],
    ) -> Search:
        """What is remembered, brought up to date."""
        search = self._searches.get((demand, priority))
        changed = self._residents.since(search.seen) if search is not None else None
        if search is None or changed is None:
            while len(self._searches) >= SEARCHES_MAX:
                del self._searches[next(iter(self._searches))]
            search = self._searches[demand, priority] = self._begin(nodes)
            return search
        search.seen = self._residents.now
        for name in set(changed):
            look(search, name)
        return search

    def _begin(self, nodes: Callable[[], Iterable[str]]) -> Search:
        """Nothing looked at yet. Every search begins elsewhere, so that it is not always the same nodes that suffer."""
        names = sorted(name for name in nodes() if self._residents.at(name))
        self._offset = (self._offset + CANDIDATES_MIN) % max(1, len(names))
        return Search(self._residents.now, deque(names[self._offset :] + names[: self._offset]))

    def _look(self, name: str, priority: int, accepts: Accepts) -> Plan | None:
        known = self._residents.notes(name).going
        lower = known.get(priority)
        if lower is None:
            there = self._residents.at(name).values()
            lower = known[priority] = going(there, priority, self._relevant(name))
        return plan(name, lower, accepts)

    def _relevant(self, node: str) -> Sequence[Budget]:
        if not self._budgets:
            return ()
        there = self._residents.at(node).values()
        return [budget for budget in self._budgets.values() if any(budget.covers(pod) for pod in there)]
