"""Write messages.json: which field numbers stand for which JSON names, in the kinds that clients send as protobuf.

The facts are read from the Go types inside a kubectl program (`python -m stark.apiserver.wire.protobuf.generate KUBECTL`).
The .proto files would not do: that a struct is inlined in JSON, that a field is a pointer (so that its zero was meant)
and that an empty field is left out (`omitempty`) stands in the Go types only. A Go program carries them for
reflection; what is read here is their layout in Go 1.20 to 1.24 on 64-bit little-endian Linux, without PIE.
Whoever adds a group adds it to GROUPS and runs this again; nothing here runs in the server.
"""

from __future__ import annotations

import json
import re
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .tables import PATH

GROUPS: Final = {
    "core/v1": "v1",
    "apps/v1": "apps/v1",
    "authentication/v1": "authentication.k8s.io/v1",
    "authorization/v1": "authorization.k8s.io/v1",
    "autoscaling/v1": "autoscaling/v1",
    "autoscaling/v2": "autoscaling/v2",
    "batch/v1": "batch/v1",
    "certificates/v1": "certificates.k8s.io/v1",
    "coordination/v1": "coordination.k8s.io/v1",
    "discovery/v1": "discovery.k8s.io/v1",
    "events/v1": "events.k8s.io/v1",
    "networking/v1": "networking.k8s.io/v1",
    "policy/v1": "policy/v1",
    "rbac/v1": "rbac.authorization.k8s.io/v1",
    "scheduling/v1": "scheduling.k8s.io/v1",
    "storage/v1": "storage.k8s.io/v1",
}
"""Go package below k8s.io/api to apiVersion."""
OPTIONS: Final = ("CreateOptions", "DeleteOptions", "PatchOptions", "UpdateOptions")
"""Kinds of meta/v1 that come in any apiVersion."""

META: Final = "k8s.io/apimachinery/pkg/apis/meta/v1"
SPECIAL: Final = {
    f"{META}.Time": "Time",
    f"{META}.MicroTime": "MicroTime",
    f"{META}.Duration": "Duration",
    f"{META}.FieldsV1": "Raw",
    "k8s.io/apimachinery/pkg/runtime.RawExtension": "Raw",
    "k8s.io/apimachinery/pkg/api/resource.Quantity": "Quantity",
    "k8s.io/apimachinery/pkg/util/intstr.IntOrString": "IntOrString",
}
"""Types that write themselves, in protobuf and in JSON."""

BOOL, INT32, INT64, FLOAT64, MAP, POINTER, SLICE, STRING, STRUCT = 1, 5, 6, 14, 21, 22, 23, 24, 25
UINT8: Final = 8
SCALARS: Final = {BOOL: "bool", INT32: "int32", INT64: "int64", FLOAT64: "double", STRING: "string"}
TYPE_BYTES: Final = 48
"""Size of abi.Type, the head that all types share."""
EXTRA_BYTES: Final = {STRUCT: 32, SLICE: 8}
"""What follows the head, before the package of a named type."""
UNCOMMON, EXTRA_STAR, NAMED, HAS_TAG, EMBEDDED = 1, 2, 4, 2, 8


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a Go struct."""

    name: str
    tag: str
    type: int
    embedded: bool

    def key(self, word: str) -> list[str]:
        """The parts of one key of the tag."""
        found = re.search(rf'\b{word}:"([^"]*)"', self.tag)
        return found.group(1).split(",") if found else []


class Program:
    """The Go types in an ELF file."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._sections = dict(self._read_sections())
        self._base = self._sections[".rodata"][0]
        """Names and types are counted from here."""

    def _read_sections(self) -> list[tuple[str, tuple[int, int, int]]]:
        data = self._data
        assert data[:6] == b"\x7fELF\x02\x01", "not a 64-bit little-endian ELF file"
        (table,) = struct.unpack_from("<Q", data, 0x28)
        size, count, names = struct.unpack_from("<HHH", data, 0x3A)
        heads = [struct.unpack_from("<IIQQQQ", data, table + index * size) for index in range(count)]
        texts = heads[names][4]
        found = []
        for name, _, _, address, offset, length in heads:
            end = data.index(b"\0", texts + name)
            found.append((data[texts + name : end].decode(), (address, offset, length)))
        return found

    def _at(self, address: int) -> int:
        start, offset, length = self._sections[".rodata"]
        assert start <= address < start + length, hex(address)
        return address - start + offset

    def _u64(self, address: int) -> int:
        return int(struct.unpack_from("<Q", self._data, self._at(address))[0])

    def types(self) -> list[int]:
        """Addresses of the types that have a link: pointers, slices, maps ..."""
        _, offset, length = self._sections[".typelink"]
        return [self._base + link for link in struct.unpack_from(f"<{length // 4}i", self._data, offset)]

    def kind(self, type_: int) -> int:
        """The type's kind."""
        return self._data[self._at(type_) + 23] & 31

    def element(self, type_: int) -> int:
        """What a pointer points to, or what a slice or map holds."""
        return self._u64(type_ + TYPE_BYTES + (8 if self.kind(type_) == MAP else 0))

    def name(self, type_: int) -> str:
        """`k8s.io/api/apps/v1.Deployment`, for a struct or slice; empty if it has no name."""
        at = self._at(type_)
        flags = self._data[at + 20]
        if not flags & NAMED or not flags & UNCOMMON:
            return ""
        extra = EXTRA_BYTES[self.kind(type_)]
        package, name = (
            struct.unpack_from("<i", self._data, at + TYPE_BYTES + extra)[0],
            struct.unpack_from("<i", self._data, at + 40)[0],
        )
        text = self._name(self._base + name)[0].lstrip("*")
        return f"{self._name(self._base + package)[0]}.{text.rpartition('.')[2]}"

    def fields(self, type_: int) -> list[Field]:
        """The fields of a struct."""
        first, count = self._u64(type_ + TYPE_BYTES + 8), self._u64(type_ + TYPE_BYTES + 16)
        found = []
        for address in range(first, first + 24 * count, 24):
            name, tag, embedded = self._name(self._u64(address))
            found.append(Field(name, tag, self._u64(address + 8), embedded))
        return found

    def _name(self, address: int) -> tuple[str, str, bool]:
        at = self._at(address)
        flags = self._data[at]
        text, at = self._text(at + 1)
        tag = self._text(at)[0] if flags & HAS_TAG else ""
        return text, tag, bool(flags & EMBEDDED)

    def _text(self, at: int) -> tuple[str, int]:
        length = shift = 0
        while True:
            byte = self._data[at]
            at += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return self._data[at : at + length].decode(), at + length


