"""From the bytes of a message to its JSON form, by the table of its fields.

A number that the table does not have is a field younger than we are. Unless it is zero, which Go writes unasked, it is told
by its number: then the schema complains of it as of any unknown field, and nothing that was said is dropped in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from .fields import BYTES, FIXED64, VARINT, Malformed, Source, Span, signed
from .tables import Field, Shape, Table
from .values import READERS

DEPTH_MAX: Final = 64
"""Messages inside each other. The deepest kinds need about a dozen; only schemas can nest without end."""


def _schema_or_list(obj: Mapping[str, Any]) -> Any:
    return obj.get("list") or obj.get("schema")


def _schema_or_bool(obj: Mapping[str, Any]) -> Any:
    return obj["schema"] if "schema" in obj else bool(obj.get("allows"))


CHOICES: Final[Mapping[str, Callable[[Mapping[str, Any]], Any]]] = {
    "apiextensions/v1.JSONSchemaPropsOrArray": _schema_or_list,
    "apiextensions/v1.JSONSchemaPropsOrStringArray": _schema_or_list,
    "apiextensions/v1.JSONSchemaPropsOrBool": _schema_or_bool,
}
"""Messages of which JSON has only the part that is set."""

_NUMBERS: Final = ("bool", "int32", "int64")


class Decoder:
    """Reads one body."""

    def __init__(self, source: Source, table: Table) -> None:
        self._source, self._table = source, table

    def message(self, name: str, start: int, end: int) -> dict[str, Any]:
        """The message between two places. Raises Malformed."""
        obj: dict[str, Any] = {}
        self._message(name, start, end, obj, DEPTH_MAX)
        return obj

    def _message(self, name: str, start: int, end: int, into: dict[str, Any], depth: int) -> None:
        if not depth:
            raise Malformed(f"nested deeper than {DEPTH_MAX}")
        fields = self._table.messages[name]
        for span in self._source.scan(start, end):
            field = fields.get(span.number)
            if field is None:
                if not self._source.is_zero(span):
                    into[f"protobuf field {span.number}"] = True
                continue
            if field.shape is Shape.MAP:
                self._entry(field, span, into.setdefault(field.name, {}), depth)
            elif field.shape is Shape.LIST:
                self._item(field, span, into.setdefault(field.name, []), depth)
            else:
                self._one(field, span, into, depth)

    def _one(self, field: Field, span: Span, into: dict[str, Any], depth: int) -> None:
        if field.type in self._table.messages:
            self._expect(field, span, BYTES)
            # A message that comes in pieces is put together, as everywhere in protobuf.
            if field.type in CHOICES:
                into[field.name] = self._value(field, span, depth)
                return
            place = into if field.inlined else into.setdefault(field.name, {})
            self._message(field.type, span.start, span.end, place, depth - 1)
            return
        value = self._scalar(field, span)
        if value is None or (field.drops_zero and not value):
            into.pop(field.name, None)
        else:
            into[field.name] = value

    def _item(self, field: Field, span: Span, items: list[Any], depth: int) -> None:
        if field.type in _NUMBERS and span.wire_type == BYTES:
            self._packed(field, span, items)
        else:
            items.append(self._value(field, span, depth))

    def _packed(self, field: Field, span: Span, items: list[Any]) -> None:
        start = span.start
        while start < span.end:
            self._source.count()
            value, start = self._source.varint(start, span.end)
            items.append(_number(field.type, value))

    def _entry(self, field: Field, span: Span, entries: dict[str, Any], depth: int) -> None:
        """An entry of a map is a message: key 1, value 2. What is missing is empty, as Go has it."""
        self._expect(field, span, BYTES)
        key, value = "", Span(2, _wire_type(field.type), 0, 0, 0)
        for part in self._source.scan(span.start, span.end):
            if part.number == 1:
                self._expect(field, part, BYTES)
                key = READERS["string"](self._source, part)
            elif part.number == 2:
                value = part
        entries[key] = self._value(field, value, depth)

    def _value(self, field: Field, span: Span, depth: int) -> Any:
        if field.type not in self._table.messages:
            return self._scalar(field, span)
        self._expect(field, span, BYTES)
        obj: dict[str, Any] = {}
        self._message(field.type, span.start, span.end, obj, depth - 1)
        choose = CHOICES.get(field.type)
        return obj if choose is None else choose(obj)

    def _scalar(self, field: Field, span: Span) -> Any:
        self._expect(field, span, _wire_type(field.type))
        if field.type in _NUMBERS:
            return _number(field.type, span.value)
        if field.type == "double":
            return self._source.double(span)
        return READERS[field.type](self._source, span)

    def _expect(self, field: Field, span: Span, wire_type: int) -> None:
        if span.wire_type != wire_type:
            raise Malformed(f"proto: wrong wireType = {span.wire_type} for field {field.name}")


def _wire_type(type_: str) -> int:
    if type_ in _NUMBERS:
        return VARINT
    return FIXED64 if type_ == "double" else BYTES


def _number(type_: str, value: int) -> int | bool:
    return bool(value) if type_ == "bool" else signed(value, 32 if type_ == "int32" else 64)
