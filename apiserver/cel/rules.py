"""x-kubernetes-validations: the rules of a schema, compiled with it, and an object judged by them.

A rule sees the value at its place as `self`, and what was there before as `oldSelf` where that can be known: along
properties, maps and lists of type map. An unchanged value that breaks a rule is let pass with a warning (KEP-4008).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import Cause
from ..schema.checks import fingerprint, join, same
from ..schema.nodes import MISSING, Missing
from .declared import Declared, bind, declare
from .errors import BudgetExceeded, CelError, CompileError, EvaluationError, NoSuchOverload
from .fieldpaths import PathError, follow
from .frame import DEADLINE_S
from .program import OBJECT_BUDGET, PER_CALL_LIMIT, Program, Scope
from .values import NONE, Optional

WORD = "x-kubernetes-validations"
MESSAGE_MAX = 5 * 1024
"""Bytes of a message that an expression makes (Kubernetes' MaxEvaluatedMessageExpressionSizeBytes)."""
INLINE_EVALUATIONS_MAX = 1_000
"""Evaluations for one object that are done on the event loop: each has a cost that no budget counts."""
COMPLAINTS_MAX = 256
"""Complaints and warnings of one object; no further rules are run then."""
OBJECT_DEADLINE_S = 4 * DEADLINE_S
"""Seconds of CPU that all rules for one object may take. The full budget of an object takes about half of it."""

WHOLE = "<nil>"
"""The field of a complaint about a whole object, as Go prints the path that is none."""
REASONS = ("FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired")


@dataclass(slots=True)
class Rule:
    """One rule, compiled, or with the reason why it could not be."""

    source: Mapping[str, Any]
    program: Program | None = None
    message: Program | None = None
    trouble: CelError | None = None
    message_trouble: CelError | None = None
    uses_old: bool = False
    path: str = ""
    """What `fieldPath` adds to the path of a complaint."""

    @property
    def told(self) -> str:
        """How an error names the rule."""
        return str(self.source.get("message") or self.source.get("rule") or "").strip()

    @property
    def optional_old(self) -> bool:
        """`oldSelf` is an optional, and the rule holds for new values, too."""
        return self.source.get("optionalOldSelf") is True


@dataclass(slots=True)
class Place:
    """The rules at one node of a schema and below it."""

    type: str
    declared: Declared
    rules: list[Rule] = field(default_factory=list)
    properties: dict[str, Place] = field(default_factory=dict)
    additional: Place | None = None
    items: Place | None = None
    map_keys: tuple[str, ...] = ()
    correlatable: bool = True
    """Its fields before and after can be compared: it is no atomic map."""


def has_rules(schema: Any) -> bool:
    """There is a rule at the node or below it."""
    if not isinstance(schema, Mapping):
        return False
    if schema.get(WORD):
        return True
    return any(has_rules(child) for _, child in children(schema))


def children(schema: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The schemas directly inside, with the keyword or the property's name: `properties[x]`, `items` ..."""
    for name, child in (schema.get("properties") or {}).items():
        yield f"properties[{name}]", child
    for word in ("items", "additionalProperties"):
        if isinstance(schema.get(word), Mapping):
            yield word, schema[word]


def compile_rules(schema: Mapping[str, Any], *, root: bool = True) -> Place | None:
    """Every rule of a schema; None when there is none, or nothing that an expression could see. Raises Unavailable."""
    if not has_rules(schema):
        return None
    root = root or schema.get("x-kubernetes-embedded-resource") is True
    declared = declare(schema, root=root)
    if declared is None:
        return None
    place = Place(str(schema.get("type") or ""), declared, compile_place(schema, declared))
    place.correlatable = schema.get("x-kubernetes-map-type") != "atomic"
    for name, child in (schema.get("properties") or {}).items():
        found = compile_rules(child, root=False)
        if found is not None:
            place.properties[name] = found
    if isinstance(schema.get("additionalProperties"), Mapping):
        place.additional = compile_rules(schema["additionalProperties"], root=False)
    if isinstance(schema.get("items"), Mapping):
        place.items = compile_rules(schema["items"], root=False)
    if schema.get("x-kubernetes-list-type") == "map":
        place.map_keys = tuple(schema.get("x-kubernetes-list-map-keys") or ())
    return place


def compile_place(schema: Mapping[str, Any], declared: Declared) -> list[Rule]:
    """The rules at one node alone. Raises Unavailable."""
    sources = schema.get(WORD) or ()
    plain = Scope({"self": declared, "oldSelf": declared})
    optional = Scope({"self": declared, "oldSelf": "optional_type<$self>"})
    return [
        _compile(source, optional if source.get("optionalOldSelf") is True else plain, schema) for source in sources
    ]


def _compile(source: Mapping[str, Any], scope: Scope, schema: Mapping[str, Any]) -> Rule:
    rule = Rule(source)
    try:
        rule.program = scope.compile(source["rule"], returns=("bool",))
        rule.uses_old = rule.program.uses("oldSelf")
    except CompileError as error:
        rule.trouble = error
    text = source.get("messageExpression")
    if text:
        try:
            rule.message = scope.compile(text, returns=("string",))
        except CompileError as error:
            rule.message_trouble = _of_message(error)
    try:
        rule.path = follow(source.get("fieldPath") or "", schema).path
    except PathError as error:
        rule.trouble = rule.trouble or CompileError(f"fieldPath must be a valid path: {error}")
    return rule


def _of_message(error: CompileError) -> CompileError:
    told = str(error)
    if told.startswith("cel expression must"):
        return CompileError("messageExpression must evaluate to a string")
    return CompileError(told.replace("compilation failed:", "messageExpression compilation failed:", 1))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What rules say about an object."""

    causes: tuple[Cause, ...] = ()
    warnings: tuple[str, ...] = ()
    """Complaints about values that have not been changed."""


def judge(
    place: Place, obj: Any, old: Any = None, *, path: str = "", budget: int = OBJECT_BUDGET, inline: bool = False
) -> Verdict:
    """Judge an object by the rules of its schema. `inline` is for the event loop: raises BudgetExceeded instead of going
    on when the rules cost more than `budget` or are too many."""
    judging = _Judging(budget, inline)
    before = MISSING if old is None else old
    try:
        judging.visit(place, obj, before, path, None if old is None else _Pair(_apart(obj), _apart(old)))
    except _Spent:
        pass
    return Verdict(tuple(judging.causes), tuple(judging.warnings))


def _apart(obj: Any) -> Any:
    """A whole object without what only the server and no rule reads: a finalizer that goes changes nothing."""
    if not isinstance(obj, Mapping) or not isinstance(obj.get("metadata"), Mapping):
        return obj
    return {name: value for name, value in obj.items() if name != "metadata"}


class _Pair:
    """A value now and before, compared when it is first asked: every complaint below it asks."""

    __slots__ = ("_new", "_old", "_unchanged")

    def __init__(self, new: Any, old: Any) -> None:
        self._new, self._old = new, old
        self._unchanged: bool | None = None

    def unchanged(self) -> bool:
        """Equal as JSON."""
        if self._unchanged is None:
            self._unchanged = same(self._new, self._old)
        return self._unchanged


class _Spent(Exception):
    """No further rules are run."""


class _Judging:
    """One object being judged."""

    def __init__(self, budget: int, inline: bool) -> None:
        self._left, self._inline = budget, inline
        self._evaluations = 0
        self._deadline = time.thread_time() + OBJECT_DEADLINE_S
        self.causes: list[Cause] = []
        self.warnings: list[str] = []

    def visit(self, place: Place, value: Any, old: Any, path: str, pair: _Pair | None) -> None:
        """The place's own rules, then those below. `pair` is the nearest value that was there before, too."""
        if len(self.causes) + len(self.warnings) >= COMPLAINTS_MAX:
            raise _Spent
        if value is None:
            return
        if old is None:
            old = MISSING
        if place.rules:
            self._apply(place, value, old, path, pair)
        if isinstance(value, list) and place.items is not None:
            before = _correlated(place, old)
            for index, item in enumerate(value):
                known = before.get(_key(item, place.map_keys), MISSING) if before else MISSING
                self._inside(place.items, item, known, f"{path}[{index}]", pair)
        elif isinstance(value, dict):
            self._in_object(place, value, old if place.correlatable else MISSING, path, pair)

    def _in_object(self, place: Place, value: dict[str, Any], old: Any, path: str, pair: _Pair | None) -> None:
        before = old if isinstance(old, Mapping) else {}
        if place.additional is not None:
            for key, item in value.items():
                self._inside(place.additional, item, before.get(key, MISSING), f"{path}[{key}]", pair)
        for name, inner in place.properties.items():
            if name in value:
                self._inside(inner, value[name], before.get(name, MISSING), join(path, name), pair)

    def _inside(self, place: Place, value: Any, old: Any, path: str, pair: _Pair | None) -> None:
        known = old is None or isinstance(old, Missing)
        self.visit(place, value, old, path, pair if known else _Pair(value, old))

    def _apply(self, place: Place, value: Any, old: Any, path: str, pair: _Pair | None) -> None:
        new = bind(place.declared, value)
        is_new = isinstance(old, Missing)
        before = None if is_new else bind(place.declared, old)
        for rule in place.rules:
            if rule.uses_old and is_new and not rule.optional_old:
                continue
            values = {"self": new}
            if rule.optional_old:
                values["oldSelf"] = NONE if is_new else Optional(True, before)
            elif not is_new:
                values["oldSelf"] = before
            self._rule(rule, values, place.type, path, pair)

    def _rule(self, rule: Rule, values: Mapping[str, Any], kind: str, path: str, pair: _Pair | None) -> None:
        if rule.trouble is not None or rule.program is None:
            self.causes.append(_invalid(path, kind, f"rule compile error: {rule.trouble}"))
            return
        try:
            holds = self._evaluate(rule.program, values)
        except BudgetExceeded as error:
            self._out_of_budget(rule, error, kind, path)
        except NoSuchOverload as error:
            hint = "call arguments did not match a supported operator, function or macro signature for rule"
            self.causes.append(_invalid(path, kind, f"'{error}': {hint}: {rule.told}"))
        except EvaluationError as error:
            self.causes.append(_invalid(path, kind, f"{error} evaluating rule: {rule.told}"))
        else:
            if holds is not True:
                self._complain(rule, values, kind, path, pair)

    def _evaluate(self, program: Program, values: Mapping[str, Any]) -> Any:
        self._evaluations += 1
        if self._inline and self._evaluations > INLINE_EVALUATIONS_MAX:
            raise BudgetExceeded
        if time.thread_time() > self._deadline:
            raise BudgetExceeded
        limit = min(self._left, PER_CALL_LIMIT)
        done = program.evaluate(values, limit, self._deadline, self._pay)
        return done.value

    def _pay(self, cost: int) -> None:
        self._left -= cost

    def _out_of_budget(self, rule: Rule, error: BudgetExceeded, kind: str, path: str) -> None:
        if self._inline:
            raise error
        if self._left <= 0 or time.thread_time() > self._deadline:
            text = "validation failed due to running out of cost budget, no further validation rules will be run"
        else:
            text = f"'{error}': no further validation rules will be run due to call cost exceeds limit for rule: {rule.told}"
        self.causes.append(_invalid(path, kind, text))
        raise _Spent

    def _complain(self, rule: Rule, values: Mapping[str, Any], kind: str, path: str, pair: _Pair | None) -> None:
        detail = self._detail(rule, values)
        at = path
        if rule.path:
            at = f"{path}{rule.path}" if rule.path.startswith("[") else join(path, rule.path)
        cause = _of_reason(at, kind, detail, str(rule.source.get("reason") or ""))
        if not rule.uses_old and pair is not None and pair.unchanged():
            self.warnings.append(f"{cause.field}: {cause.message}")
        else:
            self.causes.append(cause)

    def _detail(self, rule: Rule, values: Mapping[str, Any]) -> str:
        if rule.message is not None:
            try:
                text = str(self._evaluate(rule.message, values)).strip()
            except BudgetExceeded:
                if self._inline:
                    raise
                text = ""
            except EvaluationError:
                text = ""
            if text and "\n" not in text and len(text.encode("utf-8", "replace")) <= MESSAGE_MAX:
                return text
        said = str(rule.source.get("message") or "").strip()
        return said or f"failed rule: {rule.told}"


def _correlated(place: Place, old: Any) -> dict[bytes, Any]:
    if not place.map_keys or not isinstance(old, list):
        return {}
    return {_key(item, place.map_keys): item for item in old}


def _key(item: Any, keys: tuple[str, ...]) -> bytes:
    held = {key: item[key] for key in keys if key in item} if isinstance(item, dict) else item
    return fingerprint(held)


def _invalid(path: str, kind: str, detail: str) -> Cause:
    return Cause(path or WHOLE, f'Invalid value: "{kind}": {detail}')


def _of_reason(path: str, kind: str, detail: str, reason: str) -> Cause:
    match reason:
        case "FieldValueForbidden":
            return Cause(path or WHOLE, f"Forbidden: {detail}", reason)
        case "FieldValueRequired":
            return Cause(path or WHOLE, f"Required value: {detail}", reason)
        case "FieldValueDuplicate":
            return Cause(path or WHOLE, f'Duplicate value: "{kind}"', reason)
    return _invalid(path, kind, detail)
