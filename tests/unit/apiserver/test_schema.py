"""What a compiled schema prunes, defaults and says."""

from __future__ import annotations

from typing import Any

import pytest

from stark.apiserver.errors import BadRequest
from stark.apiserver.kinds import builtin_resources
from stark.apiserver.schema import SchemaInvalid, compile_schema, patterns
from stark.apiserver.schema.nodes import SCHEMA_DEPTH_MAX, SchemaTooLarge
from tests.support.wire_samples import DEPLOYMENT_SCHEMA

CONTAINER = {"name": "main", "image": "i"}


def deployment(**spec: Any) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [dict(CONTAINER)]}}
    body = {"selector": {"matchLabels": {"app": "web"}}, "template": template, **spec}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": body}


def of(**properties: Any) -> Any:
    return compile_schema({"type": "object", "properties": properties})


def causes(compiled: Any, obj: dict[str, Any]) -> list[tuple[str, str, str]]:
    with pytest.raises(SchemaInvalid) as caught:
        compiled.admit(obj)
    return [(cause.field, cause.message, cause.reason) for cause in caught.value.causes]


def test_an_object_comes_out_pruned_and_defaulted_and_the_given_one_stays_as_it_was() -> None:
    compiled = compile_schema(DEPLOYMENT_SCHEMA)
    given = deployment(unknown=1)
    admitted = compiled.admit(given)
    assert "unknown" in given["spec"]
    assert "unknown" not in admitted["spec"]
    assert admitted["spec"]["replicas"] == 1
    assert admitted["spec"]["strategy"] == {"type": "RollingUpdate"}, "a default is completed by the defaults inside it"
    assert admitted["spec"]["template"]["spec"]["containers"] == [{"name": "main", "image": "i", "resources": {}}]
    assert list(admitted)[:3] == ["apiVersion", "kind", "metadata"]


def test_defaults_are_copies_of_their_own() -> None:
    compiled = compile_schema(DEPLOYMENT_SCHEMA)
    first, second = compiled.admit(deployment()), compiled.admit(deployment())
    first["spec"]["strategy"]["type"] = "changed"
    assert second["spec"]["strategy"]["type"] == "RollingUpdate"


def test_defaults_inside_an_absent_object_do_not_make_it_appear() -> None:
    compiled = of(spec={"type": "object", "properties": {"x": {"type": "string", "default": "d"}}})
    assert compiled.admit({}) == {}
    assert compiled.admit({"spec": {}}) == {"spec": {"x": "d"}}


