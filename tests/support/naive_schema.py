"""A structural schema interpreted naively, from the rules of apiextensions alone: the model of the compiled one.

Prune, then default, then validate, each a walk of its own over plain dicts. Knows the keywords that the property test
generates, reports where something is wrong and of what type, and shares no code with what it checks.
"""

from __future__ import annotations

import copy
import re
from typing import Any

Problem = tuple[str, str]
INVALID, REQUIRED, TYPE = "FieldValueInvalid", "FieldValueRequired", "FieldValueTypeInvalid"
UNSUPPORTED, DUPLICATE = "FieldValueNotSupported", "FieldValueDuplicate"
TOO_LONG, TOO_MANY = "FieldValueTooLong", "FieldValueTooMany"


def admit(schema: dict[str, Any], value: Any) -> tuple[Any, set[Problem]]:
    """The pruned and defaulted value, and everything that is wrong with it."""
    value = copy.deepcopy(value)
    pruned = prune(schema, value)
    default(schema, pruned)
    return pruned, set(problems(schema, pruned, ""))


def prune(schema: dict[str, Any], value: Any) -> Any:
    """Without unknown fields, and without nulls where none may be and no default takes their place."""
    if isinstance(value, list) and "items" in schema:
        return [prune(schema["items"], item) for item in value]
    if not isinstance(value, dict) or schema.get("type") != "object":
        return value
    kept = {}
    for name, item in value.items():
        child = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
        if child is None:
            if schema.get("x-kubernetes-preserve-unknown-fields"):
                kept[name] = item
            continue
        if item is None and not child.get("nullable") and "default" not in child:
            continue
        kept[name] = prune(child, item)
    return kept


ANY = {"x-kubernetes-preserve-unknown-fields": True}


def default(schema: dict[str, Any], value: Any) -> None:
    """Defaults, in place: where a property is missing or a null may not be."""
    if isinstance(value, list) and "items" in schema:
        items = schema["items"]
        for index, item in enumerate(value):
            if item is None and not items.get("nullable") and "default" in items:
                value[index] = copy.deepcopy(items["default"])
            default(items, value[index])
    if not isinstance(value, dict) or schema.get("type") != "object":
        return
    for name, child in schema.get("properties", {}).items():
        if "default" in child and (name not in value or (value[name] is None and not child.get("nullable"))):
            value[name] = copy.deepcopy(child["default"])
    for name in value:
        child = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
        if child is not None:
            if value[name] is None and "default" in child and not child.get("nullable"):
                value[name] = copy.deepcopy(child["default"])
            default(child, value[name])


def problems(schema: dict[str, Any], value: Any, path: str) -> list[Problem]:
    """What is wrong, here and below."""
    kind = schema.get("type") or ("int-or-string" if schema.get("x-kubernetes-int-or-string") else "")
    if value is None:
        return [] if schema.get("nullable") or not kind else [(path, TYPE)]
    types: dict[str, Any] = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool}
    types |= {"number": (int, float), "int-or-string": (int, str), "": object}
    if not isinstance(value, types[kind]) or (isinstance(value, bool) and kind not in ("boolean", "")):
        return [(path, TYPE)]
    found: list[Problem] = []
    if "enum" in schema and value not in schema["enum"]:
        found.append((path, UNSUPPORTED))
    if isinstance(value, str):
        found += _string(schema, value, path)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        found += _number(schema, value, path)
    elif isinstance(value, list):
        found += _list(schema, value, path)
    elif isinstance(value, dict):
        found += _object(schema, value, path)
    return found + _logic(schema, value, path)


def _string(schema: dict[str, Any], value: str, path: str) -> list[Problem]:
    found = []
    if len(value) > schema.get("maxLength", len(value)):
        found.append((path, TOO_LONG))
    if len(value) < schema.get("minLength", 0):
        found.append((path, INVALID))
    if "pattern" in schema and not re.search(schema["pattern"], value):
        found.append((path, INVALID))
    return found


def _number(schema: dict[str, Any], value: float, path: str) -> list[Problem]:
    low, high, of = schema.get("minimum"), schema.get("maximum"), schema.get("multipleOf")
    bad = low is not None and (value <= low if schema.get("exclusiveMinimum") else value < low)
    bad |= high is not None and (value >= high if schema.get("exclusiveMaximum") else value > high)
    bad |= of is not None and value % of != 0
    return [(path, INVALID)] if bad else []


def _list(schema: dict[str, Any], value: list[Any], path: str) -> list[Problem]:
    found = []
    if len(value) > schema.get("maxItems", len(value)):
        found.append((path, TOO_MANY))
    if len(value) < schema.get("minItems", 0):
        found.append((path, INVALID))
    keys = schema.get("x-kubernetes-list-map-keys")
    if schema.get("x-kubernetes-list-type") in ("set", "map"):
        identities = [
            repr(item) if keys is None else repr([item.get(key) if isinstance(item, dict) else None for key in keys])
            for item in value
        ]
        found += [(f"{path}[{i}]", DUPLICATE) for i, one in enumerate(identities) if one in identities[:i]]
    for index, item in enumerate(value):
        found += problems(schema.get("items", {}), item, f"{path}[{index}]")
    return found


def _object(schema: dict[str, Any], value: dict[str, Any], path: str) -> list[Problem]:
    def at(name: str) -> str:
        return f"{path}.{name}" if path else name

    found = [(at(name), REQUIRED) for name in schema.get("required", ()) if name not in value]
    if len(value) > schema.get("maxProperties", len(value)):
        found.append((path, TOO_MANY))
    if len(value) < schema.get("minProperties", 0):
        found.append((path, INVALID))
    for name, item in value.items():
        child = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
        if child is not None:
            found += problems(child, item, at(name))
    return found


def _logic(schema: dict[str, Any], value: Any, path: str) -> list[Problem]:
    found = []
    for branch in schema.get("allOf", ()):
        found += problems(branch, value, path)
    if "anyOf" in schema and not any(not problems(branch, value, path) for branch in schema["anyOf"]):
        found.append((path, INVALID))
    if "oneOf" in schema and sum(not problems(branch, value, path) for branch in schema["oneOf"]) != 1:
        found.append((path, INVALID))
    if "not" in schema and not problems(schema["not"], value, path):
        found.append((path, INVALID))
    return found
