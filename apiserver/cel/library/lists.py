"""Kubernetes' list library and cel-go's sets: order, extremes, sums, positions; containment of lists as sets."""

from __future__ import annotations

from typing import Any

from ..errors import EvaluationError, NoSuchOverload
from ..frame import Frame
from ..values import Duration, Uint, as_int, as_uint, compare
from .registry import Overload, function, member
from .times import span

_ORDERED = ("int", "uint", "double", "bool", "duration", "timestamp", "string", "bytes")
_SUMMABLE = ("int", "uint", "double", "duration")


def _is_sorted(frame: Frame, values: list[Any]) -> bool:
    frame.pay(len(values))
    return all(compare(values[at], values[at + 1]) <= 0 for at in range(len(values) - 1))


def _extreme(word: str, sign: int) -> Any:
    def find(frame: Frame, values: list[Any]) -> Any:
        frame.pay(len(values))
        if not values:
            raise EvaluationError(f"{word} called on empty list")
        best = values[0]
        for item in values:
            if compare(item, best) * sign < 0:
                best = item
        return best

    return find


def _sum_of(zero: Any) -> Any:
    def add(frame: Frame, values: list[Any]) -> Any:
        frame.pay(len(values))
        if not values:
            return zero
        kind = type(values[0])
        if any(type(item) is not kind for item in values):
            raise NoSuchOverload
        if kind is Duration:
            return span(sum(item.ns for item in values))
        if kind is int:
            return as_int(sum(values))
        if kind is Uint:
            return as_uint(sum(map(int, values)))
        if kind is float:
            return sum(values, 0.0)
        raise NoSuchOverload

    return add


_ZEROS: dict[str, Any] = {"int": 0, "uint": Uint(0), "double": 0.0, "duration": Duration(0)}


def _index_of(frame: Frame, values: list[Any], wanted: Any) -> int:
    frame.pay(len(values))
    return next((at for at, item in enumerate(values) if frame.equal(item, wanted)), -1)


def _last_index_of(frame: Frame, values: list[Any], wanted: Any) -> int:
    frame.pay(len(values))
    return next((at for at in range(len(values) - 1, -1, -1) if frame.equal(values[at], wanted)), -1)


def _contains(frame: Frame, values: list[Any], others: list[Any]) -> bool:
    frame.pay(1 + len(values) * len(others))
    return all(any(frame.equal(item, other) for item in values) for other in others)


def _equivalent(frame: Frame, values: list[Any], others: list[Any]) -> bool:
    return _contains(frame, values, others) and _contains(frame, others, values)


def _intersects(frame: Frame, values: list[Any], others: list[Any]) -> bool:
    frame.pay(1 + len(values) * len(others))
    return any(any(frame.equal(item, other) for item in values) for other in others)


OVERLOADS: list[Overload] = [
    *(member("isSorted", f"list<{kind}>", "bool", _is_sorted) for kind in _ORDERED),
    *(member("min", f"list<{kind}>", kind, _extreme("min", 1)) for kind in _ORDERED),
    *(member("max", f"list<{kind}>", kind, _extreme("max", -1)) for kind in _ORDERED),
    *(member("sum", f"list<{kind}>", kind, _sum_of(_ZEROS[kind])) for kind in _SUMMABLE),
    member("indexOf", "list<~A>; ~A", "int", _index_of),
    member("lastIndexOf", "list<~A>; ~A", "int", _last_index_of),
    function("sets.contains", "list<~A>; list<~A>", "bool", _contains),
    function("sets.equivalent", "list<~A>; list<~A>", "bool", _equivalent),
    function("sets.intersects", "list<~A>; list<~A>", "bool", _intersects),
]
