"""Who must make way for a pod that fits nowhere: kube-scheduler's DefaultPreemption, as plain functions and a search
that remembers.

On one node all pods of a lower priority are thought away; if the pod fits then, they are let back in one by one, the
most important first, as long as it still fits: those that a disruption budget protects before the others, and those
that are on their way out already last of all. Who could not be let back is a victim. Of all nodes the one is taken where
that hurts least. Nobody of an equal or higher priority is ever a victim.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from stark.crds.placement.facts import Demand
from stark.crds.policy import PodDisruptionBudget
from stark.crds.selectors import SelectorError
from stark.crds.tenancy import NOBODY, Owner, may_select

from .residents import Going, Resident, Residents

CANDIDATES_MIN = 100
CANDIDATES_SHARE = 10
"""A search may end when it has found so many nodes, and a tenth of all: kube-scheduler's numbers. What a larger search
finds hurts hardly less and costs the others in the queue their time."""
SEARCHES_MAX = 64
"""Classes of pods whose search is remembered."""
STALE_MAX = 1_000
"""Outdated entries a heap may have before it is made anew."""
PRIORITY_LIFT = 1 << 31
"""Added to each victim's priority in the sum, so that two victims never weigh less than one because they are below 0."""

Selects = Callable[[Mapping[str, str]], bool]
IsHopeless = Callable[[str], bool]
"""(node) -> whether the pod could not go there even without all lower ones: a quick look, which need not see it."""
Accepts = Callable[[str, Collection[str]], bool]
"""(node, uids) -> whether the pod may go to the node when the pods of those uids are not there."""


def selects_none(_labels: Mapping[str, str]) -> bool:
    """What a budget without a selector selects."""
    return False


@dataclass(frozen=True, slots=True)
class Budget:
    """A disruption budget: how many more of its pods may go."""

    namespace: str
    allowed: int
    selects: Selects = field(default=selects_none, compare=False)
    selector: str = ""
    """What `selects` was made of."""
    disrupted: frozenset[str] = frozenset()
    """Names of pods whose eviction has been counted already."""
    whose: Owner = NOBODY
    """The owner of the budget: another user's pods are not protected by it."""

    @classmethod
    def of(cls, budget: PodDisruptionBudget) -> Budget:
        """What there is to know of the budget. A selector that makes no sense selects nothing."""
        selector = budget.spec.selector
        selects: Selects = selects_none
        try:
            selects = selector.compiled().matches if selector is not None else selects_none
        except SelectorError:
            pass
        return cls(
            namespace=budget.metadata.namespace or "",
            allowed=budget.status.disruptions_allowed,
            selects=selects,
            selector=selector.model_dump_json(exclude_unset=True) if selector is not None else "",
            disrupted=frozenset(budget.status.disrupted_pods),
            whose=Owner.of(budget.metadata.annotations),
        )

    def covers(self, pod: Resident) -> bool:
        """Whether the pod's leaving costs this budget."""
        theirs = self.namespace == pod.namespace and pod.name not in self.disrupted and self.selects(pod.labels)
        return theirs and may_select(self.whose, pod.owner)


@dataclass(frozen=True, slots=True)
class Plan:
    """Who goes from which node."""

    node: str
    victims: tuple[Resident, ...]
    """The most important first, without those that are leaving already."""
    violations: int
    """Victims that a budget wanted to keep."""

    @property
    def cost(self) -> tuple[int, int, int, int, float]:
        """The least is the best: fewest violations, lowest highest priority, smallest sum of priorities, fewest
        victims, and of the most important ones the first begun latest."""
        highest = max((victim.priority for victim in self.victims), default=-PRIORITY_LIFT)
        total = sum(victim.priority + PRIORITY_LIFT for victim in self.victims)
        begun = min((victim.started_at for victim in self.victims if victim.priority == highest), default=math.inf)
        return self.violations, highest, total, len(self.victims), -begun


def importance(pod: Resident) -> tuple[int, float, str]:
    """Sorts the most important first: the higher priority, then who has run longer; the uid so that it is one order."""
    return -pod.priority, pod.started_at, pod.uid


def split(pods: Iterable[Resident], budgets: Sequence[Budget]) -> tuple[list[Resident], list[Resident]]:
    """(pods whose going some budget does not allow, the others), when they go in this order."""
    left = [budget.allowed for budget in budgets]
    violating: list[Resident] = []
    others: list[Resident] = []
    for pod in pods:
        covering = [index for index, budget in enumerate(budgets) if budget.covers(pod)]
        for index in covering:
            left[index] -= 1
        (violating if any(left[index] < 0 for index in covering) else others).append(pod)
    return violating, others


def going(there: Iterable[Resident], priority: int, budgets: Sequence[Budget] = ()) -> Going:
    """Who on a node may go for a pod of this priority, and in which order they are let back in."""
    lower = sorted((pod for pod in there if pod.priority < priority), key=importance)
    violating, others = split((pod for pod in lower if not pod.is_leaving), budgets)
    return Going(
        frozenset(pod.uid for pod in lower),
        (*violating, *others, *(pod for pod in lower if pod.is_leaving)),
        frozenset(pod.uid for pod in violating),
    )


def plan(node: str, lower: Going, accepts: Accepts) -> Plan | None:
    """The victims on one node; None when the pod could not go there even without all lower ones."""
    gone = set(lower.uids)
    if not gone or not accepts(node, gone):
        return None
    victims: list[Resident] = []
    for pod in lower.reprieved:
        gone.discard(pod.uid)
        if accepts(node, gone):
            continue
        gone.add(pod.uid)
        if not pod.is_leaving:
            victims.append(pod)
    violations = sum(pod.uid in lower.protected for pod in victims)
    return Plan(node, tuple(sorted(victims, key=importance)), violations)


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
