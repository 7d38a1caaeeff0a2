"""Compile an expression once, evaluate it often.

    scope = Scope({"self": declare(schema, root=True), "limit": "int"})
    program = scope.compile("self.spec.replicas <= limit", returns=("bool",))
    program.evaluate({"self": bind(declared, obj), "limit": 5}).value

`compile` raises CompileError in Kubernetes' words; `evaluate` raises EvaluationError, or BudgetExceeded when it would cost
more than it may. Neither raises anything else, whatever the expression.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from . import package
from .declared import Declared
from .descriptors import Messages
from .errors import CelError, CompileError, EvaluationError
from .estimate import Estimate, estimate
from .evaluate import ABSENT, Planner
from .frame import Frame, Lazy
from .literals import check_literals
from .tree import Checked, Type, decode

PER_CALL_LIMIT = 1_000_000
"""Units one evaluation may cost (Kubernetes' PerCallLimit)."""
OBJECT_BUDGET = 10_000_000
"""Units all evaluations for one object may cost together (Kubernetes' RuntimeCELCostBudget)."""

_WRAPPED = {
    "int": "Int64Value",
    "uint": "UInt64Value",
    "double": "DoubleValue",
    "bool": "BoolValue",
    "string": "StringValue",
}
_NAMED = {
    "null": "null_type",
    "any": "dyn",
    "timestamp": "google.protobuf.Timestamp",
    "duration": "google.protobuf.Duration",
}


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What came out, and the units it cost."""

    value: Any
    cost: int


class Scope:
    """The variables of a group of expressions: by name, a declared type or the signature of one (`map<string, dyn>`)."""

    def __init__(self, variables: Mapping[str, Declared | str]) -> None:
        self.variables = dict(variables)
        self.names = tuple(self.variables)

    @cached_property
    def _environment(self) -> package.Environment:
        messages, signatures = Messages(), {}
        known: dict[int, str] = {}
        for name, declared in self.variables.items():
            if isinstance(declared, str):
                signatures[name] = declared
            elif id(declared) in known:
                signatures[name] = known[id(declared)]
            else:
                signatures[name] = known[id(declared)] = messages.signature(declared, "object")
        # An optional of a declared type is written around the name of the variable that has the type.
        signatures = {name: _resolved(text, signatures) for name, text in signatures.items()}
        return package.environment(signatures, pool=messages.pool(), functions=True)

    def compile(self, expression: str, returns: Iterable[str] = ()) -> Program:
        """The program of an expression whose type is among `returns`; any type when that is empty.

        Raises CompileError, Unavailable.
        """
        if not expression.strip():
            raise CompileError("expression is not specified")
        checked = decode(self._environment.check(expression))
        check_literals(checked, expression)
        wanted, found = tuple(returns), checked.type_of(checked.root)
        if wanted and found.kind not in wanted and (found.kind != "dyn" or "dyn" not in wanted):
            raise CompileError(f"cel expression must evaluate to a {' or '.join(wanted)}")
        return Program(expression, checked, self)


def _resolved(text: str, signatures: Mapping[str, str]) -> str:
    if text.startswith("optional_type<$"):
        return f"optional_type<{signatures[text[len('optional_type<$') : -1]]}>"
    return text


class Program:
    """A compiled expression. It keeps nothing between evaluations and may be used from several threads."""

    def __init__(self, expression: str, checked: Checked, scope: Scope) -> None:
        self.expression = expression
        self._checked, self._scope = checked, scope
        planner = Planner(checked, scope.names)
        self._plan = planner.plan(checked.root)
        self._width = planner.width

    @property
    def type(self) -> Type:
        """The type of its value."""
        return self._checked.type_of(self._checked.root)

    @property
    def signature(self) -> str:
        """That type as another scope's variable may have it."""
        return _signature(self.type)

    def uses(self, variable: str) -> bool:
        """The expression reads the variable."""
        return variable in self._checked.names.values()

    @cached_property
    def estimate(self) -> Estimate:
        """What it may cost at least and at most, by the sizes that the variables' declared types allow."""
        roots = {name: found for name, found in self._scope.variables.items() if isinstance(found, Declared)}
        return estimate(self._checked, roots)

    def evaluate(
        self,
        values: Mapping[str, Any],
        budget: int = PER_CALL_LIMIT,
        deadline: float | None = None,
        pay: Callable[[int], None] | None = None,
    ) -> Evaluated:
        """Its value for these variables, at most `budget` units of cost, not after `deadline` (of the thread's CPU time).

        `pay` is told the cost, whatever came out. Raises EvaluationError, BudgetExceeded.
        """
        frame = Frame(self._slots(values), budget, deadline)
        try:
            return Evaluated(self._run(frame), budget - frame.left)
        finally:
            if pay is not None:
                pay(budget - max(0, frame.left))

    def lazily(self, values: Mapping[str, Any]) -> Lazy:
        """A variable for other expressions that is this program's value: evaluated when first read, then kept."""

        def make(frame: Frame) -> Any:
            inner = frame.inside(self._slots(values))
            try:
                return self._run(inner)
            finally:
                frame.left = inner.left

        return Lazy(make)

    def _slots(self, values: Mapping[str, Any]) -> list[Any]:
        slots = [values.get(name, ABSENT) for name in self._scope.names]
        return slots + [None] * (self._width - len(slots))

    def _run(self, frame: Frame) -> Any:
        try:
            return self._plan(frame)
        except CelError:
            raise
        except (
            ArithmeticError,
            LookupError,
            TypeError,
            ValueError,
            AttributeError,
            RecursionError,
            MemoryError,
        ) as error:
            # An expression is a stranger's: what our functions did not foresee is the expression's error, not ours.
            raise EvaluationError(f"{type(error).__name__} in evaluation: {error}") from error


def _signature(found: Type) -> str:
    match found.kind:
        case "message":
            return found.name
        case "wrapper":
            return f"google.protobuf.{_WRAPPED.get(found.params[0].kind, 'StringValue')}"
        case "list" | "map" | "optional_type":
            return f"{found.kind}<{', '.join(map(_signature, found.params))}>"
    return _NAMED.get(found.kind, found.kind)
