"""Why a pod goes where it goes: what every node says about it, and the one sentence that sums it up.

The scheduler's own words, for whoever asks before or after: a dry run, `pods/NAME/placement`, `starkctl explain`. What is
shown of nodes that the asker may not list is counted, and not named.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from ..meta import wire_name
from ..podfacts import GATED_MESSAGE, GATED_REASON, is_gated
from ..pods import Pod
from .judging import Cluster, Verdict, best, judge, refuse
from .making_way import ALONE, Kept, Membership, Situation, make_way
from .reading import PackOf, demand_of, pack_problem
from .victims import Plan, Resident

NODES_SHOWN_MAX = 100
"""Nodes that are shown one by one; the rest is in the counts."""
NAMED_MAX = 100
"""Pods that are named in one list: who makes way, or for whom room is kept."""
UNSCHEDULABLE = "Unschedulable"
GROUP_NOT_FOUND = "PodGroupNotFound"

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Explanation:
    """The verdict of every node, and what becomes of the pod."""

    verdicts: Sequence[Verdict]
    chosen: str | None
    """The node that the scheduler would choose now; None when there is none."""
    reason: str
    """Why there is none, as the PodScheduled condition says it; empty when there is one."""
    message: str
    """The sentence that goes with it, word for word the scheduler's."""
    plan: Plan | None = None
    """Who would have to make way for it, and where."""
    group: Membership | None = None
    kept: Sequence[Kept] = ()
    """Room that counts as taken because it is kept for others."""
    nominated: str = ""
    """The node on which room is kept for this pod."""


def explain(pod: Pod, pack_of: PackOf, cluster: Cluster, situation: Situation = ALONE) -> Explanation:
    """Judge the pod as if it were new. What is placed in `cluster` must not contain it."""
    demand = demand_of(pod, pack_of)
    verdicts = judge(demand, cluster)
    reason, message = _held_back(pod, pack_of, situation.group)
    chosen = best(verdicts) if not reason else None
    plan = None
    if not reason and chosen is None:
        reason, message = UNSCHEDULABLE, refuse(verdicts).message
        if situation.preempts and pod.spec.preemption_policy != "Never":
            plan = make_way(demand, pod.spec.priority or 0, cluster, verdicts, situation)
    nominated = "" if pod.spec.node_name else pod.status.nominated_node_name or ""
    return Explanation(verdicts, chosen, reason, message, plan, situation.group, situation.kept, nominated)


def _held_back(pod: Pod, pack_of: PackOf, group: Membership | None) -> tuple[str, str]:
    """The reason and the sentence of what holds the pod back whatever the nodes say; empty when nothing does."""
    if is_gated(pod) and not pod.spec.node_name:
        return GATED_REASON, GATED_MESSAGE
    problem = pack_problem(pod, pack_of)
    if problem is not None:
        return problem.reason, problem.message
    if group is None or pod.spec.node_name:
        return "", ""
    if group.min_member is None:
        return GROUP_NOT_FOUND, group_not_found(group.name)
    if group.members < group.min_member:
        return UNSCHEDULABLE, group_incomplete(group.name, group.members, group.min_member)
    return "", ""


def group_not_found(group: str) -> str:
    """What the members of a group are told that nobody made."""
    return f"pod group {group} does not exist"


def group_incomplete(group: str, members: int, needed: int) -> str:
    """What the members are told while they are too few."""
    return f"pod group {group} has {members} of the {needed} members it needs"


MaySee = Callable[[str], bool]
"""(`namespace/name` of a pod) -> whether the asker may know of it."""


def told(
    explanation: Explanation, visible: Collection[str] | None, *, node: str = "", may_see: MaySee = lambda _: True
) -> Object:
    """The explanation on the wire. `visible`: the nodes that may be named, None for all; `node`: where the pod is."""
    verdicts = explanation.verdicts
    seen = [each for each in verdicts if visible is None or each.node in visible]
    fits = sum(each.rule is None for each in verdicts)
    body: Object = {"node": node} if node else {}
    body["schedulable"] = explanation.chosen is not None
    if explanation.chosen is not None and _may_name(explanation.chosen, visible):
        body["chosen"] = explanation.chosen
    if explanation.reason:
        body["reason"] = explanation.reason
    body["message"] = sentence(explanation, visible)
    if explanation.nominated and _may_name(explanation.nominated, visible):
        body["nominated"] = explanation.nominated
    body |= _group(explanation.group) | _preemption(explanation.plan, visible, may_see)
    kept = [each for each in explanation.kept if _may_name(each.node, visible) and may_see(each.pod)]
    if kept:
        body["kept"] = [{"node": each.node, "pod": each.pod} for each in kept[:NAMED_MAX]]
    body["counts"] = {"nodes": len(verdicts), "fit": fits, "hidden": len(verdicts) - len(seen)}
    body["refusals"] = _refusals(verdicts)
    body["nodes"] = [_node(each) for each in sorted(seen, key=_order)[:NODES_SHOWN_MAX]]
    return body


def _group(group: Membership | None) -> Object:
    if group is None:
        return {}
    known = {} if group.min_member is None else {"minMember": group.min_member}
    return {"group": {"name": group.name, **known, "members": group.members, "placed": group.placed}}


def _preemption(plan: Plan | None, visible: Collection[str] | None, may_see: MaySee) -> Object:
    if plan is None:
        return {}
    named = [victim for victim in plan.victims if may_see(victim.key)] if _may_name(plan.node, visible) else []
    where = {"node": plan.node} if _may_name(plan.node, visible) else {}
    victims = [_victim(each) for each in named[:NAMED_MAX]]
    counts = {"hidden": len(plan.victims) - len(victims), "violations": plan.violations}
    return {"preemption": {**where, "victims": victims, **counts}}


def _victim(victim: Resident) -> Object:
    return {"namespace": victim.namespace, "name": victim.name, "priority": victim.priority}


def sentence(explanation: Explanation, visible: Collection[str] | None) -> str:
    """What becomes of the pod, in words."""
    chosen = explanation.chosen
    if chosen is None:
        return explanation.message
    fits = sum(each.rule is None for each in explanation.verdicts)
    others = f"the best of {fits} nodes that may run it" if fits > 1 else "the only node that may run it"
    if not _may_name(chosen, visible):
        return f"would run on a node that you may not list: {others}"
    return f"would run on {chosen}: {others}"


def _may_name(node: str, visible: Collection[str] | None) -> bool:
    return visible is None or node in visible


def _refusals(verdicts: Sequence[Verdict]) -> list[Object]:
    counts = Counter((each.rule, reason) for each in verdicts if each.rule is not None for reason in each.reasons)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], str(item[0][0]), item[0][1]))
    return [{"rule": str(rule), "reason": reason, "nodes": count} for (rule, reason), count in ordered]


def _order(verdict: Verdict) -> tuple[bool, int, int, str]:
    """Nodes that may run it first, the best one before all, and then by name."""
    points, tie = verdict.rank
    return verdict.rule is not None, -points, -tie, verdict.node


def _node(verdict: Verdict) -> Object:
    if verdict.rule is not None:
        return {"name": verdict.node, "fits": False, "rule": str(verdict.rule), "reasons": list(verdict.reasons)}
    scores = {wire_name(name): part for name, part in sorted(verdict.parts.items())}
    return {"name": verdict.node, "fits": True, "points": verdict.points, "scores": scores}
