"""How many pods an autoscaler wants, and how fast it may have them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stark.controllers.horizontal_autoscaler.controller import samples_of
from stark.controllers.horizontal_autoscaler.limits import Bounds, History, Remembered, limited
from stark.controllers.horizontal_autoscaler.planning import (
    Figures,
    Plan,
    Scaled,
    after_refusal,
    after_scaling,
    ambiguity,
    plan,
)
from stark.controllers.horizontal_autoscaler.settings import AutoscalerSettings
from stark.controllers.horizontal_autoscaler.usage import Sample
from stark.crds.autoscaling import HorizontalPodAutoscaler, HorizontalPodAutoscalerBehavior
from stark.crds.conditions import find_condition
from stark.crds.meta import decode
from stark.crds.pods import Pod
from stark.crds.usage import PodMetrics
from tests.support.workloads import NOW, at, meta

SETTINGS = AutoscalerSettings()
OLD = -3600
"""Pods that began then are past their start."""


def cpu(percent: int = 50) -> dict[str, Any]:
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": "cpu", "target": target}}


def memory(average: str = "100Mi") -> dict[str, Any]:
    target = {"type": "AverageValue", "averageValue": average}
    return {"type": "Resource", "resource": {"name": "memory", "target": target}}


def autoscaler(
    *metrics: dict[str, Any], least: int = 1, most: int = 10, status: dict[str, Any] | None = None, **spec: Any
) -> HorizontalPodAutoscaler:
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    body = {
        "metadata": meta("web", generation=3),
        "spec": {
            "scaleTargetRef": reference,
            "minReplicas": least,
            "maxReplicas": most,
            "metrics": list(metrics) or [cpu()],
            **spec,
        },
        "status": status or {},
    }
    return decode(body, HorizontalPodAutoscaler)


def pod(number: int, *, phase: str = "Running", ready: str | None = "True", began: float = OLD, **more: Any) -> Pod:
    """A pod that requests 100m and changed its readiness right after it began."""
    container = {"name": "main", "image": "x", "resources": {"requests": {"cpu": "100m", "memory": "100Mi"}}}
    condition = [{"type": "Ready", "status": ready, "lastTransitionTime": at(more.get("changed", began + 1))}]
    ending: dict[str, Any] = {"deletionTimestamp": at(9)} if more.get("ending") else {}
    body = {
        "metadata": meta(f"web-{number}", **ending),
        "spec": {"containers": [{**container, **more.get("container", {})}]},
        "status": {"phase": phase, "startTime": at(began), "conditions": condition if ready else []},
    }
    return decode(body, Pod)


def used(*millis: int | None, window_s: float = 10, unit: int = 1) -> dict[str, Sample]:
    """Samples of the pods 0, 1, 2 ...; None: there is none."""
    return {f"web-{n}": Sample(each * unit, NOW, window_s) for n, each in enumerate(millis) if each is not None}


def wants(pods: list[Pod], figures: Any, hpa: HorizontalPodAutoscaler | None = None) -> Plan:
    """The plan; `figures` are samples of cpu, or all figures."""
    by: Figures = figures if any(isinstance(key, tuple) for key in figures) else {("cpu", None): figures}
    return plan(hpa or autoscaler(), Scaled(len(pods), pods), by, History(), SETTINGS, NOW)


@pytest.mark.parametrize(
    ("pods", "figures", "replicas"),
    [
        pytest.param([pod(0), pod(1)], used(100, 100), 4, id="twice the target is twice the pods"),
        pytest.param([pod(0), pod(1)], used(55, 55), None, id="within 10 % nothing is done"),
        pytest.param([pod(0), pod(1)], used(56, 56), 3, id="past 10 % it is, rounded up"),
        pytest.param([pod(0), pod(1), pod(2)], used(100, 100, None), 4, id="who is missing uses nothing when it grows"),
        pytest.param([pod(0), pod(1)], used(75, None), None, id="a growth that an assumption turns around is none"),
        pytest.param(
            [pod(0), pod(1, phase="Pending", ready=None)], used(100), None, id="who is not ready uses nothing, either"
        ),
        pytest.param(
            [pod(0), pod(1, ready="False", began=-60)], used(100, 900), None, id="the cpu of a start does not count"
        ),
        pytest.param(
            [pod(0), pod(1, ready="False", changed=-60)], used(100, 100), 4, id="who was ready once does count"
        ),
        pytest.param(
            [pod(0), pod(1, began=-60, changed=-5)], used(100, 900), None, id="nor a sample from before it was ready"
        ),
        pytest.param([pod(0), pod(1, ending=True)], used(100, 900), None, id="who goes does not count"),
        pytest.param([pod(0), pod(1, phase="Failed")], used(100, 900), None, id="who has failed does not count"),
    ],
)
def test_as_many_pods_as_their_use_asks_for(pods: list[Pod], figures: dict[str, Sample], replicas: int | None) -> None:
    assert wants(pods, figures).replicas == replicas


@pytest.mark.parametrize(
    ("figures", "replicas"),
    [
        pytest.param(used(10, 10, 10, 10), 1, id="down to what it uses"),
        pytest.param(used(10, 10, None, None), None, id="who is missing uses all it requests when it shrinks"),
        pytest.param(used(0, 0, 0, None), 2, id="as far as that leaves"),
    ],
)
def test_giving_up_waits_for_the_window(figures: dict[str, Sample], replicas: int | None) -> None:
    pods = [pod(n) for n in range(4)]
    assert wants(pods, figures).replicas is None  # the process has only just begun to watch
    past = History((Remembered(1, NOW - timedelta(seconds=200)),))
    hpa = autoscaler()
    assert plan(hpa, Scaled(4, pods), {("cpu", None): figures}, past, SETTINGS, NOW).replicas == replicas
    high = History((Remembered(4, NOW - timedelta(seconds=299)), Remembered(1, NOW)))
    step = plan(hpa, Scaled(4, pods), {("cpu", None): figures}, high, SETTINGS, NOW)
    assert step.replicas is None
    able = find_condition(step.status.conditions, "AbleToScale")
    assert able is not None
    assert able.reason == ("ReadyForNewScale" if replicas is None else "ScaleDownStabilized")


def test_an_average_is_compared_with_an_average() -> None:
    mebi = (1 << 20) * 1000
    pods = [pod(0), pod(1)]
    step = wants(pods, {("memory", None): used(150, 250, unit=mebi)}, autoscaler(memory()))
    assert step.replicas == 4
    (measured,) = step.status.current_metrics
    assert measured.resource is not None
    assert measured.resource.current.average_value == str(200 << 20)
    assert measured.resource.current.average_utilization is None
    assert step.reason == "memory resource above target"


def test_a_container_is_measured_alone() -> None:
    target = {"type": "Utilization", "averageUtilization": 50}
    source = {"name": "cpu", "container": "main", "target": target}
    hpa = autoscaler({"type": "ContainerResource", "containerResource": source})
    step = plan(hpa, Scaled(1, [pod(0)]), {("cpu", "main"): used(100)}, History(), SETTINGS, NOW)
    assert step.replicas == 2
    assert step.status.current_metrics[0].container_resource is not None
    lost: Figures = {("cpu", "main"): "container main not present in metrics for pod default/web-0"}
    blind = plan(hpa, Scaled(1, [pod(0)]), lost, History(), SETTINGS, NOW)
    assert blind.told[0].reason == "FailedGetContainerResourceMetric"


def test_of_several_measures_the_highest_counts() -> None:
    mebi = (1 << 20) * 1000
    hpa = autoscaler(cpu(), memory())
    figures: Figures = {("cpu", None): used(60, 60), ("memory", None): used(200, 200, unit=mebi)}
    step = wants([pod(0), pod(1)], figures, hpa)
    assert (step.replicas, step.reason) == (4, "memory resource above target")


def test_a_measure_that_cannot_be_made_keeps_pods_from_being_given_up_and_not_from_being_added() -> None:
    hpa = autoscaler(cpu(), memory())
    lost = "no metrics returned from resource metrics API"
    pods = [pod(0), pod(1)]
    grown = wants(pods, {("cpu", None): used(100, 100), ("memory", None): lost}, hpa)
    assert grown.replicas == 4
    assert [each.reason for each in grown.told] == ["FailedGetResourceMetric"]
    kept = wants(pods, {("cpu", None): used(1, 1), ("memory", None): lost}, hpa)
    assert kept.replicas is None
    active = find_condition(kept.status.conditions, "ScalingActive")
    assert active is not None
    assert (active.status, active.reason) == ("False", "FailedGetResourceMetric")
    assert active.message == (
        "the HPA was unable to compute the replica count: failed to get memory resource metric value: failed to get "
        "memory usage: unable to get metrics for resource memory: no metrics returned from resource metrics API"
    )
    assert kept.told[-1].reason == "FailedComputeMetricsReplicas"
    assert [each.type for each in kept.status.current_metrics] == ["Resource", "Resource"]


def test_a_share_of_nothing_is_no_number() -> None:
    step = wants([pod(0, container={"resources": {}})], used(100))
    assert step.replicas is None
    assert "missing request for cpu in container main of Pod web-0" in step.told[0].message


@pytest.mark.parametrize(
    ("current", "replicas", "reason"),
    [
        pytest.param(0, None, "", id="none at all means switched off"),
        pytest.param(1, 2, "Current number of replicas below Spec.MinReplicas", id="below the least"),
        pytest.param(9, 5, "Current number of replicas above Spec.MaxReplicas", id="above the most"),
    ],
)
def test_bounds_come_before_measures(current: int, replicas: int | None, reason: str) -> None:
    step = plan(autoscaler(least=2, most=5), Scaled(current), {}, History(), SETTINGS, NOW)
    assert (step.replicas, step.reason) == (replicas, reason)
    active = find_condition(step.status.conditions, "ScalingActive")
    assert (active is not None and active.reason == "ScalingDisabled") is (current == 0)


@pytest.mark.parametrize("replicas", [1, 3, 9])
def test_what_runs_on_every_node_is_not_scaled(replicas: int) -> None:
    step = plan(autoscaler(least=2, most=5), Scaled(replicas, on_every_node=True), {}, History(), SETTINGS, NOW)
    active = find_condition(step.status.conditions, "ScalingActive")
    assert active is not None
    assert (step.replicas, active.status, active.reason) == (None, "False", "ScalingDisabled")
    assert "every node" in (active.message or "")


def test_what_was_done_is_said_and_remembered() -> None:
    hpa = autoscaler(behavior={"scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]}})
    step = wants([pod(0), pod(1)], used(100, 100), hpa)
    assert step.replicas == 3
    limit = find_condition(step.status.conditions, "ScalingLimited")
    assert limit is not None
    assert (limit.status, limit.reason) == ("True", "ScaleUpLimit")
    done = after_scaling(hpa, step, NOW)
    assert [(each.reason, each.message) for each in done.told] == [
        ("SuccessfulRescale", "New size: 3; reason: cpu resource utilization (percentage of request) above target")
    ]
    assert done.status.last_scale_time == NOW
    assert done.history.added == (Remembered(1, NOW),)
    able = find_condition(done.status.conditions, "AbleToScale")
    assert able is not None
    assert able.message == "the HPA controller was able to update the target scale to 3"
    refused = after_refusal(hpa, step, "quota", NOW)
    assert refused.told[-1].message.endswith("above target; error: quota")
    assert refused.history.added == ()
    assert (refused.status.current_replicas, refused.status.desired_replicas) == (2, 0)


def behavior(**given: Any) -> HorizontalPodAutoscalerBehavior:
    return HorizontalPodAutoscalerBehavior.model_validate(given)


def rules(*policies: tuple[str, int, int], **more: Any) -> dict[str, Any]:
    return {"policies": [{"type": t, "value": v, "periodSeconds": p} for t, v, p in policies], **more}


def ago(number: int, seconds: float) -> Remembered:
    return Remembered(number, NOW - timedelta(seconds=seconds))


POLICIES = (("Pods", 4, 60), ("Percent", 50, 60))


@pytest.mark.parametrize(
    ("wish", "current", "given_rules", "history", "replicas", "why"),
    [
        pytest.param(20, 10, {"scaleUp": rules(*POLICIES)}, History(), 15, "ScaleUpLimit", id="up by the larger"),
        pytest.param(
            20, 10, {"scaleUp": rules(*POLICIES, selectPolicy="Min")}, History(), 14, "ScaleUpLimit", id="up by the less"
        ),
        pytest.param(
            20, 10, {"scaleUp": rules(*POLICIES, selectPolicy="Disabled")}, History(), 10, "ScaleUpLimit", id="not up"
        ),
        pytest.param(
            20, 12, {"scaleUp": rules(("Pods", 4, 60))}, History(added=(ago(2, 59), ago(9, 61))), 14, "ScaleUpLimit",
            id="what was added in the period counts",
        ),
        pytest.param(
            20, 12, {"scaleUp": rules(("Pods", 4, 60))}, History(added=(ago(5, 5),)), 12, "ScaleUpLimit",
            id="and never turns into giving up",
        ),
        pytest.param(
            40, 10, {"scaleUp": rules(("Percent", 900, 60))}, History(), 30, "TooManyReplicas", id="the most is the most"
        ),
        pytest.param(
            2, 10, {"scaleDown": rules(*POLICIES, stabilizationWindowSeconds=0)}, History(), 5, "ScaleDownLimit",
            id="down by the larger",
        ),
        pytest.param(
            2, 10, {"scaleDown": rules(*POLICIES, stabilizationWindowSeconds=0, selectPolicy="Min")}, History(), 6,
            "ScaleDownLimit", id="down by the less",
        ),
        pytest.param(
            2, 10, {"scaleDown": rules(("Pods", 4, 60), stabilizationWindowSeconds=0)}, History(removed=(ago(3, 9),)),
            9, "ScaleDownLimit", id="what was given up in the period counts",
        ),
        pytest.param(
            1, 10, {"scaleDown": rules(("Percent", 100, 60), stabilizationWindowSeconds=0)}, History(), 2,
            "TooFewReplicas", id="the least is the least",
        ),
        pytest.param(
            20, 10, {"scaleUp": rules(("Pods", 99, 60), stabilizationWindowSeconds=60)},
            History((ago(12, 30), ago(11, 61))), 12, "DesiredWithinRange", id="up to the lowest of its window",
        ),
        pytest.param(
            5, 10, {"scaleDown": rules(("Pods", 99, 60), stabilizationWindowSeconds=60)},
            History((ago(7, 30), ago(9, 61))), 7, "DesiredWithinRange", id="down to the highest of its window",
        ),
        pytest.param(
            5, 10, {"scaleDown": rules(("Pods", 99, 60))}, History((ago(8, 299), ago(9, 301))), 8, "DesiredWithinRange",
            id="five minutes when it names none",
        ),
    ],
)  # fmt: skip
def test_behavior_says_how_fast(
    wish: int, current: int, given_rules: dict[str, Any], history: History, replicas: int, why: str
) -> None:
    end = limited(wish, Bounds(2, 30, current), behavior(**given_rules), history, 300, NOW)
    assert (end.replicas, end.limit[0]) == (replicas, why)


@pytest.mark.parametrize(
    ("wish", "current", "replicas", "why"),
    [
        (20, 3, 6, "ScaleUpLimit"),
        (20, 1, 4, "ScaleUpLimit"),
        (40, 20, 30, "TooManyReplicas"),
        (1, 5, 2, "TooFewReplicas"),
    ],
)
def test_without_behavior_a_step_up_is_at_most_the_double(wish: int, current: int, replicas: int, why: str) -> None:
    end = limited(wish, Bounds(2, 30, current), None, History(), 300, NOW)
    assert (end.replicas, end.limit[0], end.is_limited) == (replicas, why, True)


@pytest.mark.parametrize(("tolerance", "replicas"), [("0", 3), ("250m", None)])
def test_a_direction_may_have_a_tolerance_of_its_own(tolerance: str, replicas: int | None) -> None:
    up = rules(("Pods", 9, 60), tolerance=tolerance)
    assert wants([pod(0), pod(1)], used(52, 60), autoscaler(behavior={"scaleUp": up})).replicas == replicas


POLICY = st.tuples(st.sampled_from(["Pods", "Percent"]), st.integers(1, 300), st.integers(1, 1800))
RULES = st.builds(
    lambda policies, choice, window: rules(*policies, selectPolicy=choice, stabilizationWindowSeconds=window),
    st.lists(POLICY, min_size=1, max_size=3),
    st.sampled_from(["Max", "Min", "Disabled"]),
    st.integers(0, 3600),
)
REMEMBERED = st.lists(st.builds(ago, st.integers(0, 60), st.integers(0, 4000)), max_size=5).map(tuple)
HISTORY = st.builds(History, REMEMBERED, REMEMBERED, REMEMBERED)
BEHAVIOR = st.none() | st.builds(lambda up, down: behavior(scaleUp=up, scaleDown=down), RULES, RULES)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 100), st.integers(1, 20), st.integers(0, 40), st.integers(0, 60), BEHAVIOR, HISTORY)
def test_it_never_leaves_its_bounds_and_never_goes_the_wrong_way(
    wish: int, least: int, room: int, offset: int, given_behavior: HorizontalPodAutoscalerBehavior | None, past: History
) -> None:
    most = least + room
    current = min(most, least + offset)
    bounds = Bounds(least, most, current)
    end = limited(wish, bounds, given_behavior, past.begun(current, NOW), 300, NOW)
    assert least <= end.replicas <= most
    more = limited(wish + 1, bounds, given_behavior, past.begun(current, NOW), 300, NOW)
    assert more.replicas >= end.replicas, "asking for more never gives less"
    if wish >= current:
        assert end.replicas >= current
    elif given_behavior is not None:
        assert end.replicas <= current


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 400), min_size=1, max_size=8), st.integers(0, 7), st.integers(1, 100))
def test_a_pod_that_uses_more_never_means_fewer_pods(millis: list[int], which: int, more: int) -> None:
    pods = [pod(n) for n in range(len(millis))]
    busier = [each + (more if n == which % len(millis) else 0) for n, each in enumerate(millis)]
    hpa = autoscaler(most=1000)

    def desired(values: list[int]) -> int:
        return wants(pods, used(*values), hpa).status.desired_replicas

    assert desired(busier) >= desired(millis)


def test_pods_that_several_autoscalers_count_are_nobodys() -> None:
    pods = [pod(0)]
    assert ambiguity("default/web", "app=web", pods, lambda _: ["default/web"]) == ("", "")
    reason, message = ambiguity("default/web", "app=web", pods, lambda _: ["default/web", "default/two"])
    assert reason == "AmbiguousSelector"
    assert message == "pods by selector app=web are controlled by multiple HPAs: [default/two default/web]"
    step = plan(autoscaler(), Scaled(1, pods, (reason, message)), {}, History(), SETTINGS, NOW)
    assert step.replicas is None
    assert [each.reason for each in step.told] == ["AmbiguousSelector", "FailedComputeMetricsReplicas"]


def test_the_use_of_a_pod_is_that_of_its_containers() -> None:
    containers = [
        {"name": "main", "usage": {"cpu": "150m", "memory": "1Mi"}},
        {"name": "side", "usage": {"cpu": "1500u"}},
    ]
    body = {"metadata": meta("web-0"), "timestamp": at(0), "window": "10.5s", "containers": containers}
    metrics = [decode(body, PodMetrics)]
    assert samples_of(metrics, ("cpu", None)) == {"web-0": Sample(152, NOW, 10.5)}
    assert samples_of(metrics, ("cpu", "side")) == {"web-0": Sample(2, NOW, 10.5)}
    assert samples_of(metrics, ("memory", None)) == {}, "one container says nothing of memory"
    assert samples_of(metrics, ("cpu", "other")) == "container other not present in metrics for pod default/web-0"
    assert samples_of([], ("cpu", None)) == "no metrics returned from resource metrics API"
