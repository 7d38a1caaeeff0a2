"""What is wrong with a disruption budget, or with a pod group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stark.crds.selectors import SelectorError, from_label_selector

from ..errors import Cause
from .complaints import bad_value, immutable
from .validate_apps import amount_causes

Mapped = Mapping[str, Any]


def disruption_budget_causes(obj: Mapped) -> Iterator[Cause]:
    """Every complaint about a PodDisruptionBudget."""
    spec = obj.get("spec") or {}
    if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
        yield bad_value("spec", spec, "minAvailable and maxUnavailable cannot be both set")
    for field in ("minAvailable", "maxUnavailable"):
        amount, found = spec.get(field), list(amount_causes(f"spec.{field}", spec.get(field)))
        yield from found
        if isinstance(amount, str) and not found and int(amount[:-1]) > 100:
            yield bad_value(f"spec.{field}", amount, "must not be greater than 100%")
    try:
        from_label_selector(spec.get("selector") or {})
    except SelectorError as error:
        yield bad_value("spec.selector", spec["selector"], str(error))


def pod_group_causes(obj: Mapped, old: Mapped | None) -> Iterator[Cause]:
    """Every complaint about a PodGroup. Who could raise its size would let pods that run count as a group begun."""
    if old is not None:
        yield from immutable("spec.minMember", old["spec"]["minMember"], obj["spec"]["minMember"])
