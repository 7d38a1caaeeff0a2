"""What an object costs a quota, and whether a quota has that much left. Pure, over objects in wire form.

The API server charges a quota with it when an object is created, the controller counts with it what is there; so both
must read the same rules. Free of pydantic.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .podcontainers import every_written, pod_amounts
from .qos import qos_class
from .quantity import parse_quantity, total

Object = Mapping[str, Any]
Amounts = Mapping[str, str]

COUNT = "count/"
PLAIN_COUNTS = frozenset({"services", "secrets", "configmaps", "resourcequotas"})
"""Core kinds that are also counted by their bare plural."""
FINISHED = ("Succeeded", "Failed")
COMPUTE = ("requests.cpu", "requests.memory", "limits.cpu", "limits.memory")
ALIASES = {"cpu": "requests.cpu", "memory": "requests.memory"}


POD_NAMES = frozenset({"pods", "cpu", "memory", f"{COUNT}pods", *COMPUTE})
"""What a quota with a scope can limit."""
TERMINATING, BEST_EFFORT, PRIORITY_CLASS = "Terminating", "BestEffort", "PriorityClass"
CROSS_NAMESPACE = "CrossNamespacePodAffinity"
NEGATED = {f"Not{scope}": scope for scope in (TERMINATING, BEST_EFFORT)}


def requirements_of(spec: Object) -> list[Object]:
    """What a quota's scopes and its selector ask of pods, in the selector's form; empty for a quota without a scope."""
    bare: list[Object] = [{"scopeName": scope, "operator": "Exists"} for scope in spec.get("scopes") or ()]
    return [*bare, *((spec.get("scopeSelector") or {}).get("matchExpressions") or ())]


def concerns(spec: Object, group: str, plural: str, obj: Object) -> bool:
    """Whether a quota is about this object: a quota with scopes only about pods that are in all of them."""
    requirements = requirements_of(spec)
    if not requirements:
        return True
    return (group, plural) == ("", "pods") and all(_meets(obj, requirement) for requirement in requirements)


def _meets(pod: Object, requirement: Object) -> bool:
    scope = requirement["scopeName"]
    if scope == PRIORITY_CLASS:
        return _compares((pod.get("spec") or {}).get("priorityClassName") or "", requirement)
    positive = NEGATED.get(scope)
    return not _is_in(pod, positive) if positive else _is_in(pod, scope)


def _compares(priority_class: str, requirement: Object) -> bool:
    values = requirement.get("values") or ()
    match requirement["operator"]:
        case "In":
            return priority_class in values
        case "NotIn":
            return priority_class not in values
        case "Exists":
            return bool(priority_class)
        case _:
            return not priority_class


def _is_in(pod: Object, scope: str) -> bool:
    if scope == TERMINATING:
        return (pod.get("spec") or {}).get("activeDeadlineSeconds") is not None
    if scope == CROSS_NAMESPACE:
        return any(term.get("namespaces") or term.get("namespaceSelector") is not None for term in _pod_terms(pod))
    return qos_class(pod.get("spec") or {}) == BEST_EFFORT


def _pod_terms(pod: Object) -> Iterable[Object]:
    """The terms of the pod's affinity and anti-affinity to other pods, required and preferred."""
    affinity = (pod.get("spec") or {}).get("affinity") or {}
    for side in ("podAffinity", "podAntiAffinity"):
        said = affinity.get(side) or {}
        yield from said.get("requiredDuringSchedulingIgnoredDuringExecution") or ()
        for each in said.get("preferredDuringSchedulingIgnoredDuringExecution") or ():
            yield each.get("podAffinityTerm") or {}


def count_name(group: str, plural: str) -> str:
    """`count/deployments.apps`, `count/pods`."""
    return f"{COUNT}{plural}.{group}" if group else f"{COUNT}{plural}"


def usage_of(group: str, plural: str, obj: Object) -> dict[str, str]:
    """What one object costs, by the names quotas use. A pod that has ended costs nothing but being there."""
    usage = {count_name(group, plural): "1"}
    if not group and plural in PLAIN_COUNTS:
        usage[plural] = "1"
    if (group, plural) == ("", "pods") and (obj.get("status") or {}).get("phase") not in FINISHED:
        usage |= {"pods": "1", **_compute(obj)}
    return usage


def _compute(pod: Object) -> dict[str, str]:
    # Zeros, so that a quota of something a pod does not mention takes notice of the pod all the same.
    usage = dict.fromkeys(COMPUTE, "0")
    for kind in ("requests", "limits"):
        usage |= {f"{kind}.{name}": amount for name, amount in pod_amounts(pod.get("spec") or {}, kind).items()}
    return usage | {alias: usage[name] for alias, name in ALIASES.items()}


def add(amounts: Iterable[Amounts], names: Iterable[str]) -> dict[str, str]:
    """The sums of the named amounts; `0` for what nobody has."""
    rows = list(amounts)
    return {name: total(row[name] for row in rows if name in row) for name in names}


def missing_compute(hard: Iterable[str], pod: Object) -> str:
    """What a pod's containers must say because a quota limits it: `must specify limits.cpu for: a,b`; empty if nothing."""
    complaints = []
    for name in sorted(hard):
        kind, dot, resource = ALIASES.get(name, name).partition(".")
        if not dot or kind not in ("requests", "limits"):
            continue
        silent = [
            str(container.get("name", ""))
            for container in every_written(pod.get("spec") or {})
            if resource not in ((container.get("resources") or {}).get(kind) or {})
        ]
        if silent:
            complaints.append(f"{name} for: {','.join(sorted(silent))}")
    return f"must specify {'; '.join(complaints)}" if complaints else ""


def exceeded(hard: Amounts, used: Amounts, requested: Amounts) -> list[str]:
    """The names, sorted, of which there would be too much."""
    return [
        name
        for name in sorted(requested)
        if name in hard
        and parse_quantity(requested[name]) > 0
        and parse_quantity(used.get(name, "0")) + parse_quantity(requested[name]) > parse_quantity(hard[name])
    ]


def spelled(amounts: Amounts, names: Iterable[str]) -> str:
    """`cpu=1,pods=2`."""
    return ",".join(f"{name}={amounts.get(name, '0')}" for name in names)
