"""Label and field selectors: read from a query string or a LabelSelector, then asked again and again.

Free of pydantic: starkctl and the API server use it on plain mappings. The wording of errors is Kubernetes'.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from .names import label_key_problems, label_value_problems

SELECTOR_LENGTH_MAX = 64 * 1024
"""Characters of one selector in a query string; longer ones are refused unread."""
REQUIREMENTS_MAX = 1_000
"""Requirements in one selector."""

IN: Final = "in"
NOT_IN: Final = "notin"
EXISTS: Final = "exists"
NOT_EXISTS: Final = "!"
GREATER: Final = "gt"
LESS: Final = "lt"

NUMBER_MAX: Final = 1 << 63
_NUMBER = re.compile(r"[+-]?[0-9]{1,63}")

_OPERATORS = {"In": IN, "NotIn": NOT_IN, "Exists": EXISTS, "DoesNotExist": NOT_EXISTS}


class SelectorError(ValueError):
    """The selector cannot be understood; the message says where, in Kubernetes' words."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one key. `values` is sorted; `operator` is one of this module's constants."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Whether labels fulfil it. A missing label fulfils notin and !, nothing else."""
        present = self.key in labels
        if self.operator == IN:
            return present and labels[self.key] in self.values
        if self.operator == NOT_IN:
            return not present or labels[self.key] not in self.values
        if self.operator == EXISTS:
            return present
        if self.operator == NOT_EXISTS:
            return not present
        return present and _compares(labels[self.key], self.operator, self.values[0])

    def __str__(self) -> str:
        if self.operator == EXISTS:
            return self.key
        if self.operator == NOT_EXISTS:
            return f"!{self.key}"
        if self.operator in (GREATER, LESS):
            return f"{self.key}{'>' if self.operator == GREATER else '<'}{self.values[0]}"
        if len(self.values) == 1:
            return f"{self.key}{'=' if self.operator == IN else '!='}{self.values[0]}"
        return f"{self.key} {self.operator} ({','.join(self.values)})"


def _compares(value: str, operator: str, bound: str) -> bool:
    # As Go reads numbers: `1_0` is none, and neither is what does not fit into 64 bits.
    if not (_NUMBER.fullmatch(value) and _NUMBER.fullmatch(bound)):
        return False
    ours, theirs = int(value), int(bound)
    if not (-NUMBER_MAX <= ours < NUMBER_MAX and -NUMBER_MAX <= theirs < NUMBER_MAX):
        return False
    return ours > theirs if operator == GREATER else ours < theirs


@dataclass(frozen=True, slots=True)
class Selector:
    """Requirements that must all hold. Without any it selects everything."""

    requirements: tuple[Requirement, ...] = ()
    nothing: bool = False
    """Selects nothing at all: a LabelSelector that was absent."""

    def matches(self, labels: Mapping[str, str] | None) -> bool:
        """Whether an object with these labels is selected."""
        if self.nothing:
            return False
        return all(requirement.holds(labels or {}) for requirement in self.requirements)

    @property
    def empty(self) -> bool:
        """Whether it selects everything."""
        return not self.requirements and not self.nothing

    def exact(self, key: str) -> str | None:
        """The only value that `key` may have, for a look-up by index."""
        for requirement in self.requirements:
            if requirement.key == key and requirement.operator == IN and len(requirement.values) == 1:
                return requirement.values[0]
        return None

    def __str__(self) -> str:
        return ",".join(str(requirement) for requirement in self.requirements)


EVERYTHING = Selector()
NOTHING = Selector(nothing=True)


def matches(selector: Mapping[str, Any] | None, labels: Mapping[str, str] | None) -> bool:
    """Whether a LabelSelector in wire form selects these labels; an absent one selects nothing, an empty one everything."""
    return from_label_selector(selector).matches(labels)


def from_label_selector(selector: Mapping[str, Any] | None) -> Selector:
    """Compile a LabelSelector in wire form (`matchLabels`, `matchExpressions`). Raises SelectorError."""
    if selector is None:
        return NOTHING
    found = [_requirement(key, IN, [value]) for key, value in (selector.get("matchLabels") or {}).items()]
    for expression in selector.get("matchExpressions") or ():
        operator = _OPERATORS.get(expression.get("operator", ""))
        if operator is None:
            raise SelectorError(f'"{expression.get("operator", "")}" is not a valid label selector operator')
        found.append(_requirement(expression.get("key", ""), operator, list(expression.get("values") or ())))
    return Selector(tuple(sorted(found, key=lambda requirement: requirement.key)))


