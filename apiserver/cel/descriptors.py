"""Declared types as protobuf messages: the form in which the compiler takes types with fields.

Protobuf has no list of lists and no map of lists; what is inside such a one is untyped (`dyn`) until it is evaluated.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .declared import Declared

_INT64, _DOUBLE, _BOOL, _STRING, _BYTES, _MESSAGE = 3, 1, 8, 9, 12, 11
_OPTIONAL, _REPEATED = 1, 3
_SCALARS = {"int": _INT64, "double": _DOUBLE, "bool": _BOOL, "string": _STRING, "bytes": _BYTES}
_WRAPPERS = {
    "int": "Int64Value",
    "double": "DoubleValue",
    "bool": "BoolValue",
    "string": "StringValue",
    "bytes": "BytesValue",
}
_KNOWN = {"timestamp": "Timestamp", "duration": "Duration", "dyn": "Value", "list": "ListValue", "map": "Struct"}


class Messages:
    """Collects messages for the types of an environment's variables."""

    def __init__(self) -> None:
        from google.protobuf import descriptor_pb2

        self._file = descriptor_pb2.FileDescriptorProto(name="kubernetes/objects.proto", syntax="proto2")
        self._file.dependency.extend(
            f"google/protobuf/{name}.proto" for name in ("timestamp", "duration", "struct", "wrappers")
        )
        self._names: dict[str, int] = {}

    def signature(self, declared: Declared, name: str) -> str:
        """The type as the compiler reads it; `name` is for the message of an object."""
        if declared.kind == "object":
            return self._message(declared, name)
        if declared.element is None:
            return declared.kind
        inner = self.signature(declared.element, name)
        return f"list<{inner}>" if declared.kind == "list" else f"map<string, {inner}>"

    def pool(self) -> Any:
        """A descriptor pool of all messages that were asked for."""
        from google.protobuf import descriptor_pool, duration_pb2, struct_pb2, timestamp_pb2, wrappers_pb2

        pool = descriptor_pool.DescriptorPool()
        for known in (timestamp_pb2, duration_pb2, struct_pb2, wrappers_pb2):
            pool.AddSerializedFile(known.DESCRIPTOR.serialized_pb)
        pool.AddSerializedFile(self._file.SerializeToString())
        return pool

    def _message(self, declared: Declared, wanted: str) -> str:
        count = self._names[wanted] = self._names.get(wanted, 0) + 1
        name = wanted if count == 1 else f"{wanted}{count}"
        message = self._file.message_type.add(name=name)
        # Names that differ in case or underscores only are fine here: nothing is ever written as protobuf's JSON.
        message.options.deprecated_legacy_json_field_conflicts = True
        entries: set[str] = set()
        for number, (field, child) in enumerate(declared.fields.items(), 1):
            identifier = declared.identifier(field)
            assert identifier is not None, field
            made = message.field.add(name=identifier, number=_number(number), label=_OPTIONAL, json_name=f"_{number}")
            self._fill(message, made, child, wanted, entries)
        return name

    def _fill(self, message: Any, made: Any, declared: Declared, name: str, entries: set[str]) -> None:
        if declared.kind == "list":
            assert declared.element is not None
            made.label = _REPEATED
            self._type(made, declared.element, name)
        elif declared.kind == "map":
            self._map(message, made, declared, name, entries)
        else:
            self._type(made, declared, name)

    def _map(self, message: Any, made: Any, declared: Declared, name: str, entries: set[str]) -> None:
        assert declared.element is not None
        entry_name = "".join(part[:1].upper() + part[1:] for part in made.name.split("_")) + "Entry"
        if entry_name in entries or any(made.name == entry_name for made in message.field):
            self._type(made, declared, name)
            return
        entries.add(entry_name)
        entry = message.nested_type.add(name=entry_name)
        entry.options.map_entry = True
        entry.field.add(name="key", number=1, label=_OPTIONAL, type=_STRING)
        self._type(entry.field.add(name="value", number=2, label=_OPTIONAL), declared.element, name)
        made.label, made.type, made.type_name = _REPEATED, _MESSAGE, f".{message.name}.{entry_name}"

    def _type(self, made: Any, declared: Declared, name: str) -> None:
        """The type of one value: a scalar, a message, or the nearest untyped one."""
        if declared.kind in _SCALARS and not declared.nullable:
            made.type = _SCALARS[declared.kind]
            return
        made.type = _MESSAGE
        if declared.kind == "object":
            made.type_name = f".{self._message(declared, name)}"
        else:
            known: Mapping[str, str] = {**_KNOWN, **_WRAPPERS}
            made.type_name = f".google.protobuf.{known[declared.kind]}"


def _number(position: int) -> int:
    """Field numbers, without the range that protobuf keeps for itself."""
    return position if position < 19_000 else position + 1_000
