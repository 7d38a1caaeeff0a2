"""A checked expression as a tree: read from the bytes of the `cel.expr.CheckedExpr` that the compiler gives.

The few messages are read by hand (https://github.com/google/cel-spec/tree/master/proto/cel/expr): no generated code, and
no walk over messages while evaluating.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from .values import Uint

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass(slots=True)
class Const:
    """A literal."""

    id: int
    value: Any


@dataclass(slots=True)
class Ident:
    """A name: a variable, or a type."""

    id: int
    name: str


@dataclass(slots=True)
class Select:
    """`operand.field`, or `has(operand.field)` when `test` is set."""

    id: int
    operand: Expr
    field: str
    test: bool


@dataclass(slots=True)
class Call:
    """A function or an operator; `target` is the receiver of a member call."""

    id: int
    target: Expr | None
    function: str
    args: list[Expr]


@dataclass(slots=True)
class ListOf:
    """A list literal; `optional` has the positions of `?` elements."""

    id: int
    elements: list[Expr]
    optional: frozenset[int]


@dataclass(slots=True)
class Entry:
    """One entry of a map or a message literal."""

    key: Expr | str
    value: Expr
    optional: bool


@dataclass(slots=True)
class MapOf:
    """A map literal; a message literal when `message` is set."""

    id: int
    message: str
    entries: list[Entry]


@dataclass(slots=True)
class Fold:
    """A comprehension: what the macros all, exists, filter and map are made of."""

    id: int
    variable: str
    second: str
    """The second variable of a comprehension over indices or keys and values; empty in the usual case."""
    range: Expr
    accumulator: str
    init: Expr
    condition: Expr
    step: Expr
    result: Expr


Expr: TypeAlias = Const | Ident | Select | Call | ListOf | MapOf | Fold


@dataclass(frozen=True, slots=True)
class Type:
    """A checked type: `kind` is `int`, `list`, `map`, `message`, `optional_type`, `dyn` ...; `name` that of a message."""

    kind: str
    name: str = ""
    params: tuple[Type, ...] = ()

    def __str__(self) -> str:
        params = f"({', '.join(map(str, self.params))})" if self.params else ""
        return (self.name or self.kind) + params


DYN = Type("dyn")


@dataclass(slots=True)
class Checked:
    """A whole expression with what the checker found out: types and resolved names, by the ids of nodes."""

    root: Expr
    types: dict[int, Type] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    positions: dict[int, int] = field(default_factory=dict)
    """Where in the text a node stands, in characters."""

    def type_of(self, node: Expr) -> Type:
        """The node's type; dyn where the checker recorded none."""
        return self.types.get(node.id, DYN)


def decode(serialized: bytes) -> Checked:
    """The tree of a serialized expression (a `google.protobuf.Any` that holds a CheckedExpr)."""
    (body,) = [value for number, value in _fields(serialized) if number == 2]
    root: Expr | None = None
    types: dict[int, Type] = {}
    names: dict[int, str] = {}
    positions: dict[int, int] = {}
    for number, value in _fields(body):
        if number == 4:
            root = _expr(value)
        elif number == 3:
            entry = dict(_fields(value))
            types[entry[1]] = _type(entry.get(2, b""))
        elif number == 2:
            entry = dict(_fields(value))
            names[entry[1]] = bytes(dict(_fields(entry.get(2, b""))).get(1, b"")).decode()
        elif number == 5:
            entries = (dict(_fields(entry)) for at, entry in _fields(value) if at == 4)
            positions = {entry.get(1, 0): entry.get(2, 0) for entry in entries}
    assert root is not None
    return Checked(root, types, {node: name for node, name in names.items() if name}, positions)


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """The fields of a message: number, and int or bytes."""
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield tag >> 3, value
        elif kind == _BYTES:
            length, at = _varint(data, at)
            yield tag >> 3, data[at : at + length]
            at += length
        else:
            width = 8 if kind == _FIXED64 else 4
            yield tag >> 3, data[at : at + width]
            at += width


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7


