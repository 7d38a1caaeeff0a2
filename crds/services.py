"""Services (v1): a name for the pods that answer for something, and EndpointSlices (discovery.k8s.io/v1): where they are.

There is no proxying data plane, so there is no virtual address: every Service is headless. Clients take an address and
a port from the slices. Pods share their nodes' addresses, so the ports differ from pod to pod.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from .conditions import Condition
from .fields import DEFAULT_EMPTY, LIST_ATOMIC, MAP_ATOMIC, IntOrString, Port, list_map
from .meta import KubeObject, Model, ResourceDef
from .pods import ObjectReference

SERVICE_NAME = "kubernetes.io/service-name"
"""Label of an EndpointSlice: the Service it belongs to."""
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
"""Label of an EndpointSlice: who writes it."""
MANAGER = "endpointslice-controller.stark.dev"
HEADLESS = "service.kubernetes.io/headless"
"""Label of an EndpointSlice whose Service has no virtual address."""
ENDPOINTS_MAX = 100
"""Endpoints in one slice that the controller writes, as in Kubernetes."""
SLICE_ENDPOINTS_MAX = 1_000
"""Endpoints in one slice that anybody writes."""

Protocol = Literal["TCP", "UDP", "SCTP"]


class ServicePort(Model):
    """A port of the Service, and the port of its pods that stands behind it."""

    name: str | None = None
    """Name of the port; needed when there is more than one."""
    protocol: Protocol = "TCP"
    """Transport protocol."""
    app_protocol: str | None = None
    """What is spoken on it, for clients."""
    port: Port
    """Number of the port. Nobody listens on it: the real ports are in the EndpointSlices."""
    target_port: IntOrString | None = None
    """Name or number of a container's port; default `port`. A number no container declares is taken literally."""


class ServiceSpec(Model):
    """Which pods answer, and on which ports."""

    type: str | None = None
    """ClusterIP, the default and the only one: there is no data plane for the others."""
    cluster_ip: str | None = None
    """Always None: the Service has no address of its own."""
    cluster_ips: list[str] = Field(default_factory=list, alias="clusterIPs", json_schema_extra=LIST_ATOMIC)
    """The same as a list."""
    session_affinity: str | None = None
    """Always None: clients choose an endpoint themselves."""
    selector: dict[str, str] = Field(default_factory=dict, json_schema_extra=MAP_ATOMIC)
    """Labels of the pods. Without any, somebody else writes the EndpointSlices."""
    ports: list[ServicePort] = Field(
        default_factory=list, json_schema_extra=list_map("port", "protocol", merge_key="port")
    )
    """Ports of the Service."""
    publish_not_ready_addresses: bool | None = None
    """Whether pods count as ready that are not: for those who must find each other before they are."""


class LoadBalancerIngress(Model):
    """An address from outside."""

    ip: str | None = None
    """IP address."""
    hostname: str | None = None
    """Host name."""


class LoadBalancerStatus(Model):
    """Where it is reached from outside."""

    ingress: list[LoadBalancerIngress] = Field(default_factory=list, json_schema_extra=LIST_ATOMIC)
    """Always empty here; clients that speak Go's types send the field."""


class ServiceStatus(Model):
    """What became of it."""

    load_balancer: LoadBalancerStatus = Field(default_factory=LoadBalancerStatus)
    """Where it is reached from outside: nowhere."""

    conditions: list[Condition] = Field(default_factory=list, json_schema_extra=list_map("type"))
    """Conclusions, one of each type."""


class Service(KubeObject):
    """A name for the pods that answer for something."""

    RESOURCE: ClassVar[ResourceDef] = ResourceDef(
        group="",
        version="v1",
        kind="Service",
        plural="services",
        namespaced=True,
        short_names=("svc",),
        categories=("all",),
        subresources=("status",),
        selectable_fields=("spec.clusterIP", "spec.type"),
    )

    spec: ServiceSpec = Field(default_factory=ServiceSpec, json_schema_extra=DEFAULT_EMPTY)
    """Which pods answer, and on which ports."""
    status: ServiceStatus = Field(default_factory=ServiceStatus)
    """What became of it."""


class EndpointConditions(Model):
    """How an endpoint is. Absent means unknown, to be read as true for ready and serving."""

    ready: bool | None = None
    """Whether to send it anything."""
    serving: bool | None = None
    """Whether it answers, although it may be ending."""
    terminating: bool | None = None
    """Whether it is ending."""


class Endpoint(Model):
    """One pod, or something else that answers."""

    addresses: list[str] = Field(min_length=1, max_length=100, json_schema_extra=LIST_ATOMIC)
    """Its address: for a pod that of its node."""
    conditions: EndpointConditions = Field(default_factory=EndpointConditions)
    """How it is."""
    hostname: str | None = None
    """Its host name."""
    node_name: str | None = None
    """The node it is on."""
    target_ref: ObjectReference | None = Field(default=None, json_schema_extra=MAP_ATOMIC)
    """The pod."""
    zone: str | None = None
    """The zone it is in."""


class EndpointPort(Model):
    """The port on which all endpoints of the slice listen for one port of the Service."""

    name: str | None = None
    """Name of the Service's port."""
    protocol: Protocol = "TCP"
    """Transport protocol."""
    port: Port | None = None
    """The real port on the endpoints' hosts."""
    app_protocol: str | None = None
    """What is spoken on it."""


class EndpointSlice(KubeObject):
    """Part of the endpoints of a Service: those that listen on the same ports."""

    RESOURCE: ClassVar[ResourceDef] = ResourceDef(
        group="discovery.k8s.io", version="v1", kind="EndpointSlice", plural="endpointslices", namespaced=True
    )

    address_type: Literal["IPv4", "IPv6", "FQDN"]
    """What the addresses are; cannot be changed."""
    endpoints: list[Endpoint] = Field(
        default_factory=list, max_length=SLICE_ENDPOINTS_MAX, json_schema_extra=LIST_ATOMIC
    )
    """Who answers."""
    ports: list[EndpointPort] = Field(default_factory=list, max_length=100, json_schema_extra=LIST_ATOMIC)
    """The ports they listen on."""