def _requirement(key: str, operator: str, values: Sequence[str]) -> Requirement:
    """Check one requirement as Kubernetes' labels.NewRequirement does."""
    problems = label_key_problems(key)
    if problems:
        raise SelectorError(f'key: Invalid value: "{key}": {"; ".join(problems)}')
    if operator in (IN, NOT_IN) and not values:
        raise SelectorError("values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty")
    if operator in (EXISTS, NOT_EXISTS) and values:
        shown = ", ".join(f'"{value}"' for value in values)
        raise SelectorError(f"values: Invalid value: [{shown}]: values set must be empty for exists and does not exist")
    for index, value in enumerate(values):
        wrong = label_value_problems(value)
        if wrong:
            raise SelectorError(f'values[{index}][{key}]: Invalid value: "{value}": {"; ".join(wrong)}')
    if operator in (GREATER, LESS):
        _check_bound(values)
    return Requirement(key, operator, tuple(sorted(set(values))))


def _check_bound(values: Sequence[str]) -> None:
    if len(values) != 1:
        raise SelectorError("values: Invalid value: for 'Gt', 'Lt' operators, exactly one value is required")
    if not _NUMBER.fullmatch(values[0]):
        raise SelectorError(
            f"values[0]: Invalid value: \"{values[0]}\": for 'Gt', 'Lt' operators, the value must be an integer"
        )


_TOKEN = re.compile(r"\s*(?:(?P<op>!=|==|=|!|>|<|\(|\)|,)|(?P<word>[^\s!=<>(),]+))")


class _Tokens:
    """The words and signs of a selector, one ahead."""

    def __init__(self, text: str) -> None:
        self._items: list[tuple[str, str]] = []
        position, end = 0, len(text.rstrip())
        while position < end:
            match = _TOKEN.match(text, position)
            assert match is not None, (text, position)
            self._items.append(("op", match["op"]) if match["op"] else ("word", match["word"]))
            position = match.end()
        self._next = 0

    def peek(self) -> tuple[str, str]:
        return self._items[self._next] if self._next < len(self._items) else ("end", "")

    def take(self) -> tuple[str, str]:
        item = self.peek()
        self._next += 1
        return item


def parse_label_selector(text: str) -> Selector:
    """Read `a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1`. Raises SelectorError in Kubernetes' words."""
    if len(text) > SELECTOR_LENGTH_MAX:
        raise SelectorError(f"selector is {len(text)} characters long: at most {SELECTOR_LENGTH_MAX} are read")
    tokens = _Tokens(text)
    found: list[Requirement] = []
    if tokens.peek()[0] == "end":
        return EVERYTHING
    while True:
        kind, value = tokens.peek()
        if kind != "word" and value != "!":
            raise SelectorError(f"found '{value}', expected: !, identifier, or 'end of string'")
        found.append(_parse_requirement(tokens))
        if len(found) > REQUIREMENTS_MAX:
            raise SelectorError(f"more than {REQUIREMENTS_MAX} requirements in one selector")
        kind, value = tokens.take()
        if kind == "end":
            return Selector(tuple(sorted(found, key=lambda requirement: requirement.key)))
        if value != ",":
            raise SelectorError(f"found '{value}', expected: ',' or 'end of string'")
        kind, value = tokens.peek()
        if kind != "word" and value != "!":
            raise SelectorError(f"found '{value}', expected: identifier after ','")


def _parse_requirement(tokens: _Tokens) -> Requirement:
    kind, value = tokens.take()
    if value == "!" and kind == "op":
        kind, value = tokens.take()
        if kind != "word":
            raise SelectorError(f"found '{value}', expected: identifier")
        return _requirement(value, NOT_EXISTS, ())
    key = value
    kind, value = tokens.peek()
    if kind == "end" or (kind == "op" and value == ","):
        return _requirement(key, EXISTS, ())
    tokens.take()
    if kind == "op" and value in ("=", "=="):
        return _requirement(key, IN, [_parse_exact(tokens)])
    if kind == "op" and value == "!=":
        return _requirement(key, NOT_IN, [_parse_exact(tokens)])
    if kind == "op" and value in (">", "<"):
        return _requirement(key, GREATER if value == ">" else LESS, [_parse_exact(tokens)])
    if kind == "word" and value in (IN, NOT_IN):
        return _requirement(key, value, _parse_set(tokens))
    raise SelectorError(f"found '{value}', expected: in, notin, =, ==, !=, gt, lt")


