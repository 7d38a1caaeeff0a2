"""Expressions about a request: match conditions of webhooks, and ValidatingAdmissionPolicies.

    scope = PolicyScope(params=True)                                  # once per policy
    scope.declare("replicas", "object.spec.replicas")                 # its spec.variables, in their order
    rule = scope.compile("variables.replicas <= params.max", returns=("bool",))
    ...
    values = scope.bind(request=request_of(...), new=new, old=old, params=found, namespace=namespace)   # once per request
    await offload.evaluate(lambda budget: rule.evaluate(values, budget).value, PER_CALL_LIMIT)

`object`, `oldObject` and `params` are untyped, as in Kubernetes, and null where there is none; `request` and
`namespaceObject` have types, so that a misspelt field is a compile error. A variable is evaluated when the first
expression reads it, and not again for the same `values`; its cost is charged to that expression. CompileError belongs into
the answer to whoever writes the policy; EvaluationError and BudgetExceeded are for the failure policy to judge.
What is asked of `authorizer` is answered between two evaluations: see `library.authorization`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from .declared import Declared, bind, declare
from .library.authorization import Authorizer, ResourceCheck
from .program import Program, Scope

EXPRESSION_VARIABLES_MAX = 64
"""Variables of one policy: each is a program, compiled while its author waits."""

_TEXT: Mapping[str, Any] = {"type": "string"}
_TEXTS = {"type": "array", "items": _TEXT}
_TEXT_MAP = {"type": "object", "additionalProperties": _TEXT}
_TIME = {"type": "string", "format": "date-time"}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


_KIND = _object(group=_TEXT, version=_TEXT, kind=_TEXT)
_RESOURCE = _object(group=_TEXT, version=_TEXT, resource=_TEXT)
_USER = _object(username=_TEXT, uid=_TEXT, groups=_TEXTS, extra={"type": "object", "additionalProperties": _TEXTS})
_REQUEST = _object(
    kind=_KIND,
    resource=_RESOURCE,
    subResource=_TEXT,
    requestKind=_KIND,
    requestResource=_RESOURCE,
    requestSubResource=_TEXT,
    name=_TEXT,
    namespace=_TEXT,
    operation=_TEXT,
    userInfo=_USER,
    dryRun={"type": "boolean"},
    options={"x-kubernetes-int-or-string": True},
)
_NAMESPACE = _object(
    metadata=_object(
        name=_TEXT,
        generateName=_TEXT,
        namespace=_TEXT,
        labels=_TEXT_MAP,
        annotations=_TEXT_MAP,
        UID=_TEXT,
        creationTimestamp=_TIME,
        deletionGracePeriodSeconds={"type": "integer"},
        deletionTimestamp=_TIME,
        generation={"type": "integer"},
        resourceVersion=_TEXT,
        finalizers=_TEXTS,
    ),
    spec=_object(finalizers=_TEXTS),
    status=_object(phase=_TEXT),
)


def _declared(schema: Mapping[str, Any]) -> Declared:
    found = declare(schema)
    assert found is not None
    _make_plain(found)
    return found


def _make_plain(declared: Declared) -> None:
    """Names as they are, `namespace` too, for types that are no user's."""
    declared.plain = True
    for child in (*declared.fields.values(), declared.element):
        if child is not None:
            _make_plain(child)


REQUEST: Final = _declared(_REQUEST)
"""The type of `request`: the fields of an AdmissionRequest, without its objects."""
NAMESPACE: Final = _declared(_NAMESPACE)
"""The type of `namespaceObject`."""


CHECKS: Final = {"authorizer": Authorizer.TYPE, "authorizer.requestResource": ResourceCheck.TYPE}
"""What expressions ask whether somebody may do something."""


class PolicyScope:
    """The variables that expressions about a request may read."""

    def __init__(
        self,
        *,
        params: bool = False,
        namespace: bool = True,
        authorizer: bool = True,
        object_type: Declared | None = None,
        params_type: Declared | None = None,
    ) -> None:
        """The types are for comparing expressions with them; what is evaluated has none."""
        shown: Declared | str = object_type or "dyn"
        self._fixed: dict[str, Declared | str] = {"object": shown, "oldObject": shown, "request": REQUEST}
        if params:
            self._fixed["params"] = params_type or "dyn"
        if namespace:
            self._fixed["namespaceObject"] = NAMESPACE
        if authorizer:
            self._fixed |= CHECKS
        self._variables: dict[str, Program] = {}
        self._scope = Scope(self._fixed)

    def declare(self, name: str, expression: str) -> Program:
        """Add `variables.<name>`; it may read those declared before it. Raises CompileError, Unavailable."""
        program = self._scope.compile(expression)
        self._variables[name] = program
        composed = {f"variables.{known}": each.signature for known, each in self._variables.items()}
        self._scope = Scope({**self._fixed, **composed})
        return program

    def untyped(self, name: str) -> None:
        """Let `variables.<name>` be there, whatever it is."""
        self._scope = Scope({**self._scope.variables, f"variables.{name}": "dyn"})

    def compile(self, expression: str, returns: Iterable[str] = ("bool",)) -> Program:
        """A program over what has been declared so far. Raises CompileError, Unavailable."""
        return self._scope.compile(expression, returns)

    def compile_message(self, expression: str, returns: Iterable[str]) -> Program:
        """The same for what makes a message: it is told who may do what only by variables, as in Kubernetes."""
        told = {name: declared for name, declared in self._scope.variables.items() if name not in CHECKS}
        return Scope(told).compile(expression, returns)

    def bind(
        self,
        *,
        request: Mapping[str, Any],
        new: Mapping[str, Any] | None = None,
        old: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        namespace: Mapping[str, Any] | None = None,
        checks: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """The values for one request. `request` is an AdmissionRequest as JSON, `namespace` the Namespace object.

        `checks` are the values of `authorizer` and `authorizer.requestResource`.
        """
        values: dict[str, Any] = {
            "object": new,
            "oldObject": old,
            "params": params,
            "request": bind(REQUEST, dict(request)),
            "namespaceObject": bind(NAMESPACE, namespace),
            **(checks or {}),
        }
        for name, program in self._variables.items():
            values[f"variables.{name}"] = program.lazily(values)
        return values
