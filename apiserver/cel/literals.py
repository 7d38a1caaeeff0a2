"""Lists and maps that are written out have members of one type, as Kubernetes wants it: `[1, 'a']` is a mistake.

The arguments of `format` are the exception, for they are of any types by nature. What is untyped fits everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .errors import CompileError
from .tree import Call, Checked, Expr, Fold, ListOf, MapOf, Select, Type

_LOOSE = ("dyn", "null", "any", "wrapper")


def check_literals(checked: Checked, expression: str) -> None:
    """Raises CompileError at the first member that differs from those before it."""
    for node in _nodes(checked.root):
        for members in _groups(node):
            _alike(checked, expression, members)


def _nodes(node: Expr) -> Iterator[Expr]:
    """The node and everything below it, but not below a call of `format`."""
    stack = [node]
    while stack:
        at = stack.pop()
        yield at
        if not (isinstance(at, Call) and at.function == "format"):
            stack += _below(at)


def _below(node: Expr) -> list[Expr]:
    match node:
        case Select():
            return [node.operand]
        case Call():
            return [*node.args, *([node.target] if node.target is not None else ())]
        case ListOf():
            return list(node.elements)
        case MapOf():
            return [part for entry in node.entries for part in (entry.key, entry.value) if not isinstance(part, str)]
        case Fold():
            return [node.range, node.init, node.condition, node.step, node.result]
    return []


def _groups(node: Expr) -> Iterator[list[tuple[Expr, bool]]]:
    """Members that must be alike, each with whether it is an optional one."""
    if isinstance(node, ListOf):
        yield [(element, at in node.optional) for at, element in enumerate(node.elements)]
    elif isinstance(node, MapOf):
        yield [(entry.key, False) for entry in node.entries if not isinstance(entry.key, str)]
        yield [(entry.value, entry.optional) for entry in node.entries]


def _alike(checked: Checked, expression: str, members: Iterable[tuple[Expr, bool]]) -> None:
    expected: Type | None = None
    for node, optional in members:
        found = checked.type_of(node)
        if optional and found.kind == "optional_type":
            found = found.params[0]
        if _is_loose(found):
            continue
        if expected is None:
            expected = found
        elif expected != found:
            place = _shown(expression, checked.positions.get(node.id, 0))
            raise CompileError(
                f"compilation failed: {place[0]}expected type '{expected}' but found '{found}'{place[1]}"
            )


def _is_loose(found: Type) -> bool:
    return (
        found.kind in _LOOSE
        or any(map(_is_loose, found.params))
        or (found.kind in ("list", "map") and not found.params)
    )


def _shown(expression: str, at: int) -> tuple[str, str]:
    """Where in the text that is: the head of the complaint, and the line with a mark below it."""
    before = expression[:at]
    line, column = before.count("\n") + 1, at - (before.rfind("\n") + 1)
    text = expression.splitlines()[line - 1] if expression else ""
    return f"ERROR: <input>:{line}:{column + 1}: ", f"\n | {text}\n | {'.' * column}^"
