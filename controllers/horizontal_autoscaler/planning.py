"""What an autoscaler does now: the number of pods it wants, why, and its status. Pure.

The rules are Kubernetes': of several measures the one that asks for most pods counts; one that cannot be made keeps pods
from being given up, never from being added; no pods at all mean that somebody has switched the workload off.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Literal

from stark.crds.autoscaling import (
    ContainerResourceMetricStatus,
    HorizontalPodAutoscaler,
    HorizontalPodAutoscalerStatus,
    HPAScalingRules,
    MetricSpec,
    MetricStatus,
    MetricTarget,
    MetricValueStatus,
    ResourceMetricStatus,
)
from stark.crds.conditions import Condition, set_condition
from stark.crds.pods import Pod
from stark.crds.quantity import format_quantity, milli_cpu, parse_quantity

from .limits import Bounds, History, limited
from .settings import AutoscalerSettings
from .usage import Measure, NotMeasurable, Proposal, Samples, Tolerances, by_average, by_utilization

GOT_SCALE = "the HPA controller was able to get the target's current scale"
NO_SCALE = "the HPA controller was unable to get the target's current scale"
DISABLED = "scaling is disabled since the replica count of the target is zero"
EVERY_NODE = "scaling is disabled since the target runs a pod on every node and reads no replica count"

Wanted = tuple[str, str | None]
"""A resource, and the container whose use of it is meant; None: of whole pods."""
Figures = Mapping[Wanted, Samples | str]
"""What was measured, or why it could not be."""


@dataclass(frozen=True, slots=True)
class Told:
    """An event."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Scaled:
    """The workload: how many pods it wants and which they are."""

    replicas: int
    pods: Sequence[Pod] = ()
    selector_problem: tuple[str, str] = ("", "")
    """Why its pods cannot be told, as reason and message; empty when they can."""
    on_every_node: bool = False
    """It has a pod on every node, whatever number it wants."""

    @property
    def is_off(self) -> bool:
        """Whether there is nothing to scale by intent."""
        return self.replicas == 0 or self.on_every_node


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do about an autoscaler now."""

    status: HorizontalPodAutoscalerStatus
    """Its status when nothing is scaled."""
    history: History
    replicas: int | None = None
    """The number of pods to set; None leaves it."""
    reason: str = ""
    """Why."""
    told: Sequence[Told] = ()


def least_of(hpa: HorizontalPodAutoscaler) -> int:
    """The least pods."""
    return 1 if hpa.spec.min_replicas is None else hpa.spec.min_replicas


def needs_figures(hpa: HorizontalPodAutoscaler, scaled: Scaled) -> bool:
    """Whether measures decide, and not the bounds alone."""
    return not scaled.is_off and least_of(hpa) <= scaled.replicas <= hpa.spec.max_replicas


def wanted_figures(hpa: HorizontalPodAutoscaler) -> list[Wanted]:
    """What has to be measured, each once."""
    return list(dict.fromkeys(wanted_of(metric) for metric in hpa.spec.metrics))


def wanted_of(metric: MetricSpec) -> Wanted:
    """What a measure is about."""
    if metric.container_resource is not None:
        return metric.container_resource.name, metric.container_resource.container
    assert metric.resource is not None, metric
    return metric.resource.name, None


def unreachable(hpa: HorizontalPodAutoscaler, why: str, now: datetime) -> HorizontalPodAutoscalerStatus:
    """Its status when what it scales cannot be found."""
    condition = _condition("AbleToScale", "False", "FailedGetScale", f"{NO_SCALE}: {why}")
    return _status(hpa, {"conditions": set_condition(hpa.status.conditions, condition, now)})


def plan(
    hpa: HorizontalPodAutoscaler,
    scaled: Scaled,
    figures: Figures,
    history: History,
    settings: AutoscalerSettings,
    now: datetime,
) -> Plan:
    """The next step. `figures` are needed when `needs_figures` says so."""
    current, history = scaled.replicas, history.begun(scaled.replicas, now)
    found = _conditions(hpa.status.conditions, now, _able("SucceededGetScale", GOT_SCALE))
    if scaled.is_off:
        why = EVERY_NODE if scaled.on_every_node else DISABLED
        off = _condition("ScalingActive", "False", "ScalingDisabled", why)
        return Plan(_seen(hpa, current, current, None, _conditions(found, now, off)), history)
    if not needs_figures(hpa, scaled):
        above = current > hpa.spec.max_replicas
        bound = hpa.spec.max_replicas if above else least_of(hpa)
        side = "above Spec.MaxReplicas" if above else "below Spec.MinReplicas"
        status = _seen(hpa, current, bound, None, found)
        return Plan(status, history, bound, f"Current number of replicas {side}")
    return _by_figures(hpa, scaled, figures, history, settings, found, now)


@dataclass(frozen=True, slots=True)
class _Judged:
    """One measure and what it asks for, or why it could not be made."""

    status: MetricStatus
    name: str = ""
    replicas: int = 0
    trouble: tuple[str, str] = ("", "")
    """Reason and message; empty when it asks for something."""


def _by_figures(
    hpa: HorizontalPodAutoscaler,
    scaled: Scaled,
    figures: Figures,
    history: History,
    settings: AutoscalerSettings,
    found: list[Condition],
    now: datetime,
) -> Plan:
    current = scaled.replicas
    if scaled.selector_problem[0]:
        reason, message = scaled.selector_problem
        blind = _conditions(found, now, _condition("ScalingActive", "False", reason, message))
        told = [Told("Warning", reason, message), Told("Warning", "FailedComputeMetricsReplicas", message)]
        return Plan(_seen(hpa, current, None, [], blind), history, told=told)
    judged = [_judge(metric, scaled, figures, _tolerances(hpa, settings), settings, now) for metric in hpa.spec.metrics]
    statuses = [each.status for each in judged]
    told = [Told("Warning", *each.trouble) for each in judged if each.trouble[0]]
    made = [each for each in judged if not each.trouble[0]]
    highest = max(made, key=lambda each: each.replicas, default=None)
    failed = next((each for each in judged if each.trouble[0]), None)
    if failed is not None and (highest is None or highest.replicas < current):
        count = f"{len(told)} invalid out of {len(judged)}"
        message = f"invalid metrics ({count}), first error is: {failed.trouble[1]}"
        told.append(Told("Warning", "FailedComputeMetricsReplicas", message))
        why = f"the HPA was unable to compute the replica count: {failed.trouble[1]}"
        blind = _conditions(found, now, _condition("ScalingActive", "False", failed.trouble[0], why))
        return Plan(_seen(hpa, current, None, statuses, blind), history, told=told)
    assert highest is not None, hpa.key
    bounds = Bounds(least_of(hpa), hpa.spec.max_replicas, current)
    window_s = settings.scale_down_window_s
    end = limited(highest.replicas, bounds, hpa.spec.behavior, history, window_s, now)
    valid = f"the HPA was able to successfully calculate a replica count from {highest.name}"
    conditions = _conditions(
        found,
        now,
        _condition("ScalingActive", "True", "ValidMetricFound", valid),
        _able(*end.able),
        _condition("ScalingLimited", "True" if end.is_limited else "False", *end.limit),
    )
    status = _seen(hpa, current, end.replicas, statuses, conditions)
    if end.replicas == current:
        return Plan(status, end.history, told=told)
    reason = f"{highest.name} above target" if end.replicas > current else "All metrics below target"
    return Plan(status, end.history, end.replicas, reason, told)


def _judge(
    metric: MetricSpec,
    scaled: Scaled,
    figures: Figures,
    tolerances: Tolerances,
    settings: AutoscalerSettings,
    now: datetime,
) -> _Judged:
    source = metric.container_resource or metric.resource
    assert source is not None, metric
    wanted = wanted_of(metric)
    samples, what = figures[wanted], "utilization" if source.target.average_value is None else "usage"
    try:
        if isinstance(samples, str):
            raise NotMeasurable(f"unable to get metrics for resource {wanted[0]}: {samples}")
        measure = Measure(wanted[0], wanted[1], scaled.pods, samples, tolerances, settings, now)
        proposal = _proposal(measure, scaled.replicas, source.target)
    except NotMeasurable as error:
        kind = "resource" if metric.container_resource is None else "container"
        reason = "FailedGetResourceMetric" if metric.container_resource is None else "FailedGetContainerResourceMetric"
        message = f"failed to get {wanted[0]} {kind} metric value: failed to get {wanted[0]} {what}: {error}"
        return _Judged(MetricStatus(type=metric.type), trouble=(reason, message))
    share = " utilization (percentage of request)" if proposal.percent is not None else ""
    kind = "resource" if metric.container_resource is None else "container resource"
    return _Judged(_measured(metric, proposal), f"{wanted[0]} {kind}{share}", proposal.replicas)


def _proposal(measure: Measure, current: int, target: MetricTarget) -> Proposal:
    if target.average_value is not None:
        return by_average(measure, current, milli_cpu(target.average_value))
    assert target.average_utilization is not None, target
    return by_utilization(measure, current, target.average_utilization)


def _measured(metric: MetricSpec, proposal: Proposal) -> MetricStatus:
    values: dict[str, str | int] = {"average_value": format_quantity(Decimal(proposal.average_milli) / 1000)}
    if proposal.percent is not None:
        values["average_utilization"] = proposal.percent
    current = MetricValueStatus.model_validate(values)
    if metric.container_resource is not None:
        name, container = metric.container_resource.name, metric.container_resource.container
        said = ContainerResourceMetricStatus(name=name, container=container, current=current)
        return MetricStatus(type=metric.type, container_resource=said)
    assert metric.resource is not None, metric
    return MetricStatus(type=metric.type, resource=ResourceMetricStatus(name=metric.resource.name, current=current))


def _tolerances(hpa: HorizontalPodAutoscaler, settings: AutoscalerSettings) -> Tolerances:
    behavior = hpa.spec.behavior

    def of(rules: HPAScalingRules | None) -> float:
        given = rules.tolerance if rules is not None else None
        return settings.tolerance if given is None else float(parse_quantity(given))

    if behavior is None:
        return Tolerances(settings.tolerance, settings.tolerance)
    return Tolerances(down=of(behavior.scale_down), up=of(behavior.scale_up))


def after_scaling(hpa: HorizontalPodAutoscaler, step: Plan, now: datetime) -> Plan:
    """The plan once the number of pods has been set: what to say and to remember."""
    assert step.replicas is not None, hpa.key
    able = _able("SucceededRescale", f"the HPA controller was able to update the target scale to {step.replicas}")
    status = step.status.model_copy(
        update={
            "conditions": _conditions(step.status.conditions, now, able),
            "last_scale_time": now.replace(microsecond=0),
        }
    )
    message = f"New size: {step.replicas}; reason: {step.reason}"
    before = step.status.current_replicas or 0
    history = step.history.scaled(before, step.replicas, hpa.spec.behavior, now)
    told = (*step.told, Told("Normal", "SuccessfulRescale", message))
    return replace(step, status=status, history=history, told=told)


def after_refusal(hpa: HorizontalPodAutoscaler, step: Plan, error: str, now: datetime) -> Plan:
    """The plan once setting the number of pods has failed."""
    why = f"the HPA controller was unable to update the target scale: {error}"
    unable = _condition("AbleToScale", "False", "FailedUpdateScale", why)
    update = {
        "conditions": _conditions(step.status.conditions, now, unable),
        "desired_replicas": hpa.status.desired_replicas,
    }
    message = f"New size: {step.replicas}; reason: {step.reason}; error: {error}"
    told = (*step.told, Told("Warning", "FailedRescale", message))
    return replace(step, status=step.status.model_copy(update=update), told=told)


def _seen(
    hpa: HorizontalPodAutoscaler,
    current: int,
    desired: int | None,
    metrics: list[MetricStatus] | None,
    conditions: list[Condition],
) -> HorizontalPodAutoscalerStatus:
    """The status; a `desired` of None leaves what was wanted before."""
    seen = {
        "current_replicas": current,
        "desired_replicas": hpa.status.desired_replicas if desired is None else desired,
        "current_metrics": metrics or [],
        "conditions": conditions,
    }
    return _status(hpa, seen)


def _status(hpa: HorizontalPodAutoscaler, update: Mapping[str, object]) -> HorizontalPodAutoscalerStatus:
    return hpa.status.model_copy(update={"observed_generation": hpa.metadata.generation, **update})


def _condition(type_: str, status: Literal["True", "False"], reason: str, message: str) -> Condition:
    return Condition(type=type_, status=status, reason=reason, message=message)


def _able(reason: str, message: str) -> Condition:
    return _condition("AbleToScale", "True", reason, message)


def _conditions(known: Sequence[Condition], now: datetime, *new: Condition) -> list[Condition]:
    conditions = list(known)
    for condition in new:
        conditions = set_condition(conditions, condition, now)
    return conditions


ScaledBy = Callable[[Pod], Sequence[str]]
"""The autoscalers whose selectors take a pod in."""


def ambiguity(key: str, selector: str, pods: Sequence[Pod], scaled_by: ScaledBy) -> tuple[str, str]:
    """Why the pods are not this autoscaler's alone, as reason and message; empty when they are."""
    others = sorted({other for pod in pods for other in scaled_by(pod)} | {key})
    if len(others) < 2:
        return "", ""
    named = " ".join(others)
    return "AmbiguousSelector", f"pods by selector {selector} are controlled by multiple HPAs: [{named}]"
