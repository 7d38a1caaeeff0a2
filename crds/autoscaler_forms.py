"""An autoscaler in the words of autoscaling/v2 and in those of autoscaling/v1: the same object, and the way between them.

The older version has a word for one measure, the use of cpu in percent. Everything else stands in annotations there, in
the form in which Kubernetes writes them, and nothing is lost either way. Works on objects in wire form and is free of
pydantic, so that the API server and the printers can use it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

Object = dict[str, Any]
Mapped = Mapping[str, Any]

PLAIN: Final = "autoscaling/v1"
FULL: Final = "autoscaling/v2"

_PREFIX: Final = "autoscaling.alpha.kubernetes.io/"
METRICS: Final = f"{_PREFIX}metrics"
CURRENT_METRICS: Final = f"{_PREFIX}current-metrics"
CONDITIONS: Final = f"{_PREFIX}conditions"
BEHAVIOR: Final = f"{_PREFIX}behavior"
CARRIED: Final = (METRICS, CURRENT_METRICS, CONDITIONS, BEHAVIOR)
"""Annotations of autoscaling/v1 for what it has no field for."""

CPU_TARGET: Final = "targetCPUUtilizationPercentage"
CPU_CURRENT: Final = "currentCPUUtilizationPercentage"
DEFAULT_UTILIZATION: Final = 80
"""Percent of the requested cpu that is aimed at when nothing is said."""
DEFAULT_POLICIES: Final[Mapping[str, Sequence[Mapped]]] = {
    "scaleUp": (
        {"type": "Pods", "value": 4, "periodSeconds": 15},
        {"type": "Percent", "value": 100, "periodSeconds": 15},
    ),
    "scaleDown": ({"type": "Percent", "value": 100, "periodSeconds": 15},),
}
"""How fast it may scale, when nothing is said (KEP-853)."""

RULES: Final = ("stabilizationWindowSeconds", "selectPolicy", "tolerance")
POLICY: Final = ("type", "value", "periodSeconds")
SOURCES: Final = {"Resource": "resource", "ContainerResource": "containerResource"}


def cpu_utilization(percent: int) -> Object:
    """The one measure that autoscaling/v1 has a field for."""
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": "cpu", "target": target}}


def with_defaults(spec: Mapped) -> Object:
    """An autoscaling/v2 spec with what Kubernetes fills in: bounds, a measure, and policies when behavior is given."""
    full: Object = {**spec}
    if full.get("minReplicas") is None:
        full["minReplicas"] = 1
    if not full.get("metrics"):
        full["metrics"] = [cpu_utilization(DEFAULT_UTILIZATION)]
    if full.get("behavior") is not None:
        full["behavior"] = {
            **full["behavior"],
            "scaleUp": _rules(full["behavior"], "scaleUp", {"stabilizationWindowSeconds": 0}),
            "scaleDown": _rules(full["behavior"], "scaleDown", {}),
        }
    return full


def _rules(behavior: Mapped, direction: str, also: Mapped) -> Object:
    given = {name: value for name, value in (behavior.get(direction) or {}).items() if value is not None}
    defaults = {**also, "selectPolicy": "Max", "policies": [dict(each) for each in DEFAULT_POLICIES[direction]]}
    return {**defaults, **given}


def plain(autoscaler: Mapped) -> Object:
    """An autoscaling/v2 object as autoscaling/v1 says it."""
    spec, status = dict(autoscaler.get("spec") or {}), autoscaler.get("status") or {}
    metrics, behavior = spec.pop("metrics", None) or [], spec.pop("behavior", None)
    cpu = next((each for each in metrics if _is_cpu_utilization(each)), None)
    if cpu is not None:
        spec[CPU_TARGET] = cpu["resource"]["target"]["averageUtilization"]
    carried: dict[str, Any] = {
        METRICS: [_flat(each, "target") for each in metrics if not _is_cpu_utilization(each)],
        CURRENT_METRICS: [_flat(each, "current") for each in status.get("currentMetrics") or ()],
        CONDITIONS: status.get("conditions"),
        BEHAVIOR: None if behavior is None else _capitalized(behavior),
    }
    written = {
        name: json.dumps(value, separators=(",", ":"), sort_keys=True) for name, value in carried.items() if value
    }
    made = {**autoscaler, "apiVersion": PLAIN, "spec": spec, "metadata": _annotated(autoscaler["metadata"], written)}
    if "status" in autoscaler:
        made["status"] = _plain_status(status)
    return made


def _plain_status(status: Mapped) -> Object:
    kept = {name: value for name, value in status.items() if name not in ("currentMetrics", "conditions")}
    for metric in status.get("currentMetrics") or ():
        current = (metric.get("resource") or {}).get("current") or {}
        if _names_cpu(metric) and current.get("averageUtilization") is not None:
            kept[CPU_CURRENT] = current["averageUtilization"]
            break
    return {"currentReplicas": 0, "desiredReplicas": 0, **kept}


def full(autoscaler: Mapped) -> Object:
    """An autoscaling/v1 object as autoscaling/v2 says it. What an annotation says that cannot be read is not there."""
    meta = autoscaler["metadata"]
    annotations = meta.get("annotations") or {}
    told = {name: _read(annotations.get(name)) for name in CARRIED}
    spec, status = dict(autoscaler.get("spec") or {}), dict(autoscaler.get("status") or {})
    percent = spec.pop(CPU_TARGET, None)
    metrics = [] if percent is None else [cpu_utilization(percent)]
    metrics += [_deep(each, "target") for each in _mappings(told[METRICS])]
    spec["metrics"] = metrics
    if isinstance(told[BEHAVIOR], Mapping):
        spec["behavior"] = _behavior(_uncapitalized(told[BEHAVIOR]))
    kept = {name: value for name, value in annotations.items() if name not in CARRIED}
    place = {"apiVersion": FULL, "metadata": _with_annotations(meta, kept)}
    made = {**autoscaler, **place, "spec": with_defaults(spec)}
    if "status" in autoscaler:
        made["status"] = _full_status(status, _mappings(told[CURRENT_METRICS]), _mappings(told[CONDITIONS]))
    return made


def _full_status(status: Object, metrics: Sequence[Mapped], conditions: Sequence[Mapped]) -> Object:
    percent = status.pop(CPU_CURRENT, None)
    read = [_deep(each, "current") for each in metrics]
    if percent is not None and not any(_names_cpu(each) for each in read):
        read.insert(0, {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": percent}}})
    if read:
        status["currentMetrics"] = read
    if conditions:
        status["conditions"] = [dict(each) for each in conditions]
    return status


def _names_cpu(metric: Mapped) -> bool:
    return metric.get("type") == "Resource" and (metric.get("resource") or {}).get("name") == "cpu"


def _is_cpu_utilization(metric: Mapped) -> bool:
    target = (metric.get("resource") or {}).get("target") or {}
    return _names_cpu(metric) and target.get("averageUtilization") is not None


def _flat(metric: Mapped, part: str) -> Object:
    """A measure in autoscaling/v1's words, which has no target but fields of the source."""
    field = SOURCES.get(str(metric.get("type")), "")
    source = metric.get(field) or {}
    values = source.get(part) or {}
    said: Object = {name: source[name] for name in ("container", "name") if name in source}
    for name in ("averageUtilization", "averageValue"):
        if values.get(name) is not None:
            said[part + name[0].upper() + name[1:]] = values[name]
    return {"type": metric.get("type"), field: said}


