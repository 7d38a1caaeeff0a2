"""Rules of schemas: what they see, what they say, and where they stop."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from stark.apiserver.cel import BudgetExceeded, CompileError, Scope, Unavailable, declare, package
from stark.apiserver.cel.fieldpaths import PathError, follow
from stark.apiserver.cel.review import RULES_MAX, check_rules, too_dear
from stark.apiserver.cel.rules import INLINE_EVALUATIONS_MAX, Verdict, compile_rules, has_rules, judge
from tests.support.gateways import GATEWAY, ROUTE, TEXT, listing, obj, rule


def verdict(schema: dict[str, Any], new: Any, old: Any = None, **how: Any) -> Verdict:
    place = compile_rules(schema)
    assert place is not None
    return judge(place, new, old, **how)


def told(schema: dict[str, Any], new: Any, old: Any = None) -> list[str]:
    return [f"{cause.field}: {cause.message}" for cause in verdict(schema, new, old).causes]


INTEGER = {"type": "integer"}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (rule("self.n > 3"), 'spec: Invalid value: "object": failed rule: self.n > 3'),
        (rule(" self.n > 3 ", " too small "), 'spec: Invalid value: "object": too small'),
        (rule("self.n > 3", messageExpression="'n is ' + string(self.n)"), 'spec: Invalid value: "object": n is 1'),
        (
            rule("self.n > 3", "plain", messageExpression="string(1 / (self.n - 1))"),
            'spec: Invalid value: "object": plain',
        ),
        (rule("self.n > 3", "plain", messageExpression="'  '"), 'spec: Invalid value: "object": plain'),
        (rule("self.n > 3", "plain", messageExpression="'a\\nb'"), 'spec: Invalid value: "object": plain'),
        (rule("self.n > 3", "no", reason="FieldValueForbidden", fieldPath=".n"), "spec.n: Forbidden: no"),
        (rule("self.n > 3", "no", reason="FieldValueRequired", fieldPath=".n"), "spec.n: Required value: no"),
        (rule("self.n > 3", "no", reason="FieldValueDuplicate"), 'spec: Duplicate value: "object"'),
        (rule("self.n > 3", "no", fieldPath=".m['a.b']"), 'spec.m[a.b]: Invalid value: "object": no'),
        (
            rule("1 / (self.n - 1) > 0"),
            'spec: Invalid value: "object": division by zero evaluating rule: 1 / (self.n - 1) > 0',
        ),
        (
            rule("self.any < 3", "told"),
            (
                "spec: Invalid value: \"object\": 'no such overload': call arguments did not match a supported operator, "
                "function or macro signature for rule: told"
            ),
        ),
    ],
)
def test_a_broken_rule_is_told_as_it_says(source: dict[str, Any], expected: str) -> None:
    texts = {"type": "object", "additionalProperties": TEXT}
    schema = obj({"spec": obj({"n": INTEGER, "m": texts, "any": {"x-kubernetes-int-or-string": True}}, source)})
    assert told(schema, {"spec": {"n": 1, "any": "x"}}) == [expected]


def test_a_null_is_not_judged_and_its_parent_sees_it() -> None:
    inner = {**obj({"n": INTEGER}, rule("false")), "nullable": True}
    assert told(obj({"spec": obj({"a": inner}, rule("self.a == null"))}), {"spec": {"a": None}}) == []


def test_embedded_objects_show_their_names_and_rules_hold_inside_maps_and_lists() -> None:
    pod = {
        "type": "object",
        "x-kubernetes-embedded-resource": True,
        "x-kubernetes-preserve-unknown-fields": True,
        "x-kubernetes-validations": [rule("self.kind == 'Pod' && self.metadata.name.startsWith('p')", "no pod")],
    }
    schema = obj({"pods": listing(pod, 3), "byName": {"type": "object", "additionalProperties": pod}})
    good = {"kind": "Pod", "metadata": {"name": "p1"}}
    bad = {"kind": "Pod", "metadata": {"name": "q"}}
    assert told(schema, {"pods": [good, bad], "byName": {"a": good, "b": bad}}) == [
        'pods[1]: Invalid value: "object": no pod',
        'byName[b]: Invalid value: "object": no pod',
    ]


def test_an_atomic_map_has_no_before() -> None:
    item = {**INTEGER, "x-kubernetes-validations": [rule("self >= oldSelf", "shrunk")]}
    free = obj({"spec": obj({"n": item})})
    atomic = obj({"spec": {**obj({"n": item}), "x-kubernetes-map-type": "atomic"}})
    assert told(free, {"spec": {"n": 1}}, {"spec": {"n": 2}}) == ['spec.n: Invalid value: "integer": shrunk']
    assert told(atomic, {"spec": {"n": 1}}, {"spec": {"n": 2}}) == []
    assert "uncorrelatable portion of the schema within s.properties[spec]" in check_rules(atomic, "s")[0].message


def test_only_a_transition_rule_complains_of_what_is_unchanged() -> None:
    schema = obj({"spec": obj({"n": INTEGER}, rule("self.n < 3", "large"), rule("self.n < oldSelf.n", "not less"))})
    found = verdict(schema, {"spec": {"n": 5}, "x": 1}, {"spec": {"n": 5}, "x": 2})
    assert [cause.message for cause in found.causes] == ['Invalid value: "object": not less']
    assert found.warnings == ('spec: Invalid value: "object": large',)


def test_a_root_rule_lets_an_object_go_whose_finalizers_change() -> None:
    schema = obj({"spec": obj({"n": INTEGER})}, rule("self.spec.n < 3", "large"))
    old = {"metadata": {"name": "a", "finalizers": ["x"]}, "spec": {"n": 5}}
    assert told(schema, {"metadata": {"name": "a"}, "spec": {"n": 5}}, old) == []
    assert told(schema, {"metadata": {"name": "a"}, "spec": {"n": 6}}, old) == ['<nil>: Invalid value: "object": large']


LOOP = rule("self.l.all(a, self.l.all(b, a == b || true))", "loop")


def test_rules_stop_where_the_budget_of_the_object_ends() -> None:
    schema = obj({"spec": obj({"l": listing(INTEGER, 100)}, *[LOOP] * 5)})
    found = verdict(schema, {"spec": {"l": list(range(30))}}, budget=20_000)
    text = "validation failed due to running out of cost budget, no further validation rules will be run"
    assert [cause.message for cause in found.causes] == [f'Invalid value: "object": {text}']


def test_on_the_event_loop_rules_stop_to_begin_again_elsewhere() -> None:
    schema = obj({"spec": obj({"l": listing(INTEGER, 100)}, LOOP)})
    with pytest.raises(BudgetExceeded):
        verdict(schema, {"spec": {"l": list(range(30))}}, budget=1_000, inline=True)
    many = obj({"l": listing({**INTEGER, "x-kubernetes-validations": [rule("self >= 0")]}, 10_000)})
    with pytest.raises(BudgetExceeded):
        verdict(many, {"l": [1] * (INLINE_EVALUATIONS_MAX + 1)}, inline=True)
    assert verdict(many, {"l": [1] * (INLINE_EVALUATIONS_MAX + 1)}).causes == ()


@pytest.mark.parametrize("definition", [GATEWAY, ROUTE], ids=["gateways", "routes"])
def test_rules_of_gateways_are_within_kubernetes_limits(definition: dict[str, Any]) -> None:
    assert check_rules(definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"], "s") == []


NUMBER, STRING = {"type": "number"}, {"type": "string"}
MAP_OF_NUMBERS = {"type": "object", "additionalProperties": NUMBER}


@pytest.mark.parametrize(
    ("schema", "expression", "cost"),
    [
        ({"type": "array", "items": NUMBER}, "self.all(x, true)", 4_718_591),
        ({"type": "array", "items": STRING}, "self.all(x, true)", 3_145_727),
        (MAP_OF_NUMBERS, "self.all(x, true)", 1_348_169),
        ({"type": "array", "items": NUMBER, "maxItems": 10}, "self.all(x, true)", 32),
        ({**MAP_OF_NUMBERS, "maxProperties": 10}, "self.all(x, true)", 32),
        (STRING, "self.contains('test')", 314_574),
        ({"type": "string", "maxLength": 10}, "self.contains('test')", 5),
    ],
)
def test_worst_costs_are_those_of_kubernetes(schema: dict[str, Any], expression: str, cost: int) -> None:
    declared = declare(schema)
    assert declared is not None
    assert Scope({"self": declared}).compile(expression).estimate.max == cost


def test_a_schema_is_not_made_of_rules() -> None:
    schema = obj({}, *[rule("true")] * (RULES_MAX + 1))
    assert check_rules(schema, "s")[0].reason == "FieldValueTooMany"


def test_the_sum_of_all_rules_is_bounded() -> None:
    dear = {
        **listing({"type": "string", "maxLength": 25}, 900),
        "x-kubernetes-validations": [rule("self.all(a, self.all(b, a != b || true))")],
    }
    schema = obj({f"l{number}": dear for number in range(30)})
    found = check_rules(schema, "s")
    assert found[-1].field == "s"
    assert "estimated rule cost total for entire OpenAPIv3 schema exceeds budget by factor of" in found[-1].message
    assert sum("contributed to estimated rule cost total" in cause.message for cause in found) == 4


@pytest.mark.parametrize(
    ("cost", "factor"), [(101, "1.010000x"), (250, "2.5x"), (10_000, "100.0x"), (10_001, "more than 100x")]
)
def test_a_cost_is_told_as_kubernetes_does(cost: int, factor: str) -> None:
    assert f"exceeds budget by factor of {factor} (try" in too_dear("it", cost, 100)


def test_a_rule_where_nothing_can_be_seen_is_refused() -> None:
    free = {"x-kubernetes-preserve-unknown-fields": True, "x-kubernetes-validations": [rule("true")]}
    found = check_rules(obj({"spec": free}), "s")
    assert found[0].field == "s.properties[spec].x-kubernetes-validations"
    assert "rule declared on schema that does not support validation rules" in found[0].message


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (".a", "a"),
        (".a.b", "a.b"),
        ("['a'].m['x.y']", "a.m[x.y]"),
        (".a.m['it\\'s']", "a.m[it's]"),
        ("", ""),
    ],
)
def test_paths_lead_into_schemas(path: str, expected: str) -> None:
    texts = {"type": "object", "additionalProperties": TEXT}
    assert follow(path, obj({"a": obj({"b": TEXT, "m": texts})})).path == expected


@pytest.mark.parametrize("path", ["a", ".", ".a..b", ".a[0]", ".a.c", ".a.b.c", ".a['b", "..", "[]", ".a['\\q']"])
def test_paths_that_lead_nowhere_are_refused(path: str) -> None:
    with pytest.raises(PathError):
        follow(path, obj({"a": obj({"b": TEXT})}))


@pytest.fixture
def _without_the_package(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "cel_expr_python", None)
    package.module.cache_clear()
    yield
    package.module.cache_clear()


@pytest.mark.usefixtures("_without_the_package")
def test_without_the_package_rules_are_refused_by_its_name_and_nothing_else_is_missed() -> None:
    schema = obj({"spec": obj({"n": INTEGER}, rule("self.n > 3"))})
    (found,) = check_rules(schema, "s")
    assert found.field == "s.properties[spec].x-kubernetes-validations[0].rule"
    assert found.message.startswith(
        "Forbidden: expressions cannot be compiled: the Python package cel-expr-python is not"
    )
    with pytest.raises(Unavailable):
        compile_rules(schema)
    with pytest.raises(Unavailable):
        Scope({"self": "dyn"}).compile("true")
    assert check_rules(obj({"spec": obj({"n": INTEGER})}), "s") == []


def test_a_schema_without_rules_costs_nothing() -> None:
    plain = obj({"spec": obj({"n": INTEGER})})
    assert not has_rules(plain)
    assert compile_rules(plain) is None


@pytest.mark.parametrize(
    ("expression", "place"),
    [
        (
            "[1, 'a'].size() == 2",
            "ERROR: <input>:1:5: expected type 'int' but found 'string'\n | [1, 'a'].size() == 2\n | ....^",
        ),
        ("true ||\n  {1: 2, 'a': 2}.size() == 2", "ERROR: <input>:2:10: expected type 'int' but found 'string'"),
        ("{1: 2, 2: 'a'}.size() == 2", "expected type 'int' but found 'string'"),
        ("[[1], ['a']].size() == 2", "expected type 'list(int)' but found 'list(string)'"),
    ],
)
def test_mixed_literals_do_not_compile(expression: str, place: str) -> None:
    with pytest.raises(CompileError) as raised:
        Scope({"self": "dyn"}).compile(expression)
    assert place in str(raised.value)


@pytest.mark.parametrize("expression", ["[1, self]", "['a', null]", "'%d %s'.format([1, ['a', 2]])", "[[], [1]]"])
def test_what_is_untyped_fits_into_any_literal(expression: str) -> None:
    Scope({"self": "dyn"}).compile(expression)
