"""Whose turn it is: pods that wait for a decision.

A pod is in one of three places. *Active* pods are tried, the highest priority first and among equals the one that came
first. Pods that failed for a passing reason wait in *back-off*. *Parked* pods found no node: they are tried again when
something happens that one of the rules that refused them looks at, and in any case after PARKED_MAX_S, in case we were
wrong about that. Pure: time is an argument, in seconds of any steady clock.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Set
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
    order: int = 0
    attempts: int = 0
    place: Place = Place.ACTIVE
    due: float = 0.0
    """When the last attempt's back-off ends."""
    parked_at: float = 0.0
    rules: frozenset[Rule] = frozenset()

    def backoff_s(self) -> float:
        """How long to leave it alone after its latest attempt."""
        return float(min(BACKOFF_FIRST_S * 2 ** min(max(self.attempts - 1, 0), 16), BACKOFF_MAX_S))


class PodQueue:
    """Pods by key. A pod taken out with `pop` is nowhere until it is put back or forgotten."""

    def __init__(self) -> None:
        self._pods: dict[str, Waiting] = {}
        self._active: list[tuple[int, int, str]] = []
        self._backoff: list[tuple[float, int, str]] = []
        self._parked: dict[str, Waiting] = {}
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

    def add(self, key: str, uid: str, priority: int, demand: Demand, now: float) -> None:
        """A pod to place, new or changed. One that waits keeps its turn; a changed demand or priority makes it
        active."""
        known = self._pods.get(key)
        if known is not None and known.uid == uid:
            if (known.priority, known.demand) == (priority, demand):
                return
            known.priority, known.demand = priority, demand
            self._activate(known)
            return
        self.remove(key)
        self._order += 1
        self._activate(Waiting(key, uid, priority, demand, now, self._order))

    def remove(self, key: str) -> None:
        """The pod is bound, finished or gone."""
        self._pods.pop(key, None)
        self._parked.pop(key, None)

    def pop(self, now: float) -> Waiting | None:
        """Take out the pod whose turn it is; None when all wait."""
        self._flush(now)
        pod = self._next_active()
        if pod is None:
            return None
        heapq.heappop(self._active)
        del self._pods[pod.key]
        pod.attempts += 1
        return pod

    def retry(self, pod: Waiting, now: float) -> None:
        """Put a pod back whose attempt failed for a passing reason."""
        pod.due = now + pod.backoff_s()
        self._wait(pod)

    def park(self, pod: Waiting, rules: frozenset[Rule], now: float) -> None:
        """Put a pod back that no node would take, because of `rules`."""
        pod.place, pod.rules = Place.PARKED, rules
        pod.due, pod.parked_at = now + pod.backoff_s(), now
        self._pods[pod.key] = self._parked[pod.key] = pod

    def wake(self, rules: Set[Rule], now: float) -> int:
        """Something that these rules look at has changed: let the pods they refused try again. Returns how many."""
        woken = [pod for pod in self._parked.values() if not pod.rules or not pod.rules.isdisjoint(rules)]
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
            negative_priority, order, key = self._active[0]
            pod = self._pods.get(key)
            if pod and pod.place is Place.ACTIVE and (pod.order, -pod.priority) == (order, negative_priority):
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
        del self._parked[pod.key]
        if pod.due > now:
            self._wait(pod)
        else:
            self._activate(pod)

    def _activate(self, pod: Waiting) -> None:
        pod.place = Place.ACTIVE
        self._parked.pop(pod.key, None)
        self._pods[pod.key] = pod
        heapq.heappush(self._active, (-pod.priority, pod.order, pod.key))

    def _wait(self, pod: Waiting) -> None:
        pod.place = Place.BACKOFF
        self._pods[pod.key] = pod
        heapq.heappush(self._backoff, (pod.due, pod.order, pod.key))
