"""Servers (stark.dev/v1): physical or virtual machines as an inventory knows them, whether an agent runs there or not."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from .conditions import Condition
from .fields import LIST_SET, Int64, Quantity, list_map
from .meta import Column, KubeObject, Model, ResourceDef

ServerArchitecture = Literal["amd64", "arm64", "riscv64", "universal"]
ServerPhase = Literal["Online", "Offline", "Maintenance", "Provisioning"]


class ServerSpec(Model):
    """What the machine is and where it stands."""

    architecture: ServerArchitecture
    """Go's name of its processor; `universal` takes work for any."""
    capacity: dict[str, Quantity] = Field(default_factory=dict, max_length=32)
    """What it has: `cpu` in cores, `memory` and `storage` in bytes."""
    cluster: str | None = Field(default=None, max_length=253)
    """The cluster it is counted to."""
    zone: str | None = Field(default=None, max_length=253)
    """The failure zone it stands in."""
    location: str | None = Field(default=None, max_length=253)
    """Where it stands, for people."""
    pool_ref: str | None = Field(default=None, max_length=253)
    """Name of the ResourcePool it belongs to."""


class ServerStatus(Model):
    """What is known of it now."""

    observed_generation: Int64 | None = None
    """metadata.generation of the spec this status is about."""
    phase: ServerPhase | None = None
    """Online while one of its nodes is ready."""
    node_refs: list[str] = Field(default_factory=list, json_schema_extra=LIST_SET)
    """Names of the nodes that run on it."""
    available: dict[str, Quantity] = Field(default_factory=dict)
    """Capacity less what pods on its nodes have asked for, in the same units."""
    conditions: list[Condition] = Field(default_factory=list, json_schema_extra=list_map("type"))
    """Conclusions, one of each type."""


class Server(KubeObject):
    """A machine in the inventory."""

    RESOURCE: ClassVar[ResourceDef] = ResourceDef(
        group="stark.dev",
        version="v1",
        kind="Server",
        plural="servers",
        namespaced=False,
        categories=("stark",),
        subresources=("status",),
        columns=(
            Column("Status", "string", ".status.phase", "Online while one of its nodes is ready."),
            Column("Architecture", "string", ".spec.architecture", "Its processor."),
            Column("CPU", "string", ".spec.capacity.cpu", "Cores."),
            Column("Memory", "string", ".spec.capacity.memory", "Bytes."),
            Column("Zone", "string", ".spec.zone", "The failure zone it stands in."),
            Column("Pool", "string", ".spec.poolRef", "The ResourcePool it belongs to."),
            Column("Age", "date", ".metadata.creationTimestamp", "Time since it was entered."),
            Column("Cluster", "string", ".spec.cluster", "The cluster it is counted to.", priority=1),
            Column("Location", "string", ".spec.location", "Where it stands.", priority=1),
        ),
        selectable_fields=(
            "spec.architecture",
            "spec.cluster",
            "spec.zone",
            "spec.location",
            "spec.poolRef",
            "status.phase",
        ),
    )

    spec: ServerSpec
    """What it is."""
    status: ServerStatus = Field(default_factory=ServerStatus)
    """What is known of it."""
