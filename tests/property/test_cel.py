"""Whatever somebody writes as an expression, the answer is a value or one of CEL's own errors, within its budget."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stark.apiserver.cel import CelError, Scope, bind, declare
from stark.apiserver.cel.library import EXTENSIONS
from stark.apiserver.cel.library.standard import BUILTIN

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "i": {"type": "integer"},
        "d": {"type": "number"},
        "s": {"type": "string"},
        "b": {"type": "string", "format": "byte"},
        "t": {"type": "string", "format": "date-time"},
        "n": {"type": "string", "nullable": True},
        "l": {"type": "array", "items": {"type": "integer"}},
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "m": {"type": "object", "additionalProperties": {"type": "string"}},
        "x": {"x-kubernetes-int-or-string": True},
        "o": {"type": "object", "properties": {"i": {"type": "integer"}}},
    },
}
DECLARED = declare(SCHEMA)
assert DECLARED is not None
TYPED, UNTYPED = Scope({"self": DECLARED}), Scope({"self": "dyn"})
VALUES = {
    "self": bind(
        DECLARED,
        {
            "i": -(2**63),
            "d": 1e308,
            "s": "héllo\x00 %d",
            "b": "/w==",
            "t": "0001-01-01T00:00:00Z",
            "n": None,
            "l": [3, 1, 2**63 - 1],
            "set": ["a", "b"],
            "m": {"a": "b", "": "1h"},
            "x": "50%",
            "o": {},
        },
    )
}
BUDGET = 2_000

LEAVES = st.one_of(
    st.sampled_from(
        [f"self.{name}" for name in ("i", "d", "s", "b", "t", "n", "l", "set", "m", "x", "o", "o.i", "?o.?i")]
    ),
    st.sampled_from(
        ["x", "null", "true", "1u", "-9223372036854775808", "18446744073709551615u", "1e400", "b'\\xff'", "[]", "{}"]
    ),
    st.sampled_from(
        ["''", "'-'", "'%s'", "'(a|b)*$'", "'1.2.3.4/8'", "'::1'", "'9e9'", "'Europe/Berlin'", "'dns1123Label'"]
    ),
    st.sampled_from(["duration('1h')", "timestamp('9999-12-31T23:59:59Z')", "ip('::1')", "cidr('10.0.0.0/8')"]),
    st.sampled_from(["quantity('1E')", "semver('1.2.3')", "url('/a')", "optional.none()", "type(1)", "int", "net.IP"]),
    st.integers(-(2**64), 2**64).map(str),
    st.text(max_size=6).map(lambda text: "'" + text.encode("unicode_escape").decode().replace("'", "\\'") + "'"),
)
NAMES = sorted({overload.function for overload in EXTENSIONS} | {name for name in BUILTIN if name[0].isalpha()})
OPERATORS = ["+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "&&", "||", "in"]
MACROS = ["all", "exists", "exists_one", "map", "filter"]


def _grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from(OPERATORS), inner),
        st.builds("{}.{}({})".format, inner, st.sampled_from(NAMES), st.lists(inner, max_size=3).map(", ".join)),
        st.builds("{}({})".format, st.sampled_from(NAMES), st.lists(inner, max_size=3).map(", ".join)),
        st.builds("{}.{}(x, {})".format, inner, st.sampled_from(MACROS), inner),
        st.builds("{}.transformMap(x, y, {})".format, inner, inner),
        st.builds("({} ? {} : {})".format, inner, inner, inner),
        st.builds("{}[{}]".format, inner, inner),
        st.builds("[{}, ?{}]".format, inner, inner),
        st.builds("{{{}: {}}}".format, inner, inner),
        st.builds("dyn({})".format, inner),
        st.builds("!{}".format, inner),
        st.builds("-{}".format, inner),
        st.builds("has({}.a)".format, inner),
    )


EXPRESSIONS = st.recursive(LEAVES, _grown, max_leaves=8)


def answer(scope: Scope, expression: str) -> None:
    """Compile, estimate and evaluate; only CEL's own errors may come out."""
    try:
        program = scope.compile(expression)
        assert program.estimate.min <= program.estimate.max
        assert program.evaluate(VALUES, BUDGET).cost <= BUDGET
    except CelError:
        return


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(EXPRESSIONS)
def test_any_typed_expression_has_an_answer(expression: str) -> None:
    answer(TYPED, expression)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(EXPRESSIONS.map(lambda text: text.replace("self.", "dyn(self).")))
def test_any_untyped_expression_has_an_answer(expression: str) -> None:
    answer(UNTYPED, expression)


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet=st.sampled_from("()[]{}.,?:!&|=<>+-*/%'\"\\ \n\x00axis019uérb`"), max_size=60))
def test_any_text_is_read_or_refused(expression: str) -> None:
    answer(UNTYPED, expression)
