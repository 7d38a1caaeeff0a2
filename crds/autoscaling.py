"""Horizontal pod autoscalers (autoscaling): how many pods a workload should have, by what the pods use.

What is stored is autoscaling/v2. autoscaling/v1 is another view of the same objects (see `autoscaler_forms`): most minors
of `kubectl autoscale` write it. Of the sources of metrics there are those that metrics.k8s.io answers for: `Resource` and
`ContainerResource`, for cpu and memory.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from .conditions import Condition
from .fields import LIST_ATOMIC, Int32, Int64, Quantity, list_map, written
from .meta import KubeObject, Model, ResourceDef, Time

MetricSourceType = Literal["Resource", "ContainerResource"]
ResourceName = Literal["cpu", "memory"]


class CrossVersionObjectReference(Model):
    """Names what is scaled: anything with a `scale` subresource, of the same namespace."""

    api_version: str | None = None
    """Its apiVersion; only the group counts."""
    kind: str
    """Its kind."""
    name: str
    """Its name."""


class MetricTarget(Model):
    """What the measured value should come to. For these sources exactly one of the two numbers is set."""

    type: Literal["Utilization", "AverageValue", "Value"]
    """Utilization goes with averageUtilization, AverageValue with averageValue; the number that is set decides."""
    average_value: Quantity | None = None
    """Use of one pod, on the average: `500m`, `200Mi`."""
    average_utilization: Int32 | None = None
    """Use of all pods in percent of what they request."""


class ResourceMetricSource(Model):
    """What whole pods use."""

    name: ResourceName
    """cpu or memory."""
    target: MetricTarget
    """What it should come to."""


class ContainerResourceMetricSource(Model):
    """What one container of each pod uses."""

    name: ResourceName
    """cpu or memory."""
    container: str
    """The container's name."""
    target: MetricTarget
    """What it should come to."""


class MetricSpec(Model):
    """One measure. Of several, the one that asks for most pods counts."""

    type: MetricSourceType
    """Which of the others is set."""
    resource: ResourceMetricSource | None = None
    """For Resource."""
    container_resource: ContainerResourceMetricSource | None = None
    """For ContainerResource."""


class HPAScalingPolicy(Model):
    """How much may change in a time."""

    type: Literal["Pods", "Percent"]
    """What `value` counts."""
    value: Int32
    """The most that may change in the period."""
    period_seconds: Int32
    """The period; at most 1800."""


class HPAScalingRules(Model):
    """How it scales in one direction."""

    stabilization_window_seconds: Int32 | None = None
    """The most careful recommendation of so many seconds is followed; at most 3600. Default 0 up, 300 down."""
    select_policy: Literal["Max", "Min", "Disabled"] | None = None
    """Which policy counts: that which allows most (the default) or least; Disabled: it does not scale in this direction."""
    policies: list[HPAScalingPolicy] = Field(default_factory=list, json_schema_extra=LIST_ATOMIC)
    """What may change in a time. Default up: 4 pods or 100 % in 15 s; down: 100 % in 15 s."""
    tolerance: Quantity | None = None
    """By how much the measure may differ from its target before anything is done: `50m` is 5 %. Default 10 % (KEP-4951)."""


class HorizontalPodAutoscalerBehavior(Model):
    """How fast it may scale."""

    scale_up: HPAScalingRules | None = None
    """To more pods."""
    scale_down: HPAScalingRules | None = None
    """To fewer."""


class HorizontalPodAutoscalerSpec(Model):
    """What is scaled between which bounds, by which measures."""

    scale_target_ref: CrossVersionObjectReference
    """What is scaled."""
    min_replicas: Int32 | None = None
    """The least pods; at least 1, which is the default."""
    max_replicas: Int32
    """The most pods."""
    metrics: list[MetricSpec] = Field(default_factory=list, json_schema_extra=LIST_ATOMIC)
    """The measures. Default: 80 % of the cpu that the pods request."""
    behavior: HorizontalPodAutoscalerBehavior | None = None
    """How fast it may scale."""


