"""Which EndpointSlices a Service should have. Pure.

Pods run as processes that share their node's address, so each may listen on another port: endpoints that listen on the
same ports share slices, as Kubernetes does with named ports. An endpoint stays in its slice as long as it can, so that
one pod's change is one small write.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from stark.crds.annotations import AnnotationError, host_ports
from stark.crds.meta import ObjectMeta
from stark.crds.podcontainers import lasting
from stark.crds.podfacts import is_finished, is_ready
from stark.crds.pods import ContainerPort, ObjectReference, Pod
from stark.crds.services import (
    ENDPOINTS_MAX,
    HEADLESS,
    MANAGED_BY,
    MANAGER,
    SERVICE_NAME,
    Endpoint,
    EndpointConditions,
    EndpointPort,
    EndpointSlice,
    Protocol,
    Service,
    ServicePort,
)

NAME_PREFIX_MAX = 240
"""Characters of the Service's name in a slice's name; the rest tells slices apart."""

Family = tuple[str, tuple[tuple[str, Protocol, int, str], ...]]
"""Address type, and (name, protocol, port, application protocol) of each port: what all endpoints of a slice share."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do about the slices."""

    create: Sequence[EndpointSlice] = ()
    update: Sequence[EndpointSlice] = ()
    delete: Sequence[EndpointSlice] = ()


@dataclass(slots=True)
class _Room:
    """A slice that is being filled."""

    current: EndpointSlice | None
    endpoints: list[Endpoint] = field(default_factory=list)


def plan(service: Service, pods: Iterable[Pod], slices: Sequence[EndpointSlice]) -> Plan:
    """From the pods the Service selects and the slices it has to what must be written."""
    families: dict[Family, dict[str, Endpoint]] = {}
    for pod in pods:
        found = endpoint_of(service, pod)
        if found is not None:
            families.setdefault(found[0], {})[pod.uid] = found[1]
    create: list[EndpointSlice] = []
    update: list[EndpointSlice] = []
    delete = [each for each in slices if family_of(each) not in families]
    for family, wanted in families.items():
        own = [each for each in slices if family_of(each) == family]
        for room in _fill(own, wanted):
            if room.current is None:
                taken = {each.metadata.name for each in (*slices, *create)}
                create.append(_new_slice(service, family, room.endpoints, taken))
            elif not room.endpoints:
                delete.append(room.current)
            elif _differs(service, room):
                update.append(_changed(service, room.current, room.endpoints))
    return Plan(create, update, delete)


def _fill(slices: Sequence[EndpointSlice], wanted: Mapping[str, Endpoint]) -> list[_Room]:
    """Every wanted endpoint in one room: where it was, or the first with space, or a new one."""
    left = dict(wanted)
    rooms = []
    for each in sorted(slices, key=lambda one: one.metadata.name):
        uids = [uid for uid in map(_uid_of, each.endpoints) if uid in left][:ENDPOINTS_MAX]
        rooms.append(_Room(each, [left.pop(uid) for uid in dict.fromkeys(uids)]))
    for uid in sorted(left, key=lambda one: (_name_of(left[one]), one)):
        room = next((each for each in rooms if len(each.endpoints) < ENDPOINTS_MAX), None)
        if room is None:
            room = _Room(None)
            rooms.append(room)
        room.endpoints.append(left[uid])
    return rooms


def _uid_of(endpoint: Endpoint) -> str:
    return (endpoint.target_ref.uid or "") if endpoint.target_ref is not None else ""


def _name_of(endpoint: Endpoint) -> str:
    return (endpoint.target_ref.name or "") if endpoint.target_ref is not None else ""


def family_of(endpoint_slice: EndpointSlice) -> Family:
    """What the endpoints of a slice share."""
    ports = ((p.name or "", p.protocol, p.port or 0, p.app_protocol or "") for p in endpoint_slice.ports)
    return endpoint_slice.address_type, tuple(ports)


