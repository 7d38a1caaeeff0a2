"""Nodes: machines and browsers on which an agent runs pods."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from .conditions import Condition
from .fields import DEFAULT_EMPTY, LIST_ATOMIC, Int32, Quantity, list_map, written
from .meta import KubeObject, Model, ResourceDef, Time
from .pods import TaintEffect

NodeAddressType = Literal["Hostname", "InternalIP", "ExternalIP", "InternalDNS", "ExternalDNS"]


class Taint(Model):
    """Keeps pods away that do not tolerate it."""

    key: str = Field(min_length=1)
    """Name of the taint."""
    value: str | None = None
    """Value that a toleration with operator Equal must have."""
    effect: TaintEffect
    """NoSchedule keeps new pods away, PreferNoSchedule if there is another node, NoExecute also evicts running ones."""
    time_added: Time | None = None
    """When a NoExecute taint was put on; tolerationSeconds count from here."""


class NodeSpec(Model):
    """What operators want of the node."""

    unschedulable: bool | None = None
    """Cordoned: no new pods; running ones stay."""
    taints: list[Taint] = Field(default_factory=list, max_length=50, json_schema_extra=LIST_ATOMIC)
    """Taints, at most one of each key and effect."""


class NodeCondition(Condition):
    """A conclusion about a node: Ready, MemoryPressure, DiskPressure, PIDPressure."""

    last_heartbeat_time: Time | None = None
    """When the agent last reported it."""


class NodeAddress(Model):
    """One address of the node."""

    type: NodeAddressType
    """What kind of address it is."""
    address: str
    """The address or name."""


class DaemonEndpoint(Model):
    """Where a daemon listens."""

    port: Int32 = Field(default=0, ge=0, le=65535, alias="Port")
    """TCP port."""


class NodeDaemonEndpoints(Model):
    """Where the node's daemons listen."""

    kubelet_endpoint: DaemonEndpoint | None = None
    """The agent's HTTPS endpoint, from which the API server fetches logs."""


class NodeSystemInfo(Model):
    """What the machine is and what runs on it."""

    machine_id: str = written("")
    """Id of the installation (/etc/machine-id)."""
    system_uuid: str = written("")
    """Id of the hardware."""
    boot_id: str = written("")
    """Id of this boot; a new one means the machine was restarted."""
    kernel_version: str = written("")
    """E.g. `6.8.0-31-generic`."""
    os_image: str = written("")
    """E.g. `Debian GNU/Linux 12 (bookworm)`."""
    container_runtime_version: str = written("")
    """`stark://<version>`, or that of the container engine."""
    kubelet_version: str = written("")
    """Version of the agent."""
    kube_proxy_version: str = written("")
    """Empty: there is no proxy."""
    operating_system: str = written("")
    """E.g. `linux`."""
    architecture: str = written("")
    """Go's name: amd64, arm64 or riscv64."""


class NodeStatus(Model):
    """What the agent reports and the node-lifecycle controller concludes."""

    capacity: dict[str, Quantity] = Field(default_factory=dict)
    """All there is: `cpu` in cores, `memory` in bytes, `pods`."""
    allocatable: dict[str, Quantity] = Field(default_factory=dict)
    """What pods may use, in the same units."""
    conditions: list[NodeCondition] = Field(default_factory=list, json_schema_extra=list_map("type"))
    """Conclusions, one of each type."""
    addresses: list[NodeAddress] = Field(default_factory=list, json_schema_extra=list_map("type"))
    """Addresses by type."""
    daemon_endpoints: NodeDaemonEndpoints | None = None
    """Where the agent listens."""
    node_info: NodeSystemInfo | None = None
    """What the machine is."""


class Node(KubeObject):
    """A machine or browser on which an agent runs pods."""

    RESOURCE: ClassVar[ResourceDef] = ResourceDef(
        group="",
        version="v1",
        kind="Node",
        plural="nodes",
        namespaced=False,
        short_names=("no",),
        subresources=("status",),
        selectable_fields=("spec.unschedulable",),
    )

    spec: NodeSpec = Field(default_factory=NodeSpec, json_schema_extra=DEFAULT_EMPTY)
    """What operators want of it."""
    status: NodeStatus = Field(default_factory=NodeStatus)
    """What the agent reports."""
