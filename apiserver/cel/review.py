"""Are the rules of a definition's schema fit to be used? What Kubernetes asks when the definition is written.

Each must compile, be about what can be known before and after, and be cheap enough at its worst for the sizes that the
schema allows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import orjson

from ..errors import Cause
from ..schema import wording
from ..schema.nodes import Reader
from ..schema.shape import shape
from .declared import REQUEST_BYTES_MAX, Declared, declare
from .errors import Unavailable
from .fieldpaths import Found, PathError, follow
from .rules import REASONS, WORD, Place, Rule, children, compile_place, compile_rules, has_rules, judge

RULE_COST_MAX = 10_000_000
"""Units one rule may cost at worst, for all the places it holds at together (StaticEstimatedCostLimit)."""
SCHEMA_COST_MAX = 100_000_000
"""Units all rules of one version may cost at worst (StaticEstimatedCRDCostLimit)."""
RULES_MAX = 1_000
"""Rules of one version. The largest public CRDs have about a hundred; each takes a millisecond or two to compile."""
SELECTABLE_MAX = 8
"""Selectable fields of one version, as in Kubernetes."""
PROBLEMS_MAX = 100
"""Problems that are reported of one version."""

_COSTLY = (
    "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are "
    "declared)"
)


def check_rules(schema: Mapping[str, Any], path: str) -> list[Cause]:
    """Everything that is wrong with the rules of one version; `path` is where its schema stands."""
    if not has_rules(schema):
        return []
    count = sum(1 for _ in _rules(schema))
    if count > RULES_MAX:
        return [wording.too_many(path, count, RULES_MAX)]
    found = list(islice(_shapes(schema, path), PROBLEMS_MAX))
    if found:
        return found
    review = _Review()
    try:
        found = list(islice(review.node(schema, path, _Where(root=True)), PROBLEMS_MAX))
    except Unavailable as error:
        return [_forbidden(_first_rule(schema, path), str(error))]
    if review.total > SCHEMA_COST_MAX:
        found += [
            _forbidden(at, "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema")
            for at in review.dearest()
        ]
        found.append(
            _forbidden(
                path,
                too_dear(
                    f"{WORD} estimated rule cost total for entire OpenAPIv3 schema", review.total, SCHEMA_COST_MAX
                ),
            )
        )
    return found


def check_selectable(fields: list[Mapping[str, Any]], schema: Mapping[str, Any], path: str) -> list[Cause]:
    """Everything that is wrong with the selectable fields of one version (KEP-4358)."""
    found: list[Cause] = []
    seen: set[str] = set()
    for index, entry in enumerate(fields):
        at, wanted = f"{path}[{index}].jsonPath", str(entry.get("jsonPath") or "")
        if not wanted:
            found.append(Cause(at, "Required value", "FieldValueRequired"))
            continue
        try:
            leads = follow(wanted, schema, brackets=False)
        except PathError as error:
            found.append(wording.invalid(at, wanted, f"is an invalid path: {error}"))
            continue
        found += _selectable(leads, wanted, at)
        if leads.path in seen:
            found.append(wording.duplicate(at, wanted))
        seen.add(leads.path)
    if len(seen) > SELECTABLE_MAX:
        found.append(wording.too_many(path, len(seen), SELECTABLE_MAX))
    return found


def _selectable(leads: Found, wanted: str, at: str) -> Iterator[Cause]:
    if leads.steps[:1] == ("metadata",):
        yield wording.invalid(at, wanted, "must not point to fields in metadata")
    if leads.schema.get("type") not in ("string", "boolean", "integer"):
        detail = (
            "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are "
            "allowed."
        )
        yield wording.invalid(at, wanted, detail)


def _rules(schema: Mapping[str, Any]) -> Iterator[Any]:
    found = schema.get(WORD)
    yield from found if isinstance(found, list) else ()
    for _, child in children(schema):
        yield from _rules(child)


def _first_rule(schema: Mapping[str, Any], path: str) -> str:
    if schema.get(WORD):
        return f"{path}.{WORD}[0].rule"
    return next((_first_rule(child, f"{path}.{place}") for place, child in children(schema) if has_rules(child)), path)


def _shapes(schema: Mapping[str, Any], path: str) -> Iterator[Cause]:
    """The rules themselves, apart from their expressions."""
    rules = schema.get(WORD)
    if rules is not None and not isinstance(rules, list):
        yield wording.wrong_type(f"{path}.{WORD}", "array", rules)
        return
    for index, rule in enumerate(rules or ()):
        yield from _shape(rule, schema, f"{path}.{WORD}[{index}]")
    for place, child in children(schema):
        yield from _shapes(child, f"{path}.{place}")


_FIELDS = {
    "rule": str,
    "message": str,
    "messageExpression": str,
    "reason": str,
    "fieldPath": str,
    "optionalOldSelf": bool,
}


def _shape(rule: Any, schema: Mapping[str, Any], path: str) -> Iterator[Cause]:
    if not isinstance(rule, Mapping):
        yield wording.wrong_type(path, "object", rule)
        return
    for name, kind in _FIELDS.items():
        if rule.get(name) is not None and not isinstance(rule[name], kind):
            yield wording.wrong_type(f"{path}.{name}", "boolean" if kind is bool else "string", rule[name])
            return
    text, message = str(rule.get("rule") or ""), str(rule.get("message") or "")
    if not text.strip():
        yield Cause(f"{path}.rule", "Required value: rule is not specified", "FieldValueRequired")
    elif message and not message.strip():
        yield wording.invalid(f"{path}.message", message, "message must be non-empty if specified")
    elif _broken(message.strip()):
        yield wording.invalid(f"{path}.message", message, "message must not contain line breaks")
    elif _broken(text.strip()) and not message.strip():
        detail = "Required value: message must be specified if rule contains line breaks"
        yield Cause(f"{path}.message", detail, "FieldValueRequired")
    made = rule.get("messageExpression")
    if made and not made.strip():
        detail = "Required value: messageExpression must be non-empty if specified"
        yield Cause(f"{path}.messageExpression", detail, "FieldValueRequired")
    reason = rule.get("reason")
    if reason is not None and reason not in REASONS:
        yield wording.unsupported(f"{path}.reason", reason, REASONS)
    yield from _field_path(rule.get("fieldPath") or "", schema, f"{path}.fieldPath")


def _field_path(wanted: str, schema: Mapping[str, Any], path: str) -> Iterator[Cause]:
    if not wanted:
        return
    if not wanted.strip():
        yield wording.invalid(path, wanted, "fieldPath must be non-empty if specified")
    if _broken(wanted):
        yield wording.invalid(path, wanted, "fieldPath must not contain line breaks")
    try:
        follow(wanted, schema)
    except PathError:
        yield wording.invalid(path, wanted, "fieldPath must be a valid path")


def _broken(text: str) -> bool:
    return "\n" in text or "\r" in text


@dataclass(frozen=True, slots=True)
class _Where:
    """What a node's ancestors say about its rules."""

    cardinality: int | None = 1
    """How many values there can be at this node; None: nobody says."""
    uncorrelatable: str = ""
    """The path of the ancestor within which old and new cannot be told to be the same."""
    root: bool = False


