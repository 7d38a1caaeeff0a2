"""What a namespace may use together (ResourceQuota), and what each of its pods may (LimitRange), both v1."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from .fields import DEFAULT_EMPTY, LIST_ATOMIC, Quantity
from .meta import KubeObject, Model, ResourceDef


class ResourceQuotaSpec(Model):
    """The limits."""

    hard: dict[str, Quantity] = Field(default_factory=dict)
    """Name -> most of it: `pods`, `cpu`, `memory`, `requests.*`, `limits.*`, `count/<plural>[.<group>]`."""


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
