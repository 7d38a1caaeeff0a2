"""CEL's own operators, conversions and functions (https://github.com/google/cel-spec/blob/master/doc/langdef.md)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from ...schema import patterns
from ..errors import EvaluationError, NoSuchOverload
from ..frame import REGEX_FACTOR, STRING_FACTOR, Frame
from ..values import (
    INT_MAX,
    INT_MIN,
    NONE,
    UINT_MAX,
    CelType,
    Duration,
    MapList,
    Opaque,
    Optional,
    SetList,
    Timestamp,
    Uint,
    as_int,
    as_key,
    as_uint,
    compare,
    cost_size,
    is_number,
    size,
    type_name,
)
from . import times
from .registry import Implementation, Overload, dispatch, function, member

INT_TEXT_MAX = 32
"""Characters of a text that is read as an integer: no more are needed, and Python refuses very long ones."""
NEW_PATTERN_COST = 1_000
"""Units for a pattern that has not been compiled yet, beside those for matching: compiling may take a millisecond."""

LARGE_PATTERN = 500
"""From this extent on an engine may leave its fast ways, and holds the interpreter meanwhile."""
LARGE_PATTERN_FACTOR = 10
"""How much dearer each character of such a pattern is: the budget of a call then ends a match within 0.2 seconds."""

_SIZED = (str, bytes, list, Mapping)
_INTEGER = re.compile(r"[+-]?[0-9]+")
_DOUBLE = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?inf(inity)?|nan", re.I)


def _arithmetic(on_int: Callable[[int, int], int], on_double: Callable[[float, float], float]) -> Implementation:
    def compute(frame: Frame, left: Any, right: Any) -> Any:
        frame.pay(1)
        kind = type(left)
        if kind is type(right):
            if kind is int:
                return as_int(on_int(left, right))
            if kind is float:
                return on_double(left, right)
            if kind is Uint:
                return as_uint(on_int(int(left), int(right)))
        raise NoSuchOverload

    return compute


def _int_quotient(left: int, right: int) -> int:
    if right == 0:
        raise EvaluationError("division by zero")
    return abs(left) // abs(right) * (-1 if (left < 0) != (right < 0) else 1)


def _int_rest(left: int, right: int) -> int:
    if right == 0:
        raise EvaluationError("modulus by zero")
    return abs(left) % abs(right) * (-1 if left < 0 else 1)


def _double_quotient(left: float, right: float) -> float:
    if right:
        return left / right
    return math.nan if left == 0 or math.isnan(left) else math.copysign(math.inf, left) * math.copysign(1.0, right)


def _no_doubles(_left: float, _right: float) -> float:
    raise NoSuchOverload


def _double_product(left: float, right: float) -> float:
    return left * right


_plus = _arithmetic(lambda left, right: left + right, lambda left, right: left + right)
_minus = _arithmetic(lambda left, right: left - right, lambda left, right: left - right)


def add(frame: Frame, left: Any, right: Any) -> Any:
    """`+` on numbers, text, bytes, lists, times."""
    kind = type(left)
    if kind in (str, bytes) and kind is type(right):
        frame.pay_for(len(left) + len(right))
        return left + right
    if isinstance(left, list) and isinstance(right, list):
        # Kubernetes charges 1, for it links the lists; here they are copied, so what is copied is paid for.
        frame.pay(1 + int((len(left) + len(right)) * STRING_FACTOR))
        return _joined(frame, left, right)
    found = times.add(left, right)
    if found is not None:
        frame.pay(1)
        return found
    return _plus(frame, left, right)


def _joined(frame: Frame, left: list[Any], right: list[Any]) -> list[Any]:
    """Lists of type set and map stay such: a union, and items that replace those of the same keys."""
    if isinstance(left, SetList):
        known = {frame.hashable(item) for item in left}
        return SetList([*left, *(item for item in right if frame.hashable(item) not in known)])
    if isinstance(left, MapList):
        newer = {left.key_of(item): item for item in right}
        kept = [newer.pop(left.key_of(item), item) for item in left]
        return MapList([*kept, *newer.values()], left.keys)
    return [*left, *right]


def _subtract(frame: Frame, left: Any, right: Any) -> Any:
    found = times.subtract(left, right)
    if found is not None:
        frame.pay(1)
        return found
    return _minus(frame, left, right)


def _negate(frame: Frame, value: Any) -> Any:
    frame.pay(1)
    if type(value) is int:
        return as_int(-value)
    if type(value) is float:
        return -value
    raise NoSuchOverload


def _not(frame: Frame, value: Any) -> bool:
    frame.pay(1)
    if type(value) is not bool:
        raise NoSuchOverload
    return not value


def _equal(frame: Frame, left: Any, right: Any) -> bool:
    if not isinstance(left, _SIZED):
        # What has a size is paid for by it.
        frame.pay(1)
    return frame.equal(left, right)


def _unequal(frame: Frame, left: Any, right: Any) -> bool:
    return not _equal(frame, left, right)


def _relation(holds: Callable[[int], bool], nan: bool = False) -> Implementation:
    def relate(frame: Frame, left: Any, right: Any) -> bool:
        frame.pay_for(max(1, min(cost_size(left), cost_size(right))))
        if left != left or right != right:
            return nan
        return holds(compare(left, right))

    return relate


def _in(frame: Frame, item: Any, held: Any) -> bool:
    if isinstance(held, list):
        frame.pay(len(held))
        return any(frame.equal(item, member) for member in held)
    if isinstance(held, Mapping):
        frame.pay(1)
        try:
            return as_key(item) in held
        except EvaluationError:
            return False
    raise NoSuchOverload


def _size(frame: Frame, value: Any) -> int:
    frame.pay(1)
    return size(value)


def _contains(frame: Frame, text: str, part: str) -> bool:
    frame.pay(math.ceil(len(text) * STRING_FACTOR) * math.ceil(len(part) * STRING_FACTOR))
    return part in text


def _starts(frame: Frame, text: str, part: str) -> bool:
    frame.pay_for(len(text))
    return text.startswith(part)


def _ends(frame: Frame, text: str, part: str) -> bool:
    frame.pay_for(len(text))
    return text.endswith(part)


def pay_for_pattern(frame: Frame, text: str, pattern: str) -> None:
    """The cost of matching, as cel-go counts it by the pattern's length, its counts written out; and of a new pattern."""
    weight = max(len(pattern), patterns.extent(pattern)[0])
    if weight > LARGE_PATTERN:
        weight *= LARGE_PATTERN_FACTOR
    frame.pay(math.ceil((1 + len(text)) * STRING_FACTOR) * math.ceil(weight * REGEX_FACTOR))
    if pattern not in KNOWN_PATTERNS:
        frame.tick()
        frame.pay(NEW_PATTERN_COST)
        if len(KNOWN_PATTERNS) >= patterns.PATTERN_CACHE_MAX:
            KNOWN_PATTERNS.clear()
        KNOWN_PATTERNS.add(pattern)


