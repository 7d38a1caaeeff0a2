"""The JSONPath of columns and scale paths: fields, indexes, slices, wildcards and filters, as CRDs use it.

Not the whole language: no recursive descent, no unions, no arithmetic. A path is compiled once; evaluating it never
fails, it only finds nothing. `{...}` around the path and a leading `$` are allowed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

PATH_LENGTH_MAX = 1_000
"""Characters of a path; a longer one does not compile."""
PATHS_CACHED_MAX = 2_048
RESULTS_MAX = 1_000
"""Values that one path yields; wildcards past that are cut."""

Step = Callable[[Any], Iterator[Any]]


class JsonPathError(ValueError):
    """The path is not in the subset that is understood; the message says where."""


class JsonPath:
    """A compiled path."""

    __slots__ = ("_steps", "text")

    def __init__(self, text: str, steps: tuple[Step, ...]) -> None:
        self.text = text
        self._steps = steps

    def find(self, document: Any) -> list[Any]:
        """Every value at the path, in document order; empty when there is none."""
        found = [document]
        for step in self._steps:
            found = [value for at in found for value in step(at)][:RESULTS_MAX]
        return found

    def first(self, document: Any, default: Any = None) -> Any:
        """The first value at the path."""
        found = self.find(document)
        return found[0] if found else default


_NAME = re.compile(r"(?:\\.|[^.\[\\])+")
_INDEX = re.compile(r"-?[0-9]+")
_SLICE = re.compile(r"(-?[0-9]+)?:(-?[0-9]+)?")
_FILTER = re.compile(r"""\?\(\s*@(?P<path>[^=!<>()]*?)\s*(?:(?P<op>==|!=|<=|>=|<|>)\s*(?P<value>.+?)\s*)?\)""", re.S)
_QUOTED = re.compile(r"""(['"])((?:\\.|(?!\1).)*)\1""", re.S)


@lru_cache(maxsize=PATHS_CACHED_MAX)
def compile_path(text: str) -> JsonPath:
    """Compile a path such as `.status.conditions[?(@.type=="Ready")].status`. Raises JsonPathError."""
    body = text.strip()
    if len(body) > PATH_LENGTH_MAX:
        raise JsonPathError(f"the path is longer than {PATH_LENGTH_MAX} characters")
    if body.startswith("{") and body.endswith("}"):
        body = body[1:-1].strip()
    return JsonPath(text, tuple(_steps(body.removeprefix("$"), text)))


def _steps(body: str, text: str) -> Iterator[Step]:
    at = 0
    while at < len(body):
        if body[at] == "[":
            end = _closing(body, at, text)
            yield _bracket(body[at + 1 : end].strip(), text)
            at = end + 1
            continue
        # A path may begin without a dot, e.g. `spec.replicas`.
        at += body[at] == "."
        if at == len(body):
            return
        if body[at] == "[":
            continue
        name = _NAME.match(body, at)
        if name is None:
            raise JsonPathError(f"{text!r}: a field name is expected at {body[at:]!r}")
        yield _every if name[0] == "*" else _field(_unescaped(name[0]))
        at = name.end()


def _closing(body: str, at: int, text: str) -> int:
    """The bracket that closes the one at `at`; brackets in quotes or parentheses do not count."""
    depth, quote, position = 0, "", at
    while position < len(body):
        char = body[position]
        if char == "\\":
            position += 1
        elif quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char == "[":
            depth += 1
        elif char == "]":
            depth -= 1
            if depth == 0:
                return position
        position += 1
    raise JsonPathError(f"{text!r}: unterminated [")


def _bracket(inside: str, text: str) -> Step:
    if inside == "*":
        return _every
    if quoted := _QUOTED.fullmatch(inside):
        return _field(_unescaped(quoted[2]))
    if _INDEX.fullmatch(inside):
        return _index(int(inside))
    if found := _SLICE.fullmatch(inside):
        return _slice(int(found[1]) if found[1] else None, int(found[2]) if found[2] else None)
    if condition := _FILTER.fullmatch(inside):
        return _filter(condition["path"], condition["op"], condition["value"], text)
    raise JsonPathError(f"{text!r}: [{inside}] is not understood")


def _unescaped(name: str) -> str:
    return re.sub(r"\\(.)", r"\1", name)


def _field(name: str) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, dict) and name in value:
            yield value[name]

    return step


def _every(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _index(index: int) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, list) and -len(value) <= index < len(value):
            yield value[index]

    return step


def _slice(start: int | None, stop: int | None) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, list):
            yield from value[start:stop]

    return step


def _filter(path: str, relation: str | None, literal: str | None, text: str) -> Step:
    inner = tuple(_steps(path.strip(), text))
    wanted = None if literal is None else _literal(literal, text)

    def holds(item: Any) -> bool:
        found = [item]
        for step in inner:
            found = [value for at in found for value in step(at)]
        return bool(found) if relation is None else any(_compare(value, relation, wanted) for value in found)

    def filtered(value: Any) -> Iterator[Any]:
        if isinstance(value, (list, dict)):
            yield from (item for item in _every(value) if holds(item))

    return filtered


def _literal(text: str, path: str) -> Any:
    if quoted := _QUOTED.fullmatch(text):
        return _unescaped(quoted[2])
    if text in ("true", "false"):
        return text == "true"
    try:
        return float(text)
    except ValueError:
        raise JsonPathError(f"{path!r}: {text} is neither a number, a boolean nor quoted") from None


def _compare(left: Any, relation: str, right: Any) -> bool:
    """Values of different types are unequal, and neither is the greater one."""
    if relation == "==":
        return _kind(left) is _kind(right) and bool(left == right)
    if relation == "!=":
        return _kind(left) is not _kind(right) or bool(left != right)
    if _kind(left) is not _kind(right) or _kind(left) not in (str, float):
        return False
    outcomes = {"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}
    return bool(outcomes[relation])


def _kind(value: Any) -> type:
    return float if isinstance(value, int) and not isinstance(value, bool) else type(value)
