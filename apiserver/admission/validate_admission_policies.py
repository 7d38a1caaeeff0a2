"""What is wrong with policies of admission and their bindings, in Kubernetes' wording.

Source: pkg/apis/admissionregistration/validation. Expressions are compiled here for the first time, so that their author
learns of every mistake at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from stark.crds.names import dns_subdomain_problems, label_key_problems

from ..cel.conditions import EXPRESSION_VARIABLES_MAX, PolicyScope
from ..cel.errors import CelError
from ..errors import Cause
from .complaints import bad_value, duplicate, not_allowed, not_supported, required
from .policies.compiled import MESSAGE_TYPES, NOTE_TYPES
from .validate_webhooks import match_condition_causes, rule_causes, selector_causes

EXPRESSIONS_MAX: Final = 128
"""Validations, and audit annotations, of one policy: each is compiled while its author waits."""
MESSAGE_LENGTH_MAX: Final = 5 * 1024
ACTIONS: Final = ("Deny", "Warn", "Audit")
NOT_FOUND_ACTIONS: Final = ("Allow", "Deny")
_IDENTIFIER = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*", re.ASCII)
_RESERVED = frozenset(
    {"true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if"}
)
_RESERVED |= {"import", "let", "loop", "package", "namespace", "return", "var", "void", "while"}
"""Words that CEL keeps for itself (cel-spec, section Syntax)."""

Mapped = Mapping[str, Any]
Compile = Callable[[str, str, Sequence[str]], Iterator[Cause]]


def admission_policy_causes(obj: Mapped) -> Iterator[Cause]:
    """Every complaint about a ValidatingAdmissionPolicy."""
    spec = obj["spec"]
    yield from _param_kind(spec.get("paramKind"))
    if spec.get("matchConstraints") is None:
        yield required("spec.matchConstraints")
    else:
        yield from _match_resources("spec.matchConstraints", spec["matchConstraints"])
        if not spec["matchConstraints"].get("resourceRules"):
            yield required("spec.matchConstraints.resourceRules")
    validations, notes = spec.get("validations") or (), spec.get("auditAnnotations") or ()
    if not validations and not notes:
        for field in ("validations", "auditAnnotations"):
            yield required(f"spec.{field}", "validations or auditAnnotations must contain at least one item")
    for field, found in (("validations", validations), ("auditAnnotations", notes)):
        if len(found) > EXPRESSIONS_MAX:
            message = f"Too many: {len(found)}: must have at most {EXPRESSIONS_MAX} items"
            yield Cause(f"spec.{field}", message, "FieldValueTooMany")
            return
    scope = PolicyScope(params=spec.get("paramKind") is not None)
    yield from _variables(scope, spec.get("variables") or ())
    yield from match_condition_causes("spec.matchConditions", spec.get("matchConditions") or ())

    def compiles(path: str, expression: str, returns: Sequence[str]) -> Iterator[Cause]:
        compile_it = scope.compile_message if path.endswith(".messageExpression") else scope.compile
        try:
            compile_it(expression, returns)
        except CelError as error:
            yield bad_value(path, expression, str(error))

    for index, condition in enumerate(spec.get("matchConditions") or ()):
        if (condition.get("expression") or "").strip():
            yield from compiles(f"spec.matchConditions[{index}].expression", condition["expression"], ("bool",))
    for index, validation in enumerate(validations):
        yield from _validation(f"spec.validations[{index}]", validation, compiles)
    yield from _notes(obj["metadata"].get("name") or "", notes, compiles)


def _param_kind(kind: Mapped | None) -> Iterator[Cause]:
    for field in ("apiVersion", "kind") if kind is not None else ():
        if not (kind or {}).get(field):
            yield required(f"spec.paramKind.{field}")


def _match_resources(path: str, given: Mapped) -> Iterator[Cause]:
    for field in ("namespaceSelector", "objectSelector"):
        yield from selector_causes(f"{path}.{field}", given.get(field))
    for field in ("resourceRules", "excludeResourceRules"):
        for index, rule in enumerate(given.get(field) or ()):
            at = f"{path}.{field}[{index}]"
            yield from rule_causes(at, rule)
            names = rule.get("resourceNames") or []
            for number, name in enumerate(names):
                if name in names[:number]:
                    yield duplicate(f"{at}.resourceNames[{number}]", name)


def _variables(scope: PolicyScope, variables: Sequence[Mapped]) -> Iterator[Cause]:
    if len(variables) > EXPRESSION_VARIABLES_MAX:
        message = f"Too many: {len(variables)}: must have at most {EXPRESSION_VARIABLES_MAX} items"
        yield Cause("spec.variables", message, "FieldValueTooMany")
        return
    for index, variable in enumerate(variables):
        path, name, expression = (
            f"spec.variables[{index}]",
            variable.get("name") or "",
            variable.get("expression") or "",
        )
        if not name:
            yield required(f"{path}.name", "name is not specified")
        elif not _IDENTIFIER.fullmatch(name) or name in _RESERVED:
            yield bad_value(f"{path}.name", name, "name is not a valid CEL identifier")
        if not expression.strip():
            yield required(f"{path}.expression", "expression is not specified")
        elif name:
            try:
                scope.declare(name, expression)
            except CelError as error:
                yield bad_value(f"{path}.expression", expression, str(error))


def _validation(path: str, validation: Mapped, compiles: Compile) -> Iterator[Cause]:
    expression, message = validation.get("expression") or "", validation.get("message") or ""
    if not expression.strip():
        yield required(f"{path}.expression", "expression is not specified")
    else:
        yield from compiles(f"{path}.expression", expression, ("bool",))
    if message and not message.strip():
        yield bad_value(f"{path}.message", message, "message must be non-empty if specified")
    elif _broken(message.strip()):
        yield bad_value(f"{path}.message", message, "message must not contain line breaks")
    elif len(message) > MESSAGE_LENGTH_MAX:
        yield Cause(
            f"{path}.message", f"Too long: may not be more than {MESSAGE_LENGTH_MAX} bytes", "FieldValueTooLong"
        )
    elif _broken(expression.strip()) and not message:
        yield required(f"{path}.message", "message must be specified if expression contains line breaks")
    made = validation.get("messageExpression")
    if made is not None and not made.strip():
        yield required(f"{path}.messageExpression", "must be non-empty if specified")
    elif made:
        yield from compiles(f"{path}.messageExpression", made, MESSAGE_TYPES)


def _broken(text: str) -> bool:
    return "\n" in text or "\r" in text


def _notes(policy: str, notes: Sequence[Mapped], compiles: Compile) -> Iterator[Cause]:
    seen: set[str] = set()
    for index, note in enumerate(notes):
        path, key, expression = (
            f"spec.auditAnnotations[{index}]",
            note.get("key") or "",
            note.get("valueExpression") or "",
        )
        if not key:
            yield required(f"{path}.key", "key is not specified")
        for problem in label_key_problems(f"{policy}/{key}" if policy else key) if key else ():
            yield bad_value(f"{path}.key", key, problem)
        if key and key in seen:
            yield duplicate(f"{path}.key", key)
        seen.add(key)
        if not expression.strip():
            yield required(f"{path}.valueExpression", "valueExpression is not specified")
        else:
            yield from compiles(f"{path}.valueExpression", expression, NOTE_TYPES)


def admission_binding_causes(obj: Mapped) -> Iterator[Cause]:
    """Every complaint about a ValidatingAdmissionPolicyBinding."""
    spec = obj["spec"]
    policy = spec.get("policyName") or ""
    if not policy:
        yield required("spec.policyName")
    for problem in dns_subdomain_problems(policy) if policy else ():
        yield bad_value("spec.policyName", policy, problem)
    yield from _param_ref("spec.paramRef", spec.get("paramRef"))
    if spec.get("matchResources"):
        yield from _match_resources("spec.matchResources", spec["matchResources"])
    actions = spec.get("validationActions") or []
    if not actions:
        yield required("spec.validationActions")
    for index, action in enumerate(actions):
        if action not in ACTIONS:
            yield not_supported(f"spec.validationActions[{index}]", action, sorted(ACTIONS))
        if action in actions[:index]:
            yield duplicate(f"spec.validationActions[{index}]", action)
    if "Deny" in actions and "Warn" in actions:
        message = (
            "must not contain both Deny and Warn (repeating the same validation failure information in the API response "
            "and headers serves no purpose)"
        )
        yield bad_value("spec.validationActions", actions, message)


def _param_ref(path: str, ref: Mapped | None) -> Iterator[Cause]:
    if ref is None:
        return
    if ref.get("name"):
        for problem in [f"may not contain '{sign}'" for sign in ("/", "%") if sign in ref["name"]]:
            yield bad_value(f"{path}.name", ref["name"], problem)
        if ref.get("selector") is not None:
            yield not_allowed(f"{path}.name", "name and selector are mutually exclusive")
    elif ref.get("selector") is None:
        yield required(path, "one of name or selector must be specified")
    else:
        yield from selector_causes(f"{path}.selector", ref["selector"])
    action = ref.get("parameterNotFoundAction")
    if not action:
        yield required(f"{path}.parameterNotFoundAction")
    elif action not in NOT_FOUND_ACTIONS:
        yield not_supported(f"{path}.parameterNotFoundAction", action, sorted(NOT_FOUND_ACTIONS))
