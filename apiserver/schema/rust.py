"""The tree of nodes as one pydantic-core validator: prune, default and validate in a single pass in Rust.

It accepts only what is right; what it refuses may still be right in rare cases (a whole float for an integer, a label
key with a very long prefix), and `checks` has the last word. So nothing here is about messages, and where Rust cannot
say a rule exactly, it says a stricter one. Strictness is spelled at every node: pydantic-core does not inherit it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from operator import itemgetter
from typing import Any, Literal, TypeVar

import orjson
from pydantic_core import SchemaValidator
from pydantic_core import core_schema as cs

from . import formats
from .checks import OBJECT_DEPTH_MAX, bounds, is_multiple, of_list, of_logic, of_object, same, too_deep
from .nodes import ANYTHING, SCHEMA_DEPTH_MAX, Node
from .patterns import to_rust
from .rules import MapRule, map_bytes
from .shape import as_quantity

OPEN_DEPTH_MAX = OBJECT_DEPTH_MAX - SCHEMA_DEPTH_MAX
"""Levels of a value without a schema that pass without a second look: with the levels of any schema above it, the
object stays below OBJECT_DEPTH_MAX."""

Extra = Literal["ignore", "forbid"]
T = TypeVar("T")


def build(root: Node, extra: Extra) -> SchemaValidator:
    """The validator of a whole object; `extra` says whether unknown fields are pruned or refused.

    Raises SchemaError when a pattern of the schema is not a regular expression.
    """
    return SchemaValidator(_schema(root, extra))


def _schema(node: Node, extra: Extra) -> cs.CoreSchema:
    schema = _typed(node, extra)
    if node.enum is not None:
        schema = _with_enum(node, schema)
    if node.has_logic:
        schema = _refusing(schema, lambda value: next(of_logic(node, value, ""), None) is None)
    return cs.nullable_schema(schema, strict=True) if node.nullable and node is not ANYTHING else schema


def _typed(node: Node, extra: Extra) -> cs.CoreSchema:
    match node.type:
        case "string":
            return _string(node)
        case "integer":
            return _integer(node)
        case "number":
            return _number(node)
        case "boolean":
            return cs.bool_schema(strict=True)
        case "int-or-string" if node.quantity:
            text = cs.chain_schema([_NUMBER_AS_TEXT, _string(node)])
            return cs.union_schema([_string(node), text], mode="left_to_right")
        case "int-or-string":
            return cs.union_schema([_integer(node), _string(node)], mode="left_to_right")
        case "array":
            return _list(node, extra)
    if node.is_object:
        held = _object(node, extra)
        # Without a type, a value that is no object has nothing to satisfy.
        return held if node.type else cs.union_schema([held, _NO_OBJECT], mode="left_to_right")
    return _open()


def _refusing(schema: cs.CoreSchema, holds: Callable[[Any], bool]) -> cs.CoreSchema:
    """The schema, and then a Python predicate over its result."""

    def check(value: Any) -> Any:
        if not holds(value):
            raise ValueError
        return value

    return cs.no_info_after_validator_function(check, schema)


def _open() -> cs.CoreSchema:
    return _refusing(cs.any_schema(), _not_too_deep)


def _not_too_deep(value: Any) -> bool:
    return not isinstance(value, (dict, list)) or _is_plain(value) or not too_deep(value, OPEN_DEPTH_MAX)


def _is_plain(value: Any) -> bool:
    """It has not even as many brackets as it may be deep: managedFields, mostly, which every update brings along."""
    try:
        text = orjson.dumps(value)
    except TypeError:  # nested deeper, or with greater numbers, than it writes
        return False
    return text.count(b"{") + text.count(b"[") <= OPEN_DEPTH_MAX


_NUMBER_AS_TEXT = cs.no_info_plain_validator_function(as_quantity)
_NOTHING = _refusing(cs.any_schema(), lambda _: False)
_NO_OBJECT = _refusing(_open(), lambda value: not isinstance(value, dict))


def _with_enum(node: Node, schema: cs.CoreSchema) -> cs.CoreSchema:
    """A literal alone when nothing else constrains the value, the commonest enumeration by far."""
    allowed = list(node.enum or ())
    if not all(isinstance(item, str) for item in allowed):
        # Rust's literals take `true` for 1, as Python does.
        return _refusing(schema, lambda value: any(same(value, item) for item in allowed))
    literal = cs.literal_schema(allowed)
    plain = node.type == "string" and not _constrained(node) and not node.format
    return literal if plain else cs.chain_schema([schema, literal])


def _string(node: Node) -> cs.CoreSchema:
    schema = cs.str_schema(
        strict=True,
        pattern=to_rust(node.pattern) if node.pattern else None,
        regex_engine="rust-regex",
        min_length=node.min_length,
        max_length=node.max_length,
    )
    pattern, function = formats.PATTERNS.get(node.format), formats.FUNCTIONS.get(node.format)
    if pattern is not None:
        shape = cs.str_schema(strict=True, pattern=to_rust(pattern), regex_engine="rust-regex")
        return cs.chain_schema([schema, shape]) if _constrained(node) else shape
    return _refusing(schema, function) if function is not None else schema


def _constrained(node: Node) -> bool:
    return bool(node.pattern or node.min_length) or node.max_length is not None


def _tightest(node: Node, number: Callable[[str, float], T]) -> dict[str, T]:
    """One bound per relation: of two, the one that leaves less."""
    found: dict[str, float] = {}
    for relation, bound in bounds(node):
        tighter = max if relation in ("ge", "gt") else min
        found[relation] = tighter(found.get(relation, bound), bound)
    return {relation: number(relation, bound) for relation, bound in found.items()}


def _whole(relation: str, bound: float) -> int:
    return math.ceil(bound) if relation in ("ge", "lt") else math.floor(bound)


def _integer(node: Node) -> cs.CoreSchema:
    of = node.multiple_of
    exact = isinstance(of, int) and of > 0
    schema = _integer_within(node, of if isinstance(of, int) and of > 0 else None)
    return schema if not of or exact else _refusing(schema, lambda value: is_multiple(value, of))


def _integer_within(node: Node, of: int | None = None) -> cs.CoreSchema:
    limit = _tightest(node, _whole).get
    return cs.int_schema(strict=True, multiple_of=of, ge=limit("ge"), gt=limit("gt"), le=limit("le"), lt=limit("lt"))


def _number(node: Node) -> cs.CoreSchema:
    """An integer stays one: `3` is stored as it came, not as `3.0`."""
    limit = _tightest(node, lambda _, bound: float(bound)).get
    broken = cs.float_schema(
        strict=True, allow_inf_nan=False, ge=limit("ge"), gt=limit("gt"), le=limit("le"), lt=limit("lt")
    )
    schema = cs.union_schema([_integer_within(node), broken], mode="left_to_right")
    of = node.multiple_of
    return schema if not of else _refusing(schema, lambda value: is_multiple(value, of))


def _list(node: Node, extra: Extra) -> cs.CoreSchema:
    assert node.items is not None
    items = _schema(node.items, extra)
    if node.items.default is not None and not node.items.nullable:
        items = _defaulted(node.items, items)
    schema = cs.list_schema(items, strict=True, min_length=node.min_items, max_length=node.max_items)
    if not (node.map_keys or node.is_set or node.unique):
        return schema
    return cs.no_info_after_validator_function(_unrepeated(node), schema)


def _unrepeated(node: Node) -> Callable[[list[Any]], list[Any]]:
    """Uniqueness of a list, by Python's hashes first: what those tell apart is different as JSON as well."""
    identity = itemgetter(*node.map_keys) if node.map_keys and not (node.is_set or node.unique) else None

    def check(value: list[Any]) -> list[Any]:
        if len(value) < 2:
            return value
        try:
            if len(set(value if identity is None else map(identity, value))) == len(value):
                return value
        except (KeyError, TypeError):
            # A key that is absent, or a value that has no hash: for the full comparison to judge.
            pass
        if next(of_list(node, value, ""), None) is not None:
            raise ValueError
        return value

    return check


