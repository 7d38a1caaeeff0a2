"""Disruption budgets (policy/v1): how many pods of a set may be taken away on purpose at the same time."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from .conditions import Condition
from .fields import DEFAULT_EMPTY, Count, Int64, IntOrString, list_map, written
from .labels import SELECTOR_MARKS, LabelSelector
from .meta import KubeObject, Model, ResourceDef, Time

DISRUPTED_PODS_MAX = 2_000
"""Evictions of one budget that are under way; beyond it the controller is not there to confirm them."""
DISRUPTION_TIMEOUT_S = 120
"""An eviction that has not begun to end its pod after this long has failed, and is not counted any more."""


class PodDisruptionBudgetSpec(Model):
    """Which pods, and how many of them must stay."""

    min_available: IntOrString | None = None
    """Healthy pods that must stay: a number, or a percentage of the pods there should be, rounded up."""
    max_unavailable: IntOrString | None = None
    """Pods that may be missing: a number, or a percentage rounded up. Not together with minAvailable."""
    selector: LabelSelector | None = Field(default=None, json_schema_extra=SELECTOR_MARKS)
    """The pods in question; empty means all of the namespace, none means none."""
    unhealthy_pod_eviction_policy: Literal["IfHealthyBudget", "AlwaysAllow"] | None = None
    """When pods that run and are not ready may be evicted: when enough others are healthy (the default), or always."""


class PodDisruptionBudgetStatus(Model):
    """What may be taken away now; counted by the controller, spent by evictions."""

    observed_generation: Int64 | None = None
    """metadata.generation of the spec this status is about; evictions wait until it is the current one."""
    disrupted_pods: dict[str, Time] = Field(default_factory=dict)
    """Pods whose eviction was allowed and has not been seen yet, with the moment of it."""
    disruptions_allowed: Count = written(0)
    """Pods that may be evicted now."""
    current_healthy: Count = written(0)
    """Pods that are ready."""
    desired_healthy: Count = written(0)
    """Pods that must be ready."""
    expected_pods: Count = written(0)
    """Pods there should be."""
    conditions: list[Condition] = Field(default_factory=list, json_schema_extra=list_map("type"))
    """DisruptionAllowed: whether a pod may be evicted now."""


class PodDisruptionBudget(KubeObject):
    """Limits how many pods evictions may take away at the same time."""

    RESOURCE: ClassVar[ResourceDef] = ResourceDef(
        group="policy",
        version="v1",
        kind="PodDisruptionBudget",
        plural="poddisruptionbudgets",
        namespaced=True,
        short_names=("pdb",),
        subresources=("status",),
    )

    spec: PodDisruptionBudgetSpec = Field(default_factory=PodDisruptionBudgetSpec, json_schema_extra=DEFAULT_EMPTY)
    """Which pods, and how many of them must stay."""
    status: PodDisruptionBudgetStatus = Field(default_factory=PodDisruptionBudgetStatus)
    """What may be taken away now."""