WORDING = [
    pytest.param(
        {"type": "integer"},
        "three",
        'Invalid value: "string": a in body must be of type integer: "string"',
        "FieldValueTypeInvalid",
        id="a wrong type shows the type that came",
    ),
    pytest.param(
        {"type": "string", "enum": ["A", "B"]},
        "x",
        'Unsupported value: "x": supported values: "A", "B"',
        "FieldValueNotSupported",
        id="an enumeration names what is supported",
    ),
    pytest.param(
        {"type": "integer", "minimum": 0},
        -1,
        "Invalid value: -1: a in body should be greater than or equal to 0",
        "FieldValueInvalid",
        id="a minimum",
    ),
    pytest.param(
        {"type": "integer", "maximum": 5, "exclusiveMaximum": True},
        5,
        "Invalid value: 5: a in body should be less than 5",
        "FieldValueInvalid",
        id="an exclusive maximum",
    ),
    pytest.param(
        {"type": "integer", "format": "int32"},
        2**31,
        "Invalid value: 2147483648: a in body should be less than or equal to 2147483647",
        "FieldValueInvalid",
        id="an int32 that is none",
    ),
    pytest.param(
        {"type": "integer", "multipleOf": 5},
        6,
        "Invalid value: 6: a in body should be a multiple of 5",
        "FieldValueInvalid",
        id="a multiple",
    ),
    pytest.param(
        {"type": "string", "pattern": "^a$"},
        "b",
        "Invalid value: \"b\": a in body should match '^a$'",
        "FieldValueInvalid",
        id="a pattern",
    ),
    pytest.param(
        {"type": "string", "maxLength": 2},
        "abc",
        "Too long: may not be more than 2 bytes",
        "FieldValueTooLong",
        id="a length",
    ),
    pytest.param(
        {"type": "string", "minLength": 2},
        "",
        'Invalid value: "": a in body should be at least 2 chars long',
        "FieldValueInvalid",
        id="a short string",
    ),
    pytest.param(
        {"type": "array", "items": {"type": "string"}, "maxItems": 1},
        ["x", "y"],
        "Too many: 2: must have at most 1 items",
        "FieldValueTooMany",
        id="too many items",
    ),
    pytest.param(
        {"type": "string", "format": "date-time"},
        "yesterday",
        'Invalid value: "yesterday": a in body must be of type date-time: "yesterday"',
        "FieldValueTypeInvalid",
        id="a format",
    ),
    pytest.param(
        {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "anyOf": [{"required": ["x"]}]},
        {},
        'Invalid value: {}: "a" must validate at least one schema (anyOf)',
        "FieldValueInvalid",
        id="anyOf",
    ),
    pytest.param(
        {"type": "integer", "oneOf": [{"minimum": 1}, {"minimum": 2}]},
        3,
        'Invalid value: 3: "a" must validate one and only one schema (oneOf). Found 2 valid alternatives',
        "FieldValueInvalid",
        id="oneOf",
    ),
    pytest.param(
        {"type": "integer", "not": {"minimum": 1}},
        3,
        'Invalid value: 3: "a" must not validate the schema (not)',
        "FieldValueInvalid",
        id="not",
    ),
    pytest.param(
        {"type": "object", "minProperties": 1},
        {},
        "Invalid value: 0: a in body should have at least 1 properties",
        "FieldValueInvalid",
        id="too few properties",
    ),
]


@pytest.mark.parametrize(("schema", "value", "message", "reason"), WORDING)
def test_a_refusal_is_in_kubernetes_words(schema: dict[str, Any], value: Any, message: str, reason: str) -> None:
    assert causes(of(a=schema), {"a": value}) == [("a", message, reason)]


def test_every_cause_is_reported_with_its_path() -> None:
    bad = deployment(replicas="three")
    bad["spec"]["template"]["spec"]["containers"] = [{"image": 5}, {"name": "a"}, {"name": "a"}]
    found = [(field, reason) for field, _, reason in causes(compile_schema(DEPLOYMENT_SCHEMA), bad)]
    assert set(found) == {
        ("spec.replicas", "FieldValueTypeInvalid"),
        ("spec.template.spec.containers[0].name", "FieldValueRequired"),
        ("spec.template.spec.containers[0].image", "FieldValueTypeInvalid"),
        ("spec.template.spec.containers[2]", "FieldValueDuplicate"),
    }


def test_a_null_takes_the_default_or_goes_away_or_stays_where_it_may() -> None:
    text = {"type": "string"}
    compiled = of(
        spec={
            "type": "object",
            "properties": {
                "defaulted": {**text, "default": "d"},
                "plain": text,
                "nullable": {**text, "nullable": True},
                "both": {**text, "nullable": True, "default": "d"},
                "map": {"type": "object", "additionalProperties": text},
                "any": {"x-kubernetes-preserve-unknown-fields": True},
            },
        }
    )
    nulls = dict.fromkeys(("defaulted", "plain", "nullable", "both", "any"))
    admitted = compiled.admit({"spec": {**nulls, "map": {"a": None, "b": "c"}}})
    assert admitted["spec"] == {"defaulted": "d", "nullable": None, "both": None, "map": {"b": "c"}}


def test_a_null_in_a_required_field_or_a_list_is_an_error() -> None:
    compiled = of(
        spec={
            "type": "object",
            "required": ["a"],
            "properties": {"a": {"type": "string"}, "l": {"type": "array", "items": {"type": "string"}}},
        }
    )
    assert causes(compiled, {"spec": {"a": None}}) == [("spec.a", "Required value", "FieldValueRequired")]
    (cause,) = causes(compiled, {"spec": {"a": "", "l": [None]}})
    assert cause[:2] == ("spec.l[0]", 'Invalid value: "null": spec.l[0] in body must be of type string: "null"')


