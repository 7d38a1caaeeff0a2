"""The taints that a node's conditions call for, beside those that people put on it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from stark.crds.annotations import (
    TAINT_DISK_PRESSURE,
    TAINT_MEMORY_PRESSURE,
    TAINT_NOT_READY,
    TAINT_UNREACHABLE,
    TAINT_UNSCHEDULABLE,
)
from stark.crds.conditions import find_condition, is_true
from stark.crds.nodes import Node, NodeCondition, Taint
from stark.crds.nodestate import SUSPECT, TAINT_SUSPECT

TAINT_PID_PRESSURE = "node.kubernetes.io/pid-pressure"
HEALTH = (TAINT_NOT_READY, TAINT_UNREACHABLE)
PRESSURES = {
    "MemoryPressure": TAINT_MEMORY_PRESSURE,
    "DiskPressure": TAINT_DISK_PRESSURE,
    "PIDPressure": TAINT_PID_PRESSURE,
}
OURS = frozenset(
    [(key, "NoSchedule") for key in (*HEALTH, *PRESSURES.values(), TAINT_UNSCHEDULABLE)]
    + [(key, "NoExecute") for key in HEALTH]
    + [(TAINT_SUSPECT, "PreferNoSchedule")]
)
"""The taints that this controller alone puts on and takes off, by key and effect."""


def health_taint(conditions: Sequence[NodeCondition]) -> str | None:
    """The key of the taint for a node that is not well; None when it is ready."""
    ready = find_condition(conditions, "Ready")
    if ready is None or ready.status == "False":
        return TAINT_NOT_READY
    return TAINT_UNREACHABLE if ready.status == "Unknown" else None


def is_tainted_for_eviction(node: Node) -> bool:
    """Whether its pods are already being moved away because it is not well."""
    return any(taint.key in HEALTH and taint.effect == "NoExecute" for taint in node.spec.taints)


def wanted_taints(node: Node, conditions: Sequence[NodeCondition], *, evict: bool, now: datetime) -> list[Taint] | None:
    """The node's taints as they should be; None when they are. `evict` says whether pods may be moved away for its
    health.

    Every NoExecute taint gets its time, also one that a person put on: from it the pods' tolerationSeconds count, and
    it must not start afresh with each of our restarts.
    """
    wanted: set[tuple[str, str]] = set()
    unwell = health_taint(conditions)
    if unwell is not None:
        wanted.add((unwell, "NoSchedule"))
        if evict:
            wanted.add((unwell, "NoExecute"))
    wanted |= {(key, "NoSchedule") for type_, key in PRESSURES.items() if is_true(conditions, type_)}
    if unwell is None and is_true(conditions, SUSPECT):
        wanted.add((TAINT_SUSPECT, "PreferNoSchedule"))
    if node.spec.unschedulable:
        wanted.add((TAINT_UNSCHEDULABLE, "NoSchedule"))
    kept = [taint for taint in node.spec.taints if (taint.key, taint.effect) not in OURS - wanted]
    there = {(taint.key, taint.effect) for taint in kept}
    added = [_taint(key, effect) for key, effect in sorted(wanted - there)]
    result = [_timed(taint, now) for taint in [*kept, *added]]
    return None if result == list(node.spec.taints) else result


def _taint(key: str, effect: str) -> Taint:
    return Taint.model_validate({"key": key, "effect": effect})


def _timed(taint: Taint, now: datetime) -> Taint:
    if taint.time_added is not None or taint.effect != "NoExecute":
        return taint
    return taint.model_copy(update={"time_added": now.replace(microsecond=0)})
