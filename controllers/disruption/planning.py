"""How many pods of a budget may be evicted now. Pure.

What should be there is told by the pods' owners, not by the pods: pods that are missing already must count. An eviction
that was allowed and has not been seen yet counts as a pod that is gone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from stark.crds.conditions import Condition, set_condition
from stark.crds.meta import OwnerReference, controller_of
from stark.crds.podfacts import is_finished, is_ready
from stark.crds.pods import Pod
from stark.crds.policy import DISRUPTION_TIMEOUT_S, PodDisruptionBudget, PodDisruptionBudgetStatus


@dataclass(frozen=True, slots=True)
class Scale:
    """Who decides how many pods there should be, and how many it wants."""

    uid: str
    replicas: int


ScaleOf = Callable[[OwnerReference], Scale | None]
"""What stands behind an owner; None when it is gone or of a kind that says no number."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The status a budget should have, and when it changes by itself."""

    status: PodDisruptionBudgetStatus
    recheck_after_s: float | None = None


def verdict(budget: PodDisruptionBudget, pods: Sequence[Pod], scale_of: ScaleOf, now: datetime) -> Verdict:
    """Count the budget. `pods` are those it selects."""
    there = [pod for pod in pods if not is_finished(pod)]
    expected, desired = wanted(budget, there, scale_of)
    disrupted, recheck = still_disrupted(budget.status.disrupted_pods, there, now)
    healthy = sum(_is_healthy(pod) and pod.metadata.name not in disrupted for pod in there)
    allowed = max(0, healthy - desired) if expected > 0 else 0
    status = PodDisruptionBudgetStatus(
        observed_generation=budget.metadata.generation,
        disrupted_pods=disrupted,
        disruptions_allowed=allowed,
        current_healthy=healthy,
        desired_healthy=desired,
        expected_pods=expected,
        conditions=set_condition(budget.status.conditions, _condition(budget, allowed), now),
    )
    return Verdict(status, recheck)


def _is_healthy(pod: Pod) -> bool:
    return pod.metadata.deletion_timestamp is None and is_ready(pod)


def _condition(budget: PodDisruptionBudget, allowed: int) -> Condition:
    return Condition(
        type="DisruptionAllowed",
        status="True" if allowed else "False",
        reason="SufficientPods" if allowed else "InsufficientPods",
        message="",
        observed_generation=budget.metadata.generation,
    )


def wanted(budget: PodDisruptionBudget, pods: Sequence[Pod], scale_of: ScaleOf) -> tuple[int, int]:
    """(pods there should be, pods that must be healthy)."""
    at_least, at_most_gone = budget.spec.min_available, budget.spec.max_unavailable
    if at_most_gone is not None:
        expected = expected_scale(pods, scale_of)
        return expected, max(0, expected - scaled(at_most_gone, expected))
    if at_least is None:
        return 0, 0
    if isinstance(at_least, int):
        return len(pods), at_least
    expected = expected_scale(pods, scale_of)
    return expected, scaled(at_least, expected)


def scaled(value: int | str, total: int) -> int:
    """A number, or a percentage of `total` rounded up."""
    if isinstance(value, int):
        return value
    digits = value.removesuffix("%")
    return -(-int(digits) * total // 100) if digits.isdigit() else 0


def expected_scale(pods: Sequence[Pod], scale_of: ScaleOf) -> int:
    """What the pods' owners want together. An owner that says no number counts by its pods, a pod of nobody not at
    all: nothing would bring it back."""
    told: dict[str, int] = {}
    counted: Counter[str] = Counter()
    for owner in (controller_of(pod) for pod in pods):
        if owner is None:
            continue
        scale = scale_of(owner)
        if scale is None:
            counted[owner.uid] += 1
        else:
            told[scale.uid] = scale.replicas
    return sum(told.values()) + counted.total()


def still_disrupted(
    known: Mapping[str, datetime], pods: Sequence[Pod], now: datetime
) -> tuple[dict[str, datetime], float | None]:
    """The evictions that were allowed and not seen yet, and the seconds until the next of them has failed."""
    alive = {pod.metadata.name for pod in pods if pod.metadata.deletion_timestamp is None}
    limit = timedelta(seconds=DISRUPTION_TIMEOUT_S)
    waiting = {name: since for name, since in known.items() if name in alive and since + limit > now}
    left = [(since + limit - now).total_seconds() for since in waiting.values()]
    return waiting, min(left, default=None)
