"""Is this a structural schema? What a CustomResourceDefinition must satisfy before we compile it.

The rules are apiextensions': a type everywhere, value validations (allOf, anyOf, oneOf, not) that constrain but never
shape, patterns that compile, defaults that fit. An object whose schema passed here is pruned and defaulted one way only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain, islice
from typing import Any

from ..errors import Cause
from . import patterns, wording
from .checks import causes as value_causes
from .checks import is_type
from .nodes import INT_OR_STRING, SCHEMA_DEPTH_MAX, Reader, SchemaTooLarge
from .shape import shape

TYPES = ("array", "boolean", "integer", "number", "object", "string")
LOGIC = ("allOf", "anyOf", "oneOf")
_SHAPING = (
    "type",
    "default",
    "additionalProperties",
    "nullable",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-embedded-resource",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-type",
    "x-kubernetes-validations",
)
"""Keywords that decide what an object looks like; inside logic they would make that depend on the branch."""
_REFUSED = ("$ref", "definitions", "dependencies", "deprecated", "discriminator", "id", "patternProperties", "readOnly")
_FLAGS = (
    "x-kubernetes-embedded-resource",
    "x-kubernetes-int-or-string",
    "x-kubernetes-preserve-unknown-fields",
)
_COUNTS = ("maxLength", "minLength", "maxItems", "minItems", "maxProperties", "minProperties")
_KEYWORD_TYPES: Mapping[str, str] = {
    **dict.fromkeys(_COUNTS, "integer"),
    **dict.fromkeys(("type", "format", "pattern", "description", "title", "x-kubernetes-list-type"), "string"),
    **dict.fromkeys(("minimum", "maximum", "multipleOf"), "number"),
    **dict.fromkeys(("nullable", "uniqueItems", "exclusiveMinimum", "exclusiveMaximum"), "boolean"),
    **dict.fromkeys(_FLAGS, "boolean"),
    **dict.fromkeys(("required", "enum", "x-kubernetes-list-map-keys", "x-kubernetes-validations", *LOGIC), "array"),
    "properties": "object",
}
PROBLEMS_MAX = 100
"""Problems that are reported of one schema."""


def check_structural(schema: Mapping[str, Any], path: str = "") -> list[Cause]:
    """Everything that keeps `schema` from being structural; `path` is where it stands in the CRD. Empty: it is fine."""
    found = list(islice(_shapes(schema, path), PROBLEMS_MAX))
    if found:
        return found
    try:
        Reader().read(schema)
    except SchemaTooLarge as error:
        return [Cause(path, f"Too many: {error}", "FieldValueTooMany")]
    except (AttributeError, TypeError, ValueError) as error:
        return [wording.invalid(path, "", f"must be an OpenAPI v3 schema: {error}")]
    found = list(islice(chain(_root(schema, path), _node(schema, path)), PROBLEMS_MAX))
    return found or list(islice(_defaults(schema, path), PROBLEMS_MAX))


def _shapes(schema: Any, path: str, depth: int = 0) -> Iterator[Cause]:
    """Every keyword has a value of the type it needs, so that whoever reads the schema later need not ask again."""
    if not isinstance(schema, Mapping):
        yield wording.wrong_type(path, "object", schema)
        return
    for word, kind in _KEYWORD_TYPES.items():
        value = schema.get(word)
        if value is not None and not (is_type(kind, value) and _sound(word, value)):
            yield wording.wrong_type(_at(path, word), kind, value)
    if depth > SCHEMA_DEPTH_MAX:
        # Reported by the reader, with the rest of the schema's size.
        return
    for place, child in _children(schema):
        yield from _shapes(child, _at(path, place), depth + 1)


def _sound(word: str, value: Any) -> bool:
    if word in ("required", "x-kubernetes-list-map-keys"):
        return all(isinstance(name, str) for name in value)
    return word not in _COUNTS or value >= 0


def _children(schema: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every schema directly inside, and its place."""
    properties = schema.get("properties")
    for name, child in properties.items() if isinstance(properties, Mapping) else ():
        yield f"properties[{name}]", child
    for word in ("items", "not"):
        if schema.get(word) is not None:
            yield word, schema[word]
    additional = schema.get("additionalProperties")
    if additional is not None and not isinstance(additional, bool):
        yield "additionalProperties", additional
    for word in LOGIC:
        branches = schema.get(word)
        for index, branch in enumerate(branches if isinstance(branches, list) else ()):
            yield f"{word}[{index}]", branch


def _root(schema: Mapping[str, Any], path: str) -> Iterator[Cause]:
    if schema.get("type") not in ("object", None, ""):
        yield wording.invalid(_at(path, "type"), schema["type"], "must be object at the root")
    elif not schema.get("type"):
        yield Cause(_at(path, "type"), "Required value: must not be empty at the root", "FieldValueRequired")
    if schema.get("nullable") is True:
        yield _forbidden(_at(path, "nullable"), "nullable cannot be true at the root")
    metadata = (schema.get("properties") or {}).get("metadata")
    for name in metadata if isinstance(metadata, Mapping) else ():
        if name not in ("type", "description", "properties"):
            yield _forbidden(_at(path, f"properties[metadata].{name}"), "must not be specified in metadata")


def _node(schema: Mapping[str, Any], path: str) -> Iterator[Cause]:
    yield from _type(schema, path)
    yield from _keywords(schema, path)
    yield from _lists(schema, path)
    for name, child in (schema.get("properties") or {}).items():
        yield from _node(child, _at(path, f"properties[{name}]"))
    for word in ("items", "additionalProperties"):
        if isinstance(schema.get(word), Mapping):
            yield from _node(schema[word], _at(path, word))
    yield from _logic(schema, path)


