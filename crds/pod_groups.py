"""Pod groups (stark.dev/v1): pods that are placed together or not at all.

A pod belongs to the group in its namespace that its label `stark.dev/pod-group` names.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from .conditions import Condition
from .fields import WRITTEN, Count, Int32, Int64, list_map, written
from .meta import Column, KubeObject, Model, ResourceDef

PodGroupPhase = Literal["Pending", "Scheduled", "Running", "Finished"]
MIN_MEMBER_MAX = 5_000
SCHEDULE_TIMEOUT_S = 300


class PodGroupSpec(Model):
    """How many make a group."""

    min_member: Int32 = Field(ge=1, le=MIN_MEMBER_MAX)
    """None of the group's pods is bound before so many have a place, each its own, at the same moment. Cannot be
    changed."""
    schedule_timeout_seconds: Int32 = Field(default=SCHEDULE_TIMEOUT_S, ge=1, json_schema_extra={WRITTEN: True})
    """How long room is kept for the group while lower pods make way for it. After that others may have the room, and
    the group tries again."""


class PodGroupStatus(Model):
    """What became of the group; written by the controller `pod-group` alone."""

    observed_generation: Int64 | None = None
    """metadata.generation of the spec this status is about."""
    phase: PodGroupPhase | None = None
    """Pending: fewer than minMember have a node. Scheduled: enough have. Running: enough run. Finished: enough have
    succeeded."""
    members: Count = written(0)
    """Pods of the group that are there and have not failed."""
    scheduled: Count = written(0)
    """Those that have a node."""
    running: Count = written(0)
    """Those that run."""
    succeeded: Count = written(0)
    """Those that have succeeded."""
    failed: Count = written(0)
    """Pods of the group that have failed."""
    conditions: list[Condition] = Field(default_factory=list, json_schema_extra=list_map("type"))
    """Scheduled: whether minMember pods have a node, and if not, why not."""


class PodGroup(KubeObject):
    """Pods that are placed together or not at all."""

    RESOURCE: ClassVar[ResourceDef] = ResourceDef(
        group="stark.dev",
        version="v1",
        kind="PodGroup",
        plural="podgroups",
        namespaced=True,
        short_names=("pg",),
        categories=("stark",),
        subresources=("status",),
        columns=(
            Column("Min", "integer", ".spec.minMember", "How many are placed together."),
            Column("Phase", "string", ".status.phase", "What became of the group."),
            Column("Scheduled", "integer", ".status.scheduled", "Pods that have a node."),
            Column("Running", "integer", ".status.running", "Pods that run."),
            Column("Age", "date", ".metadata.creationTimestamp", "Time since it was made."),
        ),
    )

    spec: PodGroupSpec
    """How many make a group."""
    status: PodGroupStatus = Field(default_factory=PodGroupStatus)
    """What became of it."""