class _Review:
    """The walk over one version's schema, with the sum of its costs."""

    def __init__(self) -> None:
        self._costs: list[tuple[int, str]] = []

    @property
    def total(self) -> int:
        """Of all rules and messages."""
        return sum(cost for cost, _ in self._costs)

    def dearest(self) -> list[str]:
        """The paths of the four that cost most."""
        return [path for _, path in sorted(self._costs, key=lambda item: -item[0])[:4]]

    def node(self, schema: Mapping[str, Any], path: str, where: _Where) -> Iterator[Cause]:
        if not has_rules(schema):
            return
        declared = declare(schema, root=where.root)
        if schema.get(WORD) and declared is None:
            yield _unsupported(schema, path)
            return
        if schema.get(WORD) and declared is not None:
            for index, rule in enumerate(compile_place(schema, declared)):
                yield from self._rule(rule, declared, f"{path}.{WORD}[{index}]", where)
        for place, child in children(schema):
            yield from self.node(child, f"{path}.{place}", _below(schema, place, path, where))
        yield from _default(schema, path, where.root)

    def _rule(self, rule: Rule, declared: Declared, path: str, where: _Where) -> Iterator[Cause]:
        if rule.program is not None:
            often = where.cardinality
            if often is None:
                often = REQUEST_BYTES_MAX // (declared.bytes_min + 1)
            yield from self._cost(f"{path}.rule", "estimated rule cost", rule.program.estimate.max * often)
        if rule.trouble is not None:
            yield Cause(f"{path}.rule", f"Invalid value: {_shown(rule.source)}: {rule.trouble}")
        if rule.message_trouble is not None:
            yield Cause(f"{path}.messageExpression", f"Invalid value: {_shown(rule.source)}: {rule.message_trouble}")
        elif rule.message is not None:
            yield from self._cost(
                f"{path}.messageExpression", "estimated messageExpression cost", rule.message.estimate.max
            )
        if rule.uses_old and where.uncorrelatable:
            detail = f"oldSelf cannot be used on the uncorrelatable portion of the schema within {where.uncorrelatable}"
            yield wording.invalid(f"{path}.rule", rule.source["rule"], detail)
        elif not rule.uses_old and rule.trouble is None and rule.source.get("optionalOldSelf") is not None:
            detail = "may not be set if oldSelf is not used in rule"
            yield wording.invalid(f"{path}.optionalOldSelf", rule.source["optionalOldSelf"], detail)

    def _cost(self, path: str, what: str, cost: int) -> Iterator[Cause]:
        self._costs.append((cost, path))
        if cost > RULE_COST_MAX:
            yield _forbidden(path, too_dear(what, cost, RULE_COST_MAX))


