"""How a node is, in one word: the originals' states, as a view of what Kubernetes' Node says.

Nothing stores them. Works on objects in wire form, so that the API server's facade, starkctl and controllers share it. Free
of pydantic.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from .annotations import PREFIX

NodeState = Literal["online", "suspect", "unhealthy", "offline", "draining", "maintenance"]
STATES: tuple[NodeState, ...] = get_args(NodeState)
ALIASES: Mapping[str, NodeState] = {"healthy": "online"}
"""Other words for a state, as the original command line had them."""

SUSPECT = "Suspect"
"""Condition, by node-lifecycle: the agent has missed heartbeats, but not yet so many that it counts as lost."""
MAINTENANCE_CONDITION = "Maintenance"
"""Condition, by the controller node-maintenance: whether the node's pods are gone."""
DRAINING, DRAINED = "Draining", "Drained"
"""Reasons of that condition."""
MAINTENANCE = PREFIX + "maintenance"
"""Annotation of nodes, written by operators: why the node is taken out of service. While it is there, pods are evicted."""
TAINT_MAINTENANCE = PREFIX + "maintenance"
"""Taint, by node-maintenance: no new pods."""
TAINT_SUSPECT = PREFIX + "suspect"
"""Taint, by node-lifecycle: rather no new pods."""
TAINT_OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
"""Taint, by operators who know that the machine is off: its pods end without its agent's word (KEP-2268)."""
PRESSURES = ("MemoryPressure", "DiskPressure", "PIDPressure")

Mapped = Mapping[str, Any]


def node_state(node: Mapped) -> NodeState:
    """The state of a node in wire form. What keeps its pods away for good comes first, what operators want next."""
    ready = condition(node, "Ready").get("status")
    if ready == "Unknown":
        return "offline"
    if MAINTENANCE in ((node.get("metadata") or {}).get("annotations") or {}):
        return "maintenance" if condition(node, MAINTENANCE_CONDITION).get("reason") == DRAINED else "draining"
    if ready != "True" or any(condition(node, name).get("status") == "True" for name in PRESSURES):
        return "unhealthy"
    return "suspect" if condition(node, SUSPECT).get("status") == "True" else "online"


def condition(node: Mapped, type_: str) -> Mapped:
    """One condition; empty when it is not there."""
    found = (each for each in (node.get("status") or {}).get("conditions") or () if each.get("type") == type_)
    return next(found, {})


def why(node: Mapped) -> Iterator[str]:
    """Sentences about what is not as usual, for people."""
    state = node_state(node)
    told = {"offline": "Ready", "suspect": SUSPECT, "draining": MAINTENANCE_CONDITION}.get(state)
    if told is not None and condition(node, told).get("message"):
        yield str(condition(node, told)["message"])
    if state == "unhealthy":
        yield from _unhealthy(node)
    if state in ("draining", "maintenance"):
        yield f"maintenance: {node['metadata']['annotations'][MAINTENANCE]}"
    if (node.get("spec") or {}).get("unschedulable"):
        yield "no new pods (cordoned)"


def _unhealthy(node: Mapped) -> Iterator[str]:
    ready = condition(node, "Ready")
    if ready.get("status") != "True":
        yield str(ready.get("message") or "the agent has not said yet that it is ready")
    for name in PRESSURES:
        if condition(node, name).get("status") == "True":
            yield str(condition(node, name).get("message") or name)


def last_seen(node: Mapped, lease: Mapped | None) -> datetime | None:
    """When its agent last said anything, by its own clock."""
    renewed = ((lease or {}).get("spec") or {}).get("renewTime")
    reported = condition(node, "Ready").get("lastHeartbeatTime")
    times = [datetime.fromisoformat(text).astimezone(UTC) for text in (renewed, reported) if text]
    return max(times, default=None)
