"""Structural schemas as CEL sees them: what an expression may name, of which type, and how large it can get.

Fields without a known type (unknown fields that are preserved, lists of such) are not there for an expression, and a field
that is not there is an error when the expression is compiled. The types become protobuf descriptors, which is how the
compiler learns of them. Sizes follow Kubernetes' estimate: by maxItems, maxLength and maxProperties, else by what fits
into the largest request.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .library import times
from .names import escape
from .values import MapList, SetList

REQUEST_BYTES_MAX = 3 * 1024 * 1024
"""Bytes of the largest request; what has no bound of its own is bounded by it."""
_MIN_SIZES = {"string": 2, "bytes": 2, "int": 1, "double": 1, "bool": 4, "duration": 4, "timestamp": 12, "dyn": 1}
_TIME_SIZES = {"duration": 32, "date": 12, "date-time": 30}
_FORMATS = {"byte": "bytes", "duration": "duration", "date": "timestamp", "date-time": "timestamp"}
_TYPES = {"string": "string", "boolean": "bool", "number": "double", "integer": "int"}


@dataclass(slots=True)
class Declared:
    """The type of a value at one place in an object."""

    kind: str
    """`object`, `list`, `map`, `dyn`, or the name of a scalar type."""
    fields: dict[str, Declared] = field(default_factory=dict)
    """Of an object: its accessible fields by their names in the object."""
    element: Declared | None = None
    """Of a list or a map: its items, its values."""
    nullable: bool = False
    size_max: int = 1
    """Characters, items or entries at most."""
    bytes_min: int = 2
    """Bytes of JSON at least."""
    list_type: str = ""
    map_keys: tuple[str, ...] = ()
    plain: bool = False
    """Of an object: its fields are written as they are, as for types that Kubernetes has in code (`request.namespace`)."""
    read: Callable[[Any], Any] | None = None
    """How a JSON value becomes one of CEL; None where it is one already, with all that is in it."""

    def member(self, step: str) -> Declared | None:
        """One step into it: an escaped field, `@items`, `@values`, `@keys`."""
        if step in ("@items", "@values"):
            return self.element
        if step == "@keys":
            return _KEY if self.kind == "map" else None
        return next((found for name, found in self.fields.items() if self.identifier(name) == step), None)

    def identifier(self, name: str) -> str | None:
        """How an expression names one of its fields."""
        return name if self.plain else escape(name)


_KEY = Declared("string", size_max=REQUEST_BYTES_MAX - 2)
_TEXT: Mapping[str, Any] = {"type": "string"}
_ROOT: Mapping[str, Any] = {
    "apiVersion": _TEXT,
    "kind": _TEXT,
    "metadata": {"type": "object", "properties": {"name": _TEXT, "generateName": _TEXT}},
}
"""What every whole object shows of itself."""


def declare(schema: Mapping[str, Any], root: bool = False) -> Declared | None:
    """The type of what a schema describes; None when its type is unknown. `root` is a whole object."""
    if schema.get("x-kubernetes-int-or-string") is True:
        length = schema.get("maxLength")
        size = REQUEST_BYTES_MAX - 2 if length is None else 4 * max(0, length)
        return Declared("dyn", size_max=size, bytes_min=1, nullable=_nullable(schema))
    root = root or schema.get("x-kubernetes-embedded-resource") is True
    match schema.get("type"):
        case "array":
            found = _list(schema)
        case "object":
            found = _object(schema, root)
        case "string" | "boolean" | "number" | "integer":
            found = _scalar(schema)
        case _:
            return None
    if found is not None:
        found.nullable = _nullable(schema)
        found.read = _reader(found, schema)
    return found


def _nullable(schema: Mapping[str, Any]) -> bool:
    return schema.get("nullable") is True


def _list(schema: Mapping[str, Any]) -> Declared | None:
    items = declare(schema.get("items") or {})
    if items is None:
        return None
    most = schema.get("maxItems")
    size = (REQUEST_BYTES_MAX - 2) // (items.bytes_min + 1) if most is None else max(0, most)
    keys = tuple(schema.get("x-kubernetes-list-map-keys") or ())
    kind = schema.get("x-kubernetes-list-type") or ""
    return Declared("list", element=items, size_max=size, list_type=kind, map_keys=keys)


def _object(schema: Mapping[str, Any], root: bool) -> Declared | None:
    additional = schema.get("additionalProperties")
    if isinstance(additional, Mapping) and not schema.get("properties"):
        values = declare(additional)
        if values is None:
            return None
        most = schema.get("maxProperties")
        size = (REQUEST_BYTES_MAX - 2) // (values.bytes_min + 6) if most is None else max(0, most)
        return Declared("map", element=values, size_max=size)
    properties = {**(schema.get("properties") or {}), **(_ROOT if root else {})}
    made = Declared("object")
    for name, child in properties.items():
        found = declare(child)
        if found is None:
            continue
        if escape(name) is not None:
            made.fields[name] = found
        if name in (schema.get("required") or ()) and child.get("default") is None:
            made.bytes_min += len(name) + found.bytes_min + 4
    return made


def _scalar(schema: Mapping[str, Any]) -> Declared:
    kind = _TYPES[schema["type"]]
    named = schema.get("format") or ""
    if kind != "string":
        return Declared(kind, bytes_min=_MIN_SIZES[kind])
    kind = _FORMATS.get(named, kind)
    size = REQUEST_BYTES_MAX - 2
    if named in _TIME_SIZES:
        size = _TIME_SIZES[named]
    elif schema.get("maxLength") is not None:
        size = max(0, schema["maxLength"]) * (4 if kind == "string" else 1)
    elif schema.get("enum") and kind == "string":
        size = max(len(item) for item in schema["enum"] if isinstance(item, str))
    return Declared(kind, size_max=size, bytes_min=_MIN_SIZES[kind])


def bind(declared: Declared | None, value: Any) -> Any:
    """The value as expressions read it: only what differs from JSON is made anew."""
    if declared is None or declared.read is None or value is None:
        return value
    return declared.read(value)


def _reader(declared: Declared, schema: Mapping[str, Any]) -> Callable[[Any], Any] | None:
    match declared.kind:
        case "object":
            special = {name: found.read for name, found in declared.fields.items() if found.read is not None}
            return _of_object(special) if special else None
        case "map":
            read = declared.element.read if declared.element is not None else None
            return _of_map(read) if read is not None else None
        case "list":
            return _of_list(declared)
        case "double":
            return lambda value: float(value) if type(value) is int else value
        case "int":
            return lambda value: int(value) if isinstance(value, float) and value.is_integer() else value
        case "bytes" | "duration" | "timestamp":
            return _of_text(_TEXTS[schema["format"]])
    return None


def _of_object(special: Mapping[str, Callable[[Any], Any]]) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        changed = {name: special[name](value[name]) for name in special if value.get(name) is not None}
        return {**value, **changed} if changed else value

    return read


def _of_map(inner: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {key: None if item is None else inner(item) for key, item in value.items()}

    return read


def _of_list(declared: Declared) -> Callable[[Any], Any] | None:
    inner = declared.element.read if declared.element is not None else None
    if inner is None and declared.list_type not in ("set", "map"):
        return None

    def read(value: Any) -> Any:
        if not isinstance(value, list):
            return value
        items = value if inner is None else [None if item is None else inner(item) for item in value]
        if declared.list_type == "set":
            return SetList(items)
        return MapList(items, declared.map_keys) if declared.list_type == "map" else items

    return read


def _of_text(parse: Callable[[str], Any]) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return parse(value)
        except ValueError:
            # Not of its format, which the schema has refused already, or lets pass because it was there before.
            return value

    return read


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(text) from error


_TEXTS: Mapping[str, Callable[[str], Any]] = {
    "byte": _decode,
    "duration": times.parse_duration,
    "date": times.parse_date,
    "date-time": times.parse_timestamp,
}
