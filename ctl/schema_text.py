"""A kind's fields in words, from the server's OpenAPI document: the text of `kubectl explain`, sign for sign."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .errors import CommandError

WIDTH = 80
INDENT = 4
ENUM_SHOWN = 4
"""Values beside a field; its own page has all of them."""
DEPTH_MAX = 32
"""Levels that are listed; a schema that refers to itself has no end."""

Schema = Mapping[str, Any]


class Schemas:
    """The schemas of one group and version."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._schemas: Mapping[str, Schema] = document["components"]["schemas"]

    def of_kind(self, group: str, version: str, kind: str) -> Schema:
        """The schema of a kind. Raises CommandError."""
        wanted = {"group": group, "version": version, "kind": kind}
        for schema in self._schemas.values():
            if wanted in (schema.get("x-kubernetes-group-version-kind") or ()):
                return schema
        raise CommandError(f"the server describes no kind {kind} of {group + '/' if group else ''}{version}")

    def referred(self, schema: Schema) -> tuple[str, Schema]:
        """The name of what the schema refers to (empty when it stands for itself), and that."""
        for part in (schema, *(schema.get("allOf") or ())):
            if "$ref" in part:
                name = part["$ref"].rpartition("/")[2]
                return name, self._schemas.get(name, {})
        return "", schema

    def inside(self, schema: Schema) -> Schema:
        """What the fields belong to: of a list or map, its elements."""
        _, found = self.referred(schema)
        for inner in ("items", "additionalProperties"):
            if isinstance(found.get(inner), Mapping):
                return self.inside(found[inner])
        return found

    def type_of(self, schema: Schema) -> str:
        """As people write it: `[]string`, `map[string]string`, `ObjectMeta`."""
        name, found = self.referred(schema)
        if name:
            return name.rpartition(".")[2]
        if found.get("type") == "array":
            return "[]" + self.type_of(found.get("items") or {})
        if isinstance(found.get("additionalProperties"), Mapping):
            return f"map[string]{self.type_of(found['additionalProperties'])}"
        kind = found.get("type") or "Object"
        return "Object" if kind == "object" else str(kind)


def explained(schemas: Schemas, kind: tuple[str, str, str], path: Sequence[str], *, recursive: bool) -> str:
    """The whole text about a field of a kind (group, version, kind). Raises CommandError for a field that is not there."""
    group, version, name = kind
    head = [*([f"GROUP:      {group}"] if group else []), f"KIND:       {name}", f"VERSION:    {version}", ""]
    schema = schemas.of_kind(group, version, name)
    for step in path:
        fields = schemas.inside(schema).get("properties") or {}
        if step not in fields:
            raise CommandError(f'field "{step}" does not exist')
        schema = fields[step]
    lines = [*head, *(_field(schemas, schema, path[-1]) if path else ())]
    lines += ["DESCRIPTION:", *_description(schemas, schema)]
    fields = schemas.inside(schema).get("properties")
    if fields:
        lines += ["FIELDS:", *_fields(schemas, schemas.inside(schema), recursive, 1)]
    return "\n".join([*lines, ""]) + "\n"


def _field(schemas: Schemas, schema: Schema, name: str) -> Iterator[str]:
    yield f"FIELD: {name} <{schemas.type_of(schema)}>"
    if schema.get("enum"):
        yield "ENUM:"
        yield from (f"{'':{INDENT}}{value}" for value in _values(schema))
        yield ""
    else:
        yield from ("", "")


def _values(schema: Schema) -> list[str]:
    """Of an enumeration; the empty string, which some have for "unset", as something that one can see."""
    return [str(value) or '""' for value in schema["enum"]]


def _description(schemas: Schemas, schema: Schema) -> Iterator[str]:
    """Of the field, and of what it is a list of or refers to."""
    inside = schemas.inside(schema)
    texts = [schema.get("description"), inside.get("description") if inside is not schema else None]
    found = [text for text in texts if text]
    if not found:
        yield f"{'':{INDENT}}<empty>"
        return
    for text in found:
        yield from _wrapped(text, INDENT)
    yield " " * INDENT


def _fields(schemas: Schemas, schema: Schema, recursive: bool, level: int) -> Iterator[str]:
    required, indent = schema.get("required") or (), "  " * level
    for name, field in sorted((schema.get("properties") or {}).items()):
        yield f"{indent}{name}\t<{schemas.type_of(field)}>{' -required-' if name in required else ''}"
        if field.get("enum"):
            values = _values(field)
            more = ", ...." if len(values) > ENUM_SHOWN else ""
            yield f"{indent}enum: {', '.join(values[:ENUM_SHOWN])}{more}"
        if not recursive:
            yield from _wrapped(field.get("description") or "<no description>", INDENT)
            yield ""
        elif level < DEPTH_MAX:
            yield from _fields(schemas, schemas.inside(field), recursive, level + 1)


def _wrapped(text: str, indent: int) -> Iterator[str]:
    for paragraph in text.split("\n"):
        for line in textwrap.wrap(paragraph, WIDTH - indent, break_long_words=False, break_on_hyphens=False) or [""]:
            yield " " * indent + line
