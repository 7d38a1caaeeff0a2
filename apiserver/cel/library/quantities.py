"""Kubernetes' quantities and semantic versions in CEL."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from semver import Version

from stark.crds.quantity import QuantityError, parse_quantity

from ..errors import EvaluationError
from ..frame import Frame
from ..values import INT_MAX, INT_MIN, Opaque
from .registry import Overload, function, member

SEMVER_LENGTH_MAX = 256
"""Characters of a version."""


class Quantity(Opaque):
    """An exact amount."""

    __slots__ = ("amount",)
    TYPE = "kubernetes.Quantity"

    def __init__(self, amount: Decimal) -> None:
        self.amount = amount

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Quantity) and self.amount == other.amount

    def __hash__(self) -> int:
        return hash(self.amount)


class Semver(Opaque):
    """A semantic version; the build is no part of its order."""

    __slots__ = ("version",)
    TYPE = "kubernetes.Semver"

    def __init__(self, version: Version) -> None:
        self.version = version

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Semver) and self.version == other.version

    def __hash__(self) -> int:
        return hash(self.version)


def _quantity(frame: Frame, text: str) -> Quantity:
    frame.pay_for(max(1, len(text)))
    try:
        return Quantity(parse_quantity(text))
    except QuantityError as error:
        raise EvaluationError(str(error)) from None


def _is_quantity(frame: Frame, text: str) -> bool:
    try:
        _quantity(frame, text)
    except EvaluationError:
        return False
    return True


def _whole(value: Decimal) -> bool:
    return value == value.to_integral_value() and INT_MIN <= value <= INT_MAX


def _sign(frame: Frame, value: Quantity) -> int:
    frame.pay(1)
    return (value.amount > 0) - (value.amount < 0)


def _is_integer(frame: Frame, value: Quantity) -> bool:
    frame.pay(1)
    return _whole(value.amount)


def _as_integer(frame: Frame, value: Quantity) -> int:
    frame.pay(1)
    if not _whole(value.amount):
        raise EvaluationError("cannot convert value to integer")
    return int(value.amount)


def _as_float(frame: Frame, value: Quantity) -> float:
    frame.pay(1)
    return float(value.amount)


def _amount(other: Quantity | int) -> Decimal:
    return other.amount if isinstance(other, Quantity) else Decimal(other)


def _add(frame: Frame, value: Quantity, other: Quantity | int) -> Quantity:
    frame.pay(1)
    return Quantity(value.amount + _amount(other))


def _subtract(frame: Frame, value: Quantity, other: Quantity | int) -> Quantity:
    frame.pay(1)
    return Quantity(value.amount - _amount(other))


def _order(left: Any, right: Any) -> int:
    if isinstance(left, Semver):
        return int(left.version.compare(right.version))
    return int(left.amount > right.amount) - int(left.amount < right.amount)


def _less(frame: Frame, left: Any, right: Any) -> bool:
    frame.pay(1)
    return _order(left, right) < 0


def _greater(frame: Frame, left: Any, right: Any) -> bool:
    frame.pay(1)
    return _order(left, right) > 0


def _compare(frame: Frame, left: Any, right: Any) -> int:
    frame.pay(1)
    return _order(left, right)


def parse_version(text: str, normalize: bool = False) -> Version:
    """Strict, or forgiving about a leading `v`, missing parts and leading zeros. Raises ValueError."""
    if len(text) > SEMVER_LENGTH_MAX:
        raise ValueError("version is too long")
    return Version.parse(_normal(text) if normalize else text)


def _normal(text: str) -> str:
    body = text[1:] if text[:1] in ("v", "V") else text
    core, rest = re.fullmatch(r"([^-+]*)(.*)", body, re.S).groups()  # type: ignore[union-attr]
    parts = [part.lstrip("0") or "0" if part else part for part in core.split(".")]
    return ".".join(parts + ["0"] * (3 - len(parts))) + rest


def _semver(frame: Frame, text: str, normalize: bool = False) -> Semver:
    frame.pay_for(max(1, len(text)))
    try:
        return Semver(parse_version(text, normalize))
    except ValueError as error:
        raise EvaluationError(str(error)) from None


def _is_semver(frame: Frame, text: str, normalize: bool = False) -> bool:
    try:
        _semver(frame, text, normalize)
    except EvaluationError:
        return False
    return True


def _part(name: str) -> Any:
    def read(frame: Frame, value: Semver) -> int:
        frame.pay(1)
        return int(getattr(value.version, name))

    return read


_Q, _S = Quantity.TYPE, Semver.TYPE
OVERLOADS: list[Overload] = [
    function("quantity", "string", _Q, _quantity),
    function("isQuantity", "string", "bool", _is_quantity),
    member("sign", _Q, "int", _sign),
    member("isInteger", _Q, "bool", _is_integer),
    member("asInteger", _Q, "int", _as_integer),
    member("asApproximateFloat", _Q, "double", _as_float),
    *(member("add", f"{_Q}; {other}", _Q, _add) for other in (_Q, "int")),
    *(member("sub", f"{_Q}; {other}", _Q, _subtract) for other in (_Q, "int")),
    *(member("isLessThan", f"{kind}; {kind}", "bool", _less) for kind in (_Q, _S)),
    *(member("isGreaterThan", f"{kind}; {kind}", "bool", _greater) for kind in (_Q, _S)),
    *(member("compareTo", f"{kind}; {kind}", "int", _compare) for kind in (_Q, _S)),
    *(function("semver", f"string{more}", _S, _semver) for more in ("", "; bool")),
    *(function("isSemver", f"string{more}", "bool", _is_semver) for more in ("", "; bool")),
    *(member(part, _S, "int", _part(part)) for part in ("major", "minor", "patch")),
]