def test_booleans_are_no_integers_and_a_whole_float_is_one() -> None:
    compiled = of(a={"type": "integer"}, b={"x-kubernetes-int-or-string": True}, c={"type": "number"})
    assert causes(compiled, {"a": True})[0][2] == "FieldValueTypeInvalid"
    assert causes(compiled, {"b": True})[0][2] == "FieldValueTypeInvalid"
    assert repr(compiled.admit({"a": 3.0, "b": "25%", "c": 3})) == "{'a': 3, 'b': '25%', 'c': 3}"


def test_a_quantity_reads_numbers_as_text() -> None:
    quantity = {"x-kubernetes-int-or-string": True, "format": "quantity", "pattern": r"^[0-9.]+(Mi)?$"}
    compiled = of(a=quantity, b=quantity, c=quantity)
    assert compiled.admit({"a": 0.5, "b": 2, "c": "64Mi"}) == {"a": "0.5", "b": "2", "c": "64Mi"}
    assert causes(compiled, {"a": "much"})[0][0] == "a"


def test_unknown_fields_are_named_with_their_paths() -> None:
    obj = deployment(repliccas=1)
    obj["metadata"]["nam"] = "x"
    obj["spec"]["template"]["spec"]["containers"][0]["imagee"] = "y"
    expected = ["metadata.nam", "spec.template.spec.containers[0].imagee", "spec.repliccas"]
    compiled = compile_schema(DEPLOYMENT_SCHEMA)
    assert sorted(compiled.unknown_fields(obj)) == sorted(expected)
    admitted, unknown = compiled.admit_noting_unknown(obj)
    assert (admitted, sorted(unknown)) == (compiled.admit(deployment()), sorted(expected))
    assert compiled.admit_noting_unknown(deployment())[1] == []


def test_metadata_is_checked_and_pruned_in_every_kind() -> None:
    compiled = of()
    meta = {"name": "a", "creationTimestamp": None, "labels": {"example.com/a": "b"}, "annotations": {"k": "any text!"}}
    assert compiled.admit({"metadata": {**meta, "strange": 1}}) == {
        "metadata": {"name": "a", "labels": {"example.com/a": "b"}, "annotations": {"k": "any text!"}}
    }
    found = causes(compiled, {"metadata": {"labels": {"a b": "c/d"}, "annotations": {"": "x"}, "name": 5}})
    assert {field for field, _, _ in found} == {"metadata.name", "metadata.labels", "metadata.annotations"}
    assert any(message.startswith('Invalid value: "a b": name part must consist of') for _, message, _ in found)
    assert any(message.startswith('Invalid value: "c/d": a valid label must be') for _, message, _ in found)


def test_a_label_key_with_a_long_but_legal_prefix_passes() -> None:
    labels = {f"{'a' * 60}.{'b' * 60}.{'c' * 60}.{'d' * 60}/{'e' * 63}": "x"}
    assert of().admit({"metadata": {"labels": labels}}) == {"metadata": {"labels": labels}}
    assert causes(of(), {"metadata": {"labels": {f"{'a' * 254}/b": "x"}}})[0][0] == "metadata.labels"


def test_annotations_have_a_size() -> None:
    big = {"metadata": {"annotations": {"a": "x" * 262_144}}}
    message = "Too long: may not be more than 262144 bytes"
    assert causes(of(), big) == [("metadata.annotations", message, "FieldValueTooLong")]


