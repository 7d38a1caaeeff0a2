"""What is wrong with a container's requests and limits. Kubernetes' wording and paths.

A name with a domain of its own is an extended resource: it comes in whole pieces, which nobody shares, so a container
that requests some must be limited to the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from stark.crds.names import label_key_problems
from stark.crds.quantity import parse_quantity

from ..errors import Cause
from .complaints import bad_value, required

STANDARD = frozenset({"cpu", "memory", "ephemeral-storage"})
HUGE_PAGES = "hugepages-"
NATIVE_DOMAIN = "kubernetes.io/"
QUOTA_PREFIX = "requests."
NEVER_OVERCOMMITTED = "Limit must be set for non overcommitable resources"

Mapped = Mapping[str, Any]


def resource_causes(path: str, resources: Mapped) -> Iterator[Cause]:
    """Complaints about requests and limits: none negative, no request above its limit, extended ones whole and equal."""
    limits = resources.get("limits") or {}
    requests = resources.get("requests") or {}
    for kind, amounts in (("limits", limits), ("requests", requests)):
        for name, amount in amounts.items():
            yield from _name_causes(f"{path}.{kind}[{name}]", name)
            yield from _amount_causes(f"{path}.{kind}[{name}]", name, amount)
    for name, amount in requests.items():
        yield from _against_limit(path, name, amount, limits.get(name))


def is_extended(name: str) -> bool:
    """Whether the resource is neither the system's own nor a quota's name for one."""
    return "/" in name and NATIVE_DOMAIN not in name and not name.startswith(QUOTA_PREFIX)


def _name_causes(path: str, name: str) -> Iterator[Cause]:
    for problem in label_key_problems(name):
        yield bad_value(path, name, problem)
    if "/" not in name and name not in STANDARD and not name.startswith(HUGE_PAGES):
        yield bad_value(path, name, "must be a standard resource for containers")


def _amount_causes(path: str, name: str, text: str) -> Iterator[Cause]:
    amount = parse_quantity(text)
    if amount < 0:
        yield bad_value(path, text, "must be greater than or equal to 0")
    if is_extended(name) and not _is_whole(amount):
        yield bad_value(path, text, "must be an integer")


def _is_whole(amount: Decimal) -> bool:
    return amount == amount.to_integral_value()


def _against_limit(path: str, name: str, amount: str, limit: str | None) -> Iterator[Cause]:
    is_shared = not is_extended(name) and not name.startswith(HUGE_PAGES)
    if limit is None:
        if not is_shared:
            yield required(f"{path}.limits", NEVER_OVERCOMMITTED)
    elif not is_shared and parse_quantity(amount) != parse_quantity(limit):
        yield bad_value(f"{path}.requests", amount, f"must be equal to {name} limit of {limit}")
    elif parse_quantity(amount) > parse_quantity(limit):
        yield bad_value(f"{path}.requests", amount, f"must be less than or equal to {name} limit of {limit}")
