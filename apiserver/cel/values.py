"""CEL's values in Python, and the relations between them: types, equality, order.

JSON's own types stand for themselves (`int`, `float`, `str`, `bool`, None, list, dict), so that objects are read as they
are and nothing is copied into an evaluator. What Python would confuse is told apart here: `1` and `true` differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from .errors import EvaluationError, NoSuchOverload

INT_MIN, INT_MAX = -(2**63), 2**63 - 1
UINT_MAX = 2**64 - 1


class Uint(int):
    """An unsigned 64-bit integer: a type of its own in CEL."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, order=True)
class Timestamp:
    """A point in time, in nanoseconds since the epoch."""

    ns: int


@dataclass(frozen=True, slots=True, order=True)
class Duration:
    """A span of time, in nanoseconds."""

    ns: int


@dataclass(frozen=True, slots=True)
class CelType:
    """The value of `type(x)`, and of the name of a type."""

    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Optional:
    """An optional value; `present` tells whether there is one."""

    present: bool
    value: Any = None


NONE: Final = Optional(False)


class SetList(list[Any]):
    """A list with x-kubernetes-list-type: set: equal in any order, `+` is a union."""

    __slots__ = ()


class MapList(list[Any]):
    """A list with x-kubernetes-list-type: map: items are identified by `keys`; `+` replaces equal ones."""

    __slots__ = ("keys",)

    def __init__(self, items: Iterable[Any], keys: tuple[str, ...]) -> None:
        super().__init__(items)
        self.keys = keys

    def key_of(self, item: Any) -> Any:
        """What identifies the item among the others."""
        return hashable([item.get(key) for key in self.keys]) if isinstance(item, dict) else hashable(item)


class Opaque:
    """Base of values of the extension libraries: a type with a name and an equality of its own."""

    __slots__ = ()
    TYPE = ""

    def __hash__(self) -> int:
        return id(self)


_NAMES: Mapping[type, str] = {
    bool: "bool",
    int: "int",
    Uint: "uint",
    float: "double",
    str: "string",
    bytes: "bytes",
    type(None): "null_type",
    Timestamp: "google.protobuf.Timestamp",
    Duration: "google.protobuf.Duration",
    CelType: "type",
    Optional: "optional_type",
    list: "list",
    SetList: "list",
    MapList: "list",
    dict: "map",
}


def type_name(value: Any) -> str:
    """The name of the value's type in CEL."""
    found = _NAMES.get(type(value))
    if found is not None:
        return found
    if isinstance(value, Opaque):
        return value.TYPE
    return "list" if isinstance(value, list) else "map"


_NUMBERS = (int, float)


def is_number(value: Any) -> bool:
    """An int, uint or double. A bool is none."""
    return isinstance(value, _NUMBERS) and type(value) is not bool


def equal(left: Any, right: Any) -> bool:
    """Equality of two scalars: numbers across their types, otherwise of one type only. Containers are the frame's."""
    kind = type(left)
    if kind is str or left is None:
        return bool(left == right)
    if kind is bool or type(right) is bool:
        return left is right
    if isinstance(left, _NUMBERS):
        return isinstance(right, _NUMBERS) and left == right
    return type(right) is kind and bool(left == right)


def hashable(value: Any) -> Any:
    """Something with a hash that is equal for equal values."""
    match value:
        case bool():
            return ("bool", value)
        case list():
            return ("list", *map(hashable, value))
        case dict():
            return ("map", frozenset((hashable(key), hashable(item)) for key, item in value.items()))
        case Optional():
            return ("optional", value.present, hashable(value.value))
    return value


def compare(left: Any, right: Any) -> int:
    """Negative, zero or positive. Raises NoSuchOverload for values without an order between them."""
    if is_number(left) and is_number(right):
        pass
    elif type(left) is not type(right) or not isinstance(left, (str, bytes, bool, Timestamp, Duration)):
        raise NoSuchOverload
    return int(left > right) - int(left < right)


def size(value: Any) -> int:
    """Code points, bytes, items or entries. Raises NoSuchOverload for what has no size."""
    if isinstance(value, (str, bytes, list, Mapping)):
        return len(value)
    raise NoSuchOverload


def cost_size(value: Any) -> int:
    """What counts as the value's size in the cost of a call: 1 for a scalar."""
    return len(value) if isinstance(value, (str, bytes, list, dict)) else 1


def as_int(value: int) -> int:
    """The number, if it fits into 64 bits."""
    if not INT_MIN <= value <= INT_MAX:
        raise EvaluationError("integer overflow")
    return value


def as_uint(value: int) -> Uint:
    """The number, if it fits into 64 bits without a sign."""
    if not 0 <= value <= UINT_MAX:
        raise EvaluationError("unsigned integer overflow")
    return Uint(value)


class BoolKey:
    """A boolean as the key of a map: Python takes `True` and `1` for the same key, CEL does not."""

    __slots__ = ("value",)

    def __init__(self, value: bool) -> None:
        self.value = value


_TRUE, _FALSE = BoolKey(True), BoolKey(False)


def as_key(value: Any) -> Any:
    """The value as the key of a dict. Raises EvaluationError for what cannot be a key."""
    kind = type(value)
    if kind is str or kind is int or kind is Uint:
        return value
    if kind is bool:
        return _TRUE if value else _FALSE
    if kind is float:
        # A double finds the whole number it equals. NaN equals nothing, itself included.
        return int(value) if value.is_integer() else value
    raise EvaluationError(f"unsupported key type: {type_name(value)}")


def of_key(key: Any) -> Any:
    """The key of a dict as a value."""
    return key.value if type(key) is BoolKey else key
