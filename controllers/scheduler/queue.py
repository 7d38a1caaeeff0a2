"""Whose turn it is: pods that wait for a decision.

A pod is in one of three places. *Active* pods are tried: the highest priority first, among equals those that complete a
group of which some are bound already, then the earliest deadline (a pod without one comes after all that have one),
then the one that came first. Pods that failed for a passing reason wait in *back-off*. *Parked* pods found no
node: they are tried again when something happens that could help them, and in any case after PARKED_MAX_S, in case we
were wrong about that. Pure: time is an argument, in seconds of any steady clock.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Collection, Set
from dataclasses import dataclass
from enum import Enum

from stark.crds.placement.facts import Demand
from stark.crds.placement.filters import Rule

BACKOFF_FIRST_S = 1.0
BACKOFF_MAX_S = 10.0
"""Kubernetes' numbers: a pod that nobody can place costs at most one decision in ten seconds, whatever happens around
it."""
PARKED_MAX_S = 300.0
"""A pod parked for longer is tried again without cause."""


COMPANY = frozenset({Rule.SPREAD, Rule.AFFINITY})
"""The rules that look at pods on other nodes too."""
Class = tuple[Demand, int, bool]
"""Pods that an event helps alike: demand, priority, and whether others may be made to go for them."""


class Place(Enum):
    """Where a waiting pod is."""

    ACTIVE = "active"
    BACKOFF = "backoff"
    PARKED = "unschedulable"


@dataclass(slots=True)
class Waiting:
    """A pod that waits. `key` is namespace/name, `uid` tells it from a later pod of that name."""

    key: str
    uid: str
    priority: int
    demand: Demand
    since: float
    """When it came; for the metric, and among equals the older goes first."""
    deadline: float = math.inf
    """When its work must be done, seconds since the epoch; infinity when that is left open."""
    group: str = ""
    """`namespace/name` of the PodGroup with which it is placed; empty for a pod of its own."""
    preempts: bool = True
    """Whether lower pods may have to make way for it."""
    packs: frozenset[str] = frozenset()
    """The Pack objects it needs, by name."""
    completes: bool = False
    """It belongs to a group of which some are bound and too few."""
    order: int = 0
    attempts: int = 0
    place: Place = Place.ACTIVE
    due: float = 0.0
    """When the last attempt's back-off ends."""
    parked_at: float = 0.0
    rules: frozenset[Rule] = frozenset()

    @property
    def urgency(self) -> tuple[int, bool, float, int]:
        """The smallest goes first."""
        return -self.priority, not self.completes, self.deadline, self.order

    @property
    def kind(self) -> Class:
        """The pods that are helped when it is."""
        return self.demand, self.priority, self.preempts

    def backoff_s(self) -> float:
        """How long to leave it alone after its latest attempt."""
        return float(min(BACKOFF_FIRST_S * 2 ** min(max(self.attempts - 1, 0), 16), BACKOFF_MAX_S))