def _object(node: Node, extra: Extra) -> cs.CoreSchema:
    schema = _map(node, extra) if node.additional is not None and not node.properties else _fields(node, extra)
    if node.map_rule is not None and node.map_rule.bytes_max is not None:
        bytes_max = node.map_rule.bytes_max
        schema = _refusing(schema, lambda value: map_bytes(value) <= bytes_max)
    if node.min_properties is None and node.max_properties is None:
        return schema
    return _refusing(schema, lambda value: next(of_object(node, value, ""), None) is None)


def _map(node: Node, extra: Extra) -> cs.CoreSchema:
    assert node.additional is not None
    key, value = _ruled(node.map_rule, _schema(node.additional, extra))
    value = _without_null(node.additional, value)
    schema = cs.dict_schema(key, value, strict=True)
    required = node.required
    return _refusing(schema, lambda held: all(name in held for name in required)) if required else schema


def _ruled(rule: MapRule | None, value: cs.CoreSchema) -> tuple[cs.CoreSchema, cs.CoreSchema]:
    if rule is None:
        return cs.str_schema(strict=True), value
    key = cs.str_schema(strict=True, pattern=rule.key_pattern, max_length=_KEY_LENGTH_MAX, regex_engine="rust-regex")
    if rule.value_pattern is None:
        return key, value
    text = cs.str_schema(
        strict=True, pattern=rule.value_pattern, max_length=rule.value_length_max, regex_engine="rust-regex"
    )
    return key, text