def _deep(metric: Mapped, part: str) -> Object:
    """A measure in autoscaling/v2's words. One of another source keeps its type, for which it is refused."""
    field = SOURCES.get(str(metric.get("type")), "")
    source = metric.get(field)
    if not isinstance(source, Mapping):
        return {"type": metric.get("type")}
    made: Object = {name: source[name] for name in ("container", "name") if isinstance(source.get(name), str)}
    values: Object = {}
    for name in ("averageUtilization", "averageValue"):
        value = source.get(part + name[0].upper() + name[1:])
        if value is not None:
            values[name] = value
    if part == "target":
        values["type"] = "Utilization" if "averageUtilization" in values else "AverageValue"
    return {"type": metric["type"], field: {**made, part: values}}


def _capitalized(value: Any) -> Any:
    """Kubernetes writes the annotation of behavior from a form without names of its own: fields begin in capitals."""
    if isinstance(value, Mapping):
        return {name[:1].upper() + name[1:]: _capitalized(each) for name, each in value.items()}
    return [_capitalized(each) for each in value] if isinstance(value, list) else value


def _uncapitalized(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            str(name)[:1].lower() + str(name)[1:]: _uncapitalized(each)
            for name, each in value.items()
            if each is not None
        }
    return [_uncapitalized(each) for each in value] if isinstance(value, list) else value


def _behavior(read: Mapped) -> Object:
    """What of it there are fields for."""
    return {name: _rules_read(read[name]) for name in DEFAULT_POLICIES if isinstance(read.get(name), Mapping)}


def _rules_read(read: Mapped) -> Object:
    rules: Object = {name: read[name] for name in RULES if name in read}
    if "policies" in read:
        policies = _mappings(read["policies"])
        rules["policies"] = [{name: each[name] for name in POLICY if name in each} for each in policies]
    return rules


def _read(text: Any) -> Any:
    if not isinstance(text, str):
        return None
    try:
        return json.loads(text)
    except ValueError:
        return None


def _mappings(value: Any) -> list[Mapped]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def _annotated(meta: Mapped, more: Mapping[str, str]) -> Object:
    return _with_annotations(meta, {**(meta.get("annotations") or {}), **more})


def _with_annotations(meta: Mapped, annotations: Mapping[str, str]) -> Object:
    kept = {name: value for name, value in meta.items() if name != "annotations"}
    return {**kept, "annotations": dict(annotations)} if annotations else kept
