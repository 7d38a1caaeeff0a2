"""`find` and `findAll`: what of a text a pattern matches, by the RE2 engine that the evaluator's package contains."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from ...schema import patterns
from .. import package
from ..errors import EvaluationError
from ..frame import Frame
from .registry import Overload, member
from .standard import pay_for_pattern

_CLASS = re.compile(r"\[\^?\]?")
_GROUP = re.compile(r"\((\?P?<[^>]*>)?(?!\?)")


def uncaptured(pattern: str) -> str:
    """The same pattern with groups that capture nothing, for the engine gives back a capture instead of the match."""
    out: list[str] = []
    at, in_class = 0, False
    while at < len(pattern):
        char = pattern[at]
        group = _GROUP.match(pattern, at) if char == "(" and not in_class else None
        width = 2 if char == "\\" else 1
        if group is not None:
            width = len(group[0])
        elif char == "[" and not in_class:
            in_class = True
            # A bracket that comes first in a class is a member of it.
            width = len(_CLASS.match(pattern, at)[0])  # type: ignore[index]
        elif char == "]":
            in_class = False
        out.append("(?:" if group is not None else pattern[at : at + width])
        at += width
    return "".join(out)


@cache
def _engine(expression: str) -> Any:
    return package.environment({"text": "string", "pattern": "string"}, ("optional", "regex")).compile(expression)


def _search(expression: str, frame: Frame, text: str, pattern: str) -> Any:
    pay_for_pattern(frame, text, pattern)
    trouble = patterns.problem(pattern)
    if trouble is not None:
        raise EvaluationError(f"error parsing regexp: {trouble}")
    return package.plain(_engine(expression), {"text": text, "pattern": uncaptured(pattern)})


def _find(frame: Frame, text: str, pattern: str) -> str:
    return str(_search("regex.extract(text, pattern).orValue('')", frame, text, pattern))


def _find_all(frame: Frame, text: str, pattern: str, limit: int = -1) -> list[Any]:
    found = list(_search("regex.extractAll(text, pattern)", frame, text, pattern))
    return found if limit < 0 else found[:limit]


OVERLOADS: list[Overload] = [
    member("find", "string; string", "string", _find),
    member("findAll", "string; string", "list<string>", _find_all),
    member("findAll", "string; string; int", "list<string>", _find_all),
]
