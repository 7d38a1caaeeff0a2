"""The expression language: every function with its values, its errors and what it may cost."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from stark.apiserver.cel import (
    PER_CALL_LIMIT,
    BudgetExceeded,
    CompileError,
    EvaluationError,
    Scope,
    bind,
    declare,
)
from stark.apiserver.cel.conditions import PolicyScope
from stark.apiserver.cel.names import escape, unescape
from stark.apiserver.cel.offload import evaluate
from stark.apiserver.cel.package import EXPRESSION_LENGTH_MAX

TEXT = {"type": "string"}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "required": ["replicas"],
            "properties": {
                "replicas": {"type": "integer"},
                "ratio": {"type": "number"},
                "names": {"type": "array", "maxItems": 5, "items": {"type": "string", "maxLength": 10}},
                "when": {"type": "string", "format": "date-time"},
                "day": {"type": "string", "format": "date"},
                "wait": {"type": "string", "format": "duration"},
                "raw": {"type": "string", "format": "byte"},
                "flags": {"type": "object", "additionalProperties": {"type": "boolean"}},
                "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": TEXT},
                "ports": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                    "items": {"type": "object", "properties": {"name": TEXT, "port": {"type": "integer"}}},
                },
                "port": {"x-kubernetes-int-or-string": True},
                "foo-bar": TEXT,
                "a.b/c": TEXT,
                "namespace": TEXT,
                "x__y": TEXT,
                "$odd": TEXT,
                "none": {"type": "string", "nullable": True},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                "matrix": {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}},
                "embedded": {"type": "object", "x-kubernetes-embedded-resource": True},
                "fooBar": TEXT,
                "foo_bar": TEXT,
            },
        }
    },
}
OBJECT: dict[str, Any] = {
    "apiVersion": "example.dev/v1",
    "kind": "Thing",
    "metadata": {"name": "thing", "labels": {"a": "b"}},
    "spec": {
        "replicas": 3,
        "ratio": 2,
        "names": ["a", "b"],
        "when": "2024-02-29T12:30:00.5Z",
        "day": "2024-02-29",
        "wait": "1h30m",
        "raw": "aGVsbG8=",
        "flags": {"on": True, "off": False},
        "tags": ["x", "y"],
        "ports": [{"name": "http", "port": 80}, {"name": "https", "port": 443}],
        "port": "80%",
        "foo-bar": "dash",
        "a.b/c": "dots",
        "namespace": "keyword",
        "x__y": "score",
        "none": None,
        "free": {"anything": 1},
        "matrix": [[1, 2], [3]],
        "embedded": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "inner"}},
        "fooBar": "camel",
        "foo_bar": "snake",
    },
}
DECLARED = declare(SCHEMA, root=True)
assert DECLARED is not None
SCOPE = Scope({"self": DECLARED, "old": "optional_type<$self>"})
VALUES = {"self": bind(DECLARED, OBJECT)}


def value_of(expression: str, budget: int = PER_CALL_LIMIT) -> Any:
    """What the expression evaluates to for OBJECT."""
    return SCOPE.compile(expression).evaluate(VALUES, budget).value


TRUE = (Path(__file__).parent / "cel_true.txt").read_text().splitlines()
"""Expressions that are true of OBJECT, one a line."""


@pytest.mark.parametrize("expression", TRUE)
def test_is_true(expression: str) -> None:
    values = {**VALUES, "old": SCOPE.compile("optional.of(self)").evaluate(VALUES).value}
    assert SCOPE.compile(expression, returns=("bool",)).evaluate(values).value is True


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        ("1 / 0", "division by zero"),
        ("1 % 0", "modulus by zero"),
        ("9223372036854775807 + self.spec.replicas", "integer overflow"),
        ("-(-9223372036854775807 - 1)", "integer overflow"),
        ("0u - 1u", "unsigned integer overflow"),
        ("self.spec.names[5]", "index out of bounds: 5"),
        ("self.spec.names[-1]", "index out of bounds: -1"),
        ("self.spec.flags['nope']", "no such key: nope"),
        ("self.metadata.generateName", "no such key: generateName"),
        ("old.hasValue()", "no such attribute(s): old"),
        ("dyn(1) + 'a'", "no such overload"),
        ("dyn('a') && true", "no such overload"),
        ("optional.none().value()", "optional.none() dereference"),
        ("int('x')", "type conversion error from 'string' to 'int'"),
        ("int('9' + '9999999999999999999')", "integer overflow"),
        ("int(1e300)", "integer overflow"),
        ("timestamp('yesterday')", "type conversion error from 'string' to 'google.protobuf.Timestamp'"),
        ("timestamp('9999-12-31T23:59:59Z') + duration('1s')", "timestamp overflow"),
        ("duration('99999999h')", "type conversion error from 'string' to 'google.protobuf.Duration'"),
        ("self.spec.when.getHours('Mars/Base')", "unknown time zone Mars/Base"),
        ("self.spec.when.getHours('../../etc/passwd')", "unknown time zone ../../etc/passwd"),
        ("string(b'\\xff')", "invalid UTF-8 in bytes, cannot convert to string"),
        ("'a'.charAt(9)", "index out of range: 9"),
        ("'abc'.substring(2, 1)", "invalid substring range. start: 2, end: 1"),
        ("'%d'.format(['x'])", "error during formatting: %d clause cannot be used on string"),
        ("'%.9999f'.format([1.0])", "precision 9999 is over the limit of 100"),
        ("'%s'.format([])", "index 0 out of range"),
        ("[].min()", "min called on empty list"),
        ("quantity('Three')", "quantities must match the regular expression"),
        ("quantity('1.5').asInteger()", "cannot convert value to integer"),
        ("ip('1.2.3')", "unable to parse IP"),
        ("cidr('10.0.0.0/33')", "network address parse error"),
        ("url('nope')", "invalid URI for request"),
        ("semver('1')", "1 is not valid SemVer string"),
        ("'x'.matches('(' + self.spec.names[0])", "error parsing regexp"),
        ("{'a': 1, 'a': 2}", "Failed with repeated key a"),
        ("{'a': 1}.transformMapEntry(k, v, {'x': v, 'x': v})", "Failed with repeated key x"),
        ("self.spec.none.size()", "no such overload"),
    ],
)
def test_an_evaluation_says_what_is_wrong(expression: str, complaint: str) -> None:
    with pytest.raises(EvaluationError) as raised:
        value_of(expression)
    assert complaint in str(raised.value)


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        ("self.spec.nope", "ERROR: <input>:1:10: undefined field 'nope'\n | self.spec.nope\n | .........^"),
        ("self.metadata.labels", "undefined field 'labels'"),
        ("self.spec.free.anything", "undefined field 'anything'"),
        ("self.spec.embedded.spec", "undefined field 'spec'"),
        ("has(self.spec.nope)", "undefined field 'nope'"),
        ("self.spec.flags['a'].x", "cannot be the operand of a select operation"),
        ("nope", "undeclared reference to 'nope' (in container '')"),
        ("nope(1)", "undeclared reference to 'nope' (in container '')"),
        ("self.spec.replicas == 'x'", "found no matching overload for '_==_' applied to '(int, string)'"),
        ("self.spec.replicas.size()", "found no matching overload for 'size' applied to '(int)'"),
        ("self.spec.names == null", "found no matching overload"),
        ("self.spec.all(x, true)", "cannot be the range of a comprehension"),
        ("'a'.matches('(.{999}){9}')", "program instantiation failed: error parsing regexp: invalid repeat count"),
        ("'a'.matches('(')", "program instantiation failed: error parsing regexp"),
        ("1 +", "Syntax error"),
        ("'\ud800'", "Syntax error"),
        ("", "expression is not specified"),
        ("a" * (EXPRESSION_LENGTH_MAX + 1), "expression is longer than"),
        ("(" * 300 + "1" + ")" * 300, "recursion"),
        ("+".join(["1"] * 3_000), "recursion"),
        ("[" * 3_000, "recursion"),
        ("google.protobuf.Struct{}", "undeclared reference to"),
    ],
)
def test_what_does_not_compile_is_told_as_kubernetes_does(expression: str, complaint: str) -> None:
    with pytest.raises(CompileError) as raised:
        SCOPE.compile(expression, returns=("bool",) if "Struct" not in expression else ())
    assert complaint in str(raised.value)


def test_the_type_of_the_result_is_checked() -> None:
    with pytest.raises(CompileError, match="cel expression must evaluate to a bool"):
        SCOPE.compile("self.spec.replicas", returns=("bool",))
    assert SCOPE.compile("self.spec.replicas", returns=("int", "bool")).signature == "int"


@pytest.mark.parametrize(
    ("name", "escaped"),
    [
        ("plain", "plain"),
        ("a.b-c/d", "a__dot__b__dash__c__slash__d"),
        ("a__b", "a__underscores__b"),
        ("in", "__in__"),
        ("namespace", "__namespace__"),
        ("int", "int"),
        ("$ref", None),
        ("1st", None),
    ],
)
def test_names_are_escaped_and_back(name: str, escaped: str | None) -> None:
    assert escape(name) == escaped
    if escaped is not None:
        assert unescape(escaped) == name


@pytest.mark.parametrize(
    ("expression", "cost"),
    [
        ("true", 0),
        ("self.spec.replicas == 3", 4),
        ("self.spec.names.exists(n, n == 'a') && false", 13),
        ("[1, 2].size() == 2", 12),
        ("'aaaaaaaaaaaaaaaaaaaa'.contains('aaaaaaaaaaa')", 4),
        ("'abc'.matches('a+')", 1),
        ("[3, 1].max() == 3", 13),
        ("{'a': 1}['a'] == 1", 32),
    ],
)
def test_costs_are_counted(expression: str, cost: int) -> None:
    assert SCOPE.compile(expression).evaluate(VALUES).cost == cost


@pytest.mark.parametrize(
    ("expression", "least", "most"),
    [
        ("self.spec.names.all(n, n.size() < 5)", 4, 34),
        ("self.spec.replicas > 3", 4, 4),
        ("['a', 'bb'].exists(x, x == self.kind)", 19, 27),
    ],
)
def test_costs_are_estimated_by_the_schemas_bounds(expression: str, least: int, most: int) -> None:
    found = SCOPE.compile(expression).estimate
    assert (found.min, found.max) == (least, most)


def test_what_has_no_bound_is_estimated_dear() -> None:
    assert SCOPE.compile("self.spec.tags.all(a, self.spec.tags.all(b, a == b))").estimate.max > 10**12


BIG = {"self": {"spec": {"tags": [f"item {number}" for number in range(100_000)], "x": "y" * 100_000}}}
HOSTILE = [
    "self.spec.tags.all(a, self.spec.tags.all(b, self.spec.tags.all(c, a != b || b != c || true)))",
    "self.spec.tags.map(a, self.spec.tags).size() > 0",
    "self.spec.tags.map(a, self.spec.tags + self.spec.tags).size() > 0",
    "self.spec.tags.filter(a, self.spec.tags == self.spec.tags).size() > 0",
    "self.spec.tags.all(a, dyn(self.spec.x).matches('(' + a + ')+[a-z]{100}(' + a + '|b+)*$') || true)",
    "self.spec.tags.all(a, dyn(self.spec.x).replace('', self.spec.x).size() > 0)",
    "self.spec.tags.map(a, a + self.spec.x).join().size() > 0",
    "[self.spec.tags].exists(a, [a + a].exists(b, [b + b].exists(c, [c + c].exists(d, (d + d).size() > 0))))",
    "self.spec.tags.transformMap(i, v, self.spec.tags.transformMap(j, w, w)).size() > 0",
    "self.spec.tags.all(a, dyn(self.spec.x).matches('.{999}$') || true)",
    "self.spec.tags.all(a, dyn(self.spec.x).find('(.{20}){40}z') == '')",
    "sets.equivalent(self.spec.tags, self.spec.tags)",
    "self.spec.tags.all(a, '%s'.format([self.spec]).size() > 0)",
]


@pytest.mark.parametrize("expression", HOSTILE)
def test_a_hostile_expression_ends_at_its_budget(expression: str) -> None:
    program = Scope({"self": "dyn"}).compile(expression)
    with pytest.raises(BudgetExceeded, match="operation cancelled: actual cost limit exceeded"):
        program.evaluate(BIG, 100_000)


async def test_a_dear_evaluation_leaves_the_event_loop_free() -> None:
    program = Scope({"self": "dyn"}).compile(HOSTILE[0])
    done = asyncio.Event()
    turns = 0

    async def count() -> None:
        nonlocal turns
        while not done.is_set():
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    with pytest.raises(BudgetExceeded):
        await evaluate(lambda budget: program.evaluate(BIG, budget).value, PER_CALL_LIMIT)
    done.set()
    await counting
    assert turns > 10


async def test_a_cheap_evaluation_stays_on_the_loop() -> None:
    here = threading.get_ident()
    assert await evaluate(lambda budget: threading.get_ident(), PER_CALL_LIMIT) == here


def test_the_clock_ends_what_the_budget_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    program = Scope({"self": "dyn"}).compile("self.spec.tags.all(a, true)")
    ticking = iter(range(10_000))
    monkeypatch.setattr(time, "thread_time", lambda: float(next(ticking)))
    with pytest.raises(BudgetExceeded):
        program.evaluate(BIG, 10**9)


POLICY = PolicyScope(params=True)
POLICY.declare("replicas", "object.spec.replicas")
POLICY.declare("many", "variables.replicas > params.max")
POLICY.declare("broken", "1 / 0")
POLICY.declare("who", "request.userInfo")
REQUEST = {"operation": "CREATE", "userInfo": {"username": "amy", "groups": ["dev"], "extra": {"k": ["v"]}}}
BOUND = POLICY.bind(
    request=REQUEST,
    new={"spec": {"replicas": 5}},
    params={"max": 3},
    namespace={"metadata": {"name": "shop", "labels": {"env": "prod"}}},
)


@pytest.mark.parametrize(
    "expression",
    [
        "variables.many && variables.replicas == 5",
        "oldObject == null && request.operation == 'CREATE'",
        "variables.who.username == 'amy' && 'dev' in request.userInfo.groups && request.userInfo.extra['k'] == ['v']",
        "namespaceObject.metadata.labels['env'] == 'prod'",
        "variables.many || variables.broken == 1",
        "!has(request.dryRun) && object.?spec.?nope.orValue(true)",
    ],
)
def test_a_policy_reads_the_request(expression: str) -> None:
    assert POLICY.compile(expression).evaluate(BOUND).value is True


def test_a_variable_is_paid_for_once_and_its_error_stays() -> None:
    values = POLICY.bind(request=REQUEST, new={"spec": {"replicas": 5}}, params={"max": 3})
    program = POLICY.compile("variables.many")
    assert program.evaluate(values).cost > program.evaluate(values).cost == 1
    for _ in range(2):
        with pytest.raises(EvaluationError, match="division by zero"):
            POLICY.compile("variables.broken == 1").evaluate(values)


@pytest.mark.parametrize("expression", ["request.nope", "namespaceObject.data", "variables.nope", "authorizer.nope"])
def test_a_policy_with_a_misspelt_name_does_not_compile(expression: str) -> None:
    with pytest.raises(CompileError):
        POLICY.compile(expression, returns=())