KNOWN_PATTERNS: set[str] = set()
"""Patterns that have been compiled, and most likely are still kept so."""


def _matches(frame: Frame, text: str, pattern: str) -> bool:
    pay_for_pattern(frame, text, pattern)
    trouble = patterns.problem(pattern)
    if trouble is not None:
        raise EvaluationError(f"error parsing regexp: {trouble}")
    return patterns.matches(pattern, text)


def _unconvertible(value: Any, wanted: str) -> EvaluationError:
    return EvaluationError(f"type conversion error from '{type_name(value)}' to '{wanted}'")


def _to_int(frame: Frame, value: Any) -> int:
    frame.pay(1)
    if isinstance(value, Timestamp):
        return value.ns // times.SECOND
    if isinstance(value, Duration):
        return value.ns
    return _whole(value, "int", INT_MIN, INT_MAX, "integer overflow")


def _to_uint(frame: Frame, value: Any) -> Uint:
    frame.pay(1)
    return Uint(_whole(value, "uint", 0, UINT_MAX, "unsigned integer overflow"))


def _whole(value: Any, wanted: str, lowest: int, highest: int, trouble: str) -> int:
    if isinstance(value, str):
        if len(value) > INT_TEXT_MAX or not _INTEGER.fullmatch(value):
            raise _unconvertible(value, wanted)
        number = int(value)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise EvaluationError(trouble)
        number = int(value)
    elif is_number(value):
        number = int(value)
    else:
        raise NoSuchOverload
    if not lowest <= number <= highest:
        raise EvaluationError(trouble)
    return number


