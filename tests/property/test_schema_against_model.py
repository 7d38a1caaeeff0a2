"""Random schemas and objects: the compiled schema and a naive interpreter agree on every one of them."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from stark.apiserver.schema import SchemaInvalid, check_structural, compile_schema
from tests.support import naive_schema

NAMES = ["a", "b", "c", "name"]
Schema = dict[str, Any]

texts = st.sampled_from(["", "a", "ab", "abc", "ABC", "a1", "é"])
integers = st.integers(-5, 8)
broken = st.sampled_from([0.5, 1.5, -2.25])
scalars = st.one_of(texts, integers, broken, st.booleans(), st.none())
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*NAMES, "zz"]), inner, max_size=4),
    max_leaves=12,
)


@st.composite
def strings(draw: st.DrawFn) -> Schema:
    """A string schema."""
    schema: Schema = {"type": "string"}
    if draw(st.booleans()):
        schema["pattern"] = draw(st.sampled_from(["^[a-z]*$", "b", "^[A-Z]", "[0-9]"]))
    if draw(st.booleans()):
        schema |= {"minLength": draw(st.integers(0, 2)), "maxLength": draw(st.integers(1, 3))}
    if draw(st.integers(0, 3)) == 0:
        schema["enum"] = draw(st.lists(texts, min_size=1, max_size=3, unique=True))
    return schema


@st.composite
def numbers(draw: st.DrawFn) -> Schema:
    """An integer, number or int-or-string schema."""
    kind = draw(st.sampled_from(["integer", "number", "either"]))
    schema: Schema = {"x-kubernetes-int-or-string": True} if kind == "either" else {"type": kind}
    if kind != "either" and draw(st.booleans()):
        schema |= {"minimum": draw(st.integers(-3, 2)), "exclusiveMinimum": draw(st.booleans())}
    if kind != "either" and draw(st.booleans()):
        schema |= {"maximum": draw(st.sampled_from([0, 3, 4.5])), "exclusiveMaximum": draw(st.booleans())}
    if kind == "integer" and draw(st.integers(0, 3)) == 0:
        schema["multipleOf"] = draw(st.sampled_from([2, 3]))
    return schema


@st.composite
def lists(draw: st.DrawFn, inner: st.SearchStrategy[Schema]) -> Schema:
    """An array schema: plain, a set of strings, or a map by name."""
    kind = draw(st.sampled_from(["", "set", "map"]))
    schema: Schema = {"type": "array", "items": draw(inner)}
    if kind == "set":
        schema |= {"items": {"type": "string"}, "x-kubernetes-list-type": "set"}
    elif kind == "map":
        item = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "a": draw(inner)}}
        schema |= {"items": item, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
    if draw(st.integers(0, 2)) == 0:
        schema |= {"minItems": draw(st.integers(0, 1)), "maxItems": draw(st.integers(1, 2))}
    return schema


LOGIC: list[Schema] = [
    {"anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
    {"oneOf": [{"required": ["a"]}, {"required": ["b"]}]},
    {"not": {"required": ["c"]}},
    {"allOf": [{"required": ["a"]}, {"properties": {"a": {"minimum": 1}}}]},
]


@st.composite
def objects(draw: st.DrawFn, inner: st.SearchStrategy[Schema]) -> Schema:
    """An object schema: fields or a map, with or without unknown fields, sometimes with logic."""
    schema: Schema = {"type": "object"}
    if draw(st.integers(0, 3)) == 0:
        schema["additionalProperties"] = draw(inner)
    else:
        schema["properties"] = draw(st.dictionaries(st.sampled_from(NAMES), inner, max_size=4))
        if draw(st.integers(0, 3)) == 0:
            schema["x-kubernetes-preserve-unknown-fields"] = True
        schema["required"] = draw(st.lists(st.sampled_from(NAMES), max_size=2, unique=True))
    if draw(st.integers(0, 4)) == 0:
        schema |= {"minProperties": 1, "maxProperties": 2}
    if draw(st.integers(0, 3)) == 0:
        schema |= draw(st.sampled_from(LOGIC))
    return schema


@st.composite
def decorated(draw: st.DrawFn, base: st.SearchStrategy[Schema]) -> Schema:
    """Sometimes nullable, sometimes with a default that fits."""
    schema = dict(draw(base))
    if schema.get("type") and draw(st.integers(0, 3)) == 0:
        schema["nullable"] = True
    defaults: dict[str, list[Any]] = {
        "string": ["a", "abc"],
        "integer": [0, 3],
        "number": [1],
        "object": [{}],
        "array": [[]],
    }
    if draw(st.integers(0, 2)) == 0 and schema.get("type") in defaults:
        value = draw(st.sampled_from(defaults[schema["type"]]))
        if not naive_schema.admit(schema, value)[1]:
            schema["default"] = value
    return schema


leaves = decorated(st.one_of(strings(), numbers(), st.just({"type": "boolean"}), st.just(naive_schema.ANY)))
schemas = st.recursive(leaves, lambda inner: decorated(st.one_of(lists(inner), objects(inner))), max_leaves=8)


def verdict(schema: Schema, value: Any) -> tuple[Any, set[tuple[str, str]]]:
    """What the compiled schema makes of an object with `value` as its spec."""
    compiled = compile_schema({"type": "object", "properties": {"spec": schema}})
    try:
        return compiled.admit({"spec": value}), set()
    except SchemaInvalid as refused:
        return None, {(cause.field, cause.reason) for cause in refused.causes}


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(schema=schemas, value=values)
@example(schema={"type": "number", "maximum": 4.5}, value=3)
@example(schema={"type": "array", "items": {"type": "string", "default": "a"}}, value=[None])
def test_the_compiled_schema_agrees_with_a_naive_interpreter(schema: Schema, value: Any) -> None:
    root = {"type": "object", "properties": {"spec": schema}}
    expected, wrong = naive_schema.admit(root, {"spec": value})
    admitted, refused = verdict(schema, value)
    assert refused == wrong
    if not wrong:
        assert admitted == expected
        assert repr(sorted_keys(admitted)) == repr(sorted_keys(expected)), "1, 1.0 and true are not the same"


def sorted_keys(value: Any) -> Any:
    """The value with the keys of every object in one order."""
    if isinstance(value, dict):
        return {key: sorted_keys(value[key]) for key in sorted(value)}
    return [sorted_keys(item) for item in value] if isinstance(value, list) else value


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(schema=schemas, value=values)
def test_admitting_again_changes_nothing_and_an_unchanged_object_is_always_let_pass(schema: Schema, value: Any) -> None:
    compiled = compile_schema({"type": "object", "properties": {"spec": schema}})
    ratcheted = compiled.admit_update({"spec": value}, {"spec": value})
    assert compiled.admit_update(ratcheted, ratcheted) == ratcheted
    assert compiled.unknown_fields(ratcheted) == []
    try:
        admitted = compiled.admit({"spec": value})
    except SchemaInvalid:
        return
    assert compiled.admit(admitted) == admitted == ratcheted
    noted, unknown = compiled.admit_noting_unknown({"spec": value})
    assert noted == admitted
    assert unknown == compiled.unknown_fields({"spec": value})


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(schema=schemas)
def test_generated_schemas_are_structural_where_their_defaults_and_keys_are(schema: Schema) -> None:
    found = check_structural({"type": "object", "properties": {"spec": schema}})
    assert [cause for cause in found if "default" not in cause.field] == []
