"""What a namespace may use together (ResourceQuota), and what each of its pods may (LimitRange), both v1."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from .fields import DEFAULT_EMPTY, LIST_ATOMIC, MAP_ATOMIC, Quantity
from .meta import KubeObject, Model, ResourceDef

QuotaScope = Literal[
    "Terminating", "NotTerminating", "BestEffort", "NotBestEffort", "PriorityClass", "CrossNamespacePodAffinity"
]


class ScopedResourceSelectorRequirement(Model):
    """Which pods a quota is about."""

    scope_name: QuotaScope
    """Terminating (it has a deadline), NotTerminating, BestEffort (it requests and limits nothing), NotBestEffort,
    CrossNamespacePodAffinity (its affinity looks at other namespaces), or PriorityClass, the only one with values."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    """How the pod's priority class is compared; Exists for all other scopes."""
    values: list[str] = Field(default_factory=list, json_schema_extra=LIST_ATOMIC)
    """Priority classes, for In and NotIn."""


class ScopeSelector(Model):
    """Pods that meet all requirements."""

    match_expressions: list[ScopedResourceSelectorRequirement] = Field(
        default_factory=list, json_schema_extra=LIST_ATOMIC
    )
    """Requirements."""


class ResourceQuotaSpec(Model):
    """The limits."""

    hard: dict[str, Quantity] = Field(default_factory=dict)
    """Name -> most of it: `pods`, `cpu`, `memory`, `requests.*`, `limits.*`, `count/<plural>[.<group>]`."""
    scopes: list[QuotaScope] = Field(default_factory=list, json_schema_extra=LIST_ATOMIC)
    """Pods the quota is about: those in all of the scopes. A quota with a scope is about pods only. Cannot be changed."""
    scope_selector: ScopeSelector | None = Field(default=None, json_schema_extra=MAP_ATOMIC)
    """The same, with requirements."""


class ResourceQuotaStatus(Model):
    """What is used of it."""

    hard: dict[str, Quantity] = Field(default_factory=dict)
    """The limits that are enforced: the spec's, as soon as they are counted."""
    used: dict[str, Quantity] = Field(default_factory=dict)
    """What is used now; raised in one commit with what is created, lowered by the controller."""


class ResourceQuota(KubeObject):
    """Limits what there may be in a namespace."""

    RESOURCE: ClassVar[ResourceDef] = ResourceDef(
        group="",
        version="v1",
        kind="ResourceQuota",
        plural="resourcequotas",
        namespaced=True,
        short_names=("quota",),
        subresources=("status",),
    )

    spec: ResourceQuotaSpec = Field(default_factory=ResourceQuotaSpec, json_schema_extra=DEFAULT_EMPTY)
    """The limits."""
    status: ResourceQuotaStatus = Field(default_factory=ResourceQuotaStatus)
    """What is used of them."""


class LimitRangeItem(Model):
    """Limits of one thing: each container, or each pod as a whole."""

    type: str
    """Container or Pod."""
    max: dict[str, Quantity] = Field(default_factory=dict)
    """Highest limits."""
    min: dict[str, Quantity] = Field(default_factory=dict)
    """Lowest requests."""
    default: dict[str, Quantity] = Field(default_factory=dict)
    """Limits of containers that say none; default `max`."""
    default_request: dict[str, Quantity] = Field(default_factory=dict)
    """Requests of containers that say none; default `default`, then `min`."""
    max_limit_request_ratio: dict[str, Quantity] = Field(default_factory=dict)
    """How many times its request a limit may be."""


class LimitRangeSpec(Model):
    """The limits."""

    limits: list[LimitRangeItem] = Field(default_factory=list, json_schema_extra=LIST_ATOMIC)
    """Limits, for containers and for pods."""


class LimitRange(KubeObject):
    """Limits and defaults for the pods of a namespace, judged when they are created."""

    RESOURCE: ClassVar[ResourceDef] = ResourceDef(
        group="", version="v1", kind="LimitRange", plural="limitranges", namespaced=True, short_names=("limits",)
    )

    spec: LimitRangeSpec = Field(default_factory=LimitRangeSpec, json_schema_extra=DEFAULT_EMPTY)
    """The limits."""
