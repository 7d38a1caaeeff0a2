"""What LimitRanges do to new pods: fill in requests and limits that are missing, and refuse what is out of range.

Wording as in Kubernetes (plugin/pkg/admission/limitranger). Later changes of a LimitRange touch no pod there is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from stark.crds.podcontainers import every_written, pod_amounts
from stark.crds.quantity import compare, parse_quantity

from ..errors import Cause
from .attributes import Attributes, Lookup
from .complaints import bad_value, not_allowed, not_supported, refused
from .podspecs import writes_pod

Mapped = Mapping[str, Any]
TYPES = ("Container", "Pod")


async def limit_range_defaults(attributes: Attributes, lookup: Lookup) -> None:
    """Complete a LimitRange that is written, and the containers of a pod that is created."""
    resource, obj = attributes.resource, attributes.object
    if (resource.group, resource.plural) == ("", "limitranges") and obj is not None and not attributes.subresource:
        for item in (obj.get("spec") or {}).get("limits") or ():
            _complete(item)
        return
    if not writes_pod(attributes) or attributes.operation != "CREATE" or obj is None:
        return
    for item in await _items(attributes, lookup, "Container"):
        for container in every_written(obj.get("spec") or {}):
            _fill(container, "limits", item.get("default") or {})
            _fill(container, "requests", item.get("defaultRequest") or {})


def _complete(item: dict[str, Any]) -> None:
    if item.get("type") != "Container":
        return
    limits = {**(item.get("max") or {}), **(item.get("default") or {})}
    requests = {**(item.get("min") or {}), **limits, **(item.get("defaultRequest") or {})}
    completed = {"default": limits, "defaultRequest": requests}
    item.update({field: amounts for field, amounts in completed.items() if amounts})


def _fill(container: dict[str, Any], field: str, amounts: Mapped) -> None:
    if amounts:
        resources = container.setdefault("resources", {})
        resources[field] = {**amounts, **(resources.get(field) or {})}


async def _items(attributes: Attributes, lookup: Lookup, type_: str) -> list[Mapped]:
    ranges = await lookup.list("", "limitranges", attributes.namespace)
    limits = [item for each in ranges for item in (each.get("spec") or {}).get("limits") or ()]
    return [item for item in limits if item.get("type") == type_]


async def limit_ranges(attributes: Attributes, lookup: Lookup) -> None:
    """Refuse a new pod that is out of a LimitRange."""
    if not writes_pod(attributes) or attributes.operation != "CREATE" or attributes.object is None:
        return
    spec = attributes.object.get("spec") or {}
    found: list[str] = []
    for item in await _items(attributes, lookup, "Container"):
        for container in every_written(spec):
            found += out_of_range(item, container.get("resources") or {})
    pods = await _items(attributes, lookup, "Pod")
    if pods:
        whole = {kind: pod_amounts(spec, kind) for kind in ("requests", "limits")}
        for item in pods:
            found += out_of_range(item, whole)
    if found:
        raise refused(attributes, found[0] if len(found) == 1 else f"[{', '.join(found)}]")


def out_of_range(item: Mapped, resources: Mapped) -> Iterator[str]:
    """Every complaint about the requests and limits of one container or pod."""
    requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
    type_ = item.get("type")
    for name, amount in sorted((item.get("min") or {}).items()):
        yield from _too_low(
            f"minimum {name} usage per {type_} is {amount}", amount, requests.get(name), limits.get(name)
        )
    for name, amount in sorted((item.get("max") or {}).items()):
        yield from _too_high(
            f"maximum {name} usage per {type_} is {amount}", amount, requests.get(name), limits.get(name)
        )
    for name, amount in sorted((item.get("maxLimitRequestRatio") or {}).items()):
        what = f"{name} max limit to request ratio per {type_} is {amount}"
        yield from _too_far_apart(what, amount, requests.get(name), limits.get(name))


def _too_low(what: str, least: str, request: str | None, limit: str | None) -> Iterator[str]:
    if request is None:
        yield f"{what}.  No request is specified"
    elif compare(request, least) < 0:
        yield f"{what}, but request is {request}"
    elif limit is not None and compare(limit, least) < 0:
        yield f"{what}, but limit is {limit}"


def _too_high(what: str, most: str, request: str | None, limit: str | None) -> Iterator[str]:
    if limit is None:
        yield f"{what}.  No limit is specified"
    elif compare(limit, most) > 0:
        yield f"{what}, but limit is {limit}"
    elif request is not None and compare(request, most) > 0:
        yield f"{what}, but request is {request}"


def _too_far_apart(what: str, most: str, request: str | None, limit: str | None) -> Iterator[str]:
    if request is None or parse_quantity(request) == 0:
        yield f"{what}, but no request is specified or request is 0"
        return
    if limit is None or parse_quantity(limit) == 0:
        yield f"{what}, but no limit is specified or limit is 0"
        return
    ratio: Decimal = parse_quantity(limit) / parse_quantity(request)
    if ratio > parse_quantity(most):
        yield f"{what}, but provided ratio is {ratio:.6f}"


def limit_range_causes(obj: Mapped) -> Iterator[Cause]:
    """Every complaint about a LimitRange."""
    for index, item in enumerate((obj.get("spec") or {}).get("limits") or ()):
        path, type_ = f"spec.limits[{index}]", item.get("type")
        if type_ not in TYPES:
            yield not_supported(f"{path}.type", type_, TYPES)
        if type_ == "Pod":
            for field in ("default", "defaultRequest"):
                if item.get(field):
                    yield not_allowed(f"{path}.{field}", "may not be specified when `type` is 'Pod'")
        for low, high in (("min", "max"), ("min", "defaultRequest"), ("defaultRequest", "default"), ("default", "max")):
            for name, amount in (item.get(low) or {}).items():
                bound = (item.get(high) or {}).get(name)
                if bound is not None and compare(amount, bound) > 0:
                    message = f"{low} value {amount} is greater than {high} value {bound}"
                    yield bad_value(f"{path}.{low}[{name}]", amount, message)
        for name, amount in (item.get("maxLimitRequestRatio") or {}).items():
            if parse_quantity(amount) < 1:
                yield bad_value(f"{path}.maxLimitRequestRatio[{name}]", amount, f"ratio {amount} is less than 1")