def _parse_exact(tokens: _Tokens) -> str:
    kind, value = tokens.peek()
    if kind == "end" or value == ",":
        return ""
    tokens.take()
    if kind != "word":
        raise SelectorError(f"found '{value}', expected: identifier")
    return value


def _parse_set(tokens: _Tokens) -> list[str]:
    kind, value = tokens.take()
    if value != "(":
        raise SelectorError(f"found '{value}', expected: '('")
    values: list[str] = []
    expect_value = True
    while True:
        kind, value = tokens.take()
        if kind == "word":
            if not expect_value:
                raise SelectorError(f"found '{value}', expected: ',' or ')'")
            values.append(value)
            expect_value = False
        elif value == ",":
            if expect_value:
                values.append("")
            expect_value = True
        elif value == ")":
            if expect_value:
                values.append("")
            return values
        else:
            raise SelectorError(f"found '{value}', expected: ',', ')' or identifier")


@dataclass(frozen=True, slots=True)
class FieldRequirement:
    """One field that must, or must not, have a value."""

    path: str
    value: str
    equal: bool = True


@dataclass(frozen=True, slots=True)
class FieldSelector:
    """Field requirements that must all hold."""

    requirements: tuple[FieldRequirement, ...] = ()

    def matches(self, get: Callable[[str], str]) -> bool:
        """Whether an object is selected; `get(path)` gives a field as text, empty when it is absent."""
        return all((get(item.path) == item.value) is item.equal for item in self.requirements)

    @property
    def empty(self) -> bool:
        """Whether it selects everything."""
        return not self.requirements

    def exact(self, path: str) -> str | None:
        """The only value that `path` may have, for a look-up by index."""
        return next((item.value for item in self.requirements if item.equal and item.path == path), None)

    def __str__(self) -> str:
        return ",".join(f"{item.path}{'=' if item.equal else '!='}{_escape(item.value)}" for item in self.requirements)


def parse_field_selector(text: str) -> FieldSelector:
    r"""Read `a.b=c,d!=e,f==g`; in values `\,`, `\=` and `\\` stand for themselves. Raises SelectorError."""
    if len(text) > SELECTOR_LENGTH_MAX:
        raise SelectorError(f"selector is {len(text)} characters long: at most {SELECTOR_LENGTH_MAX} are read")
    found = [_parse_field(term) for term in _terms(text) if term]
    if len(found) > REQUIREMENTS_MAX:
        raise SelectorError(f"more than {REQUIREMENTS_MAX} requirements in one selector")
    return FieldSelector(tuple(found))


def demanded_value(text: str, path: str) -> str:
    """The value that a field selector demands at a path; empty when it demands none there, or cannot be read.

    Who may read one object only asks for it this way: so the text must be read exactly as the selection will read it.
    """
    try:
        return parse_field_selector(text).exact(path) or ""
    except SelectorError:
        return ""


def _terms(text: str) -> list[str]:
    """Split at commas that are not escaped."""
    return re.findall(r"(?:\\.|[^,\\]|\\$)+", text, re.DOTALL)


def _parse_field(term: str) -> FieldRequirement:
    match = re.search(r"!=|==|=", term)
    if match is None:
        raise SelectorError(f"invalid selector: '{term}'; can't understand '{term}'")
    return FieldRequirement(term[: match.start()], _unescape(term[match.end() :]), match[0] != "!=")


def _unescape(value: str) -> str:
    if re.search(r"\\([^\\,=]|$)", re.sub(r"\\\\", "", value)):
        bad = re.search(r"\\[^\\,=]|\\$", re.sub(r"\\\\", "", value))
        raise SelectorError(f"invalid field selector: invalid escape sequence: {bad[0] if bad else value}")
    if re.search(r"=", re.sub(r"\\.", "", value)):
        raise SelectorError(f"invalid field selector: unescaped special character in field selector value: {value}")
    return re.sub(r"\\(.)", r"\1", value)


def _escape(value: str) -> str:
    return re.sub(r"([\\,=])", r"\\\1", value)


def field_text(obj: Mapping[str, Any], path: str) -> str:
    """A field of an object in wire form as selectors compare it: empty when absent, `true`/`false`, digits."""
    value: Any = obj
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
