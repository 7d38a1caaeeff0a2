"""How dearly a pod holds what it uses, from its requests and limits. Free of pydantic, over specs in wire form."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Literal

from .podcontainers import every_written
from .quantity import parse_quantity

QOSClass = Literal["Guaranteed", "Burstable", "BestEffort"]
COMPUTE = ("cpu", "memory")


def qos_class(spec: Mapping[str, Any]) -> QOSClass:
    """BestEffort asks for nothing, Guaranteed gets in every container exactly what it is limited to, the rest is Burstable.

    An amount of zero, as Kubernetes reads it, is none. Raises QuantityError.
    """
    containers = [container.get("resources") or {} for container in every_written(spec)]
    requests = [_amounts(resources, "requests") for resources in containers]
    limits = [_amounts(resources, "limits") for resources in containers]
    if not any(requests) and not any(limits):
        return "BestEffort"
    # What a container limits it requests too: the server wrote that down where the pod did not say so.
    is_exact = requests == limits and all(len(each) == len(COMPUTE) for each in limits)
    return "Guaranteed" if is_exact else "Burstable"


def _amounts(resources: Mapping[str, Any], kind: str) -> dict[str, Decimal]:
    given = resources.get(kind) or {}
    amounts = {name: parse_quantity(given[name]) for name in COMPUTE if name in given}
    return {name: amount for name, amount in amounts.items() if amount}
