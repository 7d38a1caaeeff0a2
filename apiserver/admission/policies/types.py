"""Expressions compared with the types of the kinds they are about: what looks like a mistake becomes status.typeChecking.

Expressions see objects untyped, since one policy may be about many kinds; so a misspelt field shows only when a write
meets it. For kinds that the rules name one by one the types are known, and the author is told at once. Nothing is
refused: a field may come with the next version of a kind (KEP-3488, section Type checking).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from ...cel import offload
from ...cel.conditions import PolicyScope
from ...cel.declared import Declared, declare
from ...cel.errors import CelError
from ...resources import Resource, Resources
from ...schema.metadata import OBJECT_META
from ..attributes import Attributes, Lookup
from ..webhooks.matching import ANY, CONFIGURATION_GROUP

TYPES_MAX: Final = 10
"""Kinds that a policy is compared with, as in Kubernetes."""

Mapped = Mapping[str, Any]


class TypeChecks:
    """A mutating plugin: it writes the status of a policy whose spec is written."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    async def __call__(self, attributes: Attributes, lookup: Lookup) -> None:
        """Compare what is about to be stored."""
        resource, obj, old = attributes.resource, attributes.object, attributes.old
        if (resource.group, resource.plural) != (CONFIGURATION_GROUP, "validatingadmissionpolicies"):
            return
        if obj is None or attributes.subresource or (old is not None and old.get("spec") == obj.get("spec")):
            return
        spec = obj.get("spec") or {}
        types = _named(spec, self._resources)[:TYPES_MAX]
        params = _param_type(spec, self._resources)
        # Every expression is compiled for every type, a millisecond each: beside the event loop.
        warnings = await offload.aside(lambda: list(_warnings(spec, types, params)))
        generation = 1 if old is None else (old["metadata"].get("generation") or 0) + 1
        checked = {"typeChecking": {"expressionWarnings": warnings} if warnings else {}}
        obj["status"] = {**(obj.get("status") or {}), "observedGeneration": generation, **checked}


def _named(spec: Mapped, resources: Resources) -> list[Resource]:
    """The kinds that the rules name without wildcards, each once."""
    found: dict[tuple[str, str, str], Resource] = {}
    for rule in (spec.get("matchConstraints") or {}).get("resourceRules") or ():
        for group in rule.get("apiGroups") or ():
            for version in rule.get("apiVersions") or ():
                for plural in rule.get("resources") or ():
                    if ANY in (group, version, plural):
                        continue
                    resource = resources.find(group, version, plural)
                    if resource is not None:
                        found[(group, version, resource.kind)] = resource
    return [found[at] for at in sorted(found)]


def _param_type(spec: Mapped, resources: Resources) -> Declared | None:
    kind = spec.get("paramKind")
    if not kind:
        return None
    group, _, version = str(kind.get("apiVersion") or "").rpartition("/")
    resource = resources.of_kind(group, version, str(kind.get("kind") or ""))
    return _type(resource) if resource is not None else None


def _type(resource: Resource) -> Declared | None:
    """A whole object with all of its metadata, of which rules of a schema see only the name."""
    text = {"type": "string"}
    properties = {
        **(resource.schema.get("properties") or {}),
        "metadata": OBJECT_META,
        "apiVersion": text,
        "kind": text,
    }
    return declare({"type": "object", "properties": properties})


def _warnings(spec: Mapped, types: list[Resource], params: Declared | None) -> Iterator[dict[str, str]]:
    scopes = []
    for resource in types:
        found = _type(resource)
        if found is not None:
            name = f"{resource.api_version}, Kind={resource.kind}" if resource.group else f"/v1, Kind={resource.kind}"
            scopes.append((name, _scope(spec, found, params)))
    for path, expression in _expressions(spec):
        is_message = path.endswith(".messageExpression")
        told = "".join(_told(name, scope, expression, is_message=is_message) for name, scope in scopes)
        if told:
            yield {"fieldRef": path, "warning": told}


def _scope(spec: Mapped, found: Declared, params: Declared | None) -> PolicyScope:
    scope = PolicyScope(params=spec.get("paramKind") is not None, object_type=found, params_type=params)
    for variable in spec.get("variables") or ():
        try:
            scope.declare(variable["name"], variable["expression"])
        except CelError:
            scope.untyped(variable["name"])
    return scope


def _expressions(spec: Mapped) -> Iterator[tuple[str, str]]:
    for index, validation in enumerate(spec.get("validations") or ()):
        for field in ("expression", "messageExpression"):
            if validation.get(field):
                yield f"spec.validations[{index}].{field}", validation[field]


def _told(name: str, scope: PolicyScope, expression: str, *, is_message: bool) -> str:
    try:
        (scope.compile_message if is_message else scope.compile)(expression, ())
    except CelError as error:
        return f"{name}: {str(error).removeprefix('compilation failed: ')}\n"
    return ""