_KEY_LENGTH_MAX = 253
"""A longer key may be legal (prefix 253, slash, name 63), which is for the explanation to find out."""


def _fields(node: Node, extra: Extra) -> cs.CoreSchema:
    fields = {
        name: _field(child, _schema(child, extra), name in node.required) for name, child in node.properties.items()
    }
    kept = node.preserve or node.additional is not None
    others = _schema(node.additional, extra) if node.additional is not None else _open()
    for name in node.required:
        if name not in fields:
            # Where unknown fields are pruned, a required one that no property describes is always missing.
            fields[name] = cs.typed_dict_field(others if kept else _NOTHING, required=True)
    if not kept:
        return cs.typed_dict_schema(fields, strict=True, extra_behavior=extra)
    return cs.typed_dict_schema(fields, strict=True, extra_behavior="allow", extras_schema=others)


def _field(node: Node, schema: cs.CoreSchema, required: bool) -> cs.TypedDictField:
    if node.default is not None:
        return cs.typed_dict_field(_defaulted(node, schema), required=False)
    # A null that is dropped from a required field leaves it missing: there a null simply does not fit.
    if required:
        fitting = schema if node.type or node.nullable else _refusing(schema, lambda value: value is not None)
        return cs.typed_dict_field(fitting, required=True)
    return cs.typed_dict_field(_without_null(node, schema), required=False)


def _defaulted(node: Node, schema: cs.CoreSchema) -> cs.CoreSchema:
    value = node.fresh_default()
    encoded = node.default or b"null"
    if isinstance(value, (dict, list)):
        null: cs.CoreSchema = cs.with_default_schema(_UNFIT, default_factory=_copies(encoded), on_error="default")
        held = schema if node.nullable else _else_null(node, schema, null)
        return cs.with_default_schema(held, default_factory=_copies(encoded))
    null = cs.with_default_schema(_UNFIT, default=value, on_error="default")
    held = schema if node.nullable else _else_null(node, schema, null)
    return cs.with_default_schema(held, default=value)


def _copies(encoded: bytes) -> Callable[[], Any]:
    return lambda: orjson.loads(encoded)


def _without_null(node: Node, schema: cs.CoreSchema) -> cs.CoreSchema:
    """Drop a null from an object; anything else the schema refuses stays refused."""
    if node.nullable:
        return schema
    if node.default is not None:
        return _defaulted(node, schema)
    return _else_null(node, schema, _DROPPED)


def _else_null(node: Node, schema: cs.CoreSchema, null: cs.CoreSchema) -> cs.CoreSchema:
    """The schema, and `null` for a null: tried after a typed schema has failed, before one that takes anything."""
    only_null = cs.chain_schema([cs.none_schema(), null])
    return cs.union_schema([schema, only_null] if node.type else [only_null, schema], mode="left_to_right")


_UNFIT = cs.str_schema(strict=True)
"""What a null does not satisfy. Its failure is the way, all in Rust, to leave a field out or to take its default."""
_DROPPED = cs.with_default_schema(_UNFIT, on_error="omit")
