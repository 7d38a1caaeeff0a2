"""Objects against their schemas: pruned, defaulted, validated; and the client told about fields nobody knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..cel import OBJECT_BUDGET, Unavailable, offload
from ..cel.rules import WHOLE, Place, compile_rules, has_rules, judge
from ..errors import BadRequest, Cause, Invalid
from ..resources import Resource
from ..schema import CompiledSchema, SchemaInvalid, compile_schema
from ..schema.wording import of_own_kind
from .options import Writing
from .refusals import invalid_object

Object = dict[str, Any]
Compiled = dict[tuple[str, str, str], tuple[Resource, CompiledSchema]]

BUILTIN: Final[Compiled] = {}
"""The compiled schemas of the kinds that come with us, which are the same in every server of the process."""


class Schemas:
    """Compiled schemas, made when a kind is first written and again when its definition changed."""

    def __init__(self) -> None:
        self._compiled: Compiled = {}
        self._others: dict[tuple[str, str, str], tuple[Mapping[str, Any], CompiledSchema]] = {}
        self._rules: dict[tuple[str, str, str], tuple[Resource, Place | None]] = {}

    def of(self, resource: Resource) -> CompiledSchema:
        """The resource's schema, ready to use."""
        at = (resource.group, resource.version, resource.plural)
        compiled = self._compiled if resource.custom else BUILTIN
        known = compiled.get(at)
        if known is None or known[0] is not resource:
            known = compiled[at] = (resource, compile_schema(resource.schema))
        return known[1]

    def of_version(self, resource: Resource, version: str) -> CompiledSchema:
        """The schema of another version of the resource's kind."""
        if version == resource.version or resource.family is None:
            return self.of(resource)
        at = (resource.group, resource.plural, version)
        schema = resource.family.schemas[version]
        known = self._others.get(at)
        if known is None or known[0] is not schema:
            known = self._others[at] = (schema, compile_schema(schema))
        return known[1]

    def admit_new(self, resource: Resource, obj: Object, writing: Writing) -> Object:
        """A new object as it may be stored. Raises Invalid, BadRequest for unknown fields that the client forbids."""
        schema = self.of(resource)
        try:
            admitted, unknown = schema.admit_noting_unknown(obj)
        except SchemaInvalid as error:
            raise _refused(resource, obj, error) from error
        if unknown:
            self._tell(resource, unknown, writing)
        return admitted

    def admit_update(self, resource: Resource, new: Object, old: Mapping[str, Any], writing: Writing) -> Object:
        """A changed object. What was wrong already and has not been touched is let pass."""
        schema = self.of(resource)
        try:
            admitted, unknown = schema.admit_noting_unknown(new)
        except SchemaInvalid:
            unknown = schema.unknown_fields(new)
            try:
                admitted = schema.admit_update(new, old)
            except SchemaInvalid as error:
                raise _refused(resource, new, error) from error
        if unknown:
            self._tell(resource, unknown, writing)
        return admitted

    async def judge(self, resource: Resource, new: Object, old: Mapping[str, Any] | None, writing: Writing) -> None:
        """Apply the rules of the kind's schema (x-kubernetes-validations) to what is about to be stored. Raises Invalid."""
        at = (resource.group, resource.version, resource.plural)
        known = self._rules.get(at)
        if known is None or known[0] is not resource:
            known = self._rules[at] = (resource, await self._compile_rules(resource, new))
        place = known[1]
        if place is None:
            return
        verdict = await offload.evaluate(
            lambda budget: judge(place, new, old, budget=budget, inline=budget < OBJECT_BUDGET), OBJECT_BUDGET
        )
        writing.warnings += [text for text in verdict.warnings if text not in writing.warnings]
        if verdict.causes:
            raise invalid_object(resource, _name_of(new), verdict.causes)

    async def _compile_rules(self, resource: Resource, obj: Object) -> Place | None:
        if not has_rules(resource.schema):
            return None
        try:
            return await offload.aside(lambda: compile_rules(resource.schema))
        except Unavailable as error:
            raise invalid_object(
                resource, _name_of(obj), [Cause(WHOLE, f"Internal error: {error}", "InternalError")]
            ) from error

    def _tell(self, resource: Resource, unknown: list[str], writing: Writing) -> None:
        complain(resource, [f'unknown field "{path}"' for path in unknown], writing)


COMPLAINTS_MAX: Final = 1_000
"""About one body that are told: whoever made more mistakes than that knows by then."""


def complain(resource: Resource, complaints: list[str], writing: Writing) -> None:
    """Warn about a body's fields or refuse it, as the client wishes. Raises BadRequest."""
    if not complaints or writing.validation == "Ignore":
        return
    if writing.validation == "Strict":
        raise BadRequest(
            f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: '
            f"strict decoding error: {', '.join(_first(complaints))}"
        )
    known = frozenset(writing.warnings)
    writing.warnings += [text for text in complaints[:COMPLAINTS_MAX] if text not in known]


def _first(complaints: list[str]) -> list[str]:
    left = len(complaints) - COMPLAINTS_MAX
    return complaints if left <= 0 else [*complaints[:COMPLAINTS_MAX], f"and {left} more"]


def _refused(resource: Resource, obj: Mapping[str, Any], error: SchemaInvalid) -> Invalid:
    causes = error.causes if resource.custom else [of_own_kind(cause) for cause in error.causes]
    return invalid_object(resource, _name_of(obj), causes)


def _name_of(obj: Mapping[str, Any]) -> str:
    metadata = obj.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    return name if isinstance(name, str) else ""