def endpoint_of(service: Service, pod: Pod) -> tuple[Family, Endpoint] | None:
    """The pod as an endpoint of the Service; None while it has no address or listens on none of the ports."""
    address = pod.status.pod_ip
    if is_finished(pod) or not address:
        return None
    ports = []
    for port in service.spec.ports:
        number = real_port(port, pod)
        if number is not None:
            ports.append((port.name or "", port.protocol, number, port.app_protocol or ""))
    if service.spec.ports and not ports:
        return None
    ready, ending = is_ready(pod), pod.metadata.deletion_timestamp is not None
    published = bool(service.spec.publish_not_ready_addresses)
    endpoint = Endpoint(
        addresses=[address],
        conditions=EndpointConditions(
            ready=published or (ready and not ending), serving=published or ready, terminating=ending
        ),
        hostname=_hostname(service, pod),
        node_name=pod.spec.node_name,
        target_ref=ObjectReference(
            kind="Pod", namespace=pod.metadata.namespace, name=pod.metadata.name, uid=pod.metadata.uid
        ),
    )
    return ("IPv6" if ":" in address else "IPv4", tuple(ports)), endpoint


def _hostname(service: Service, pod: Pod) -> str | None:
    """The name by which the Service knows the pod: one that says that it belongs to this Service."""
    return pod.spec.hostname if pod.spec.subdomain == service.metadata.name else None


def real_port(port: ServicePort, pod: Pod) -> int | None:
    """The port on the pod's host behind a port of the Service; None while the agent has not told it."""
    target = port.target_port or port.port
    declared = _declared(target, port.protocol, pod)
    if declared is None:
        # A program that declares nothing shares the host's network all the same: a number is meant as it is.
        return target if isinstance(target, int) else None
    if declared.host_port:
        return declared.host_port
    try:
        found = host_ports(pod.metadata.annotations)
    except AnnotationError:
        return None
    return found.get(declared.name or "", found.get(str(declared.container_port)))


def _declared(target: int | str, protocol: str, pod: Pod) -> ContainerPort | None:
    for container in lasting(pod.spec):
        for port in container.ports:
            is_meant = port.container_port == target if isinstance(target, int) else port.name == target
            if is_meant and port.protocol == protocol:
                return port
    return None


def labels_of(service: Service) -> dict[str, str]:
    """The labels of the Service's slices."""
    own = {SERVICE_NAME: service.metadata.name, MANAGED_BY: MANAGER, HEADLESS: ""}
    return {**service.metadata.labels, **own}


def _new_slice(service: Service, family: Family, endpoints: list[Endpoint], taken: set[str]) -> EndpointSlice:
    # A name that follows from the content: two looks at the same world cannot make the same slice twice.
    number = 0
    while (name := _slice_name(service.metadata.name, family, number)) in taken:
        number += 1
    return EndpointSlice(
        metadata=ObjectMeta(
            name=name,
            namespace=service.metadata.namespace,
            labels=labels_of(service),
            owner_references=[service.owner_reference()],
        ),
        address_type="IPv6" if family[0] == "IPv6" else "IPv4",
        endpoints=endpoints,
        ports=[
            EndpointPort(name=name, protocol=protocol, port=number, app_protocol=app or None)
            for name, protocol, number, app in family[1]
        ],
    )


def _slice_name(service: str, family: Family, number: int) -> str:
    digest = hashlib.sha256(f"{service} {family} {number}".encode()).hexdigest()[:8]
    return f"{service[:NAME_PREFIX_MAX]}-{digest}"


def _differs(service: Service, room: _Room) -> bool:
    assert room.current is not None
    old = [each.model_dump(exclude_none=True) for each in room.current.endpoints]
    new = [each.model_dump(exclude_none=True) for each in room.endpoints]
    return old != new or room.current.metadata.labels != labels_of(service)


def _changed(service: Service, old: EndpointSlice, endpoints: list[Endpoint]) -> EndpointSlice:
    meta = old.metadata.model_copy(update={"labels": labels_of(service)})
    return old.model_copy(update={"metadata": meta, "endpoints": endpoints})