def _type(schema: Mapping[str, Any], path: str) -> Iterator[Cause]:
    named = schema.get("type")
    free = any(
        schema.get(word) is True for word in ("x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields")
    )
    if not named and not free:
        detail = "must not be empty for specified object fields"
        yield Cause(_at(path, "type"), f"Required value: {detail}", "FieldValueRequired")
    elif named and named not in TYPES:
        yield wording.unsupported(_at(path, "type"), named, TYPES)
    elif named and schema.get("x-kubernetes-int-or-string") is True:
        yield wording.invalid(_at(path, "type"), named, "must be empty if x-kubernetes-int-or-string is true")
    if named == "array" and not isinstance(schema.get("items"), Mapping):
        yield Cause(_at(path, "items"), "Required value: must be specified", "FieldValueRequired")
    if schema.get("x-kubernetes-embedded-resource") is True and named != "object":
        yield wording.invalid(_at(path, "type"), named, "must be object if x-kubernetes-embedded-resource is true")


def _keywords(schema: Mapping[str, Any], path: str) -> Iterator[Cause]:
    for word in _REFUSED:
        if word in schema and schema[word] not in (None, False):
            yield _forbidden(_at(path, word), f"{word} is not supported")
    if schema.get("uniqueItems") is True:
        detail = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        yield _forbidden(_at(path, "uniqueItems"), detail)
    if schema.get("properties") and schema.get("additionalProperties"):
        yield _forbidden(_at(path, "additionalProperties"), "additionalProperties and properties are mutual exclusive")
    if schema.get("additionalProperties") is False:
        yield _forbidden(_at(path, "additionalProperties"), "additionalProperties cannot be set to false")
    pattern = schema.get("pattern")
    trouble = patterns.problem(pattern) if isinstance(pattern, str) and pattern else None
    if trouble is not None:
        yield wording.invalid(
            _at(path, "pattern"), pattern, f"must be a valid regular expression, but isn't: {trouble}"
        )


def _lists(schema: Mapping[str, Any], path: str) -> Iterator[Cause]:
    kind, keys = schema.get("x-kubernetes-list-type"), schema.get("x-kubernetes-list-map-keys")
    if kind is None and keys is None:
        return
    if kind not in ("atomic", "set", "map"):
        yield wording.unsupported(_at(path, "x-kubernetes-list-type"), kind, ("atomic", "map", "set"))
    elif schema.get("type") != "array":
        yield wording.invalid(
            _at(path, "type"), schema.get("type") or "", "must be array if x-kubernetes-list-type is specified"
        )
    elif kind == "map":
        yield from _list_map(schema, path)


def _list_map(schema: Mapping[str, Any], path: str) -> Iterator[Cause]:
    keys = schema.get("x-kubernetes-list-map-keys") or ()
    where = _at(path, "x-kubernetes-list-map-keys")
    if not keys:
        yield Cause(where, 'Required value: must not be empty if x-kubernetes-list-type is "map"', "FieldValueRequired")
    items = schema.get("items") or {}
    properties = items.get("properties") or {}
    for index, key in enumerate(keys):
        described = properties.get(key)
        if described is None:
            yield wording.invalid(f"{where}[{index}]", key, "entries must all be names of item properties")
            continue
        if described.get("type") in ("array", "object"):
            detail = 'must be a scalar type if parent array\'s x-kubernetes-list-type is "map"'
            yield wording.invalid(_at(path, f"items.properties[{key}].type"), described.get("type"), detail)
        if "default" not in described and key not in (items.get("required") or ()):
            detail = (
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"
            )
            yield Cause(
                _at(path, f"items.properties[{key}].default"), f"Required value: {detail}", "FieldValueRequired"
            )


def _logic(schema: Mapping[str, Any], path: str) -> Iterator[Cause]:
    branches = [(f"{word}[{index}]", branch) for word in LOGIC for index, branch in enumerate(schema.get(word) or ())]
    if isinstance(schema.get("not"), Mapping):
        branches.append(("not", schema["not"]))
    free = schema.get("x-kubernetes-int-or-string") is True
    for name, branch in branches:
        if not (free and (branch in INT_OR_STRING or branch.get("anyOf") == INT_OR_STRING)):
            yield from _value_only(branch, _at(path, name))


def _value_only(schema: Mapping[str, Any], path: str) -> Iterator[Cause]:
    for word in _SHAPING:
        if word in schema and schema[word] not in (None, "", False):
            yield _forbidden(_at(path, word), "must be undefined to be structural")
    yield from _keywords(schema, path)
    for name, child in (schema.get("properties") or {}).items():
        yield from _value_only(child, _at(path, f"properties[{name}]"))
    if isinstance(schema.get("items"), Mapping):
        yield from _value_only(schema["items"], _at(path, "items"))
    yield from _logic(schema, path)


def _defaults(schema: Mapping[str, Any], path: str) -> Iterator[Cause]:
    """Every default fits the schema it stands in. Only for a schema that is structural otherwise."""
    stack: list[tuple[Mapping[str, Any], str]] = [(schema, path)]
    while stack:
        at, where = stack.pop()
        if at.get("default") is not None:
            node = Reader().read(at)
            yield from value_causes(node, shape(node, at["default"]), _at(where, "default"))
        stack += [(child, _at(where, f"properties[{name}]")) for name, child in (at.get("properties") or {}).items()]
        stack += [
            (at[word], _at(where, word))
            for word in ("items", "additionalProperties")
            if isinstance(at.get(word), Mapping)
        ]


def _forbidden(path: str, detail: str) -> Cause:
    return Cause(path, f"Forbidden: {detail}", "FieldValueForbidden")


def _at(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
