"""Regular expressions as Go's RE2 reads them, run by Rust's engine (linear time, whatever the pattern).

The two engines share their syntax but for a handful of spots, which `to_rust` rewrites: Go's `\\d \\w \\s \\b` are ASCII,
an unescaped `{` that begins no repetition is itself, `[` inside a class is itself, and `\\<` is `<`.
"""

from __future__ import annotations

import re
from functools import lru_cache

from pydantic_core import SchemaError, SchemaValidator, ValidationError, core_schema

PATTERN_CACHE_MAX = 4_096
"""Compiled patterns kept for explanations; further ones are compiled again."""

REPEAT_MAX = 1_000
"""How often anything may be repeated by counts, one inside another multiplied: Go's limit, and a bound on the work."""
_COUNTS = re.compile(r"\{([0-9]+)(?:(,)([0-9]*))?\}")

_PERL = {"d": "0-9", "w": "0-9A-Za-z_", "s": r"\t\n\f\r "}
_REPETITION = re.compile(r"\{[0-9]+(,[0-9]*)?\}")
_POSIX = re.compile(r"\[:\^?[a-z]+:\]")
_QUOTED = re.compile(r"\\Q(.*?)(?:\\E|$)", re.S)


def to_rust(pattern: str) -> str:
    """The same expression in Rust's syntax."""
    pattern = _QUOTED.sub(lambda match: re.escape(match[1]), pattern)
    out: list[str] = []
    at, in_class = 0, False
    while at < len(pattern):
        text, length, in_class = _token(pattern, at, in_class)
        out.append(text)
        at += length
    return "".join(out)


def _token(pattern: str, at: int, in_class: bool) -> tuple[str, int, bool]:
    """One token: its text in Rust, its length in Go, and whether a character class is open after it."""
    char = pattern[at]
    if char == "\\" and at + 1 < len(pattern):
        return _escape(pattern[at + 1], in_class), 2, in_class
    if in_class:
        return _in_class(pattern, at)
    if char == "[":
        return _open_class(pattern, at)
    if char == "{" and not _REPETITION.match(pattern, at):
        return r"\{", 1, False
    return char, 1, False


def _open_class(pattern: str, at: int) -> tuple[str, int, bool]:
    opening = "[^" if pattern.startswith("[^", at) else "["
    after = at + len(opening)
    # A closing bracket right after the opening one is an ordinary member in both engines; Rust wants it escaped.
    if pattern.startswith("]", after):
        return opening + r"\]", len(opening) + 1, True
    return opening, len(opening), True


def _in_class(pattern: str, at: int) -> tuple[str, int, bool]:
    char = pattern[at]
    if char == "]":
        return "]", 1, False
    if char == "[":
        posix = _POSIX.match(pattern, at)
        return (posix[0], len(posix[0]), True) if posix else (r"\[", 1, True)
    # Rust reads these doubled as set operations.
    return (f"\\{char}" if char in "&~" or pattern.startswith("--", at) else char), 1, True


def _escape(letter: str, in_class: bool) -> str:
    if letter.lower() in _PERL:
        inside = _PERL[letter.lower()]
        if letter.isupper():
            return f"[^{inside}]"
        return inside if in_class else f"[{inside}]"
    if letter in "bB" and not in_class:
        return f"(?-u:\\{letter})"
    return letter if letter in "<>" else f"\\{letter}"


@lru_cache(maxsize=PATTERN_CACHE_MAX)
def _compiled(pattern: str) -> SchemaValidator:
    return SchemaValidator(core_schema.str_schema(pattern=to_rust(pattern), strict=True, regex_engine="rust-regex"))


def problem(pattern: str) -> str | None:
    """Why the pattern cannot be compiled, or None when it can."""
    if extent(pattern)[1] > REPEAT_MAX:
        return "invalid repeat count"
    try:
        _compiled(pattern)
    except SchemaError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return lines[-1] if lines else "error parsing regexp"
    return None


@lru_cache(maxsize=PATTERN_CACHE_MAX)
def extent(pattern: str) -> tuple[int, int]:
    """How long the pattern is with its counts written out, and how often the most repeated part of it is repeated.

    `[a-z]{3}` is three long. The work of matching grows with this, not with the length of the text.
    """
    pattern = _QUOTED.sub(lambda match: re.escape(match[1]), pattern)
    # For every open group: its extent so far, that of its last part, and the repeats within either.
    groups = [[0, 0, 1, 1]]
    at, in_class = 0, False
    while at < len(pattern):
        counts = _COUNTS.match(pattern, at) if not in_class else None
        if counts is not None and groups[-1][1]:
            _repeat(groups[-1], counts)
            at = counts.end()
            continue
        char = pattern[at]
        _, length, still_in_class = _token(pattern, at, in_class)
        if in_class or still_in_class:
            if not still_in_class:
                _add(groups[-1], 1, 1)
        elif char == "(":
            groups.append([0, 0, 1, 1])
        elif char == ")" and len(groups) > 1:
            done = groups.pop()
            _add(groups[-1], max(1, done[0]), done[2])
        elif char not in "|*+?^$":
            _add(groups[-1], 1, 1)
        at, in_class = at + length, still_in_class
    return sum(group[0] for group in groups), max(group[2] for group in groups)


def _add(group: list[int], size: int, repeats: int) -> None:
    group[0] += size
    group[1], group[3] = size, repeats
    group[2] = max(group[2], repeats)


def _repeat(group: list[int], counts: re.Match[str]) -> None:
    often = max(1, int(counts[1][:9]), int((counts[3] or "0")[:9]))
    group[0] += group[1] * (often - 1)
    group[1] *= often
    group[3] *= often
    group[2] = max(group[2], group[3])


def matches(pattern: str, text: str) -> bool:
    """The pattern occurs in `text` (it is not anchored unless it says so)."""
    try:
        _compiled(pattern).validate_python(text)
    except ValidationError:
        return False
    return True
