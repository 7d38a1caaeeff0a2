"""Selectors are read and asked as Kubernetes does, and refused in its words."""

from __future__ import annotations

from typing import Any

import pytest

from stark.crds.labels import LabelSelector
from stark.crds.selectors import (
    EVERYTHING,
    GREATER,
    LESS,
    NOTHING,
    REQUIREMENTS_MAX,
    SELECTOR_LENGTH_MAX,
    Requirement,
    SelectorError,
    demanded_value,
    field_text,
    from_label_selector,
    matches,
    parse_field_selector,
    parse_label_selector,
)

WEB = {"app": "web", "tier": "front", "rank": "7", "empty": ""}


@pytest.mark.parametrize(
    ("text", "selected"),
    [
        ("", True),
        ("   ", True),
        ("app=web", True),
        ("app==web", True),
        ("app=db", False),
        ("app!=web", False),
        ("app!=db", True),
        ("absent!=x", True),
        ("absent=", False),
        ("empty=", True),
        ("empty", True),
        ("app", True),
        ("absent", False),
        ("!absent", True),
        ("! app", False),
        ("app in (web,db)", True),
        ("app in (db)", False),
        ("app notin (db)", True),
        ("absent notin (db)", True),
        ("app notin (web, db)", False),
        ("absent in (db)", False),
        ("empty in (,x)", True),
        ("rank>6", True),
        ("rank>7", False),
        ("rank<8", True),
        ("app>1", False),
        ("absent>1", False),
        ("app=web,tier in (front,back),!absent", True),
        ("app=web,tier=back", False),
        ("in in (a)", False),
        ("notin notin (a)", True),
    ],
)
def test_a_label_selector_selects(text: str, selected: bool) -> None:
    assert parse_label_selector(text).matches(WEB) is selected


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a b", "found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("a=b=c", "found '=', expected: ',' or 'end of string'"),
        ("a in b", "found 'b', expected: '('"),
        ("a in (b", "found '', expected: ',', ')' or identifier"),
        (",a", "found ',', expected: !, identifier, or 'end of string'"),
        ("a,", "found '', expected: identifier after ','"),
        ("a,,b", "found ',', expected: identifier after ','"),
        ("!", "found '', expected: identifier"),
        ("a=-", 'values[0][a]: Invalid value: "-": a valid label must be an empty string or consist of'),
        ("-a=b", 'key: Invalid value: "-a": name part must consist of alphanumeric characters'),
        ("a/b/c=d", 'key: Invalid value: "a/b/c": a qualified name must consist of'),
        ("a>b", "values[0]: Invalid value: \"b\": for 'Gt', 'Lt' operators, the value must be an integer"),
        ("a in (b c)", "found 'c', expected: ',' or ')'"),
    ],
)
def test_a_label_selector_that_cannot_be_read_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(SelectorError) as caught:
        parse_label_selector(text)
    assert str(caught.value).startswith(complaint)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("b=2,a==1", "a=1,b=2"),
        ("a in (y,x,x)", "a in (x,y)"),
        ("a in (x)", "a=x"),
        ("a notin (x)", "a!=x"),
        ("!a", "!a"),
        ("a>1", "a>1"),
        ("", ""),
    ],
)
def test_a_selector_is_written_in_canonical_form(text: str, written: str) -> None:
    assert str(parse_label_selector(text)) == written


