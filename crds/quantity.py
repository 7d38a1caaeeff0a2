"""Kubernetes quantities: exact amounts such as `500m`, `1.5Gi`, `2e3`.

A quantity is kept as the text its author wrote and becomes a Decimal only to be compared or added; so nothing is
rounded behind anyone's back. The canonical form is Kubernetes': the largest suffix with which no fraction is left.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import ROUND_UP, Context, Decimal
from typing import Literal

Form = Literal["decimal", "binary", "exponent"]
"""Which family of suffixes a quantity is written with: `k M G`, `Ki Mi Gi`, or `e3 e6 e9`."""

QUANTITY_LENGTH_MAX = 128
"""Characters; far more than any amount needs, and a bound on the arithmetic."""
EXPONENT_MAX = 64
"""Powers of ten beyond this are refused: they only exist to make somebody allocate a very long number."""
AMOUNT_MAX = Decimal(2**63 - 1)
"""Larger amounts are cut to this, as Kubernetes does."""
NANO = Decimal("1e-9")
"""The finest amount there is; finer ones are rounded up to it."""

_CONTEXT = Context(prec=200, rounding=ROUND_UP)
_SYNTAX = re.compile(
    r"(?P<number>[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))(?:(?P<suffix>[KMGTPE]i|[numkMGTPE])|[eE](?P<exponent>[+-]?[0-9]+))?",
    re.ASCII,
)
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_DECIMAL_SUFFIX = {exponent: suffix for suffix, exponent in _DECIMAL.items()}
_BINARY_SUFFIX = {exponent: suffix for suffix, exponent in _BINARY.items()}


class QuantityError(ValueError):
    """The text is not a quantity."""


def parse_quantity(text: str | int | float) -> Decimal:
    """The exact amount. A number is read as its text. Raises QuantityError in Kubernetes' words."""
    return _read(text)[0]


def _read(text: str | int | float) -> tuple[Decimal, Form]:
    shown = str(text)
    match = _SYNTAX.fullmatch(shown) if len(shown) <= QUANTITY_LENGTH_MAX else None
    if match is None or isinstance(text, bool):
        raise QuantityError(
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
        )
    number, suffix, exponent = Decimal(match["number"]), match["suffix"] or "", match["exponent"]
    form: Form = "decimal"
    if suffix in _BINARY:
        form, amount = "binary", _CONTEXT.multiply(number, Decimal(2 ** _BINARY[suffix]))
    elif exponent is not None:
        if abs(int(exponent)) > EXPONENT_MAX:
            raise QuantityError("unable to parse quantity's suffix")
        form, amount = "exponent", _CONTEXT.scaleb(number, int(exponent))
    else:
        amount = _CONTEXT.scaleb(number, _DECIMAL[suffix])
    amount = max(-AMOUNT_MAX, min(AMOUNT_MAX, amount))
    return _CONTEXT.quantize(amount, NANO), form


def is_quantity(text: str) -> bool:
    """Whether the text is a quantity."""
    try:
        parse_quantity(text)
    except QuantityError:
        return False
    return True


def format_quantity(amount: Decimal | int, form: Form = "decimal") -> str:
    """The canonical text of an amount: the largest suffix of the family with which no fraction is left.

    Binary amounts below 1024 are written as decimal ones, larger ones are rounded up to a whole number.
    """
    value = Decimal(amount)
    if value == 0:
        return "0"
    if form == "binary" and abs(value) >= 1024:
        return _format_binary(int(value.to_integral_value(rounding=ROUND_UP)))
    mantissa, exponent = _normal(value)
    scale = exponent - exponent % 3
    scale = max(-9, min(18, scale))
    digits = int(_CONTEXT.to_integral_value(_CONTEXT.scaleb(Decimal(mantissa), exponent - scale)))
    if form == "exponent":
        return f"{digits}e{scale}" if scale else str(digits)
    return f"{digits}{_DECIMAL_SUFFIX[scale]}"


def _normal(value: Decimal) -> tuple[int, int]:
    """Whole number and power of ten, with no trailing zero in the number."""
    sign, digits, exponent = _CONTEXT.quantize(value, NANO).normalize(_CONTEXT).as_tuple()
    assert isinstance(exponent, int), value
    number = int("".join(map(str, digits)))
    return (-number if sign else number), exponent


def _format_binary(value: int) -> str:
    exponent = 0
    while value % 1024 == 0 and exponent < 60:
        value //= 1024
        exponent += 10
    return f"{value}{_BINARY_SUFFIX.get(exponent, '')}"


def canonical(text: str | int | float) -> str:
    """The text as Kubernetes stores it: `1000m` is `1`, `0.5Gi` is `512Mi`, `1024Mi` is `1Gi`. Raises QuantityError."""
    amount, form = _read(text)
    return format_quantity(amount, form)


def compare(left: str, right: str) -> int:
    """-1, 0 or 1 as `left` is less than, equal to or greater than `right`. Raises QuantityError."""
    a, b = parse_quantity(left), parse_quantity(right)
    return (a > b) - (a < b)


def total(quantities: Iterable[str]) -> str:
    """The sum, in the family of the first that is not zero; `0` of none. Raises QuantityError."""
    amount, form = Decimal(0), None
    for text in quantities:
        one, its_form = _read(text)
        amount = _CONTEXT.add(amount, one)
        form = form or (its_form if one else None)
    return format_quantity(amount, form or "decimal")


def whole(text: str | int | float) -> int:
    """The amount as a whole number, rounded away from zero. Raises QuantityError."""
    return int(parse_quantity(text).to_integral_value(rounding=ROUND_UP))


def milli_cpu(text: str | int | float) -> int:
    """Thousandths of a core, rounded up: `1.5` is 1500, `500m` is 500. Raises QuantityError."""
    return int((parse_quantity(text) * 1000).to_integral_value(rounding=ROUND_UP))


def byte_count(text: str | int | float) -> int:
    """Bytes, rounded up: `1Ki` is 1024. Raises QuantityError."""
    return whole(text)


def format_milli_cpu(milli: int) -> str:
    """Thousandths of a core as a quantity: 1500 is `1500m`, 2000 is `2`."""
    return format_quantity(Decimal(milli) / 1000)


def format_bytes(count: int) -> str:
    """Bytes as a quantity: 1073741824 is `1Gi`."""
    return format_quantity(count, "binary")
