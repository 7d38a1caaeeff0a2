"""The v2 document in protobuf: what kubectl up to 1.27 asks for, and does not do without.

The message is gnostic's `openapi.v2.Document`. Only the fields that our documents have are written, by a table of field
numbers: a protobuf library and generated classes would be a dependency for one message that is never read here.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson

MEDIA_TYPE = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
"""What kubectl sends in Accept."""
CONTENT_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
"""What Kubernetes says in Content-Type: `@` is not allowed there."""

Writer = Callable[[int, Any], bytes]


def encode(document: Mapping[str, Any]) -> bytes:
    """A Swagger 2.0 document as the bytes of an `openapi.v2.Document`."""
    return _message(document, _DOCUMENT)


def _varint(value: int) -> bytes:
    out = bytearray()
    # A negative number is its 64-bit complement.
    value &= 2**64 - 1
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _bytes(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _text(number: int, value: str) -> bytes:
    return _bytes(number, value.encode())


def _texts(number: int, values: Iterable[str]) -> bytes:
    return b"".join(_text(number, value) for value in values)


def _flag(number: int, value: bool) -> bytes:
    return _varint(number << 3) + (b"\1" if value else b"\0")


def _integer(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _double(number: int, value: float) -> bytes:
    return _varint(number << 3 | 1) + struct.pack("<d", value)


def _any(number: int, value: Any) -> bytes:
    """Any value, as the YAML text that gnostic keeps it in (JSON is YAML)."""
    return _bytes(number, _bytes(2, orjson.dumps(value)))


def _anys(number: int, values: Iterable[Any]) -> bytes:
    return b"".join(_any(number, value) for value in values)


def _held(fields: Mapping[str, tuple[int, Writer]]) -> Writer:
    return lambda number, value: _bytes(number, _message(value, fields))


def _message(value: Mapping[str, Any], fields: Mapping[str, tuple[int, Writer]]) -> bytes:
    out = [writer(number, value[key]) for key, (number, writer) in fields.items() if key in value]
    extension = fields.get("x-")
    if extension is not None:
        number = extension[0]
        out += [_named(number, key, _any(2, held)) for key, held in value.items() if key.startswith("x-")]
    return b"".join(out)


def _named(number: int, name: str, value: bytes) -> bytes:
    """A name and its value (already written as field 2): how gnostic spells maps."""
    return _bytes(number, _text(1, name) + value)


def _map(write: Writer, inner: int = 1) -> Writer:
    """A map: named values, inside a message of their own in field `inner`."""

    def writer(number: int, value: Mapping[str, Any]) -> bytes:
        return _bytes(number, b"".join(_named(inner, name, write(2, held)) for name, held in value.items()))

    return writer


def _schema(number: int, value: Mapping[str, Any]) -> bytes:
    return _bytes(number, _message(value, _SCHEMA))


def _schemas(number: int, values: Iterable[Mapping[str, Any]]) -> bytes:
    return b"".join(_schema(number, value) for value in values)


def _type_item(number: int, value: str) -> bytes:
    return _bytes(number, _text(1, value))


def _items(number: int, value: Mapping[str, Any]) -> bytes:
    return _bytes(number, _schema(1, value))


def _additional(number: int, value: Any) -> bytes:
    return _bytes(number, _flag(2, value) if isinstance(value, bool) else _schema(1, value))


_SCHEMA: dict[str, tuple[int, Writer]] = {
    "$ref": (1, _text),
    "format": (2, _text),
    "title": (3, _text),
    "description": (4, _text),
    "default": (5, _any),
    "multipleOf": (6, _double),
    "maximum": (7, _double),
    "exclusiveMaximum": (8, _flag),
    "minimum": (9, _double),
    "exclusiveMinimum": (10, _flag),
    "maxLength": (11, _integer),
    "minLength": (12, _integer),
    "pattern": (13, _text),
    "maxItems": (14, _integer),
    "minItems": (15, _integer),
    "uniqueItems": (16, _flag),
    "maxProperties": (17, _integer),
    "minProperties": (18, _integer),
    "required": (19, _texts),
    "enum": (20, _anys),
    "additionalProperties": (21, _additional),
    "type": (22, _type_item),
    "items": (23, _items),
    "allOf": (24, _schemas),
    "properties": (25, _map(_schema)),
    "x-": (31, _any),
}

_BODY: dict[str, tuple[int, Writer]] = {
    "description": (1, _text),
    "name": (2, _text),
    "in": (3, _text),
    "required": (4, _flag),
    "schema": (5, _schema),
}
_QUERY: dict[str, tuple[int, Writer]] = {
    "required": (1, _flag),
    "in": (2, _text),
    "description": (3, _text),
    "name": (4, _text),
    "type": (6, _text),
    "uniqueItems": (20, _flag),
}
_PATH: dict[str, tuple[int, Writer]] = {
    "required": (1, _flag),
    "in": (2, _text),
    "description": (3, _text),
    "name": (4, _text),
    "type": (5, _text),
}


def _parameters(number: int, values: Iterable[Mapping[str, Any]]) -> bytes:
    """Each is nested in the messages that stand for the choices: inline or reference, body or not, path or query."""
    out = []
    for value in values:
        if value["in"] == "body":
            choice = _bytes(1, _message(value, _BODY))
        else:
            place, fields = (4, _PATH) if value["in"] == "path" else (3, _QUERY)
            choice = _bytes(2, _bytes(place, _message(value, fields)))
        out.append(_bytes(number, _bytes(1, choice)))
    return b"".join(out)


def _answer(number: int, value: Mapping[str, Any]) -> bytes:
    body = _text(1, value["description"])
    if "schema" in value:
        body += _bytes(2, _schema(1, value["schema"]))
    return _bytes(number, _bytes(1, body))


_OPERATION: dict[str, tuple[int, Writer]] = {
    "tags": (1, _texts),
    "description": (3, _text),
    "operationId": (5, _text),
    "produces": (6, _texts),
    "consumes": (7, _texts),
    "parameters": (8, _parameters),
    "responses": (9, _map(_answer)),
    "x-": (13, _any),
}
_PATH_ITEM: dict[str, tuple[int, Writer]] = {
    "get": (2, _held(_OPERATION)),
    "put": (3, _held(_OPERATION)),
    "post": (4, _held(_OPERATION)),
    "delete": (5, _held(_OPERATION)),
    "patch": (8, _held(_OPERATION)),
    "parameters": (9, _parameters),
}
_INFO: dict[str, tuple[int, Writer]] = {"title": (1, _text), "version": (2, _text)}
_DOCUMENT: dict[str, tuple[int, Writer]] = {
    "swagger": (1, _text),
    "info": (2, _held(_INFO)),
    "paths": (8, _map(_held(_PATH_ITEM), inner=2)),
    "definitions": (9, _map(_schema)),
}
