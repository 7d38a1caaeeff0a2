"""When a node was last heard of, and what its conditions should say about it.

Silence comes in two steps: after a while the node is suspect, which only makes others the better choice for new pods; later
it is lost, which ends its agent's life as the node (docs/decisions/0014) and, by and by, moves its pods away.

Only changes of the heartbeat count, by our own clock: whether a node's clock is right does not matter, and a node that
we see for the first time has just been heard of. So after a start nobody is condemned for what happened while we were
away. And nobody is condemned for a silence of which the server was the cause: it has to say itself that there is nothing
new, twice, with time for a heartbeat between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from stark.crds.conditions import find_condition, set_condition
from stark.crds.coordination import Lease
from stark.crds.incarnations import HOLDER
from stark.crds.nodes import Node, NodeCondition
from stark.crds.nodestate import SUSPECT

from .settings import NodeSettings

JUDGED = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")
"""Conditions that only the node's agent can know, and nobody when it is silent."""
ASKED_SLACK_S = 2.0
"""How much later than due the server may be asked again at the least: we may be busy."""
Beat = tuple[datetime | None, datetime | None, str]


@dataclass(frozen=True, slots=True)
class Health:
    """What was last heard, and when, in seconds of a steady clock."""

    uid: str
    beat: Beat
    heard_at: float
    asked_at: float | None = None
    """When the server itself first said that there is nothing new."""


def beat_of(node: Node, lease: Lease | None) -> Beat:
    """What changes when the agent is alive: the lease's renewal, the heartbeat in the Ready condition, a new life."""
    ready = find_condition(node.status.conditions, "Ready")
    holder = node.metadata.annotations.get(HOLDER, "")
    return (lease.spec.renew_time if lease else None, ready.last_heartbeat_time if ready else None, holder)


def hear(known: Health | None, node: Node, beat: Beat, now: float) -> Health:
    """The health after looking at the node again. That a holder is gone is our own doing, and no sign of life."""
    if known is None or known.uid != node.uid:
        return Health(node.uid, beat, now)
    if known.beat == beat:
        return known
    is_sign = known.beat[:2] != beat[:2] or bool(beat[2])
    return Health(node.uid, beat, now if is_sign else known.heard_at)


def asked(health: Health, now: float, apart_s: float) -> Health:
    """The health after the server has said that there is nothing new, which it should say twice, `apart_s` between.

    When the first time is much longer ago, nobody knows whether the server could be reached in between.
    """
    first = health.asked_at
    if first is not None and now - first <= apart_s + max(apart_s / 2, ASKED_SLACK_S):
        return health
    return replace(health, asked_at=now)


def condemned_after_s(health: Health, now: float, allowed_s: float, apart_s: float) -> float:
    """Seconds until the node counts as lost, if nothing is heard and the server has said so by then; 0: now."""
    assert health.asked_at is not None, "the server is asked first"
    return max(0.0, health.heard_at + allowed_s - now, health.asked_at + apart_s - now)


def grace_s(node: Node, settings: NodeSettings) -> float:
    """How long this node may be silent: longer while its agent has never said anything."""
    started = find_condition(node.status.conditions, "Ready") is not None
    return settings.grace_period_s if started else max(settings.startup_grace_s, settings.grace_period_s)


def silent_conditions(node: Node, now: datetime) -> Sequence[NodeCondition] | None:
    """The conditions of a node that has been silent for too long; None when they say so already."""
    conditions = list(node.status.conditions)
    for type_ in JUDGED:
        old = find_condition(conditions, type_)
        if old is None and type_ != "Ready":
            continue
        if old is not None and old.status == "Unknown":
            continue
        conditions = set_condition(conditions, _unknown(type_, old), now)
    return None if conditions == node.status.conditions else conditions


def suspect_condition(node: Node, *, silent_s: float | None, now: datetime) -> Sequence[NodeCondition] | None:
    """The conditions of a node that has been silent for `silent_s`, or heard again (None); None when they say so already."""
    old = find_condition(node.status.conditions, SUSPECT)
    if (old is not None and old.status == "True") == (silent_s is not None):
        return None
    if silent_s is None:
        new = NodeCondition(type=SUSPECT, status="False", reason="HeartbeatHeard", message="The agent is heard again.")
    else:
        text = f"The agent has said nothing for {silent_s:.0f} s."
        new = NodeCondition(type=SUSPECT, status="True", reason="HeartbeatMissed", message=text)
    return set_condition(list(node.status.conditions), new, now)


def _unknown(type_: str, old: NodeCondition | None) -> NodeCondition:
    if old is None:
        text = "Agent never posted node status."
        return NodeCondition(type=type_, status="Unknown", reason="NodeStatusNeverUpdated", message=text)
    text = "Agent stopped posting node status."
    heartbeat = {"last_heartbeat_time": old.last_heartbeat_time} if old.last_heartbeat_time else {}
    return NodeCondition(type=type_, status="Unknown", reason="NodeStatusUnknown", message=text, **heartbeat)
