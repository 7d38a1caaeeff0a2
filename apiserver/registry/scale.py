"""The scale subresource: a kind's replica counts as an autoscaling/v1 Scale, read and written, whatever the kind."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from stark.crds.selectors import SelectorError, from_label_selector

from ..errors import BadRequest, Cause
from ..resources import Resource, ScalePaths
from ..wire.tables import table
from .options import Target
from .refusals import invalid_object
from .updating import check_version

Object = dict[str, Any]

API_VERSION = "autoscaling/v1"
KIND = "Scale"
_SCALES = Resource("autoscaling", "v1", KIND, "scales", "scale", namespaced=True, schema={})
"""What a Scale is to a printer."""
INT32_MAX = 2**31 - 1


def paths_of(resource: Resource) -> ScalePaths:
    """Where the kind keeps its counts."""
    return resource.scale or ScalePaths(".spec.replicas", ".status.replicas", "")


def scale_of(resource: Resource, obj: Mapping[str, Any]) -> Object:
    """The Scale of an object."""
    paths, meta = paths_of(resource), obj["metadata"]
    metadata = {
        name: meta[name]
        for name in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
        if name in meta
    }
    status: Object = {"replicas": _number(_at(obj, paths.status_replicas))}
    selector = _selector(obj, paths)
    if selector:
        status["selector"] = selector
    spec = {"replicas": _number(_at(obj, paths.spec_replicas))}
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": spec, "status": status}


def scale_table(scale: Object, include_object: str, version: str) -> Object:
    """The Scale as a table of one row. Raises BadRequest for an unknown `include_object`."""
    meta = {"resourceVersion": scale["metadata"].get("resourceVersion", "")}
    now = datetime.now(UTC)
    return table(_SCALES, [scale], now=now, include_object=include_object, list_meta=meta, version=version)


def scaled(resource: Resource, obj: Object, scale: Mapping[str, Any]) -> Object:
    """The object with the replicas that a checked Scale wants. Raises Invalid."""
    replicas = (scale.get("spec") or {}).get("replicas") or 0
    if replicas < 0:
        message = f"Invalid value: {replicas}: must be greater than or equal to 0"
        raise invalid_object(resource, obj["metadata"]["name"], [Cause("spec.replicas", message)])
    return _put(obj, paths_of(resource).spec_replicas, replicas)


def config_of(resource: Resource, obj: Mapping[str, Any], scale: Mapping[str, Any]) -> Object:
    """What applying a checked Scale says about the object. Raises Invalid."""
    meta = {name: obj["metadata"][name] for name in ("name", "namespace") if name in obj["metadata"]}
    config = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": meta}
    if (scale.get("spec") or {}).get("replicas") is None:
        return config
    return scaled(resource, config, scale)


def check_scale(resource: Resource, scale: Mapping[str, Any], obj: Mapping[str, Any]) -> None:
    """It is a Scale, and its resourceVersion that of the object. Raises BadRequest, Conflict."""
    if (scale.get("apiVersion", API_VERSION), scale.get("kind", KIND)) != (API_VERSION, KIND):
        raise BadRequest(f"expected a {KIND} of {API_VERSION}, got {scale.get('apiVersion')} {scale.get('kind')}")
    for part in ("metadata", "spec"):
        if not isinstance(scale.get(part) or {}, Mapping):
            raise BadRequest(f"{part}: expected an object, got {scale[part]!r}")
    replicas = (scale.get("spec") or {}).get("replicas", 0)
    if replicas is not None and (type(replicas) is not int or abs(replicas) > INT32_MAX):
        raise BadRequest(f"spec.replicas: expected a 32-bit integer, got {replicas!r}")
    given = {"metadata": scale.get("metadata") or {}}
    check_version(Target(resource, name=obj["metadata"]["name"]), given, obj, required=False)


def _selector(obj: Mapping[str, Any], paths: ScalePaths) -> str:
    """The pods' selector as text: where the kind says, else from spec.selector as the apps kinds have it."""
    found = _at(obj, paths.label_selector) if paths.label_selector else _at(obj, ".spec.selector")
    if isinstance(found, str):
        return found
    if not isinstance(found, Mapping):
        return ""
    try:
        return str(from_label_selector(found))
    except SelectorError:
        return ""


def _steps(path: str) -> list[str]:
    return path.lstrip(".").split(".")


def _at(obj: Any, path: str) -> Any:
    for step in _steps(path):
        obj = obj.get(step) if isinstance(obj, Mapping) else None
    return obj


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _put(obj: Object, path: str, value: int) -> Object:
    """A copy with the value at the path; what is not on the way is shared."""
    changed = place = dict(obj)
    *parents, last = _steps(path)
    for step in parents:
        child = place.get(step)
        place[step] = dict(child) if isinstance(child, Mapping) else {}
        place = place[step]
    place[last] = value
    return changed
