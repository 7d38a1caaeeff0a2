"""Laws of quantities: the canonical form is the same amount, and comparing is comparing amounts."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stark.crds.quantity import canonical, compare, format_quantity, milli_cpu, parse_quantity, total

LAW = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""No deadline: the machines that run this are busy, and slowness is not what these laws are about."""

SUFFIXES = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    "": Fraction(1),
    "k": Fraction(10**3),
    "M": Fraction(10**6),
    "G": Fraction(10**9),
    "Ki": Fraction(2**10),
    "Mi": Fraction(2**20),
    "Gi": Fraction(2**30),
    "e2": Fraction(100),
    "E-3": Fraction(1, 1000),
}
WHOLE = st.tuples(st.integers(-(10**6), 10**6), st.sampled_from(sorted(SUFFIXES)))


@LAW
@given(WHOLE)
def test_a_quantity_is_the_number_times_its_suffix(parts: tuple[int, str]) -> None:
    number, suffix = parts
    assert Fraction(parse_quantity(f"{number}{suffix}")) == number * SUFFIXES[suffix]


@LAW
@given(WHOLE)
def test_the_canonical_form_is_the_same_amount_and_its_own_canonical_form(parts: tuple[int, str]) -> None:
    text = f"{parts[0]}{parts[1]}"
    written = canonical(text)
    assert compare(text, written) == 0
    assert canonical(written) == written


@LAW
@given(st.decimals("-1e9", "1e9", places=9))
def test_an_amount_survives_being_written(amount: Decimal) -> None:
    assert parse_quantity(format_quantity(amount)) == amount
    assert parse_quantity(format_quantity(amount, "exponent")) == amount


@LAW
@given(st.integers(-(2**62), 2**62))
def test_whole_bytes_survive_being_written(count: int) -> None:
    assert int(parse_quantity(format_quantity(count, "binary"))) == count


@LAW
@given(st.lists(WHOLE, max_size=5))
def test_a_sum_does_not_depend_on_the_spelling(parts: list[tuple[int, str]]) -> None:
    exact = sum((number * SUFFIXES[suffix] for number, suffix in parts), Fraction(0))
    result = Fraction(parse_quantity(total(f"{number}{suffix}" for number, suffix in parts)))
    # A sum in binary units is whole, as Kubernetes writes it.
    assert result == exact or 0 < abs(result) - abs(exact) < 1


@LAW
@given(st.integers(0, 10**9))
def test_thousandths_of_a_core_survive(milli: int) -> None:
    assert milli_cpu(f"{milli}m") == milli
    assert milli_cpu(canonical(f"{milli}m")) == milli
