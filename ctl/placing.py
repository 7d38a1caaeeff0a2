"""Where a pod goes and why, as text: one sentence, a table of the nodes, and what the others said, counted."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from .output import visible

GAP = "   "
WHY_MIN = 24
"""Columns that the reasons keep, however narrow the terminal is."""


def placement_text(what: str, status: Mapping[str, Any], width: int) -> str:
    """The answer about `what`, in lines of at most `width` columns where that is possible."""
    lines = [*_wrapped(f"{what}: {_sentence(status)}", width)]
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
