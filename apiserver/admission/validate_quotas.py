"""What is wrong with a ResourceQuota: its amounts, and scopes that contradict each other or what it limits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stark.crds.quantity import parse_quantity
from stark.crds.quotas import BEST_EFFORT, NEGATED, PLAIN_COUNTS, POD_NAMES, PRIORITY_CLASS, requirements_of

from ..errors import Cause
from .complaints import bad_value, immutable, required

Mapped = Mapping[str, Any]
SELECTOR = "spec.scopeSelector.matchExpressions"


def resource_quota_causes(obj: Mapped, old: Mapped | None) -> Iterator[Cause]:
    """Every complaint about a ResourceQuota."""
    spec = obj.get("spec") or {}
    for name, amount in (spec.get("hard") or {}).items():
        if parse_quantity(amount) < 0:
            yield bad_value(f"spec.hard[{name}]", amount, "must be greater than or equal to 0")
    scopes = list(spec.get("scopes") or ())
    if old is not None:
        before = (old.get("spec") or {}).get("scopes") or ()
        yield from immutable("spec.scopes", sorted(before), sorted(scopes))
    for scope in scopes:
        yield from _applies("spec.scopes", scopes, scope, spec)
    for at, requirement in enumerate((spec.get("scopeSelector") or {}).get("matchExpressions") or ()):
        yield from _requirement(f"{SELECTOR}[{at}]", requirement)
        yield from _applies("spec.scopeSelector", spec["scopeSelector"], requirement["scopeName"], spec)
    named = {requirement["scopeName"] for requirement in requirements_of(spec)}
    if any({negative, positive} <= named for negative, positive in NEGATED.items()):
        yield bad_value("spec.scopes", sorted(named), "conflicting scopes")


def _applies(path: str, value: Any, scope: str, spec: Mapped) -> Iterator[Cause]:
    """Scopes are of pods, and what requests nothing can only be counted."""
    standard = POD_NAMES | PLAIN_COUNTS
    allowed = {"pods"} if scope == BEST_EFFORT else POD_NAMES
    for name in sorted(standard.intersection(spec.get("hard") or {}) - allowed):
        if not name.startswith("count/"):
            yield bad_value(path, value, f"unsupported scope applied to resource {name}")


def _requirement(path: str, requirement: Mapped) -> Iterator[Cause]:
    scope, operator, values = requirement["scopeName"], requirement["operator"], requirement.get("values") or ()
    if scope != PRIORITY_CLASS and operator != "Exists":
        text = "must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, "
        text += "ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or "
        text += "ResourceQuotaScopeCrossNamespacePodAffinity"
        yield bad_value(f"{path}.operator", operator, text)
    if operator in ("In", "NotIn") and not values:
        text = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
        yield required(f"{path}.values", text)
    if operator in ("Exists", "DoesNotExist") and values:
        text = "must be no value when `operator` is 'Exists' or 'DoesNotExist' for scope selector"
        yield bad_value(f"{path}.values", list(values), text)