def _to_double(frame: Frame, value: Any) -> float:
    frame.pay(1)
    if isinstance(value, str):
        if not _DOUBLE.fullmatch(value):
            raise _unconvertible(value, "double")
        return float(value)
    if is_number(value):
        return float(value)
    raise NoSuchOverload


def _to_string(frame: Frame, value: Any) -> str:
    frame.pay_for(max(1, cost_size(value)))
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case float():
            return format_double(value)
        case int():
            return str(int(value))
        case Timestamp():
            return times.format_timestamp(value)
        case Duration():
            return times.format_duration(value)
        case bytes():
            try:
                return value.decode()
            except UnicodeDecodeError:
                raise EvaluationError("invalid UTF-8 in bytes, cannot convert to string") from None
        case Opaque() if value.TYPE in ("net.IP", "net.CIDR"):
            return str(value)
    raise NoSuchOverload


def format_double(value: float) -> str:
    """As Go's shortest format writes it."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if value.is_integer() and abs(value) < 1e21:
        return str(int(value)) if value or math.copysign(1, value) > 0 else "-0"
    return repr(value)


def _to_bytes(frame: Frame, value: Any) -> bytes:
    frame.pay_for(max(1, cost_size(value)))
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if isinstance(value, bytes):
        return value
    raise NoSuchOverload


_BOOLS = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}


def _to_bool(frame: Frame, value: Any) -> bool:
    frame.pay(1)
    if type(value) is bool:
        return value
    if not isinstance(value, str):
        raise NoSuchOverload
    if value not in _BOOLS:
        raise _unconvertible(value, "bool")
    return _BOOLS[value]


def _to_timestamp(frame: Frame, value: Any) -> Timestamp:
    frame.pay(1)
    if isinstance(value, Timestamp):
        return value
    if type(value) is int:
        return times.checked(value * times.SECOND)
    if not isinstance(value, str):
        raise NoSuchOverload
    try:
        return times.parse_timestamp(value)
    except ValueError:
        raise _unconvertible(value, "google.protobuf.Timestamp") from None


def _to_duration(frame: Frame, value: Any) -> Duration:
    frame.pay(1)
    if isinstance(value, Duration):
        return value
    if type(value) is int:
        return Duration(value)
    if not isinstance(value, str):
        raise NoSuchOverload
    try:
        return times.parse_duration(value)
    except ValueError:
        raise _unconvertible(value, "google.protobuf.Duration") from None


def _dyn(frame: Frame, value: Any) -> Any:
    frame.pay(1)
    return value


def _type(frame: Frame, value: Any) -> CelType:
    frame.pay(1)
    return CelType(type_name(value))


def _optional_of(frame: Frame, value: Any) -> Optional:
    frame.pay(1)
    return Optional(True, value)


def _optional_none(frame: Frame) -> Optional:
    frame.pay(1)
    return NONE


def _optional_nonzero(frame: Frame, value: Any) -> Optional:
    frame.pay(1)
    zero = value is None or (isinstance(value, (bool, int, float, str, bytes, list, Mapping)) and not value)
    zero = zero or (isinstance(value, (Timestamp, Duration)) and value.ns == 0)
    return NONE if zero else Optional(True, value)


def _has_value(frame: Frame, value: Optional) -> bool:
    frame.pay(1)
    return value.present


def _value(frame: Frame, value: Optional) -> Any:
    frame.pay(1)
    if not value.present:
        raise EvaluationError("optional.none() dereference")
    return value.value


def _or(frame: Frame, value: Optional, other: Optional) -> Optional:
    frame.pay(1)
    return value if value.present else other


def _or_value(frame: Frame, value: Optional, other: Any) -> Any:
    frame.pay(1)
    return value.value if value.present else other


def _unwrap(frame: Frame, values: list[Any]) -> list[Any]:
    frame.pay(1 + int(len(values) * STRING_FACTOR))
    if not all(isinstance(item, Optional) for item in values):
        raise NoSuchOverload
    return [item.value for item in values if item.present]


def _first(frame: Frame, values: list[Any]) -> Optional:
    frame.pay(1)
    return Optional(True, values[0]) if values else NONE


def _last(frame: Frame, values: list[Any]) -> Optional:
    frame.pay(1)
    return Optional(True, values[-1]) if values else NONE


OPERATORS: dict[str, Implementation] = {
    "_+_": add,
    "_-_": _subtract,
    "_*_": _arithmetic(lambda left, right: left * right, _double_product),
    "_/_": _arithmetic(_int_quotient, _double_quotient),
    "_%_": _arithmetic(_int_rest, _no_doubles),
    "-_": _negate,
    "!_": _not,
    "_==_": _equal,
    "_!=_": _unequal,
    "_<_": _relation(lambda order: order < 0),
    "_<=_": _relation(lambda order: order <= 0),
    "_>_": _relation(lambda order: order > 0),
    "_>=_": _relation(lambda order: order >= 0),
    "@in": _in,
    "_in_": _in,
    "in": _in,
    "size": _size,
    "int": _to_int,
    "uint": _to_uint,
    "double": _to_double,
    "string": _to_string,
    "bytes": _to_bytes,
    "bool": _to_bool,
    "timestamp": _to_timestamp,
    "duration": _to_duration,
    "dyn": _dyn,
    "type": _type,
    "optional.of": _optional_of,
    "optional.none": _optional_none,
    "optional.ofNonZeroValue": _optional_nonzero,
    "optional.unwrap": _unwrap,
}
"""Functions that tell their operands apart themselves."""

_MEMBERS: list[Overload] = [
    member("contains", "string; string", "bool", _contains),
    member("startsWith", "string; string", "bool", _starts),
    member("endsWith", "string; string", "bool", _ends),
    function("matches", "string; string", "bool", _matches),
    member("hasValue", "optional_type<~V>", "bool", _has_value),
    member("value", "optional_type<~V>", "~V", _value),
    member("or", "optional_type<~V>; optional_type<~V>", "optional_type<~V>", _or),
    member("orValue", "optional_type<~V>; ~V", "~V", _or_value),
    member("unwrapOpt", "list<optional_type<~V>>", "list<~V>", _unwrap),
    member("first", "list<~V>", "optional_type<~V>", _first),
    member("last", "list<~V>", "optional_type<~V>", _last),
    *times.STANDARD,
]

_ORDERED = ("bool", "bytes", "double", "duration", "int", "string", "timestamp", "uint")
_CROSSED = tuple(
    (left, right) for left in ("int", "uint", "double") for right in ("int", "uint", "double") if left != right
)
_SHOWN = (*_ORDERED, "net.IP", "net.CIDR")

REDECLARED: list[Overload] = [
    *(
        function(operator, f"{left}; {right}", "bool", OPERATORS[operator])
        for operator in ("_<_", "_<=_", "_>_", "_>=_")
        for left, right in (*((kind, kind) for kind in _ORDERED), *_CROSSED)
    ),
    *(function("string", kind, "string", _to_string) for kind in _SHOWN),
]
"""Functions of CEL's own that Kubernetes has more overloads of: numbers compare across types, addresses have a text."""

BUILTIN: dict[str, Implementation] = {**OPERATORS, **dispatch(_MEMBERS)}
"""What the compiler declares itself, by name."""
