"""Quantities are read, compared and written as Kubernetes does."""

from __future__ import annotations

from decimal import Decimal

import pytest

from stark.crds.quantity import (
    QUANTITY_LENGTH_MAX,
    QuantityError,
    byte_count,
    canonical,
    compare,
    format_bytes,
    format_milli_cpu,
    format_quantity,
    is_quantity,
    milli_cpu,
    parse_quantity,
    total,
    whole,
)


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("0", "0"),
        ("1", "1"),
        ("-1", "-1"),
        ("+1", "1"),
        (".5", "0.5"),
        ("5.", "5"),
        ("1n", "1e-9"),
        ("1u", "1e-6"),
        ("1m", "0.001"),
        ("1k", "1000"),
        ("1M", "1e6"),
        ("1G", "1e9"),
        ("1T", "1e12"),
        ("1P", "1e15"),
        ("1E", "1e18"),
        ("1Ki", "1024"),
        ("1Mi", "1048576"),
        ("1Gi", "1073741824"),
        ("1Ti", "1099511627776"),
        ("1Pi", "1125899906842624"),
        ("1Ei", "1152921504606846976"),
        ("1.5Gi", "1610612736"),
        ("1e3", "1000"),
        ("1E3", "1000"),
        ("1e-3", "0.001"),
        ("12e6", "12e6"),
        ("0.1n", "1e-9"),
        ("1.0000000001", "1.000000001"),
        ("100E", "9223372036854775807"),
    ],
)
def test_a_quantity_is_read_exactly(text: str, amount: str) -> None:
    assert parse_quantity(text) == Decimal(amount)
    assert is_quantity(text)


@pytest.mark.parametrize(
    "text", ["", " 1", "1 ", "1i", "1KI", "1ki", "m", "1mm", "1e", "1e1.5", "0x1", "1_0", "\u0661", "--1", "."]
)
def test_what_is_no_quantity_is_refused(text: str) -> None:
    assert not is_quantity(text)
    with pytest.raises(
        QuantityError, match=r"quantities must match the regular expression '\^\(\[\+-\]\?\[0-9\.\]\+\)"
    ):
        parse_quantity(text)


@pytest.mark.parametrize("text", ["1e1000000000", "1e-65", "1" * (QUANTITY_LENGTH_MAX + 1)])
def test_an_amount_that_would_take_long_to_compute_is_refused(text: str) -> None:
    with pytest.raises(QuantityError):
        parse_quantity(text)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("1000m", "1"),
        ("1500m", "1500m"),
        ("0.5", "500m"),
        ("0.5Gi", "512Mi"),
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("1Ki", "1Ki"),
        ("0.5Ki", "512"),
        ("1.1Ki", "1127"),
        ("1000k", "1M"),
        ("1025", "1025"),
        ("100e3", "100e3"),
        ("1000e3", "1e6"),
        ("1e0", "1"),
        ("0.0", "0"),
        ("0Gi", "0"),
        ("-1500m", "-1500m"),
        ("1e-3", "1e-3"),
        ("0.1Gi", "107374183"),
        ("128974848", "128974848"),
        ("129e6", "129e6"),
        ("129M", "129M"),
    ],
)
def test_the_canonical_form_has_the_largest_suffix_without_a_fraction(text: str, written: str) -> None:
    assert canonical(text) == written
    assert canonical(written) == written


@pytest.mark.parametrize(
    ("left", "right", "sign"),
    [("1", "1000m", 0), ("1Gi", "1G", 1), ("999m", "1", -1), ("1e3", "1k", 0), ("0", "-1", 1)],
)
def test_quantities_compare_by_amount(left: str, right: str, sign: int) -> None:
    assert compare(left, right) == sign
    assert compare(right, left) == -sign


def test_a_sum_is_exact_and_keeps_the_family_of_its_first_amount() -> None:
    assert total(["100m", "0.2", "700m"]) == "1"
    assert total(["512Mi", "0.5Gi"]) == "1Gi"
    assert total(["0", "1Gi", "1Gi"]) == "2Gi"
    assert total([]) == "0"


@pytest.mark.parametrize(("text", "milli"), [("1", 1000), ("1.5", 1500), ("500m", 500), ("1u", 1), ("0", 0), (2, 2000)])
def test_cpu_is_counted_in_thousandths_of_a_core_rounded_up(text: str | int, milli: int) -> None:
    assert milli_cpu(text) == milli


def test_bytes_are_counted_whole() -> None:
    assert byte_count("1Ki") == 1024
    assert byte_count("0.1") == 1
    assert whole("-0.1") == -1


def test_amounts_are_written_with_their_unit() -> None:
    assert format_milli_cpu(1500) == "1500m"
    assert format_milli_cpu(2000) == "2"
    assert format_bytes(2**30) == "1Gi"
    assert format_bytes(1000) == "1k"
    assert format_quantity(Decimal("1e-10")) == "1n"
