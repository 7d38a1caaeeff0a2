"""The tables in memory: which kinds there are, and what the fields of their messages are.

messages.json is generated (see `generate`); definitions.json is CustomResourceDefinition, which kubectl does not have as
a type of its own, entered by hand from Kubernetes' generated.proto and types.

A field is written `NUMBER NAME TYPE`. The name is that in JSON: `-` when the message's fields stand beside their parent's
(inlined in Go), with `?` when JSON leaves it out if it is zero or empty. The type is `bool`, `int32`, `int64`, `double`,
`string`, `bytes`, one of the types with a JSON form of their own (see `values`), or a message; `[]` before it means
repeated, `{}` a map from strings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Final

import orjson

PATH: Final = Path(__file__).with_name("messages.json")
DEFINITIONS_PATH: Final = Path(__file__).with_name("definitions.json")
INLINE: Final = "-"


class Shape(Enum):
    """How often a field may occur, and what that makes of it in JSON."""

    ONE = ""
    LIST = "[]"
    MAP = "{}"


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a message."""

    number: int
    name: str
    type: str
    shape: Shape
    drops_zero: bool
    """Left out when zero or empty. Go writes such fields always; a pointer's zero was meant and is kept."""

    @property
    def inlined(self) -> bool:
        """Whether the message's fields stand beside their parent's."""
        return self.name == INLINE


@dataclass(frozen=True, slots=True)
class Table:
    """All that is known."""

    kinds: Mapping[str, str]
    """`apps/v1/Deployment`, or a kind alone if it comes in every apiVersion, to the name of its message."""
    messages: Mapping[str, Mapping[int, Field]]

    def message_of(self, api_version: str, kind: str) -> str | None:
        """The name of a kind's message."""
        return self.kinds.get(f"{api_version}/{kind}") or (self.kinds.get(kind) if "/" not in kind else None)

    def knows_version(self, api_version: str) -> bool:
        """Whether any kind of the apiVersion is known."""
        return any(kind.rpartition("/")[0] == api_version for kind in self.kinds if "/" in kind)


def parse_field(text: str) -> Field:
    """From the form in the file."""
    number, name, type_ = text.split(" ")
    shape = next((shape for shape in (Shape.LIST, Shape.MAP) if type_.startswith(shape.value)), Shape.ONE)
    return Field(int(number), name.removesuffix("?"), type_[len(shape.value) :], shape, name.endswith("?"))


@cache
def table() -> Table:
    """The table, read when the first such body comes."""
    kinds: dict[str, str] = {}
    messages: dict[str, Mapping[int, Field]] = {}
    for path in (PATH, DEFINITIONS_PATH):
        loaded = orjson.loads(path.read_bytes())
        kinds |= loaded["kinds"]
        for name, described in loaded["messages"].items():
            messages[name] = {field.number: field for field in map(parse_field, described)}
    return Table(kinds, messages)
