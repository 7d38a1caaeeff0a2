"""Fencing of agents: whoever speaks for a life of a node that is over is refused, and told.

A report may be on its way for any time, and an agent may be stopped and go on hours later: what it says then is about a
node that the cluster has given up. So each write of an agent names the incarnation for which it speaks. The decision is
taken on the Node as we see it, and holds only if the Node is still that when the write is committed: the commit is
conditional on it. See docs/decisions/0014.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stark.crds.incarnations import HELD, HOLDER, INCARNATION, STALE, Incarnation, incarnation_of

from ..auth.nodes import node_name
from ..errors import Cause, Conflict
from .attributes import Attributes, Lookup, Premise
from .complaints import refused

Mapped = Mapping[str, Any]
REPORTS = frozenset({("", "pods"), ("coordination.k8s.io", "leases")})
ADVICE = "list the node's pods, stop those that are no longer its own, and join again"


async def node_incarnation(attributes: Attributes, lookup: Lookup) -> None:
    """Refuse what an agent says for another life of its node than the present one. Raises Conflict, Forbidden."""
    node = node_name(attributes.user)
    kind = (attributes.resource.group, attributes.resource.plural)
    if not node:
        if attributes.restricted and kind == ("", "nodes"):
            _judge_owner(attributes)
    elif kind == ("", "nodes"):
        _judge_node(attributes)
    elif kind in REPORTS and attributes.subresource in ("", "status"):
        await _judge_report(attributes, lookup, node)


async def _judge_report(attributes: Attributes, lookup: Lookup, node: str) -> None:
    found = await lookup.get("", "nodes", "", node)
    current = incarnation_of(found["metadata"]) if found is not None else None
    revision = int(found["metadata"].get("resourceVersion") or 0) if found is not None else 0
    attributes.premises.append(Premise("", "nodes", "", node, revision))  # of a refusal, too
    if current is None:
        if attributes.incarnation:
            raise _stale(attributes, f'node "{node}" is gone, and with it the incarnation that this is a report of')
    elif attributes.incarnation != current.header:
        raise _stale(attributes, _difference(node, current, attributes.incarnation))


def _judge_node(attributes: Attributes) -> None:
    """The Node itself: whoever claims it takes the next number; whoever only reports speaks for the present one."""
    if attributes.object is None:
        return
    new = incarnation_of(attributes.object.get("metadata") or {})
    if attributes.operation == "CREATE":
        if new.number not in (0, 1) or bool(new.number) != (new.holder is not None):
            raise _stale(attributes, "a new node begins with incarnation 1, and with its agent")
        return
    old = incarnation_of((attributes.old or {}).get("metadata") or {})
    if (old.number, old.holder) != (new.number, new.holder):
        _judge_claim(attributes, old, new)
    elif attributes.incarnation != old.header:
        raise _stale(attributes, _difference(attributes.name, old, attributes.incarnation))


def _judge_owner(attributes: Attributes) -> None:
    """Whoever has nodes of their own may say that an agent is dead. To claim one is an agent's: a node that was made and
    claimed beforehand would keep the agent of its name out."""
    if attributes.object is None:
        return
    new = incarnation_of(attributes.object.get("metadata") or {})
    old = incarnation_of((attributes.old or {}).get("metadata") or {})
    if (new.number, new.holder) not in ((old.number, old.holder), (old.number, None)):
        raise refused(attributes, f"only agents claim nodes: {INCARNATION} and {HOLDER} are theirs")


def _judge_claim(attributes: Attributes, old: Incarnation, new: Incarnation) -> None:
    if new.number != old.number + 1:
        what = f"node {attributes.name!r} is at incarnation {old.number}: the next one is {old.number + 1}"
        raise _stale(attributes, f"{what}, not {new.number}")
    if new.holder is None:  # an agent that leaves
        if attributes.incarnation != old.header:
            raise _stale(attributes, _difference(attributes.name, old, attributes.incarnation))
        return
    if old.holder is not None and old.holder.installation != new.holder.installation:
        raise _conflict(
            attributes,
            f'node "{attributes.name}" is held by another agent, {old.holder} (incarnation {old.number}): two agents never '
            "are one node. It is free when that one leaves, or is silent for so long that the node counts as lost; "
            f"whoever knows that it is no more takes the annotation {HOLDER} off the Node",
            HELD,
            HOLDER,
        )


def _difference(node: str, current: Incarnation, said: str) -> str:
    uid, _, rest = said.partition("/")
    number, _, holder = rest.partition("/")
    if number and uid != current.uid:
        return f'there is another node of the name "{node}" now: this is a report of one that is gone; {ADVICE}'
    spoken = f"incarnation {number}" if number else "no incarnation"
    if number == str(current.number) and current.holder is not None:
        return f'{spoken} of node "{node}" is that of the agent {current.holder}, not of {holder or "nobody"}: {ADVICE}'
    now = f"has moved on to incarnation {current.number}" if current.number else "has no incarnation"
    return f'node "{node}" {now}, and this is a report of {spoken}: it is refused; {ADVICE}'


def _stale(attributes: Attributes, why: str) -> Conflict:
    return _conflict(attributes, why, STALE, INCARNATION)


def _conflict(attributes: Attributes, why: str, reason: str, annotation: str) -> Conflict:
    resource, name = attributes.resource, attributes.name_of_object()
    return Conflict(
        f'Operation cannot be fulfilled on {resource.group_resource} "{name}": {why}',
        group=resource.group,
        kind=resource.plural,
        name=name,
        causes=[Cause(f"metadata.annotations[{annotation}]", why, reason)],
    )
