"""Policies and bindings made ready from their objects, once and again whenever one of those changed.

An expression that does not compile was refused when it was written. One that is stored all the same, because another
version of the server took it, is kept as its error and judged by the failure policy like one that has no value.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from stark.crds.selectors import Selector, SelectorError, from_label_selector

from ...cel import offload
from ...cel.conditions import PolicyScope
from ...cel.errors import CelError
from ...cel.program import Program
from ..webhooks.configurations import Followed
from .matching import Matching

log = structlog.get_logger(__name__)

Mapped = Mapping[str, Any]
MESSAGE_TYPES = ("string",)
NOTE_TYPES = ("string", "null")


@dataclass(frozen=True, slots=True)
class Compiled:
    """An expression and its program, or why it has none."""

    expression: str
    program: Program | CelError


@dataclass(frozen=True, slots=True)
class Judgement:
    """One of a policy's validations."""

    holds: Compiled
    message: str
    says: Compiled | None
    reason: str


@dataclass(frozen=True, slots=True)
class Policy:
    """A ValidatingAdmissionPolicy, ready to be evaluated."""

    name: str
    fails_open: bool
    param_kind: tuple[str, str, str] | None
    """Group, version and kind of the parameters."""
    matching: Matching
    scope: PolicyScope
    conditions: tuple[Compiled, ...]
    judgements: tuple[Judgement, ...]
    notes: tuple[tuple[str, Compiled], ...]
    """Keys and values of audit annotations."""


@dataclass(frozen=True, slots=True)
class ParamRef:
    """Where a binding's parameters are."""

    name: str
    namespace: str
    selector: Selector | None
    denies_missing: bool


@dataclass(frozen=True, slots=True)
class Binding:
    """A ValidatingAdmissionPolicyBinding, ready to be used."""

    name: str
    policy: str
    params: ParamRef | None
    matching: Matching
    actions: frozenset[str]


def policy_of(obj: Mapped) -> Policy:
    """From wire form. Raises SelectorError."""
    spec, kind = obj["spec"], obj["spec"].get("paramKind")
    scope = PolicyScope(params=kind is not None)
    broken: CelError | None = None
    for variable in spec.get("variables") or ():
        try:
            scope.declare(variable["name"], variable["expression"])
        except CelError as error:
            broken = broken or error

    def compiled(expression: str, returns: Iterable[str] = ("bool",), *, is_message: bool = False) -> Compiled:
        compile_it = scope.compile_message if is_message else scope.compile
        try:
            return Compiled(expression, broken or compile_it(expression, returns))
        except CelError as error:
            return Compiled(expression, error)

    judgements = tuple(
        Judgement(
            compiled(each["expression"]),
            each.get("message") or "",
            compiled(each["messageExpression"], MESSAGE_TYPES, is_message=True)
            if each.get("messageExpression")
            else None,
            each.get("reason") or "Invalid",
        )
        for each in spec.get("validations") or ()
    )
    return Policy(
        obj["metadata"]["name"],
        spec.get("failurePolicy") == "Ignore",
        _kind(kind) if kind else None,
        Matching.of(spec.get("matchConstraints")),
        scope,
        tuple(compiled(each["expression"]) for each in spec.get("matchConditions") or ()),
        judgements,
        tuple(
            (each["key"], compiled(each["valueExpression"], NOTE_TYPES)) for each in spec.get("auditAnnotations") or ()
        ),
    )


def _kind(kind: Mapped) -> tuple[str, str, str]:
    group, _, version = str(kind.get("apiVersion") or "").rpartition("/")
    return group, version, str(kind.get("kind") or "")


def binding_of(obj: Mapped) -> Binding:
    """From wire form. Raises SelectorError."""
    spec, ref = obj["spec"], obj["spec"].get("paramRef")
    params = None
    if ref is not None:
        selector = ref.get("selector")
        params = ParamRef(
            ref.get("name") or "",
            ref.get("namespace") or "",
            None if selector is None else from_label_selector(selector),
            ref.get("parameterNotFoundAction") != "Allow",
        )
    return Binding(
        obj["metadata"]["name"],
        spec["policyName"],
        params,
        Matching.of(spec.get("matchResources")),
        frozenset(spec.get("validationActions") or ()),
    )


InForce = Sequence[tuple[Policy, Sequence[Binding]]]


class Policies:
    """The policies that bindings put into force, in the order of their names."""

    def __init__(self, policies: Followed, bindings: Followed) -> None:
        self._policies, self._bindings = policies, bindings
        self.none = bindings.is_empty
        """Whether there is surely no binding, and so nothing in force."""
        self._marks: tuple[Hashable, Hashable] = (None, None)
        self._in_force: InForce | None = None
        self._made: dict[tuple[str, str], Policy] = {}

    async def in_force(self) -> InForce:
        """Every policy that has bindings, and those. Raises ServiceUnavailable while they have never been read."""
        marks = (self._policies.mark(), self._bindings.mark())
        if self._in_force is not None and (None in marks or marks == self._marks):
            return self._in_force
        bindings: dict[str, list[Binding]] = {}
        for obj in await self._bindings.objects():
            try:
                binding = binding_of(obj)
            except SelectorError as error:
                _selects_nothing(obj, error)
                continue
            bindings.setdefault(binding.policy, []).append(binding)
        objects = await self._policies.objects()
        # Milliseconds an expression: aside of the event loop, which serves others meanwhile.
        made = await offload.aside(lambda: self._compiled(objects))
        found = [policy for policy in made if policy.name in bindings]
        self._in_force = tuple((policy, tuple(bindings[policy.name])) for policy in found)
        self._marks = marks
        return self._in_force

    def _compiled(self, objects: Sequence[Mapped]) -> list[Policy]:
        """Compiled again only where something other than the status changed."""
        made: dict[tuple[str, str], Policy] = {}
        for obj in objects:
            at = (obj["metadata"]["uid"], str(obj["metadata"].get("generation")))
            try:
                made[at] = self._made.get(at) or policy_of(obj)
            except SelectorError as error:
                _selects_nothing(obj, error)
        self._made = made
        return list(made.values())


def _selects_nothing(obj: Mapped, error: SelectorError) -> None:
    # Validation refuses such a selector; one that is stored all the same selects nothing.
    log.warning("a policy selects nothing", kind=obj.get("kind"), name=obj["metadata"]["name"], reason=str(error))
