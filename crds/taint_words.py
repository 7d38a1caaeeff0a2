"""Taints as people write them: `key=value:Effect`, `key:Effect`, and with a `-` at the end to take them off.

kubectl's rules (pkg/cmd/taint). Free of pydantic.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .names import label_key_problems, label_value_problems

EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
TAINTS_MAX = 50
Taint = dict[str, Any]


class BadTaint(ValueError):
    """It is not a taint; the message says what would be one."""


@dataclass(frozen=True, slots=True)
class Removal:
    """A taint to take off; without an effect, every one of the key."""

    key: str
    effect: str = ""

    def covers(self, taint: Mapping[str, Any]) -> bool:
        """Whether this taint goes."""
        return taint["key"] == self.key and self.effect in ("", taint["effect"])

    def __str__(self) -> str:
        return f"{self.key}:{self.effect}" if self.effect else self.key


def parse_taint(text: str) -> Taint:
    """`key[=value]:Effect`. Raises BadTaint."""
    head, colon, effect = text.rpartition(":")
    key, equals, value = head.partition("=")
    if not colon or not key:
        raise BadTaint(f"{text!r} is not a taint: write key[=value]:Effect")
    _check(text, key, effect)
    for problem in label_value_problems(value):
        raise BadTaint(f"{text!r}: the value {problem}")
    return {"key": key, "effect": effect, **({"value": value} if equals and value else {})}


def parse_removal(text: str) -> Removal:
    """`key[:Effect]`; a value, as kubectl takes it, does not matter. Raises BadTaint."""
    head, colon, effect = text.rpartition(":")
    key = (head if colon else text).partition("=")[0]
    _check(text, key, effect if colon else None)
    return Removal(key, effect if colon else "")


def parse_words(words: Iterable[str]) -> tuple[list[Taint], list[Removal]]:
    """What to put on and what to take off: a word that ends in `-` takes off. Raises BadTaint."""
    added = []
    removed = []
    for word in words:
        if word.endswith("-"):
            removed.append(parse_removal(word[:-1]))
        else:
            added.append(parse_taint(word))
    seen: set[tuple[str, str]] = set()
    for taint in added:
        mark = (taint["key"], taint["effect"])
        if mark in seen:
            raise BadTaint(f"duplicated taints with the same key and effect: {shown(taint)}")
        if any(removal.covers(taint) for removal in removed):
            raise BadTaint(f"can not both modify and remove the following taint(s) in the same command: {shown(taint)}")
        seen.add(mark)
    return added, removed


def _check(text: str, key: str, effect: str | None) -> None:
    for problem in label_key_problems(key):
        raise BadTaint(f"{text!r}: the key {problem}")
    if effect is not None and effect not in EFFECTS:
        raise BadTaint(f"{text!r}: the effect must be one of {', '.join(EFFECTS)}")


def shown(taint: Mapping[str, Any]) -> str:
    """`key=value:Effect`."""
    value = f"={taint['value']}" if taint.get("value") else ""
    return f"{taint['key']}{value}:{taint['effect']}"


def changed(
    taints: Sequence[Taint], added: Sequence[Taint], removed: Sequence[Removal], *, overwrite: bool
) -> list[Taint]:
    """A node's taints after the change, one of each key and effect. Raises BadTaint."""
    for removal in removed:
        if not any(removal.covers(taint) for taint in taints):
            raise BadTaint(f'taint "{removal}" not found')
    marks = {(taint["key"], taint["effect"]): taint for taint in added}
    doubled = sorted({taint["key"] for taint in taints if (taint["key"], taint["effect"]) in marks})
    if doubled and not overwrite:
        raise BadTaint(f"already has {', '.join(doubled)} taint(s) with same effect(s) and --overwrite is false")
    kept = [taint for taint in taints if not any(removal.covers(taint) for removal in removed)]
    result = [marks.pop((taint["key"], taint["effect"]), taint) for taint in kept] + list(marks.values())
    if len(result) > TAINTS_MAX:
        raise BadTaint(f"a node has at most {TAINTS_MAX} taints; these would be {len(result)}")
    return result