def test_selectors_have_a_bound() -> None:
    with pytest.raises(SelectorError, match="characters long"):
        parse_label_selector("a" * (SELECTOR_LENGTH_MAX + 1))
    with pytest.raises(SelectorError, match="more than 1000 requirements"):
        parse_label_selector(",".join("a" for _ in range(REQUIREMENTS_MAX + 1)))
    with pytest.raises(SelectorError, match="characters long"):
        parse_field_selector("a" * (SELECTOR_LENGTH_MAX + 1))
    with pytest.raises(SelectorError, match="more than 1000 requirements"):
        parse_field_selector(",".join("a=1" for _ in range(REQUIREMENTS_MAX + 1)))


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        (None, False),
        ({}, True),
        ({"matchLabels": {"app": "web"}}, True),
        ({"matchLabels": {"app": "db"}}, False),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["web"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}, False),
        ({"matchExpressions": [{"key": "app", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "DoesNotExist", "values": []}]}, False),
        ({"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "tier", "operator": "Exists"}]}, True),
    ],
)
def test_a_label_selector_object_selects(selector: dict[str, Any] | None, selected: bool) -> None:
    assert matches(selector, WEB) is selected
    if selector is not None:
        assert LabelSelector.model_validate(selector).matches(WEB) is selected


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        ({"key": "a", "operator": "Near"}, '"Near" is not a valid label selector operator'),
        ({"key": "a", "operator": "In"}, "for 'in', 'notin' operators, values set can't be empty"),
        ({"key": "a", "operator": "Exists", "values": ["b"]}, "values set must be empty for exists and does not exist"),
        ({"key": "", "operator": "Exists"}, "name part must be non-empty"),
    ],
)
def test_an_expression_that_makes_no_sense_is_refused(expression: dict[str, Any], complaint: str) -> None:
    with pytest.raises(SelectorError) as caught:
        from_label_selector({"matchExpressions": [expression]})
    assert complaint in str(caught.value)


def test_a_selector_offers_its_exact_value_to_an_index() -> None:
    selector = parse_label_selector("app=web,tier in (a,b),x!=y")
    assert selector.exact("app") == "web"
    assert selector.exact("tier") is None
    assert selector.exact("x") is None
    assert parse_field_selector("spec.nodeName=n,a!=b").exact("spec.nodeName") == "n"
    assert parse_field_selector("a!=b").exact("a") is None


def test_everything_and_nothing_are_what_they_say() -> None:
    assert EVERYTHING.empty
    assert EVERYTHING.matches(None)
    assert not NOTHING.empty
    assert not NOTHING.matches({})
    assert parse_field_selector("").empty


@pytest.mark.parametrize(
    ("text", "selected"),
    [
        ("metadata.name=web", True),
        ("metadata.name==web", True),
        ("metadata.name!=web", False),
        ("status.phase=", True),
        ("status.phase!=Failed", True),
        ("spec.unschedulable=false", True),
        ("spec.replicas=3,metadata.name=web", True),
        (",metadata.name=web,", True),
        (r"metadata.annotation=a\,b\=c\\d", True),
    ],
)
def test_a_field_selector_selects(text: str, selected: bool) -> None:
    obj = {
        "metadata": {"name": "web", "annotation": "a,b=c\\d"},
        "spec": {"unschedulable": False, "replicas": 3},
        "status": None,
    }
    selector = parse_field_selector(text)
    assert selector.matches(lambda path: field_text(obj, path)) is selected
    assert parse_field_selector(str(selector)) == selector


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("metadata.name", "invalid selector: 'metadata.name'; can't understand 'metadata.name'"),
        ("a=b=c", "invalid field selector: unescaped special character in field selector value: b=c"),
        (r"a=b\c", r"invalid field selector: invalid escape sequence: \c"),
        ("a=b\\", "invalid field selector: invalid escape sequence: \\"),
    ],
)
def test_a_field_selector_that_cannot_be_read_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(SelectorError) as caught:
        parse_field_selector(text)
    assert str(caught.value) == complaint


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("metadata.name=mine", "mine"),
        ("a!=b,metadata.name==mine", "mine"),
        ("metadata.name!=mine", ""),
        (r"metadata.name!=a\,metadata.name=mine", ""),
        (r"a=b\,metadata.name=mine", ""),
        ("metadata.name", ""),
        ("", ""),
    ],
)
def test_a_demanded_value_is_one_that_the_selection_demands(text: str, value: str) -> None:
    assert demanded_value(text, "metadata.name") == value


@pytest.mark.parametrize("value", ["1_0", " 7", "\u0669", "9" * 20, "", "x"])
def test_what_is_no_number_is_neither_greater_nor_less(value: str) -> None:
    assert not Requirement("k", GREATER, ("5",)).holds({"k": value})
    assert not Requirement("k", LESS, ("5",)).holds({"k": value})