class PodQueue:
    """Pods by key. A pod taken out with `pop` is nowhere until it is put back or forgotten."""

    def __init__(self) -> None:
        self._pods: dict[str, Waiting] = {}
        self._active: list[tuple[tuple[int, bool, float, int], str]] = []
        self._backoff: list[tuple[float, int, str]] = []
        self._parked: dict[str, Waiting] = {}
        self._kinds: dict[Class, dict[str, Waiting]] = {}
        """The parked ones again, by class."""
        self._rules: dict[Class, frozenset[Rule]] = {}
        """What has refused any pod of a parked class; empty when one found no node at all."""
        self._sociable: set[Class] = set()
        """The classes that perhaps wait for other pods to come or go, wherever."""
        self._groups: dict[str, dict[str, Waiting]] = {}
        """Those of a group, wherever they are."""
        self._naming: dict[str, dict[str, Waiting]] = {}
        """Those that need a pack, wherever they are, by the pack's name."""
        self._order = 0

    def __len__(self) -> int:
        return len(self._pods)

    def __contains__(self, key: str) -> bool:
        return key in self._pods

    def get(self, key: str) -> Waiting | None:
        """The pod that waits under this key."""
        return self._pods.get(key)

    def waiting(self) -> list[str]:
        """Every pod that waits."""
        return list(self._pods)

    def sizes(self) -> dict[Place, int]:
        """How many pods are in each place."""
        parked = len(self._parked)
        backoff = sum(1 for pod in self._pods.values() if pod.place is Place.BACKOFF)
        return {Place.ACTIVE: len(self._pods) - parked - backoff, Place.BACKOFF: backoff, Place.PARKED: parked}

    def add(
        self,
        key: str,
        uid: str,
        priority: int,
        demand: Demand,
        now: float,
        *,
        deadline: float = math.inf,
        group: str = "",
        preempts: bool = True,
        packs: frozenset[str] = frozenset(),
    ) -> None:
        """A pod to place, new or changed. One that waits keeps its turn; a changed wish makes it active."""
        known = self._pods.get(key)
        if known is not None and known.uid == uid:
            wish = (priority, demand, deadline, group, preempts, packs)
            if (known.priority, known.demand, known.deadline, known.group, known.preempts, known.packs) == wish:
                return
            self.remove(key)
            known.priority, known.demand, known.deadline, known.group, known.preempts, known.packs = wish
            self._activate(known)
            return
        self.remove(key)
        self._order += 1
        self._activate(Waiting(key, uid, priority, demand, now, deadline, group, preempts, packs, order=self._order))

    def remove(self, key: str) -> Waiting | None:
        """The pod is bound, finished, gone or taken out to be decided about."""
        pod = self._pods.pop(key, None)
        if pod is None:
            return None
        self._leave_parking(pod)
        if pod.group:
            _leave(self._groups, pod.group, key)
        for name in pod.packs:
            _leave(self._naming, name, key)
        return pod

    def pop(self, now: float) -> Waiting | None:
        """Take out the pod whose turn it is; None when all wait."""
        self._flush(now)
        pod = self._next_active()
        if pod is None:
            return None
        heapq.heappop(self._active)
        return self.take(pod.key)

    def take(self, key: str) -> Waiting | None:
        """Take out a pod that is decided about now, whether it is its turn or not."""
        pod = self.remove(key)
        if pod is not None:
            pod.attempts += 1
        return pod

    def members(self, group: str) -> list[Waiting]:
        """The waiting pods of a group, in the order of their turns."""
        return sorted(self._groups.get(group, {}).values(), key=lambda pod: pod.urgency)

    def naming(self, pack: str) -> list[str]:
        """The keys of the waiting pods that need a pack."""
        return list(self._naming.get(pack, ()))

    def retry(self, pod: Waiting, now: float) -> None:
        """Put a pod back whose attempt failed for a passing reason."""
        pod.due = now + pod.backoff_s()
        self._wait(pod)

    def park(self, pod: Waiting, rules: frozenset[Rule], now: float) -> None:
        """Put a pod back that no node would take, because of `rules`."""
        pod.place, pod.rules = Place.PARKED, rules
        pod.due, pod.parked_at = now + pod.backoff_s(), now
        self._keep(pod)
        self._parked[pod.key] = pod
        self._kinds.setdefault(pod.kind, {})[pod.key] = pod
        # Pods of one class are parked at different times, and may have been refused for different reasons.
        known = self._rules.get(pod.kind, rules)
        self._set_rules(pod.kind, known | rules if known and rules else frozenset())

    def wake(self, rules: Set[Rule], now: float) -> int:
        """Something that these rules look at has changed: let the pods they refused try again. Returns how many."""
        return self._wake([pod for pod in self._parked.values() if self._minds(pod.kind, rules)], now)

    def _minds(self, kind: Class, rules: Set[Rule]) -> bool:
        refused_by = self._rules[kind]
        return not refused_by or not rules.isdisjoint(refused_by)

    def wake_kind(self, kind: Class, now: float) -> int:
        """Something has changed that could help pods of this class."""
        return self._wake(list(self._kinds.get(kind, {}).values()), now)

    def wake_group(self, group: str, now: float) -> int:
        """The group, or how many of it there are, has changed."""
        return self._wake([pod for pod in self._groups.get(group, {}).values() if pod.place is Place.PARKED], now)

    def wake_pod(self, key: str, now: float) -> None:
        """What was decided about this pod came to nothing: it tries again, when its back-off has ended."""
        pod = self._parked.get(key)
        if pod is not None:
            self._unpark(pod, now)

    def hurry(self, key: str) -> None:
        """The room that was made for this pod is there: its turn comes without any back-off."""
        pod = self._pods.get(key)
        if pod is not None and pod.place is not Place.ACTIVE:
            self._leave_parking(pod)
            self._activate(pod)

    def postpone(self, key: str, now: float) -> None:
        """This pod has had its turn for now: others go first, whatever happens."""
        pod = self.remove(key)
        if pod is not None:
            pod.due = now + BACKOFF_MAX_S
            self._wait(pod)

    def complete(self, group: str, completes: bool) -> None:
        """Whether the group's waiting pods go before everybody else."""
        for pod in list(self._groups.get(group, {}).values()):
            if pod.completes is not completes:
                pod.completes = completes
                if completes or pod.place is Place.ACTIVE:
                    self._leave_parking(pod)
                    self._activate(pod)

    def kinds(self) -> Collection[Class]:
        """The classes of pods that are parked."""
        return list(self._kinds)

    def sociable(self) -> Collection[Class]:
        """The classes that wait for other pods to come or go, wherever."""
        return list(self._sociable)

    def rules_of(self, kind: Class) -> frozenset[Rule]:
        """The rules that refused a class of parked pods; empty when there was no node, or nobody knows any more."""
        return self._rules[kind]

    def doubt(self, kind: Class) -> None:
        """What refused these pods somewhere is over there, and something else refuses them now: any change may help."""
        self._set_rules(kind, frozenset())

    def _set_rules(self, kind: Class, rules: frozenset[Rule]) -> None:
        self._rules[kind] = rules
        if not rules or not COMPANY.isdisjoint(rules):
            self._sociable.add(kind)
        else:
            self._sociable.discard(kind)

    def _wake(self, woken: list[Waiting], now: float) -> int:
        for pod in woken:
            self._unpark(pod, now)
        return len(woken)

    def next_due(self, now: float) -> float | None:
        """Seconds until a waiting pod becomes active by itself: 0 when one is; None when nothing waits."""
        self._flush(now)
        if self._next_active() is not None:
            return 0.0
        due = [self._backoff[0][0]] if self._backoff else []
        due += [pod.parked_at + PARKED_MAX_S for pod in itertools.islice(self._parked.values(), 1)]
        return max(0.0, min(due) - now) if due else None

    def _next_active(self) -> Waiting | None:
        """The first live entry of the heap. Heaps keep entries of pods that moved on; those are dropped here."""
        while self._active:
            urgency, key = self._active[0]
            pod = self._pods.get(key)
            if pod and pod.place is Place.ACTIVE and pod.urgency == urgency:
                return pod
            heapq.heappop(self._active)
        return None

    def _flush(self, now: float) -> None:
        while self._backoff and self._backoff[0][0] <= now:
            due, order, key = heapq.heappop(self._backoff)
            pod = self._pods.get(key)
            if pod and pod.place is Place.BACKOFF and (pod.order, pod.due) == (order, due):
                self._activate(pod)
        # Parked pods are in the order in which they were parked, so the first young one ends the search.
        while self._parked and now - (oldest := next(iter(self._parked.values()))).parked_at >= PARKED_MAX_S:
            self._unpark(oldest, now)

    def _unpark(self, pod: Waiting, now: float) -> None:
        self._leave_parking(pod)
        if pod.due > now:
            self._wait(pod)
        else:
            self._activate(pod)

    def _leave_parking(self, pod: Waiting) -> None:
        if self._parked.pop(pod.key, None) is not None:
            alike = self._kinds[pod.kind]
            del alike[pod.key]
            if not alike:
                del self._kinds[pod.kind], self._rules[pod.kind]
                self._sociable.discard(pod.kind)

    def _activate(self, pod: Waiting) -> None:
        pod.place = Place.ACTIVE
        self._keep(pod)
        heapq.heappush(self._active, (pod.urgency, pod.key))

    def _wait(self, pod: Waiting) -> None:
        pod.place = Place.BACKOFF
        self._keep(pod)
        heapq.heappush(self._backoff, (pod.due, pod.order, pod.key))

    def _keep(self, pod: Waiting) -> None:
        self._pods[pod.key] = pod
        if pod.group:
            self._groups.setdefault(pod.group, {})[pod.key] = pod
        for name in pod.packs:
            self._naming.setdefault(name, {})[pod.key] = pod


def _leave(pods: dict[str, dict[str, Waiting]], name: str, key: str) -> None:
    there = pods[name]
    del there[key]
    if not there:
        del pods[name]
