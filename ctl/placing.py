"""Where a pod goes and why, as text: one sentence, a table of the nodes, and what the others said, counted."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from .output import visible

GAP = "   "
PROSE_MAX = 100
"""Columns of sentences, however wide the terminal is."""
WHY_MIN = 24
"""Columns that the reasons keep, however narrow the terminal is."""


def placement_text(what: str, status: Mapping[str, Any], width: int) -> str:
    """The answer about `what`, in lines of at most `width` columns where that is possible."""
    lines = [*_wrapped(f"{what}: {_sentence(status)}", min(width, PROSE_MAX))]
    for note in _notes(status):
        lines += _wrapped(note, min(width, PROSE_MAX))
    if status["nodes"]:
        lines += ["", *_table(status, width)]
    counts, named = status["counts"], len(status["nodes"])
    rest = counts["nodes"] - counts["hidden"] - named
    if rest:
        lines.append(f"and {rest} more nodes")
    if counts["hidden"]:
        lines.append(f"and {counts['hidden']} nodes that you may not list")
    if status["refusals"] and counts["nodes"] > 1:
        lines += ["", *_refusals(status)]
    return "\n".join(visible(line) for line in lines) + "\n"


def _sentence(status: Mapping[str, Any]) -> str:
    node = status.get("node")
    if not node:
        return str(status["message"])
    return f"runs on {node}; if it were new: {status['message']}"


def _notes(status: Mapping[str, Any]) -> Iterator[str]:
    """What is to be said besides about nodes: room that is kept, the group, who would make way."""
    if nominated := status.get("nominated"):
        yield f"Room is kept for it on {nominated}, until others have left."
    if group := status.get("group"):
        yield f"Group {group['name']}: {_of_group(group)}."
    if preemption := status.get("preemption"):
        yield _making_way(preemption)
    for kept in status.get("kept", ()):
        yield f"On {kept['node']} room is kept for {kept['pod']}."


def _of_group(group: Mapping[str, Any]) -> str:
    there, placed = group["members"], group["placed"]
    if "minMember" not in group:
        return "there is no such group"
    return f"{there} of the {group['minMember']} members it needs are there, and {placed} have a node"


def _making_way(preemption: Mapping[str, Any]) -> str:
    named = [f"{each['namespace']}/{each['name']} (priority {each['priority']})" for each in preemption["victims"]]
    if hidden := preemption["hidden"]:
        named.append(f"{hidden} that you may not see")
    where = preemption.get("node") or "a node that you may not list"
    if not named:
        return f"There will be room on {where} when those have left that are leaving already."
    protected = preemption["violations"]
    against = f", of which disruption budgets protect {protected}" if protected else ""
    return f"Would preempt on {where}: {', '.join(named)}{against}."


def _table(status: Mapping[str, Any], width: int) -> Iterator[str]:
    rows = [("NODE", "VERDICT", "SCORE", "WHY"), *(_row(node, status) for node in status["nodes"])]
    first, second, third = (max(len(row[at]) for row in rows) for at in range(3))
    left = first + second + third + 3 * len(GAP)
    for name, verdict, score, why in rows:
        head = GAP.join((name.ljust(first), verdict.ljust(second), score.rjust(third)))
        for at, line in enumerate(_wrapped(why, max(width - left, WHY_MIN))):
            yield ((head if not at else " " * len(head)) + GAP + line).rstrip()


def _row(node: Mapping[str, Any], status: Mapping[str, Any]) -> tuple[str, str, str, str]:
    name = node["name"]
    if not node["fits"]:
        return name, "no", "", f"{node['rule']}: {', '.join(node['reasons'])}"
    verdict = "chosen" if name == status.get("chosen") else "yes"
    scores = ", ".join(f"{score} {points}" for score, points in node["scores"].items() if points)
    return name, verdict, f"{node['points'] / 100:.2f}", scores


def _refusals(status: Mapping[str, Any]) -> Iterator[str]:
    rows = [("NODES", "RULE", "REASON"), *((str(r["nodes"]), r["rule"], r["reason"]) for r in status["refusals"])]
    first, second = (max(len(row[at]) for row in rows) for at in range(2))
    for count, rule, reason in rows:
        yield f"{count.rjust(first)}{GAP}{rule.ljust(second)}{GAP}{reason}"


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False) or [""]