class MetricValueStatus(Model):
    """A measured value."""

    average_value: Quantity | None = None
    """Of one pod, on the average."""
    average_utilization: Int32 | None = None
    """In percent of what the pods request; when the target is one."""


class ResourceMetricStatus(Model):
    """What whole pods used."""

    name: ResourceName
    """cpu or memory."""
    current: MetricValueStatus
    """How much."""


class ContainerResourceMetricStatus(Model):
    """What one container of each pod used."""

    name: ResourceName
    """cpu or memory."""
    container: str
    """The container's name."""
    current: MetricValueStatus
    """How much."""


class MetricStatus(Model):
    """What was measured last, for one of spec.metrics."""

    type: MetricSourceType
    """Which of the others is set."""
    resource: ResourceMetricStatus | None = None
    """For Resource."""
    container_resource: ContainerResourceMetricStatus | None = None
    """For ContainerResource."""


class HorizontalPodAutoscalerStatus(Model):
    """What it sees and wants."""

    observed_generation: Int64 | None = None
    """metadata.generation of the spec this status is about."""
    last_scale_time: Time | None = None
    """When it changed the number of pods last."""
    current_replicas: Int32 | None = None
    """Pods there were when it looked."""
    desired_replicas: Int32 = written(0)
    """Pods it wants."""
    current_metrics: list[MetricStatus] = Field(default_factory=list, json_schema_extra=LIST_ATOMIC)
    """What it measured."""
    conditions: list[Condition] = Field(default_factory=list, json_schema_extra=list_map("type"))
    """Conclusions, one of each type: AbleToScale, ScalingActive, ScalingLimited."""


class HorizontalPodAutoscaler(KubeObject):
    """Keeps the use of a workload's pods at a target by changing how many there are."""

    RESOURCE: ClassVar[ResourceDef] = ResourceDef(
        group="autoscaling",
        version="v2",
        kind="HorizontalPodAutoscaler",
        plural="horizontalpodautoscalers",
        namespaced=True,
        short_names=("hpa",),
        categories=("all",),
        subresources=("status",),
    )

    spec: HorizontalPodAutoscalerSpec
    """What is wanted."""
    status: HorizontalPodAutoscalerStatus = Field(default_factory=HorizontalPodAutoscalerStatus)
    """What it sees and wants."""


class PlainAutoscalerSpec(Model):
    """What is scaled between which bounds, by the cpu that the pods use."""

    scale_target_ref: CrossVersionObjectReference
    """What is scaled."""
    min_replicas: Int32 | None = None
    """The least pods; at least 1, which is the default."""
    max_replicas: Int32
    """The most pods."""
    target_cpu_utilization_percentage: Int32 | None = Field(default=None, alias="targetCPUUtilizationPercentage")
    """Use of cpu of all pods in percent of what they request. Default 80, when there is no other measure."""


class PlainAutoscalerStatus(Model):
    """What it sees and wants."""

    observed_generation: Int64 | None = None
    """metadata.generation of the spec this status is about."""
    last_scale_time: Time | None = None
    """When it changed the number of pods last."""
    current_replicas: Int32 = written(0)
    """Pods there were when it looked."""
    desired_replicas: Int32 = written(0)
    """Pods it wants."""
    current_cpu_utilization_percentage: Int32 | None = Field(default=None, alias="currentCPUUtilizationPercentage")
    """Use of cpu of all pods in percent of what they request."""


class PlainAutoscaler(KubeObject):
    """Keeps the use of a workload's pods at a target, in the words of autoscaling/v1: the same objects as autoscaling/v2.

    What this version has no word for stands in annotations below `autoscaling.alpha.kubernetes.io/`, as in Kubernetes.
    """

    RESOURCE: ClassVar[ResourceDef] = ResourceDef(
        group="autoscaling",
        version="v1",
        kind="HorizontalPodAutoscaler",
        plural="horizontalpodautoscalers",
        namespaced=True,
        short_names=("hpa",),
        categories=("all",),
        subresources=("status",),
    )

    spec: PlainAutoscalerSpec
    """What is wanted."""
    status: PlainAutoscalerStatus = Field(default_factory=PlainAutoscalerStatus)
    """What it sees and wants."""