def test_an_embedded_resource_has_an_identity_and_metadata_of_its_own() -> None:
    compiled = of(
        spec={"type": "object", "x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True}
    )
    inner = {"apiVersion": "v1", "kind": "Thing", "metadata": {"name": "a", "odd": 1}, "data": {"x": [1]}}
    admitted = compiled.admit({"spec": inner})
    assert admitted["spec"] == {**inner, "metadata": {"name": "a"}}
    assert [field for field, _, _ in causes(compiled, {"spec": {}})] == ["spec.apiVersion", "spec.kind"]


def test_ratcheting_lets_pass_what_was_wrong_before_and_nothing_else() -> None:
    compiled = compile_schema(DEPLOYMENT_SCHEMA)
    old = deployment(replicas=-1)
    old["spec"]["template"]["spec"]["containers"].append({"name": "side", "image": 5})
    new = deployment(replicas=-1)
    new["spec"]["template"]["spec"]["containers"] = [{"name": "side", "image": 5}, {"name": "main", "image": "j"}]
    new["metadata"]["labels"] = {"touched": "yes"}
    admitted = compiled.admit_update(new, old)
    assert admitted["spec"]["replicas"] == -1
    assert admitted["spec"]["strategy"] == {"type": "RollingUpdate"}
    new["spec"]["replicas"] = -2
    with pytest.raises(SchemaInvalid) as caught:
        compiled.admit_update(new, old)
    assert [cause.field for cause in caught.value.causes] == ["spec.replicas"]


def test_bytes_that_are_no_object_are_a_bad_request() -> None:
    compiled = of(a={"type": "string"})
    assert compiled.admit_bytes(b'{"a":"b","c":1}') == {"a": "b"}
    for data in (b"{", b"[1]", b'{"a": NaN}'):
        with pytest.raises(BadRequest, match="the object provided is unrecognized"):
            compiled.admit_bytes(data)


def test_what_has_no_schema_has_a_depth() -> None:
    compiled = of(spec={"x-kubernetes-preserve-unknown-fields": True})

    def nested(levels: int) -> dict[str, Any]:
        value: Any = 1
        for _ in range(levels):
            value = [value]
        return {"spec": value}

    assert compiled.admit(nested(100)) == nested(100)
    assert compiled.admit(nested(200)) == nested(200)
    assert "nested deeper" in causes(compiled, nested(900))[0][1]
    assert of().admit(nested(900)) == {}, "what is pruned is not looked at"


def test_a_schema_has_a_depth() -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(SCHEMA_DEPTH_MAX + 1):
        schema = {"type": "object", "properties": {"a": schema}}
    with pytest.raises(SchemaTooLarge):
        compile_schema(schema)


FORMATS = [
    ("date-time", "2024-02-30T00:00:00Z", True),
    ("date-time", "2024-02-29T12:30:00.123456+02:00", True),
    ("date-time", "2024-02-29", False),
    ("byte", "aGVsbG8=", True),
    ("byte", "aGVs\nbG8=\r\n", True),
    ("byte", "aGVs bG8=", False),
    ("byte", "aGVsbG8", False),
    ("byte", "not base64!", False),
    ("duration", "1h30m", True),
    ("duration", "soon", False),
    ("ipv4", "10.0.0.1", True),
    ("ipv4", "10.0.0.256", False),
    ("ipv6", "::1", True),
    ("cidr", "10.0.0.0/8", True),
    ("cidr", "10.0.0.0", False),
    ("uuid", "123e4567-e89b-12d3-a456-426614174000", True),
    ("uri", "https://example.com/a?b", True),
    ("uri", "no uri", False),
    ("hostname", "a.example.com", True),
    ("email", "a@b.c", True),
    ("date", "2024-02-30", False),
    ("date", "2024-02-29", True),
    ("somebody's own", "anything", True),
]


@pytest.mark.parametrize(("name", "text", "fits"), FORMATS)
def test_formats_are_enforced_where_kubernetes_does(name: str, text: str, fits: bool) -> None:
    compiled = of(a={"type": "string", "format": name, "minLength": 1})
    if fits:
        assert compiled.admit({"a": text}) == {"a": text}
    else:
        assert causes(compiled, {"a": text})[0][2] == "FieldValueTypeInvalid"


def test_every_built_in_kind_admits_an_empty_object_or_says_what_is_missing() -> None:
    for resource in builtin_resources():
        compiled = compile_schema(resource.schema)
        required = set(resource.schema.get("required") or ()) - {"metadata"}
        obj = {"metadata": {"name": "x"}}
        if required:
            found = causes(compiled, obj)
            assert {(field, reason) for field, _, reason in found} == {
                (name, "FieldValueRequired") for name in required
            }
        else:
            assert compiled.admit(obj)["metadata"] == {"name": "x"}, resource.kind


def test_an_enumeration_tells_one_from_true() -> None:
    open_ = {"x-kubernetes-preserve-unknown-fields": True}
    for allowed, given in ((1, True), (True, 1), ({"a": 1}, {"a": True})):
        compiled = of(a={**open_, "enum": [allowed]})
        assert compiled.admit({"a": allowed}) == {"a": allowed}
        assert causes(compiled, {"a": given})[0][2] == "FieldValueNotSupported"


def test_the_labels_of_a_pod_template_are_checked_like_an_objects() -> None:
    resource = next(found for found in builtin_resources() if found.kind == "Deployment")
    obj = deployment()
    obj["spec"]["template"]["metadata"]["labels"]["app"] = "a b"
    assert causes(compile_schema(resource.schema), obj)[0][0] == "spec.template.metadata.labels"


@pytest.mark.parametrize(
    ("pattern", "size", "repeats"),
    [
        ("abc", 3, 1),
        ("[a-z]{3}", 3, 3),
        ("([a-z]{10}x){5}", 55, 50),
        (r"\d{2,4}-[\]a]{3,}", 8, 4),
        ("a{,3}", 5, 1),
        ("(a|b)*c{0}", 3, 1),
        (r"\Qa{9}\E{2}", 5, 2),
        ("((a{0,30}){0,30}){0,10}b", 9_001, 9_000),
        ("a{99999999999999999999}", 999_999_999, 999_999_999),
    ],
)
def test_a_patterns_extent_is_that_with_its_counts_written_out(pattern: str, size: int, repeats: int) -> None:
    assert patterns.extent(pattern) == (size, repeats)
    refused = patterns.problem(pattern) == "invalid repeat count"
    assert refused == (repeats > patterns.REPEAT_MAX)


def test_what_is_too_long_is_not_matched_as_well() -> None:
    compiled = of(x={"type": "string", "maxLength": 3, "pattern": "^a+$"})
    assert causes(compiled, {"x": "bbbb"}) == [("x", "Too long: may not be more than 3 bytes", "FieldValueTooLong")]
    assert [reason for _, _, reason in causes(compiled, {"x": "bbb"})] == ["FieldValueInvalid"]


DEAR = {"type": "string", "pattern": "x.{900}"}


@pytest.mark.parametrize(
    "schema",
    [
        pytest.param({"a": {"type": "array", "items": DEAR}}, id="in a list"),
        pytest.param({"a": {"type": "array", "items": {"type": "string", "allOf": [DEAR]}}}, id="in a branch"),
        pytest.param({"a": {"type": "array", "items": {"type": "string", "not": DEAR}}}, id="denied"),
    ],
)
def test_patterns_that_would_hold_the_server_up_are_not_begun(schema: dict[str, Any]) -> None:
    compiled = of(**schema)
    many = {"a": ["y" * 1_000] * 1_000}
    ((field, message, _),) = causes(compiled, many)
    assert field == ""
    assert "less work" in message
    with pytest.raises(SchemaInvalid, match="less work"):
        compiled.admit_noting_unknown(many)
    assert compiled.shape(many) == many, "what is stored can be read all the same"


def test_long_text_meets_cheap_patterns_and_limits_as_before() -> None:
    compiled = of(a={"type": "string", "pattern": "^[a-z]+$"}, b={**DEAR, "maxLength": 1_000}, c={"type": "string"})
    long = {"a": "y" * 2_000_000, "c": "z" * 900_000}
    assert compiled.admit(long) == long
    assert [reason for _, _, reason in causes(compiled, {"b": "y" * 2_000_000})] == ["FieldValueTooLong"]


def test_an_object_from_before_a_dear_pattern_loses_its_finalizer_but_is_not_changed_otherwise() -> None:
    compiled = of(a=DEAR)
    old = {"apiVersion": "e.com/v1", "kind": "E", "metadata": {"name": "e", "finalizers": ["a/b"]}, "a": "y" * 100_000}
    freed = {**old, "metadata": {"name": "e"}}
    assert compiled.admit_update(freed, old) == freed
    with pytest.raises(SchemaInvalid, match="less work"):
        compiled.admit_update({**freed, "a": "y" * 100_001}, old)
    with pytest.raises(SchemaInvalid, match="labels"):
        compiled.admit_update({**freed, "metadata": {"name": "e", "labels": {"a": "no good"}}}, old)
