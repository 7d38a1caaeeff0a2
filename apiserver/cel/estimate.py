"""What an expression may cost at worst, before it is ever evaluated: by the sizes that the schema allows.

The same walk and the same figures as cel-go's checker and Kubernetes' estimator, so that a definition that Kubernetes
accepts is accepted here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from .declared import Declared
from .frame import LIST_COST, MAP_COST, REGEX_FACTOR, STRING_FACTOR, STRUCT_COST
from .tree import Call, Checked, Const, Expr, Fold, Ident, ListOf, MapOf, Select, Type

COST_MAX = 2**64 - 1
"""No estimate is larger: what is unbounded costs this."""


def _cut(value: float) -> int:
    return COST_MAX if value >= COST_MAX else int(value)


@dataclass(frozen=True, slots=True)
class Estimate:
    """Least and most: of cost, or of size."""

    min: int
    max: int

    def __add__(self, other: Estimate) -> Estimate:
        return Estimate(_cut(self.min + other.min), _cut(self.max + other.max))

    def __mul__(self, other: Estimate) -> Estimate:
        return Estimate(_cut(self.min * other.min), _cut(self.max * other.max))

    def scaled(self, factor: float) -> Estimate:
        """Times a factor, rounded up."""
        return Estimate(_cut(math.ceil(self.min * factor)), _cut(math.ceil(self.max * factor)))

    def union(self, other: Estimate) -> Estimate:
        """Either of the two."""
        return Estimate(min(self.min, other.min), max(self.max, other.max))


def exactly(value: int) -> Estimate:
    """A figure that is known."""
    return Estimate(value, value)


ZERO, ONE, UNKNOWN = exactly(0), exactly(1), Estimate(0, COST_MAX)
Path = tuple[str, ...]
_FIXED_KINDS = ("bool", "int", "uint", "double", "timestamp", "duration", "null", "type", "wrapper")
_ORDER = ("_<_", "_<=_", "_>_", "_>=_", "_==_", "_!=_")
_TRAVERSALS = (
    "url",
    "isURL",
    "ip",
    "isIP",
    "cidr",
    "isCIDR",
    "quantity",
    "isQuantity",
    "semver",
    "isSemver",
    "validate",
)
_LIST_WALKS = ("isSorted", "sum", "max", "min", "indexOf", "lastIndexOf")


def estimate(checked: Checked, variables: Mapping[str, Declared]) -> Estimate:
    """The cost of the whole expression."""
    return _Walk(checked, variables).cost(checked.root)


class _Walk:
    def __init__(self, checked: Checked, variables: Mapping[str, Declared]) -> None:
        self._checked, self._variables = checked, variables
        self._paths: dict[int, Path] = {}
        self._sizes: dict[int, Estimate] = {}
        self._entries: dict[int, Estimate] = {}
        """Of list literals and what is made of them: the sizes of their items."""
        self._locals: list[tuple[str, Path, Estimate | None]] = []

    def cost(self, node: Expr) -> Estimate:
        match node:
            case Const():
                return ZERO
            case Ident():
                self._paths[node.id] = self._path_of(node.name)
                return ONE
            case Select():
                return self._select(node)
            case Call():
                return self._call(node)
            case ListOf():
                return self._list(node)
            case MapOf():
                return self._map(node)
        return self._fold(node)

    def _path_of(self, name: str) -> Path:
        return next((path for local, path, _ in reversed(self._locals) if local == name), (name,))

    def _select(self, node: Select) -> Estimate:
        inner = self.cost(node.operand)
        if node.test:
            return inner + ONE
        self._paths[node.id] = (
            (*self._paths.get(node.operand.id, ()), node.field) if node.operand.id in self._paths else ()
        )
        kind = self._type(node.operand).kind
        return inner + ONE if kind in ("map", "message") else inner

    def _list(self, node: ListOf) -> Estimate:
        total = sum((self.cost(element) for element in node.elements), exactly(LIST_COST))
        self._sizes[node.id] = exactly(len(node.elements))
        sizes = [self.size(element) for element in node.elements]
        if sizes:
            self._entries[node.id] = Estimate(min(size.min for size in sizes), max(size.max for size in sizes))
        return total

    def _map(self, node: MapOf) -> Estimate:
        self._sizes[node.id] = exactly(len(node.entries))
        total = exactly(STRUCT_COST if node.message else MAP_COST)
        for entry in node.entries:
            total += self.cost(entry.value)
            if not isinstance(entry.key, str):
                total += self.cost(entry.key)
        return total

    def _fold(self, node: Fold) -> Estimate:
        total = self.cost(node.range) + self.cost(node.init)
        path, kind = self._paths.get(node.range.id, ()), self._type(node.range).kind
        self._locals.append((node.accumulator, (), self._known_size(node.init)))
        steps = ("@indices", "@items") if kind == "list" else ("@keys", "@values")
        over = steps if node.second else (steps[1] if kind == "list" else steps[0],)
        for name, step in zip((node.variable, node.second), over, strict=False):
            size = self._entries.get(node.range.id) if step == "@items" else None
            self._locals.append((name, (*path, step) if path else (), size))
        loop = self.cost(node.condition) + self.cost(node.step)
        del self._locals[-len(over) :]
        total += self.cost(node.result)
        self._locals.pop()
        count = self.size(node.range)
        if isinstance(node.init, (ListOf, MapOf)):
            self._sizes[node.id] = count
            entries = self._entries.get(node.step.id)
            if entries is not None:
                self._entries[node.id] = entries
        return total + count * loop

    def _call(self, node: Call) -> Estimate:
        nodes = [*([node.target] if node.target is not None else ()), *node.args]
        costs = [self.cost(argument) for argument in nodes]
        name = node.function
        if name in ("_&&_", "_||_"):
            return Estimate(costs[0].min, (costs[0] + costs[1]).max)
        if name == "_?_:_":
            self._sizes[node.id] = self.size(nodes[1]).union(self.size(nodes[2]))
            return costs[0] + costs[1].union(costs[2])
        total = sum(costs, ZERO)
        if name in ("_[_]", "_[?_]", "_?._"):
            self._index(node)
            return total + ONE
        if name in ("dyn", "value", "orValue", "optional.of"):
            self._paths[node.id] = self._paths.get(nodes[0].id, ())
        return total + self._function(node, name, nodes)

    def _index(self, node: Call) -> None:
        held, key = node.args
        path = self._paths.get(held.id, ())
        if not path:
            return
        if node.function == "_?._" and isinstance(key, Const):
            self._paths[node.id] = (*path, str(key.value))
        else:
            self._paths[node.id] = (*path, "@items" if self._type(held).kind == "list" else "@values")

    def _function(self, node: Call, name: str, nodes: list[Expr]) -> Estimate:
        """The cost of the call itself; notes the size of its result."""
        sizes = [self.size(argument) for argument in nodes]
        kind = self._type(nodes[0]).kind if nodes else ""
        if name in ("contains", "matches", "find", "findAll"):
            return self._search(node, name, sizes)
        if name in ("startsWith", "endsWith"):
            return sizes[1].scaled(STRING_FACTOR)
        if name in _ORDER:
            most = min(sizes[0].max, sizes[1].max)
            return Estimate(min(1, most), most).scaled(STRING_FACTOR)
        if name in ("@in", "_in_", "in"):
            return sizes[1] if self._type(nodes[1]).kind != "map" else ONE
        if name == "_+_":
            return self._sum(node, kind, sizes)
        if name in _LIST_WALKS:
            return self._walk(nodes[0], kind, sizes[0])
        if name.startswith("sets."):
            return sizes[0] * sizes[1] + ONE
        if name in _TRAVERSALS:
            return sizes[-1].scaled(STRING_FACTOR)
        return self._text(node, name, sizes)

    def _search(self, node: Call, name: str, sizes: list[Estimate]) -> Estimate:
        text, part = sizes[0], sizes[1]
        if name == "contains":
            return text.scaled(STRING_FACTOR) * part.scaled(STRING_FACTOR)
        self._sizes[node.id] = Estimate(0, text.max)
        return (text + ONE).scaled(STRING_FACTOR) * part.scaled(REGEX_FACTOR)

    def _sum(self, node: Call, kind: str, sizes: list[Estimate]) -> Estimate:
        if kind not in ("string", "bytes", "list"):
            return ONE
        self._sizes[node.id] = sizes[0] + sizes[1]
        found = [self._entries[part.id] for part in node.args if part.id in self._entries]
        if found:
            self._entries[node.id] = found[0].union(found[-1])
        return ONE if kind == "list" else self._sizes[node.id].scaled(STRING_FACTOR)

    def _walk(self, target: Expr, kind: str, size: Estimate) -> Estimate:
        if kind != "list":
            return size.scaled(STRING_FACTOR)
        each = ONE
        params = self._type(target).params
        if params and params[0].kind in ("string", "bytes"):
            path = self._paths.get(target.id, ())
            each += (self._size_at((*path, "@items")) if path else UNKNOWN).scaled(STRING_FACTOR)
        return size * each

    def _text(self, node: Call, name: str, sizes: list[Estimate]) -> Estimate:
        match name:
            case "lowerAscii" | "upperAscii" | "substring" | "trim":
                self._sizes[node.id] = Estimate(0 if name in ("substring", "trim") else sizes[0].min, sizes[0].max)
                return sizes[0].scaled(STRING_FACTOR)
            case "replace" | "split":
                longer = sizes[2] * (sizes[0] + ONE) + sizes[0] if name == "replace" else sizes[0]
                shrinks = name == "replace" and sizes[2].max <= sizes[1].min
                self._sizes[node.id] = Estimate(0, sizes[0].max if shrinks else longer.max)
                return sizes[0].scaled(2 * STRING_FACTOR)
            case "join":
                return self._join(node, sizes)
            case "format":
                self._sizes[node.id] = UNKNOWN
                return sizes[0].scaled(STRING_FACTOR)
            case "string" | "bytes":
                size = Estimate(sizes[0].min // 4, _cut(sizes[0].max * 4))
                self._sizes[node.id] = size
                return sizes[0].scaled(STRING_FACTOR) if self._type(node.args[0]).kind in ("string", "bytes") else ONE
            case "charAt":
                self._sizes[node.id] = ONE
        return ONE

    def _join(self, node: Call, sizes: list[Estimate]) -> Estimate:
        assert node.target is not None
        path = self._paths.get(node.target.id, ())
        total = sizes[0] * (self._size_at((*path, "@items")) if path else UNKNOWN)
        if len(sizes) > 1:
            between = Estimate(max(0, sizes[0].min - 1), max(0, sizes[0].max - 1))
            total += sizes[1] * between
        self._sizes[node.id] = total
        return total.scaled(STRING_FACTOR)

    def size(self, node: Expr) -> Estimate:
        """How large the node's value can be; nobody knows without a bound."""
        return self._known_size(node) or UNKNOWN

    def _known_size(self, node: Expr) -> Estimate | None:
        if node.id in self._sizes:
            return self._sizes[node.id]
        if isinstance(node, Const):
            return exactly(len(node.value)) if isinstance(node.value, (str, bytes)) else ONE
        path = self._paths.get(node.id, ())
        if path and path[0] in self._variables:
            return self._size_at(path)
        if self._type(node).kind in _FIXED_KINDS:
            return ONE
        if isinstance(node, Ident):
            return next((size for name, _, size in reversed(self._locals) if name == node.name), None)
        return None

    def _size_at(self, path: Path) -> Estimate:
        found: Declared | None = self._variables.get(path[0])
        for step in path[1:]:
            found = found.member(step) if found is not None else None
        return UNKNOWN if found is None else Estimate(0, found.size_max)

    def _type(self, node: Expr) -> Type:
        return self._checked.type_of(node)
