"""How many pods of a budget may be evicted."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from stark.controllers.disruption.planning import Scale, scaled, verdict
from stark.crds.meta import OwnerReference, decode
from stark.crds.pods import Pod
from stark.crds.policy import PodDisruptionBudget
from tests.support.workloads import NOW, at, meta, owned_by, pod


def budget(spec: dict[str, Any], status: dict[str, Any] | None = None) -> PodDisruptionBudget:
    whole = {"selector": {"matchLabels": {"app": "web"}}, **spec}
    return decode({"metadata": meta("web", generation=2), "spec": whole, "status": status or {}}, PodDisruptionBudget)


def pods(ready: int, unready: int = 0) -> list[Pod]:
    owners = {"ownerReferences": owned_by("web")}
    up = [pod(f"up{n}", phase="Running", ready=-9, metadata=owners) for n in range(ready)]
    return [*up, *(pod(f"down{n}", phase="Running", metadata=owners) for n in range(unready))]


def wants(replicas: int | None) -> Any:
    def scale_of(owner: OwnerReference) -> Scale | None:
        return None if replicas is None else Scale(owner.uid, replicas)

    return scale_of


@pytest.mark.parametrize(
    ("spec", "there", "replicas", "counted"),
    [
        pytest.param({"minAvailable": 2}, pods(3), 3, (1, 3, 2, 3), id="one above a number may go"),
        pytest.param({"minAvailable": 3}, pods(3), 3, (0, 3, 3, 3), id="at the number nothing may go"),
        pytest.param({"minAvailable": 2}, pods(1, 2), 3, (0, 1, 2, 3), id="who is not ready does not count"),
        pytest.param({"minAvailable": "50%"}, pods(3), 3, (1, 3, 2, 3), id="a percentage is rounded up"),
        pytest.param({"maxUnavailable": 1}, pods(3), 3, (1, 3, 2, 3), id="one may be missing"),
        pytest.param({"maxUnavailable": 1}, pods(3), 4, (0, 3, 3, 4), id="one is missing already"),
        pytest.param({"maxUnavailable": "34%"}, pods(3), 3, (2, 3, 1, 3), id="missing percentages are rounded up"),
        pytest.param({"maxUnavailable": 1}, pods(2), None, (1, 2, 1, 2), id="an owner without a number has its pods"),
        pytest.param({"maxUnavailable": "100%"}, pods(0), 0, (0, 0, 0, 0), id="nothing there, nothing to take"),
        pytest.param({}, pods(3), 3, (0, 3, 0, 0), id="a budget that says nothing allows nothing"),
    ],
)
def test_a_budget_allows_what_is_above_it(
    spec: dict[str, Any], there: list[Pod], replicas: int | None, counted: tuple[int, ...]
) -> None:
    status = verdict(budget(spec), there, wants(replicas), NOW).status
    assert (
        status.disruptions_allowed,
        status.current_healthy,
        status.desired_healthy,
        status.expected_pods,
    ) == counted
    assert status.observed_generation == 2
    condition = status.conditions[0]
    assert (condition.type, condition.status) == ("DisruptionAllowed", "True" if counted[0] else "False")


def test_an_eviction_under_way_counts_until_its_time_is_over() -> None:
    waiting = budget({"minAvailable": 1}, {"disruptedPods": {"up0": at(-100), "up1": at(-121), "gone": at(-1)}})
    found = verdict(waiting, pods(3), wants(3), NOW)
    assert (list(found.status.disrupted_pods), found.status.current_healthy) == (["up0"], 2)
    assert found.recheck_after_s == 20
    later = verdict(waiting, pods(3), wants(3), NOW + timedelta(seconds=20))
    assert (later.status.disrupted_pods, later.status.current_healthy, later.recheck_after_s) == ({}, 3, None)


def test_counting_twice_changes_nothing() -> None:
    first = verdict(budget({"minAvailable": 1}), pods(2), wants(2), NOW).status
    again = budget({"minAvailable": 1}).model_copy(update={"status": first})
    assert verdict(again, pods(2), wants(2), NOW + timedelta(hours=1)).status == first


@pytest.mark.parametrize(("value", "total", "number"), [(2, 9, 2), ("0%", 9, 0), ("1%", 9, 1), ("100%", 9, 9)])
def test_a_share_is_rounded_up(value: int | str, total: int, number: int) -> None:
    assert scaled(value, total) == number
