"""Who must make way for a pod that fits nowhere: kube-scheduler's DefaultPreemption, as plain functions.

On one node all pods of a lower priority are thought away; if the pod fits then, they are let back in one by one, the
most important first, as long as it still fits: those that a disruption budget protects before the others, and those
that are on their way out already last of all. Who could not be let back is a victim. Of all nodes the one is taken where
that hurts least. Nobody of an equal or higher priority is ever a victim.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ..pods import Pod
from ..policy import PodDisruptionBudget
from ..selectors import SelectorError
from ..tenancy import NOBODY, Owner, may_select

PRIORITY_LIFT = 1 << 31
"""Added to each victim's priority in the sum, so that two victims never weigh less than one because they are below 0."""

Selects = Callable[[Mapping[str, str]], bool]
Accepts = Callable[[str, Collection[str]], bool]
"""(node, uids) -> whether the pod may go to the node when the pods of those uids are not there."""


@dataclass(frozen=True, slots=True)
class Resident:
    """A pod that holds room on a node, or is about to."""

    uid: str
    namespace: str
    name: str
    labels: Mapping[str, str]
    priority: int
    started_at: float
    """Seconds since the epoch; infinity for a pod that its node has not begun."""
    is_leaving: bool
    """It is being deleted, or a preemption has been decided that deletes it."""
    owner: Owner = NOBODY

    @classmethod
    def of(cls, pod: Pod) -> Resident:
        """What there is to know of the pod."""
        meta, started = pod.metadata, pod.status.start_time
        return cls(
            uid=pod.uid,
            namespace=meta.namespace or "",
            name=meta.name,
            labels=meta.labels,
            priority=pod.spec.priority or 0,
            started_at=started.timestamp() if started is not None else math.inf,
            is_leaving=meta.deletion_timestamp is not None,
            owner=Owner.of(meta.annotations),
        )

    @property
    def key(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"


class Going(NamedTuple):
    """Those on a node who may go for a pod of some priority."""

    uids: frozenset[str]
    reprieved: tuple[Resident, ...]
    """In the order in which they are let back in."""
    protected: frozenset[str]
    """The uids of those whose going some budget does not allow."""


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
