"""What a body in YAML may be: small to read, JSON's types as Kubernetes' reader sees them, and refused kindly."""

from __future__ import annotations

from typing import Any

import pytest

from stark.apiserver.errors import BadRequest
from stark.apiserver.registry.bodies import NODES_MAX, YAML, decode


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("22:22", "22:22"),
        ("1:30:00", "1:30:00"),
        ("1:30.5", "1:30.5"),
        ("2001-01-01", "2001-01-01"),
        ("-12", -12),
        ("0", 0),
        ("0777", 511),
        ("0xff", 255),
        ("1_000", 1000),
        ("1.5", 1.5),
        ("-.5", -0.5),
        ("1e3", 1000.0),
        ("1.2.3", "1.2.3"),
        ("+", "+"),
        ("true", True),
    ],
)
def test_a_plain_value_is_what_kubernetes_takes_it_for(text: str, value: Any) -> None:
    found = decode(f"a: {text}".encode(), YAML)["a"]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("9" * 5_000, id="a number of 5000 digits"),
        pytest.param("!!int 1" + ":1" * 40_000, id="a time that becomes a number of 80000 digits"),
        "!!int ''",
        "!!int x",
        "!!float x",
        "!!bool x",
        "!!timestamp x",
        "0b_",
        pytest.param("[" + "a," * NODES_MAX + "]", id="more values than are read"),
    ],
)
def test_what_cannot_be_read_or_takes_too_long_is_the_clients_mistake(text: str) -> None:
    with pytest.raises(BadRequest, match="error converting YAML to JSON"):
        decode(f"a: {text}".encode(), YAML)


def test_json_is_read_as_json_where_yaml_is_announced() -> None:
    many = b'{"a": [' + b"1," * NODES_MAX + b"1]}"
    assert len(decode(many, YAML)["a"]) == NODES_MAX + 1
