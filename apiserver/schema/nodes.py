"""A structural schema as a tree of nodes: read once, then walked by the Rust builder and by the explanation alike.

Reading is lenient (what `check_structural` complains about is its business), but bounded: a schema is written by a user,
and both its depth and its size become recursion and memory here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from .rules import MapRule

SCHEMA_DEPTH_MAX = 100
"""Levels of nesting in a schema. Deeper ones are refused: every walk here recurses along the schema."""
SCHEMA_NODES_MAX = 50_000
"""Nodes in one schema. The largest public CRDs have about 15,000; each costs about 1 KB compiled."""


INT_OR_STRING = [{"type": "integer"}, {"type": "string"}]


class SchemaTooLarge(ValueError):
    """The schema is deeper or has more nodes than we compile."""


class Missing:
    """The type of MISSING: there is no value, which is not the same as null."""


MISSING: Final = Missing()


@dataclass(slots=True)
class Node:
    """One level of a structural schema. Keywords that are absent have the value that constrains nothing."""

    type: str = ""
    """A JSON type name, `int-or-string`, or empty for anything."""
    nullable: bool = False
    preserve: bool = False
    """x-kubernetes-preserve-unknown-fields: what no property names is kept as it is."""
    properties: dict[str, Node] = field(default_factory=dict)
    additional: Node | None = None
    """The schema of every value of a map (additionalProperties)."""
    items: Node | None = None
    required: tuple[str, ...] = ()
    default: bytes | None = None
    """The default as JSON, completed with the defaults inside it. Kept as bytes: each use gets a copy of its own."""
    enum: tuple[Any, ...] | None = None
    format: str = ""
    pattern: str | None = None
    min_length: int | None = None
    max_length: int | None = None
    minimum: float | None = None
    maximum: float | None = None
    exclusive_minimum: bool = False
    exclusive_maximum: bool = False
    multiple_of: float | None = None
    min_items: int | None = None
    max_items: int | None = None
    unique: bool = False
    min_properties: int | None = None
    max_properties: int | None = None
    map_keys: tuple[str, ...] = ()
    """x-kubernetes-list-map-keys of a list of type map: no two items agree in all of them."""
    is_set: bool = False
    """x-kubernetes-list-type: set."""
    all_of: tuple[Node, ...] = ()
    any_of: tuple[Node, ...] = ()
    one_of: tuple[Node, ...] = ()
    not_: Node | None = None
    embedded: bool = False
    """x-kubernetes-embedded-resource: an object with apiVersion, kind and metadata of its own."""
    quantity: bool = False
    """`format: quantity`: an int-or-string whose numbers, broken ones too, become text, as Kubernetes' Quantity reads."""
    map_rule: MapRule | None = None
    """A rule about keys and values that OpenAPI cannot say: labels and annotations."""

    def child(self, key: str) -> Node | None:
        """The schema of one key of an object: a property, any value of a map, anything where unknown is preserved."""
        found = self.properties.get(key) or self.additional
        return found if found is not None or not self.preserve else ANYTHING

    def fresh_default(self) -> Any:
        """A copy of the default that nobody else holds. Only where `default` is not None."""
        assert self.default is not None
        return orjson.loads(self.default)

    @property
    def is_object(self) -> bool:
        """Objects are pruned here: it is of type object, or of no type but with a schema for its fields."""
        return self.type == "object" or (not self.type and bool(self.properties or self.additional))

    @property
    def has_logic(self) -> bool:
        """allOf, anyOf, oneOf or not is there."""
        return bool(self.all_of or self.any_of or self.one_of or self.not_)


ANYTHING = Node(preserve=True, nullable=True)


class Reader:
    """Reads schemas into nodes, counting them."""

    def __init__(self) -> None:
        self._count = 0

    def read(self, schema: Mapping[str, Any], depth: int = 0) -> Node:
        """The node of `schema`, defaults completed. Raises SchemaTooLarge."""
        self._count += 1
        if depth > SCHEMA_DEPTH_MAX:
            raise SchemaTooLarge(f"the schema is nested deeper than {SCHEMA_DEPTH_MAX} levels")
        if self._count > SCHEMA_NODES_MAX:
            raise SchemaTooLarge(f"the schema has more than {SCHEMA_NODES_MAX} nodes")
        node = Node(
            type=_type(schema),
            nullable=schema.get("nullable") is True,
            preserve=schema.get("x-kubernetes-preserve-unknown-fields") is True,
            required=tuple(schema.get("required") or ()),
            map_keys=_map_keys(schema),
            quantity=schema.get("format") == "quantity" and schema.get("x-kubernetes-int-or-string") is True,
            embedded=schema.get("x-kubernetes-embedded-resource") is True,
            is_set=schema.get("x-kubernetes-list-type") == "set",
        )
        _read_values(node, schema)
        self._read_children(node, schema, depth + 1)
        return node

    def _read_children(self, node: Node, schema: Mapping[str, Any], depth: int) -> None:
        for name, child in (schema.get("properties") or {}).items():
            node.properties[name] = self.read(child, depth)
        additional = schema.get("additionalProperties")
        if isinstance(additional, Mapping):
            node.additional = self.read(additional, depth)
        elif additional is True:
            node.additional = ANYTHING
        items = schema.get("items")
        if isinstance(items, Mapping):
            node.items = self.read(items, depth)
        if node.type == "array" and node.items is None:
            node.items = ANYTHING
        node.all_of, node.any_of, node.one_of = (
            tuple(self.read(branch, depth) for branch in schema.get(word) or ()) for word in ("allOf", "anyOf", "oneOf")
        )
        if node.type == "int-or-string" and schema.get("anyOf") == INT_OR_STRING:
            # The customary spelling of what x-kubernetes-int-or-string says already; as logic it would be checked in Python.
            node.any_of = ()
        if isinstance(schema.get("not"), Mapping):
            node.not_ = self.read(schema["not"], depth)


def _type(schema: Mapping[str, Any]) -> str:
    if schema.get("x-kubernetes-int-or-string") is True:
        return "int-or-string"
    named = schema.get("type")
    return named if isinstance(named, str) else ""


def _map_keys(schema: Mapping[str, Any]) -> tuple[str, ...]:
    if schema.get("x-kubernetes-list-type") != "map":
        return ()
    return tuple(schema.get("x-kubernetes-list-map-keys") or ())


def _read_values(node: Node, schema: Mapping[str, Any]) -> None:
    if "default" in schema and schema["default"] is not None:
        node.default = orjson.dumps(schema["default"])
    node.enum = tuple(schema["enum"]) if schema.get("enum") else None
    node.format = schema.get("format") or ""
    node.pattern = schema.get("pattern") or None
    node.min_length, node.max_length = schema.get("minLength"), schema.get("maxLength")
    node.minimum, node.maximum = schema.get("minimum"), schema.get("maximum")
    node.exclusive_minimum = schema.get("exclusiveMinimum") is True
    node.exclusive_maximum = schema.get("exclusiveMaximum") is True
    node.multiple_of = schema.get("multipleOf")
    node.min_items, node.max_items = schema.get("minItems"), schema.get("maxItems")
    node.unique = schema.get("uniqueItems") is True
    node.min_properties, node.max_properties = schema.get("minProperties"), schema.get("maxProperties")


def walk(node: Node) -> Iterator[Node]:
    """The node and everything under it, children before parents."""
    below = (*node.properties.values(), *(child for child in (node.additional, node.items) if child is not None))
    for child in below:
        yield from walk(child)
    yield node