def _below(schema: Mapping[str, Any], place: str, path: str, where: _Where) -> _Where:
    cardinality, uncorrelatable = where.cardinality, where.uncorrelatable
    if place == "items":
        most = schema.get("maxItems")
        cardinality = None if cardinality is None or most is None else cardinality * most
        if schema.get("x-kubernetes-list-type") != "map":
            uncorrelatable = uncorrelatable or path
    elif place == "additionalProperties":
        most = schema.get("maxProperties")
        cardinality = None if cardinality is None or most is None else cardinality * most
    elif schema.get("x-kubernetes-map-type") == "atomic":
        uncorrelatable = uncorrelatable or path
    return _Where(cardinality, uncorrelatable)


def _default(schema: Mapping[str, Any], path: str, root: bool) -> Iterator[Cause]:
    """A default must satisfy the rules of its place."""
    if schema.get("default") is None:
        return
    place: Place | None = compile_rules(schema, root=root)
    if place is not None:
        completed = shape(Reader().read(schema), schema["default"])
        yield from judge(place, completed, path=f"{path}.default").causes


def _unsupported(schema: Mapping[str, Any], path: str) -> Cause:
    preserved = str(schema.get("x-kubernetes-preserve-unknown-fields") is True).lower()
    detail = (
        f"rule declared on schema that does not support validation rules type: '{schema.get('type') or ''}' "
        f"x-kubernetes-preserve-unknown-fields: '{preserved}'"
    )
    return Cause(f"{path}.{WORD}", f"Internal error: {detail}", "InternalError")


def too_dear(what: str, cost: int, cost_max: int) -> str:
    """Kubernetes' words for a cost over its limit."""
    factor = cost / cost_max
    shown = "more than 100x" if factor > 100 else f"{factor:f}x" if factor < 1.5 else f"{factor:.1f}x"
    return f"{what} exceeds budget by factor of {shown} {_COSTLY}"


def _forbidden(path: str, detail: str) -> Cause:
    return Cause(path, f"Forbidden: {detail}", "FieldValueForbidden")


def _shown(rule: Mapping[str, Any]) -> str:
    """The rule as Go prints the structure, which is what Kubernetes' message has."""
    reason, optional = rule.get("reason"), rule.get("optionalOldSelf")
    texts = {name: orjson.dumps(str(rule.get(name) or "")).decode() for name in _FIELDS}
    pointer = "(*apiextensions.FieldValueErrorReason)" + ("(nil)" if reason is None else "(0x0)")
    old = "(*bool)(nil)" if optional is None else "(*bool)(0x0)"
    return (
        f"apiextensions.ValidationRule{{Rule:{texts['rule']}, Message:{texts['message']}, "
        f"MessageExpression:{texts['messageExpression']}, Reason:{pointer}, FieldPath:{texts['fieldPath']}, "
        f"OptionalOldSelf:{old}}}"
    )
