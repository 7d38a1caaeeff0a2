"""Services without a data plane: headless ones are completed, what would need a proxy is refused in so many words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stark.crds.names import dns_label_problems, port_name_problems

from ..errors import Cause
from .attributes import Attributes, Lookup
from .complaints import bad_value, duplicate, immutable, not_supported, required

HEADLESS = "None"
CLUSTER_IP = "ClusterIP"
PORT_MAX = 65535
NO_ADDRESS = 'must be empty or "None": services have no virtual address here, clients read EndpointSlices'

Mapped = Mapping[str, Any]


async def service_defaults(attributes: Attributes, lookup: Lookup) -> None:
    """Every Service is of type ClusterIP without an address; a target port is the port where it is not said."""
    resource, service = attributes.resource, attributes.object
    if (resource.group, resource.plural) != ("", "services") or attributes.subresource or service is None:
        return
    spec = service.setdefault("spec", {})
    for field, value in (("type", CLUSTER_IP), ("clusterIP", HEADLESS), ("sessionAffinity", HEADLESS)):
        if not spec.get(field):
            spec[field] = value
    if not spec.get("clusterIPs"):
        spec["clusterIPs"] = [spec["clusterIP"]]
    for port in spec.get("ports") or ():
        if not port.get("targetPort"):
            port["targetPort"] = port.get("port")


def service_causes(obj: Mapped) -> Iterator[Cause]:
    """Every complaint about a Service."""
    spec = obj.get("spec") or {}
    if spec.get("type") not in (None, CLUSTER_IP):
        yield not_supported("spec.type", spec["type"], (CLUSTER_IP,))
    if spec.get("clusterIP") not in (None, HEADLESS):
        yield bad_value("spec.clusterIP", spec["clusterIP"], NO_ADDRESS)
    elif (spec.get("clusterIPs") or [HEADLESS]) != [HEADLESS]:
        yield bad_value("spec.clusterIPs", spec["clusterIPs"], NO_ADDRESS)
    if spec.get("sessionAffinity") not in (None, HEADLESS):
        yield not_supported("spec.sessionAffinity", spec["sessionAffinity"], (HEADLESS,))
    yield from _port_causes(spec.get("ports") or [])


def _port_causes(ports: list[Mapped]) -> Iterator[Cause]:
    names: set[str] = set()
    numbers: set[tuple[int, str]] = set()
    for index, port in enumerate(ports):
        path, name = f"spec.ports[{index}]", port.get("name") or ""
        if not name and len(ports) > 1:
            yield required(f"{path}.name")
        elif name:
            for problem in dns_label_problems(name):
                yield bad_value(f"{path}.name", name, problem)
            if name in names:
                yield duplicate(f"{path}.name", name)
            names.add(name)
        number = (port.get("port") or 0, port.get("protocol") or "TCP")
        if number in numbers:
            yield duplicate(path, {"port": number[0], "protocol": number[1]})
        numbers.add(number)
        target = port.get("targetPort")
        if isinstance(target, int) and not 1 <= target <= PORT_MAX:
            yield bad_value(f"{path}.targetPort", target, f"must be between 1 and {PORT_MAX}, inclusive")
        elif isinstance(target, str):
            for problem in port_name_problems(target):
                yield bad_value(f"{path}.targetPort", target, problem)


def endpoint_slice_causes(obj: Mapped, old: Mapped | None) -> Iterator[Cause]:
    """Every complaint about an EndpointSlice."""
    names: set[str] = set()
    for index, port in enumerate(obj.get("ports") or ()):
        name = port.get("name") or ""
        if name in names:
            yield duplicate(f"ports[{index}].name", name)
        names.add(name)
    if old is not None:
        yield from immutable("addressType", old.get("addressType"), obj.get("addressType"))
