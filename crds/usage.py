"""What nodes and pods use right now (metrics.k8s.io/v1beta1): computed when it is asked for, and never stored."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from .fields import Quantity
from .meta import KubeObject, Model, ResourceDef, Time
from .resource import Column

READ = ("get", "list")

USAGE_COLUMNS = (
    Column("cpu", "string", ".usage.cpu", "CPU time used in a second.", format="quantity"),
    Column("memory", "string", ".usage.memory", "Memory in use.", format="quantity"),
    Column("Window", "string", ".window", "How long was measured.", format="duration"),
)


class ContainerMetrics(Model):
    """What one container uses."""

    name: str
    """The container's name."""
    usage: dict[str, Quantity] = Field(default_factory=dict)
    """`cpu`, the average over the window in cores, and `memory`, the working set at its end in bytes."""


class NodeMetrics(KubeObject):
    """What a node uses, its pods and everything else on it."""

    RESOURCE: ClassVar[ResourceDef] = ResourceDef(
        group="metrics.k8s.io",
        version="v1beta1",
        kind="NodeMetrics",
        plural="nodes",
        namespaced=False,
        verbs=READ,
        columns=USAGE_COLUMNS,
    )

    timestamp: Time
    """The end of the window, by the node's clock."""
    window: str
    """How long was measured, e.g. `10.003s`."""
    usage: dict[str, Quantity] = Field(default_factory=dict)
    """`cpu`, the average over the window in cores, and `memory`, the working set at its end in bytes."""


class PodMetrics(KubeObject):
    """What the containers of a pod use. There is none until all of them have run for a whole window."""

    RESOURCE: ClassVar[ResourceDef] = ResourceDef(
        group="metrics.k8s.io",
        version="v1beta1",
        kind="PodMetrics",
        plural="pods",
        namespaced=True,
        verbs=READ,
    )

    timestamp: Time
    """The end of the window, by the node's clock."""
    window: str
    """How long was measured, e.g. `10.003s`."""
    containers: list[ContainerMetrics]
    """Each container that runs."""
