"""Which schemas a CustomResourceDefinition may bring."""

from __future__ import annotations

from typing import Any

import pytest

from stark.apiserver.kinds import builtin_resources
from stark.apiserver.schema import check_structural
from stark.apiserver.schema.patterns import matches, problem

TEXT = {"type": "string"}


def root(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


CASES = [
    pytest.param({}, "type", "FieldValueRequired", id="a root without a type"),
    pytest.param({"type": "string"}, "type", "FieldValueInvalid", id="a root that is no object"),
    pytest.param(root(a={}), "properties[a].type", "FieldValueRequired", id="a field without a type"),
    pytest.param(root(a={"type": "text"}), "properties[a].type", "FieldValueNotSupported", id="an unknown type"),
    pytest.param(root(a={"type": "array"}), "properties[a].items", "FieldValueRequired", id="a list without items"),
    pytest.param(
        {**root(a=TEXT), "additionalProperties": TEXT},
        "additionalProperties",
        "FieldValueForbidden",
        id="a map that has fields",
    ),
    pytest.param(
        root(a={"type": "object", "allOf": [{"type": "object"}]}),
        "properties[a].allOf[0].type",
        "FieldValueForbidden",
        id="a type inside logic",
    ),
    pytest.param(
        root(a={"type": "object", "not": {"properties": {"b": {"default": 1}}}}),
        "properties[a].not.properties[b].default",
        "FieldValueForbidden",
        id="a default deep inside logic",
    ),
    pytest.param(
        root(a={"type": "array", "items": TEXT, "uniqueItems": True}),
        "properties[a].uniqueItems",
        "FieldValueForbidden",
        id="uniqueItems",
    ),
    pytest.param(root(a={**TEXT, "pattern": "("}), "properties[a].pattern", "FieldValueInvalid", id="a broken pattern"),
    pytest.param(
        root(a={**TEXT, "default": 1}), "properties[a].default", "FieldValueTypeInvalid", id="a wrong default"
    ),
    pytest.param(root(a={"$ref": "#/x"}), "properties[a].$ref", "FieldValueForbidden", id="a reference"),
    pytest.param(
        root(a={**TEXT, "minLength": -1}), "properties[a].minLength", "FieldValueTypeInvalid", id="a negative count"
    ),
    pytest.param(root(a=5), "properties[a]", "FieldValueTypeInvalid", id="a schema that is none"),
    pytest.param(
        root(a={"type": "array", "items": {"type": "object"}, "x-kubernetes-list-type": "map"}),
        "properties[a].x-kubernetes-list-map-keys",
        "FieldValueRequired",
        id="a list map without keys",
    ),
    pytest.param(
        root(
            a={
                "type": "array",
                "items": root(k=TEXT),
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["k"],
            }
        ),
        "properties[a].items.properties[k].default",
        "FieldValueRequired",
        id="a list map whose key may be missing",
    ),
    pytest.param(
        root(metadata={"type": "object", "required": ["name"]}),
        "properties[metadata].required",
        "FieldValueForbidden",
        id="more about metadata than its properties",
    ),
]


@pytest.mark.parametrize(("schema", "field", "reason"), CASES)
def test_what_is_not_structural_is_named(schema: dict[str, Any], field: str, reason: str) -> None:
    assert (field, reason) in [(cause.field, cause.reason) for cause in check_structural(schema)]


def test_paths_begin_where_the_schema_stands() -> None:
    (cause,) = check_structural(root(a={}), "spec.validation.openAPIV3Schema")
    assert cause.field == "spec.validation.openAPIV3Schema.properties[a].type"


def test_the_customary_int_or_string_is_structural() -> None:
    either = {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}], "pattern": "^a"}
    assert check_structural(root(a=either)) == []


def test_every_built_in_schema_is_structural() -> None:
    assert {
        found.kind: check_structural(found.schema) for found in builtin_resources() if check_structural(found.schema)
    } == {}


PATTERNS = [
    (r"^\d+$", "12", True),
    (r"^\d+$", "١٢", False),
    (r"^\w+$", "é", False),
    (r"^[\w-]+$", "a-b", True),
    (r"^[^\s]+$", "a b", False),
    (r"^{.*}$", "{x}", True),
    (r"^[a-z[]+$", "a[", True),
    (r"^[]a]+$", "]a", True),
    (r"^[a&&b]+$", "&", True),
    (r"^\Qa.b\E$", "axb", False),
    (r"\bfoo\b", "a foo b", True),
    (r"^\<a\>$", "<a>", True),
    (r"^[[:alpha:]]{2,3}$", "ab", True),
    (r"a", "bab", True),
    (r"^a$", "a\n", False),
]


@pytest.mark.parametrize(("pattern", "text", "found"), PATTERNS)
def test_patterns_mean_what_they_mean_in_go(pattern: str, text: str, found: bool) -> None:
    assert problem(pattern) is None
    assert matches(pattern, text) is found


def test_a_pattern_that_needs_backtracking_is_refused() -> None:
    assert problem(r"(?=a)") is not None
    assert problem(r"(a)\1") is not None
