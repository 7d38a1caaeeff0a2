"""What a body in YAML may be: small to read, JSON's types as Kubernetes' reader sees them, and refused kindly."""

from __future__ import annotations

from typing import Any

import pytest

from stark.apiserver.errors import BadRequest
from stark.apiserver.registry.bodies import NODES_MAX, YAML, decode
from stark.apiserver.registry.options import Writing
from stark.apiserver.registry.schemas import COMPLAINTS_MAX, complain
from stark.apiserver.request import User
from stark.apiserver.resources import Resource

PODS = Resource("", "v1", "Pod", "pods", "pod", True, {})


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


@pytest.mark.parametrize(("validation", "told"), [("Warn", 2 * COMPLAINTS_MAX), ("Ignore", 0)])
def test_a_body_of_nothing_but_mistakes_is_told_of_the_first_of_them(validation: str, told: int) -> None:
    """Comparing each with all others would hold up everybody for hours."""
    writing = Writing(User("alice", ()), validation=validation)
    for what in ("duplicate", "unknown"):
        complain(PODS, [f'{what} field "{at}"' for at in range(100_000)], writing)
    assert len(writing.warnings) == told


def test_a_strict_refusal_counts_the_mistakes_that_it_does_not_tell() -> None:
    complaints = [f'unknown field "{at}"' for at in range(COMPLAINTS_MAX + 9)]
    with pytest.raises(BadRequest, match=r"unknown field \"0\".*, and 9 more$") as refused:
        complain(PODS, complaints, Writing(User("alice", ()), validation="Strict"))
    assert len(str(refused.value)) < 50 * COMPLAINTS_MAX
