"""The fields that several of the originals' objects share, both ways: tolerations, labels, and amounts in their units,
which are thousandths of a core and MiB.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from stark.crds.packpods import amounts
from stark.crds.quantity import byte_count, milli_cpu

from ..errors import Cause
from .facade import bad_fields

MIB: Final = 1 << 20
TOLERATION: Final[Mapping[str, type]] = {
    "key": str,
    "operator": str,
    "value": str,
    "effect": str,
    "tolerationSeconds": int,
}
TAINT: Final[Mapping[str, type]] = {"key": str, "value": str, "effect": str}

Object = dict[str, Any]


def amounts_shown(quantities: Mapping[str, str] | None) -> dict[str, int]:
    """cpu in thousandths of a core, memory and storage in MiB, pods in pods; what is not said is left out."""
    found = quantities or {}
    shown: dict[str, int] = {}
    if "cpu" in found:
        shown["cpu"] = milli_cpu(found["cpu"])
    if "memory" in found:
        shown["memory"] = byte_count(found["memory"]) // MIB
    if "ephemeral-storage" in found:
        shown["storage"] = byte_count(found["ephemeral-storage"]) // MIB
    if "pods" in found:
        shown["pods"] = int(found["pods"])
    return shown


def resources_given(fields: Mapping[str, Any], defaults: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """A container's resources from `resourceRequests` and `resourceLimits`; what is left out is as in `defaults`.

    Limits are never below what is asked for unless they were given so, which the API then refuses.
    """
    asked = _two(fields, "resourceRequests")
    most = _two(fields, "resourceLimits")
    requests = dict(defaults["requests"])
    limits = dict(defaults["limits"])
    for name in ("cpu", "memory"):
        if name in asked:
            requests[name] = _quantity(name, asked[name])
            limits[name] = _quantity(name, max(asked[name], amounts_shown(defaults["limits"])[name]))
        if name in most:
            limits[name] = _quantity(name, most[name])
    return {"requests": requests, "limits": limits}


def _quantity(name: str, value: int) -> str:
    return amounts(value, value)[name]


def _two(fields: Mapping[str, Any], field: str) -> dict[str, int]:
    given = fields.get(field) or {}
    causes = [
        Cause(f"{field}.{name}", "must be a whole number above 0, of thousandths of a core or MiB")
        for name, value in given.items()
        if name not in ("cpu", "memory") or type(value) is not int or value < 1
    ]
    if causes:
        raise bad_fields(causes)
    return dict(given)


def texts_of(fields: Mapping[str, Any], field: str) -> dict[str, str]:
    """A mapping of texts to texts, such as labels. Raises BadRequest."""
    given = fields.get(field) or {}
    causes = [Cause(f"{field}.{key}", "must be a text") for key, value in given.items() if type(value) is not str]
    if causes:
        raise bad_fields(causes)
    return dict(given)


def records_of(fields: Mapping[str, Any], field: str, known: Mapping[str, type]) -> list[Object]:
    """A list of objects with these fields, such as taints. Raises BadRequest."""
    given: Sequence[Any] = fields.get(field) or []
    causes = []
    for at, each in enumerate(given):
        if not isinstance(each, dict):
            causes.append(Cause(f"{field}[{at}]", "must be an object"))
            continue
        causes += [
            Cause(
                f"{field}[{at}].{name}",
                f"must be of the type {known[name].__name__}" if name in known else "is unknown",
            )
            for name, value in each.items()
            if name not in known or type(value) is not known[name]
        ]
    if causes:
        raise bad_fields(causes)
    return [dict(each) for each in given]
