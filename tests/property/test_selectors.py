"""Selectors agree with a naive reading of the same requirements, and with themselves when written and read again."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stark.crds.selectors import (
    FieldRequirement,
    FieldSelector,
    SelectorError,
    from_label_selector,
    parse_field_selector,
    parse_label_selector,
)

LAW = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""No deadline: the machines that run this are busy, and slowness is not what these laws are about."""

KEYS = st.sampled_from(["a", "b", "x.io/c"])
VALUES = st.sampled_from(["", "1", "2", "x-y"])
LABELS = st.dictionaries(KEYS, VALUES, max_size=3)
EXPRESSIONS = st.one_of(
    st.fixed_dictionaries(
        {"key": KEYS, "operator": st.sampled_from(["In", "NotIn"]), "values": st.lists(VALUES, min_size=1, max_size=3)}
    ),
    st.fixed_dictionaries({"key": KEYS, "operator": st.sampled_from(["Exists", "DoesNotExist"])}),
)


def naive(expression: dict[str, Any], labels: dict[str, str]) -> bool:
    """The requirement as Kubernetes' documentation words it."""
    has, value = expression["key"] in labels, labels.get(expression["key"])
    return {
        "In": has and value in expression.get("values", ()),
        "NotIn": not has or value not in expression.get("values", ()),
        "Exists": has,
        "DoesNotExist": not has,
    }[expression["operator"]]


def query(expression: dict[str, Any]) -> str:
    """The requirement as a query string has it."""
    key, values = expression["key"], ",".join(expression.get("values", ()))
    words: dict[str, str] = {
        "In": f"{key} in ({values})",
        "NotIn": f"{key} notin ({values})",
        "Exists": key,
        "DoesNotExist": f"!{key}",
    }
    return words[expression["operator"]]


@LAW
@given(st.lists(EXPRESSIONS, max_size=4), LABELS, LABELS)
def test_a_label_selector_selects_what_its_words_say(
    expressions: list[dict[str, Any]], pairs: dict[str, str], labels: dict[str, str]
) -> None:
    wanted = all(naive(item, labels) for item in expressions) and all(labels.get(k) == v for k, v in pairs.items())
    selector = from_label_selector({"matchLabels": pairs, "matchExpressions": expressions})
    assert selector.matches(labels) is wanted
    text = ",".join([*(f"{key}={value}" for key, value in pairs.items()), *map(query, expressions)])
    assert parse_label_selector(text).matches(labels) is wanted
    assert parse_label_selector(str(selector)).matches(labels) is wanted


@LAW
@given(st.text("ab=!,()<> in-/", max_size=20))
def test_any_text_is_a_selector_or_refused(text: str) -> None:
    try:
        selector = parse_label_selector(text)
    except SelectorError:
        return
    assert parse_label_selector(str(selector)) == selector


@LAW
@given(st.lists(st.tuples(st.sampled_from(["a.b", "c"]), st.text(r"xy\,=!", max_size=5), st.booleans()), max_size=3))
def test_a_field_selector_survives_being_written(terms: list[tuple[str, str, bool]]) -> None:
    selector = FieldSelector(tuple(FieldRequirement(*term) for term in terms))
    assert parse_field_selector(str(selector)) == selector


@LAW
@given(st.text(r"ab=!,\ ", max_size=20))
def test_any_text_is_a_field_selector_or_refused(text: str) -> None:
    try:
        selector = parse_field_selector(text)
    except SelectorError:
        return
    assert parse_field_selector(str(selector)) == selector
