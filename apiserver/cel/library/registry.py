"""How a library says what it offers: overloads, each with its declaration for the checker and its function for evaluation.

A function is given the frame, which it pays before it works, and values of exactly the declared types; which overload is
meant is found out here, for an expression may be untyped (`dyn`) until it is evaluated.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from ..errors import NoSuchOverload
from ..frame import Frame
from ..values import CelType, Duration, Opaque, Optional, Timestamp, Uint

Implementation: TypeAlias = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Overload:
    """One overload. Types are written as the compiler reads them: `list<int>`, `map<~K, ~V>`, `kubernetes.URL`."""

    function: str
    params: tuple[str, ...]
    """With the receiver first, for a member function."""
    result: str
    implementation: Implementation
    member: bool = False

    @property
    def id(self) -> str:
        """A name of its own, as the compiler wants one."""
        return f"{'.' if self.member else ''}{self.function}({','.join(self.params)})"


def member(function: str, params: str, result: str, implementation: Implementation) -> Overload:
    """A member function: `params` are separated by semicolons, the receiver is the first."""
    return Overload(function, _types(params), result, implementation, member=True)


def function(name: str, params: str, result: str, implementation: Implementation) -> Overload:
    """A function that is called by its name alone, a dotted one included."""
    return Overload(name, _types(params), result, implementation)


def _types(params: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in params.split(";") if part.strip())


_CLASSES: Mapping[str, tuple[type, ...]] = {
    "bool": (bool,),
    "int": (int,),
    "uint": (Uint,),
    "double": (float,),
    "string": (str,),
    "bytes": (bytes,),
    "timestamp": (Timestamp,),
    "duration": (Duration,),
    "type": (CelType,),
    "null": (type(None),),
    "optional_type": (Optional,),
}


def _accepts(declared: str) -> Callable[[Any], bool]:
    """Whether a value is of the declared type, as far as its class shows."""
    base = declared.partition("<")[0]
    if base in _CLASSES:
        wanted = _CLASSES[base]
        return lambda value: type(value) in wanted
    if base == "list":
        return lambda value: isinstance(value, list)
    if base == "map":
        return lambda value: isinstance(value, Mapping)
    if base == "dyn" or base.startswith("~"):
        return lambda _value: True
    return lambda value: isinstance(value, Opaque) and base == value.TYPE


def dispatch(overloads: Iterable[Overload]) -> dict[str, Implementation]:
    """One function per name, that picks the overload by the values it is given."""
    by_name: dict[str, list[Overload]] = defaultdict(list)
    for overload in overloads:
        by_name[overload.function].append(overload)
    return {name: _dispatcher(group) for name, group in by_name.items()}


def _dispatcher(overloads: list[Overload]) -> Implementation:
    known: dict[tuple[str, ...], tuple[tuple[Callable[[Any], bool], ...], Implementation]] = {}
    for overload in overloads:
        # Overloads that differ in the elements of a list only share one implementation.
        shape = tuple(param.partition("<")[0] for param in overload.params)
        known.setdefault(shape, (tuple(map(_accepts, overload.params)), overload.implementation))
    tests = list(known.values())

    def call(frame: Frame, *values: Any) -> Any:
        for accepts, implementation in tests:
            if len(accepts) == len(values) and all(test(value) for test, value in zip(accepts, values, strict=True)):
                return implementation(frame, *values)
        raise NoSuchOverload

    return call
