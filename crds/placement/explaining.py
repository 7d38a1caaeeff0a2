"""Why a pod goes where it goes: what every node says about it, and the one sentence that sums it up.

The scheduler's own words, for whoever asks before or after: a dry run, `pods/NAME/placement`, `starkctl explain`. What is
shown of nodes that the asker may not list is counted, and not named.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from ..meta import wire_name
from ..podfacts import GATED_MESSAGE, GATED_REASON, is_gated
from ..pods import Pod
from .judging import Cluster, Verdict, best, judge, refuse
from .reading import PackOf, demand_of, pack_problem

NODES_SHOWN_MAX = 100
"""Nodes that are shown one by one; the rest is in the counts."""
UNSCHEDULABLE = "Unschedulable"

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


def explain(pod: Pod, pack_of: PackOf, cluster: Cluster) -> Explanation:
    """Judge the pod as if it were new. What is placed in `cluster` must not contain it."""
    verdicts = judge(demand_of(pod, pack_of), cluster)
    if is_gated(pod) and not pod.spec.node_name:
        return Explanation(verdicts, None, GATED_REASON, GATED_MESSAGE)
    problem = pack_problem(pod, pack_of)
    if problem is not None:
        return Explanation(verdicts, None, problem.reason, problem.message)
    chosen = best(verdicts)
    if chosen is None:
        return Explanation(verdicts, None, UNSCHEDULABLE, refuse(verdicts).message)
    return Explanation(verdicts, chosen, "", "")


def told(explanation: Explanation, visible: Collection[str] | None, *, node: str = "") -> Object:
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
    body["counts"] = {"nodes": len(verdicts), "fit": fits, "hidden": len(verdicts) - len(seen)}
    body["refusals"] = _refusals(verdicts)
    body["nodes"] = [_node(each) for each in sorted(seen, key=_order)[:NODES_SHOWN_MAX]]
    return body


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
