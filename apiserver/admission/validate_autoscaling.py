"""What is wrong with a HorizontalPodAutoscaler, in either version; complaints name autoscaling/v2's fields.

The rules are Kubernetes' (pkg/apis/autoscaling/validation). An autoscaling/v1 object is judged by what it says in the words
of v2, annotations included: those have passed no schema, so that types are looked at here, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

from stark.crds.autoscaler_forms import PLAIN, SOURCES, full
from stark.crds.names import path_segment_problems
from stark.crds.quantity import QuantityError, parse_quantity

from ..errors import Cause
from .complaints import bad_value, not_allowed, not_supported, required

Mapped = Mapping[str, Any]

RESOURCES = ("cpu", "memory")
TARGETS = ("Utilization", "Value", "AverageValue")
SELECT_POLICIES = ("Disabled", "Max", "Min")
POLICIES = ("Percent", "Pods")
STABILIZATION_MAX_S = 3_600
PERIOD_MAX_S = 1_800
"""Kubernetes' bounds: what happened longer ago is not remembered."""


def autoscaler_causes(obj: Mapped, old: Mapped | None) -> Iterator[Cause]:
    """Every complaint about a HorizontalPodAutoscaler."""
    spec = _spec(obj)
    yield from _bounds_causes(spec)
    before = {} if old is None else _spec(old).get("scaleTargetRef") or {}
    yield from _reference_causes(spec.get("scaleTargetRef") or {}, before)
    for index, metric in enumerate(spec.get("metrics") or ()):
        yield from _metric_causes(f"spec.metrics[{index}]", metric)
    for direction in ("scaleUp", "scaleDown"):
        rules = (spec.get("behavior") or {}).get(direction)
        if rules is not None:
            yield from _rules_causes(f"spec.behavior.{direction}", rules)


def _spec(obj: Mapped) -> Mapped:
    said = full(obj) if obj.get("apiVersion") == PLAIN else obj
    return said.get("spec") or {}


def _bounds_causes(spec: Mapped) -> Iterator[Cause]:
    least, most = spec.get("minReplicas"), spec.get("maxReplicas") or 0
    if least is not None and least < 1:
        yield bad_value("spec.minReplicas", least, "must be greater than or equal to 1")
    if most < 1:
        yield bad_value("spec.maxReplicas", most, "must be greater than 0")
    if least is not None and most < least:
        yield bad_value("spec.maxReplicas", most, "must be greater than or equal to `minReplicas`")


def _reference_causes(reference: Mapped, before: Mapped) -> Iterator[Cause]:
    for field in ("kind", "name"):
        path, value = f"spec.scaleTargetRef.{field}", reference.get(field) or ""
        if not value:
            yield required(path)
        for problem in path_segment_problems(value):
            yield bad_value(path, value, problem)
    version = reference.get("apiVersion") or ""
    problem = _version_problem(version)
    if problem and (not before or not _version_problem(before.get("apiVersion") or "")):
        yield bad_value("spec.scaleTargetRef.apiVersion", version, problem)


def _version_problem(version: str) -> str:
    if version.count("/") > 1:
        return f"unexpected GroupVersion string: {version}"
    return "" if version.partition("/")[2] else "apiVersion must specify API group"


def _metric_causes(path: str, metric: Mapped) -> Iterator[Cause]:
    kind = metric.get("type")
    if not kind:
        yield required(f"{path}.type", "must specify a metric source type")
        return
    if not isinstance(kind, str) or kind not in SOURCES:
        yield not_supported(f"{path}.type", kind, tuple(SOURCES))
        return
    field = SOURCES[kind]
    for other in SOURCES.values():
        if other != field and metric.get(other) is not None:
            yield not_allowed(f"{path}.{other}", "must populate the given metric source only")
    source = metric.get(field)
    if source is None:
        yield required(f"{path}.{field}", "must populate information for the given metric source")
        return
    yield from _source_causes(f"{path}.{field}", source, of_container=kind == "ContainerResource")


def _source_causes(path: str, source: Mapped, *, of_container: bool) -> Iterator[Cause]:
    name = source.get("name")
    if not name:
        yield required(f"{path}.name", "must specify a resource name")
    elif name not in RESOURCES:
        yield not_supported(f"{path}.name", name, RESOURCES)
    if of_container and not source.get("container"):
        yield required(f"{path}.container", "must specify a container")
    target = source.get("target") or {}
    yield from _target_causes(f"{path}.target", target)


def _target_causes(path: str, target: Mapped) -> Iterator[Cause]:
    kind = target.get("type")
    if not kind:
        yield required(f"{path}.type", "must specify a metric target type")
    elif kind not in TARGETS:
        yield bad_value(f"{path}.type", kind, "must be either Utilization, Value, or AverageValue")
    value, percent = target.get("averageValue"), target.get("averageUtilization")
    if value is not None and not _is_positive(value):
        yield bad_value(f"{path}.averageValue", value, "must be positive")
    if percent is not None and not (_is_number(percent) and percent >= 1):
        yield bad_value(f"{path}.averageUtilization", percent, "must be greater than 0")
    if value is None and percent is None:
        message = "must set either a target raw value or a target utilization"
        yield required(f"{path}.averageUtilization", message)
    if value is not None and percent is not None:
        yield not_allowed(f"{path}.averageValue", "may not set both a target raw value and a target utilization")


def _rules_causes(path: str, rules: Mapped) -> Iterator[Cause]:
    window, choice = rules.get("stabilizationWindowSeconds"), rules.get("selectPolicy")
    if window is not None and not (_is_number(window) and window >= 0):
        yield bad_value(f"{path}.stabilizationWindowSeconds", window, "must be greater than or equal to zero")
    elif window is not None and window > STABILIZATION_MAX_S:
        message = f"must be less than or equal to {STABILIZATION_MAX_S}"
        yield bad_value(f"{path}.stabilizationWindowSeconds", window, message)
    if choice is not None and choice not in SELECT_POLICIES:
        yield not_supported(f"{path}.selectPolicy", choice, SELECT_POLICIES)
    if not rules.get("policies"):
        yield required(f"{path}.policies", "must specify at least one Policy")
    for index, policy in enumerate(rules.get("policies") or ()):
        yield from _policy_causes(f"{path}.policies[{index}]", policy)
    tolerance = rules.get("tolerance")
    if tolerance is not None and not _is_amount(tolerance):
        yield bad_value(f"{path}.tolerance", tolerance, "must be greater than or equal to 0")


def _policy_causes(path: str, policy: Mapped) -> Iterator[Cause]:
    if policy.get("type") not in POLICIES:
        yield not_supported(f"{path}.type", policy.get("type"), POLICIES)
    value, period = policy.get("value"), policy.get("periodSeconds")
    if not (_is_number(value) and value > 0):
        yield bad_value(f"{path}.value", value, "must be greater than zero")
    if not (_is_number(period) and period > 0):
        yield bad_value(f"{path}.periodSeconds", period, "must be greater than zero")
    elif period > PERIOD_MAX_S:
        yield bad_value(f"{path}.periodSeconds", period, f"must be less than or equal to {PERIOD_MAX_S}")


def _is_number(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_positive(value: Any) -> bool:
    return _is_amount(value) and parse_quantity(value) > 0


def _is_amount(value: Any) -> bool:
    """A quantity that is not negative."""
    try:
        return isinstance(value, str | int) and parse_quantity(value) >= 0
    except QuantityError:
        return False