def _expr(data: bytes) -> Expr:
    fields = dict(_fields(data))
    node = fields.pop(2, 0)
    ((number, body),) = fields.items()
    found: Expr = _EXPRS[number](node, body)
    return found


def _const(node: int, data: bytes) -> Const:
    ((number, value),) = _fields(data)
    match number:
        case 1:
            return Const(node, None)
        case 2:
            return Const(node, bool(value))
        case 3:
            return Const(node, value - 2**64 if value >= 2**63 else value)
        case 4:
            return Const(node, Uint(value))
        case 5:
            return Const(node, struct.unpack("<d", value)[0])
        case 6:
            return Const(node, value.decode())
    return Const(node, bytes(value))


def _ident(node: int, data: bytes) -> Ident:
    return Ident(node, dict(_fields(data))[1].decode())


def _select(node: int, data: bytes) -> Select:
    fields = dict(_fields(data))
    return Select(node, _expr(fields[1]), fields[2].decode(), bool(fields.get(3)))


def _call(node: int, data: bytes) -> Call:
    call = Call(node, None, "", [])
    for number, value in _fields(data):
        if number == 1:
            call.target = _expr(value)
        elif number == 2:
            call.function = value.decode()
        else:
            call.args.append(_expr(value))
    return call


def _list(node: int, data: bytes) -> ListOf:
    elements: list[Expr] = []
    optional: list[int] = []
    for number, value in _fields(data):
        if number == 1:
            elements.append(_expr(value))
        else:
            optional += [value] if isinstance(value, int) else list(_packed(value))
    return ListOf(node, elements, frozenset(optional))


def _packed(data: bytes) -> Iterator[int]:
    at = 0
    while at < len(data):
        value, at = _varint(data, at)
        yield value


def _map(node: int, data: bytes) -> MapOf:
    made = MapOf(node, "", [])
    for number, value in _fields(data):
        if number == 1:
            made.message = value.decode()
            continue
        entry = dict(_fields(value))
        key: Expr | str = _expr(entry[3]) if 3 in entry else entry[2].decode()
        made.entries.append(Entry(key, _expr(entry[4]), bool(entry.get(5))))
    return made


def _fold(node: int, data: bytes) -> Fold:
    fields = dict(_fields(data))
    text = [bytes(fields.get(number, b"")).decode() for number in (1, 8, 3)]
    parts = {number: _expr(fields[number]) for number in (2, 4, 5, 6, 7)}
    return Fold(node, text[0], text[1], parts[2], text[2], parts[4], parts[5], parts[6], parts[7])


_EXPRS: dict[int, Any] = {3: _const, 4: _ident, 5: _select, 6: _call, 7: _list, 8: _map, 9: _fold}
_PRIMITIVES = {1: "bool", 2: "int", 3: "uint", 4: "double", 5: "string", 6: "bytes"}
_WELL_KNOWN = {1: "any", 2: "timestamp", 3: "duration"}


def _type(data: bytes) -> Type:
    for number, value in _fields(data):
        match number:
            case 2:
                return Type("null")
            case 3:
                return Type(_PRIMITIVES.get(value, "dyn"))
            case 4:
                return Type("wrapper", params=(Type(_PRIMITIVES.get(value, "dyn")),))
            case 5:
                return Type(_WELL_KNOWN.get(value, "dyn"))
            case 6 | 7:
                return Type("list" if number == 6 else "map", params=tuple(_type(item) for _, item in _fields(value)))
            case 9:
                return Type("message", value.decode())
            case 11:
                return Type("type")
            case 14:
                fields = list(_fields(value))
                name = next((item.decode() for at, item in fields if at == 1), "")
                kind = "optional_type" if name == "optional_type" else "message"
                return Type(kind, name, tuple(_type(item) for at, item in fields if at == 2))
    return DYN
