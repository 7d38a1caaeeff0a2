"""From a checked tree to a function that computes it, and charges for every step as cel-go does.

The tree is turned into closures once; evaluating is calling the outermost. Written here because the C++ evaluator counts
no cost and cannot be stopped: a rule over a large list would hold the whole server still.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from ..schema import patterns
from . import names
from .errors import BudgetExceeded, CompileError, EvaluationError, NoSuchOverload
from .frame import LIST_COST, MAP_COST, Frame, Lazy, as_index
from .library import FUNCTIONS
from .library.authorization import TYPES as AUTHORIZATION_TYPES
from .library.standard import KNOWN_PATTERNS
from .tree import Call, Checked, Const, Expr, Fold, Ident, ListOf, MapOf, Select
from .values import NONE, CelType, Optional, as_key, of_key, type_name

Plan: TypeAlias = Callable[[Frame], Any]

TYPES = {
    **{name: name for name in ("bool", "bytes", "double", "dyn", "int", "list", "map", "null_type", "string")},
    **{
        name: name
        for name in ("type", "uint", "optional_type", "google.protobuf.Timestamp", "google.protobuf.Duration")
    },
    **{f"kubernetes.{name}": f"kubernetes.{name}" for name in ("URL", "Quantity", "Semver", "NamedFormat")},
    **{f"net.{name}": f"net.{name}" for name in ("IP", "CIDR")},
    **{name: name for name in AUTHORIZATION_TYPES},
}
"""Names of types that stand for themselves in an expression."""


class _Failed:
    """An accumulator whose step had an error; whoever reads it meets the error."""

    __slots__ = ("error",)

    def __init__(self, error: EvaluationError) -> None:
        self.error = error


class Planner:
    """Turns the nodes of one tree into plans. `variables` are the names that an evaluation gives, in their order."""

    def __init__(self, checked: Checked, variables: tuple[str, ...]) -> None:
        self._checked = checked
        self._slots = {name: at for at, name in enumerate(variables)}
        self._scopes: list[dict[str, int]] = []
        self._growing: set[str] = set()
        """Accumulators that begin as a fresh list or map and that nobody else can name: grown in place."""
        self.width = len(variables)
        """How many slots a frame needs."""

    def plan(self, node: Expr) -> Plan:
        """The function that computes the node. Raises CompileError for what has no meaning here."""
        match node:
            case Const():
                return _const(node.value)
            case Ident():
                return self._ident(node)
            case Select():
                return self._select(node)
            case Call():
                return self._call(node)
            case ListOf():
                return self._list(node)
            case MapOf():
                return self._map(node)
        return self._fold(node)

    def _ident(self, node: Ident) -> Plan:
        for scope in reversed(self._scopes):
            if node.name in scope:
                return _local(scope[node.name])
        return self._global(self._checked.names.get(node.id, node.name))

    def _global(self, name: str) -> Plan:
        if name in self._slots:
            return _variable(self._slots[name], name)
        if name in TYPES:
            return _const(CelType(TYPES[name]))
        raise CompileError(f"undeclared reference to '{name}' (in container '')")

    def _select(self, node: Select) -> Plan:
        named = self._checked.names.get(node.id)
        if named is not None and (named in self._slots or named in TYPES):
            return self._global(named)
        field = names.unescape(node.field) if self.is_object(node.operand) else node.field
        operand = self.plan(node.operand)
        return _test(operand, field) if node.test else _field(operand, field)

    def _call(self, node: Call) -> Plan:
        special = _SPECIAL.get(node.function)
        if special is not None and node.target is None:
            return special(self, node)
        target, name = node.target, node.function
        if target is not None:
            # A function with a namespace (`ip.isCanonical`) is parsed as a member of a variable that does not exist.
            qualified = f"{_qualified(target)}.{name}"
            if qualified in FUNCTIONS and not self._is_local(qualified):
                target, name = None, qualified
        function = FUNCTIONS.get(name)
        if function is None:
            raise CompileError(f"undeclared reference to '{name}' (in container '')")
        nodes = node.args if target is None else [target, *node.args]
        if name in ("matches", "find", "findAll") and len(nodes) > 1 and isinstance(nodes[1], Const):
            _check_pattern(nodes[1].value)
        return _apply(function, [self.plan(argument) for argument in nodes])

    def _is_local(self, qualified: str) -> bool:
        return any(qualified.split(".")[0] in scope for scope in self._scopes)

    def _list(self, node: ListOf) -> Plan:
        plans, optional = [self.plan(element) for element in node.elements], node.optional

        def make(frame: Frame) -> list[Any]:
            frame.pay(LIST_COST)
            return [plan(frame) for plan in plans]

        def make_with_optionals(frame: Frame) -> list[Any]:
            made = []
            for at, value in enumerate(make(frame)):
                if at not in optional:
                    made.append(value)
                elif not isinstance(value, Optional):
                    raise NoSuchOverload
                elif value.present:
                    made.append(value.value)
            return made

        return make_with_optionals if optional else make

    def _map(self, node: MapOf) -> Plan:
        if node.message:
            raise CompileError(f"undeclared reference to '{node.message}' (in container '')")
        entries = []
        for entry in node.entries:
            assert not isinstance(entry.key, str), entry.key
            entries.append((self.plan(entry.key), self.plan(entry.value), entry.optional))

        def make(frame: Frame) -> dict[Any, Any]:
            frame.pay(MAP_COST)
            made: dict[Any, Any] = {}
            for key_plan, value_plan, optional in entries:
                key, value = key_plan(frame), value_plan(frame)
                if optional:
                    if not value.present:
                        continue
                    value = value.value
                _insert(made, key, value)
            return made

        return make

    def _fold(self, node: Fold) -> Plan:
        ranged, init = self.plan(node.range), self.plan(node.init)
        accumulator = self._slot()
        item, second = self._slot(), self._slot()
        grows = isinstance(node.init, (ListOf, MapOf)) and node.accumulator.startswith("@")
        inner = {node.accumulator: accumulator}
        self._scopes.append(inner)
        result = self.plan(node.result)
        self._scopes.append({node.variable: item, **({node.second: second} if node.second else {})})
        before = set(self._growing)
        self._growing = (before | {node.accumulator}) if grows else before - {node.accumulator}
        condition, step = self.plan(node.condition), self.plan(node.step)
        self._growing = before
        del self._scopes[-2:]
        pairs = _pairs if node.second else _singles

        def fold(frame: Frame) -> Any:
            slots = frame.slots
            try:
                slots[accumulator] = init(frame)
            except EvaluationError as error:
                slots[accumulator] = _Failed(error)
            for first, other in pairs(ranged(frame)):
                frame.tick()
                slots[item], slots[second] = first, other
                if condition(frame) is False:
                    break
                try:
                    slots[accumulator] = step(frame)
                except EvaluationError as error:
                    slots[accumulator] = _Failed(error)
            return result(frame)

        return fold

    def _slot(self) -> int:
        self.width += 1
        return self.width - 1

    def is_object(self, node: Expr) -> bool:
        """The node is an object of a schema, or an optional one: its fields are written escaped."""
        found = self._checked.type_of(node)
        return (found.params[0] if found.kind == "optional_type" else found).kind == "message"

    def grown(self, node: Expr) -> int | None:
        """The slot of the accumulator that this node reads, when it may be grown in place."""
        if isinstance(node, Ident) and node.name in self._growing:
            return next((scope[node.name] for scope in reversed(self._scopes) if node.name in scope), None)
        return None


def _check_pattern(pattern: Any) -> None:
    """A pattern that is written in the expression is compiled with it, and then costs nothing extra."""
    trouble = patterns.problem(pattern) if isinstance(pattern, str) else None
    if trouble is not None:
        raise CompileError(f"program instantiation failed: error parsing regexp: {trouble}")
    KNOWN_PATTERNS.add(pattern)


def _qualified(node: Expr) -> str:
    if isinstance(node, Ident):
        return node.name
    if isinstance(node, Select) and not node.test:
        return f"{_qualified(node.operand)}.{node.field}"
    return "?"


def _const(value: Any) -> Plan:
    return lambda _frame: value


def _local(slot: int) -> Plan:
    def read(frame: Frame) -> Any:
        frame.left -= 1
        if frame.left < 0:
            raise BudgetExceeded
        value = frame.slots[slot]
        if type(value) is _Failed:
            raise value.error
        return value

    return read


def _variable(slot: int, name: str) -> Plan:
    def read(frame: Frame) -> Any:
        frame.left -= 1
        if frame.left < 0:
            raise BudgetExceeded
        value = frame.slots[slot]
        if type(value) is Lazy:
            return value.get(frame)
        if value is ABSENT:
            raise EvaluationError(f"no such attribute(s): {name}")
        return value

    return read


ABSENT = object()
"""What stands for a variable that an evaluation did not give."""


def _field(operand: Plan, field: str) -> Plan:
    def read(frame: Frame) -> Any:
        held = operand(frame)
        frame.left -= 1
        if frame.left < 0:
            raise BudgetExceeded
        try:
            return held[field]
        except KeyError:
            raise EvaluationError(f"no such key: {field}") from None
        except TypeError:
            if isinstance(held, Optional):
                return _optional_member(held, field)
            raise NoSuchOverload from None

    return read


def _test(operand: Plan, field: str) -> Plan:
    def test(frame: Frame) -> bool:
        held = operand(frame)
        frame.pay(1)
        if isinstance(held, Optional):
            held = held.value if held.present else {}
        if not isinstance(held, Mapping):
            raise NoSuchOverload
        return field in held

    return test


def _optional_member(held: Any, key: Any) -> Optional:
    """`held[?key]` and `held.?key`."""
    if isinstance(held, Optional):
        if not held.present:
            return NONE
        held = held.value
    if isinstance(held, Mapping):
        key = as_key(key)
        return Optional(True, held[key]) if key in held else NONE
    at = as_index(key)
    if not isinstance(held, list) or at is None:
        raise NoSuchOverload
    return Optional(True, held[at]) if 0 <= at < len(held) else NONE


def _member(held: Any, key: Any) -> Any:
    if isinstance(held, Mapping):
        key = as_key(key)
        if key not in held:
            raise EvaluationError(f"no such key: {of_key(key)}")
        return held[key]
    if isinstance(held, Optional):
        return _optional_member(held, key)
    at = as_index(key)
    if not isinstance(held, list) or at is None:
        raise NoSuchOverload
    if not 0 <= at < len(held):
        raise EvaluationError(f"index out of bounds: {at}")
    return held[at]


def _index(planner: Planner, node: Call) -> Plan:
    operand, key = (planner.plan(argument) for argument in node.args)

    def read(frame: Frame) -> Any:
        held, at = operand(frame), key(frame)
        frame.pay(1)
        return _member(held, at)

    return read


def _optional_index(planner: Planner, node: Call) -> Plan:
    operand, key = (planner.plan(argument) for argument in node.args)
    escaped = node.function == "_?._" and planner.is_object(node.args[0])

    def read(frame: Frame) -> Optional:
        held, at = operand(frame), key(frame)
        frame.pay(1)
        return _optional_member(held, names.unescape(at) if escaped else at)

    return read


def _logic(planner: Planner, node: Call) -> Plan:
    """`&&` and `||`: an error on one side is forgiven when the other side decides."""
    left, right = (planner.plan(argument) for argument in node.args)
    decisive = node.function == "_||_"

    def decide(frame: Frame) -> bool:
        trouble: EvaluationError | None = None
        for side in (left, right):
            try:
                value = side(frame)
            except EvaluationError as error:
                trouble = trouble or error
                continue
            if value is decisive:
                return bool(value)
            if type(value) is not bool:
                trouble = trouble or NoSuchOverload()
        if trouble is not None:
            raise trouble
        return not decisive

    return decide


def _conditional(planner: Planner, node: Call) -> Plan:
    condition, truthy, falsy = (planner.plan(argument) for argument in node.args)

    def choose(frame: Frame) -> Any:
        value = condition(frame)
        if type(value) is not bool:
            raise NoSuchOverload
        return truthy(frame) if value else falsy(frame)

    return choose


def _not_strictly_false(planner: Planner, node: Call) -> Plan:
    operand = planner.plan(node.args[0])

    def judge(frame: Frame) -> bool:
        frame.pay(1)
        try:
            return operand(frame) is not False
        except EvaluationError:
            return True

    return judge


def _add(planner: Planner, node: Call) -> Plan:
    left, right = (planner.plan(argument) for argument in node.args)
    plain = _apply(FUNCTIONS["_+_"], [left, right])
    if planner.grown(node.args[0]) is None:
        return plain

    def grow(frame: Frame) -> Any:
        held, more = left(frame), right(frame)
        if type(held) is not list or type(more) is not list:
            raise NoSuchOverload
        frame.pay(1)
        # filter and map build their result by adding to it: copying it each time would be quadratic.
        held.extend(more)
        return held

    return grow


def _map_insert(planner: Planner, node: Call) -> Plan:
    plans = [planner.plan(argument) for argument in node.args]
    in_place = planner.grown(node.args[0]) is not None

    def insert(frame: Frame) -> Any:
        held, *more = (plan(frame) for plan in plans)
        if not in_place:
            frame.pay_for(len(held))
            held = dict(held)
        frame.pay(1)
        for key, value in more[0].items() if len(more) == 1 else [(more[0], more[1])]:
            _insert(held, of_key(key), value)
        return held

    return insert


def _insert(held: dict[Any, Any], key: Any, value: Any) -> None:
    at = as_key(key)
    if at in held:
        raise EvaluationError(f"Failed with repeated key {key}")
    held[at] = value


_SPECIAL: dict[str, Callable[[Planner, Call], Plan]] = {
    "_[_]": _index,
    "_[?_]": _optional_index,
    "_?._": _optional_index,
    "_&&_": _logic,
    "_||_": _logic,
    "_?_:_": _conditional,
    "@not_strictly_false": _not_strictly_false,
    "__not_strictly_false__": _not_strictly_false,
    "_+_": _add,
    "cel.@mapInsert": _map_insert,
}


def _apply(function: Callable[..., Any], plans: list[Plan]) -> Plan:
    """A strict call: the arguments, then the function, which charges for itself."""
    if len(plans) == 1:
        (only,) = plans
        return lambda frame: function(frame, only(frame))
    if len(plans) == 2:
        first, second = plans
        return lambda frame: function(frame, first(frame), second(frame))
    return lambda frame: function(frame, *[plan(frame) for plan in plans])


def _singles(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, list):
        return ((item, None) for item in value)
    if isinstance(value, Mapping):
        return ((of_key(key), None) for key in value)
    raise EvaluationError(f"got '{type_name(value)}', expected iterable type")


def _pairs(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, list):
        return enumerate(value)
    if isinstance(value, Mapping):
        return ((of_key(key), item) for key, item in value.items())
    raise EvaluationError(f"got '{type_name(value)}', expected iterable type")