class Collector:
    """Follows the kinds to all the messages that they are made of."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self.messages: dict[str, list[str]] = {}

    def add(self, type_: int) -> str:
        """The message's name in the table; it is described there, with what it needs."""
        package, _, name = self._program.name(type_).rpartition(".")
        known = f"{package.removeprefix('k8s.io/api/').replace(META, 'meta/v1')}.{name}"
        if known not in self.messages:
            self.messages[known] = []
            described = [self._field(field) for field in self._program.fields(type_) if field.key("protobuf")]
            self.messages[known] = sorted(described, key=lambda text: int(text.split()[0]))
        return known

    def _field(self, field: Field) -> str:
        """`NUMBER NAME TYPE`: the name `-` if inlined, with `?` if left out when it is zero."""
        tag, (name, *options) = field.key("protobuf"), field.key("json")
        is_inline = "inline" in options or not name
        kind = self._program.kind(field.type)
        drops = "omitempty" in options and kind not in (POINTER, STRUCT)
        return f"{tag[1]} {'-' if is_inline else name}{'?' if drops else ''} {self._type(field.type)}"

    def _type(self, type_: int) -> str:
        program = self._program
        kind = program.kind(type_)
        if kind == POINTER:
            return self._type(program.element(type_))
        if kind == SLICE:
            return self._slice(type_)
        if kind == MAP:
            return "{}" + self._type(program.element(type_))
        if kind == STRUCT:
            return SPECIAL.get(program.name(type_)) or self.add(type_)
        return SCALARS[kind]

    def _slice(self, type_: int) -> str:
        element, name = self._program.element(type_), self._program.name(type_)
        if self._program.kind(element) == UINT8:
            return "bytes"
        # A named slice of strings (ExtraValue, Verbs) is a message of its own, so that it can be a map's value.
        return "Texts" if name and self._program.kind(element) == STRING else "[]" + self._type(element)


def describe(program: Program) -> dict[str, dict[str, object]]:
    """The table: `kinds`, apiVersion/Kind to message, and `messages`, name to fields."""
    structs: dict[str, int] = {}
    for type_ in program.types():
        if program.kind(type_) == POINTER and program.kind(program.element(type_)) == STRUCT:
            structs[program.name(program.element(type_))] = program.element(type_)
    collector = Collector(program)
    kinds: dict[str, object] = {}
    for name, type_ in sorted(structs.items()):
        package, _, kind = name.rpartition(".")
        version = GROUPS.get(package.removeprefix("k8s.io/api/"))
        if package == META and kind in OPTIONS:
            kinds[kind] = collector.add(type_)
        elif version and not kind.endswith("List") and any(f.name == "TypeMeta" for f in program.fields(type_)):
            kinds[f"{version}/{kind}"] = collector.add(type_)
    return {"kinds": kinds, "messages": dict(sorted(collector.messages.items()))}


def write(table: dict[str, dict[str, object]], path: Path) -> None:
    """One line for each message, so that a change can be read."""
    parts = []
    for title, entries in table.items():
        lines = [f"{json.dumps(key)}:{json.dumps(value, separators=(',', ':'))}" for key, value in entries.items()]
        parts.append(f"{json.dumps(title)}:{{\n" + ",\n".join(lines) + "\n}")
    path.write_text("{" + ",\n".join(parts) + "}\n")


if __name__ == "__main__":
    write(describe(Program(Path(sys.argv[1]).read_bytes())), PATH)
