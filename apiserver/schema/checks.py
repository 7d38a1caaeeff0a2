"""What a value at one node violates, said in full: the truth that the Rust pass is a fast approximation of.

`causes` walks a shaped object (pruned, defaulted) beside its schema. Keywords bind by the value's type, as in JSON
Schema, so that the same walk serves the branches of allOf, anyOf, oneOf and not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from ..errors import Cause
from . import wording
from .formats import fits
from .nodes import MISSING, Missing, Node
from .patterns import matches

INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
OBJECT_DEPTH_MAX = 220
"""Levels of nesting of an object. orjson writes 254, and a watch event or a list adds some around it."""

_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "int-or-string": (int, str),
}


def causes(node: Node, value: Any, path: str, old: Any = MISSING) -> Iterator[Cause]:
    """Every violation at and under `path`. With `old`, what was there before: an unchanged value is let pass whole.

    Lists of type map are compared item by item by their keys, objects by key; other lists only as a whole, because
    nothing says which item is which.
    """
    if not isinstance(old, Missing) and same(value, old):
        return
    if value is None:
        if not node.nullable and node.type:
            yield wording.wrong_type(path, node.type, None)
        return
    if node.type and not is_type(node.type, value):
        yield wording.wrong_type(path, node.type, value)
        return
    yield from own_causes(node, value, path)
    if isinstance(value, dict):
        yield from _in_object(node, value, path, old)
    elif isinstance(value, list) and node.items is not None:
        before = _correlated(node, old)
        for index, item in enumerate(value):
            known = before.get(_key_of(item, node.map_keys), MISSING) if before else MISSING
            yield from causes(node.items, item, f"{path}[{index}]", known)


def _in_object(node: Node, value: dict[str, Any], path: str, old: Any) -> Iterator[Cause]:
    before = old if isinstance(old, dict) else {}
    for name in node.required:
        if name not in value:
            yield wording.required(join(path, name))
    for name, item in value.items():
        child = node.child(name)
        if child is not None:
            yield from causes(child, item, join(path, name), before.get(name, MISSING))


def own_causes(node: Node, value: Any, path: str) -> Iterator[Cause]:
    """The violations of the value itself, not of what is inside it."""
    if node.enum is not None and not any(same(value, allowed) for allowed in node.enum):
        yield wording.unsupported(path, value, node.enum)
    if isinstance(value, str):
        yield from _of_string(node, value, path)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield from _of_number(node, value, path)
    elif isinstance(value, list):
        yield from of_list(node, value, path)
    elif isinstance(value, dict):
        yield from of_object(node, value, path)
    if node.has_logic:
        yield from of_logic(node, value, path)


def _of_string(node: Node, value: str, path: str) -> Iterator[Cause]:
    # The first of these is all that is told, as upstream: a limit on the length also bounds what a pattern has to read.
    if node.max_length is not None and len(value) > node.max_length:
        yield wording.too_long(path, node.max_length)
    elif node.min_length is not None and len(value) < node.min_length:
        yield wording.invalid(path, value, f"{path} in body should be at least {node.min_length} chars long")
    elif node.pattern is not None and not matches(node.pattern, value):
        yield wording.invalid(path, value, f"{path} in body should match '{node.pattern}'")
    if node.format and not fits(node.format, value):
        yield wording.wrong_format(path, node.format, value)


def bounds(node: Node) -> Iterator[tuple[str, float]]:
    """The limits of a number: `ge`, `gt`, `le` or `lt`, and the value. Integers without limits are 64 bits wide."""
    if node.minimum is not None:
        yield ("gt" if node.exclusive_minimum else "ge"), node.minimum
    if node.maximum is not None:
        yield ("lt" if node.exclusive_maximum else "le"), node.maximum
    if node.type in ("integer", "int-or-string"):
        narrow = node.format == "int32"
        yield "ge", INT32_MIN if narrow else INT64_MIN
        yield "le", INT32_MAX if narrow else INT64_MAX


_BOUND_TEXT = {
    "ge": "should be greater than or equal to",
    "gt": "should be greater than",
    "le": "should be less than or equal to",
    "lt": "should be less than",
}


def within(relation: str, value: float, bound: float) -> bool:
    """`value` stands in that relation to `bound`."""
    return {"ge": value >= bound, "gt": value > bound, "le": value <= bound, "lt": value < bound}[relation]


def _of_number(node: Node, value: float, path: str) -> Iterator[Cause]:
    for relation, bound in bounds(node):
        if not within(relation, value, bound):
            yield wording.invalid(path, value, f"{path} in body {_BOUND_TEXT[relation]} {wording.number(bound)}")
    if node.multiple_of and not is_multiple(value, node.multiple_of):
        yield wording.invalid(path, value, f"{path} in body should be a multiple of {wording.number(node.multiple_of)}")


def is_multiple(value: float, of: float) -> bool:
    """`value` is a whole multiple, by division in floating point as Kubernetes does it for what is not an integer."""
    if isinstance(value, int) and isinstance(of, int):
        return value % of == 0
    return float(value / of).is_integer()


def of_list(node: Node, value: list[Any], path: str) -> Iterator[Cause]:
    """Counts and uniqueness of a list."""
    if node.max_items is not None and len(value) > node.max_items:
        yield wording.too_many(path, len(value), node.max_items)
    if node.min_items is not None and len(value) < node.min_items:
        yield wording.invalid(path, len(value), f"{path} in body should have at least {node.min_items} items")
    if node.unique and next(repeated(value), None) is not None:
        yield wording.invalid(path, value, f"{path} in body shouldn't contain duplicates")
    if node.is_set:
        for index in repeated(value):
            yield wording.duplicate(f"{path}[{index}]", value[index])
    if node.map_keys:
        keys = [_map_key(item, node.map_keys) for item in value]
        for index in repeated(keys):
            yield wording.duplicate(f"{path}[{index}]", keys[index])


def of_object(node: Node, value: Mapping[str, Any], path: str) -> Iterator[Cause]:
    """Counts of an object, and the rule of a labels or annotations map."""
    if node.max_properties is not None and len(value) > node.max_properties:
        yield wording.too_many(path, len(value), node.max_properties)
    if node.min_properties is not None and len(value) < node.min_properties:
        text = f"{path} in body should have at least {node.min_properties} properties"
        yield wording.invalid(path, len(value), text)
    if node.map_rule is not None:
        yield from node.map_rule.explain(value, path)


def of_logic(node: Node, value: Any, path: str) -> Iterator[Cause]:
    """allOf (each branch's own causes), anyOf, oneOf, not."""
    for branch in node.all_of:
        yield from causes(branch, value, path)
    if node.any_of and not any(holds(branch, value) for branch in node.any_of):
        yield wording.invalid(path, value, f'"{path}" must validate at least one schema (anyOf)')
    if node.one_of:
        count = sum(holds(branch, value) for branch in node.one_of)
        found = "Found none valid" if count == 0 else f"Found {count} valid alternatives"
        if count != 1:
            yield wording.invalid(path, value, f'"{path}" must validate one and only one schema (oneOf). {found}')
    if node.not_ is not None and holds(node.not_, value):
        yield wording.invalid(path, value, f'"{path}" must not validate the schema (not)')


def holds(node: Node, value: Any) -> bool:
    """The value violates nothing of `node`."""
    return next(causes(node, value, ""), None) is None


def is_type(name: str, value: Any) -> bool:
    """The decoded value is of that JSON type; a boolean is no number."""
    wanted = _TYPES.get(name)
    return wanted is None or (isinstance(value, wanted) and (not isinstance(value, bool) or name == "boolean"))


def same(left: Any, right: Any) -> bool:
    """Equal as JSON: `1` and `true` are not, as they are in Python."""
    if isinstance(left, str):
        return bool(left == right)
    return bool(left == right) and fingerprint(left) == fingerprint(right)


def repeated(items: list[Any]) -> Iterator[int]:
    """The positions of items that were there before, equal as JSON."""
    if len(items) < 2:
        return
    seen: set[Any] = set()
    for index, item in enumerate(items):
        key = item if isinstance(item, str) else (fingerprint(item),)
        if key in seen:
            yield index
        seen.add(key)


def fingerprint(value: Any) -> bytes:
    """Bytes that are equal exactly when the values are equal as JSON (a whole float equals the integer)."""
    return orjson.dumps(_whole(value), option=orjson.OPT_SORT_KEYS)


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < INT64_MAX else value


def too_deep(value: Any, levels: int = OBJECT_DEPTH_MAX) -> bool:
    """Nested deeper than that many levels. Level by level, without recursion."""
    level: list[Any] = [value]
    for _ in range(levels):
        level = [item for held in level for item in _members(held) if isinstance(item, (dict, list))]
        if not level:
            return False
    return True


def _members(value: Any) -> Any:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _map_key(item: Any, keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: item[key] for key in keys if key in item} if isinstance(item, dict) else {}


def _key_of(item: Any, keys: tuple[str, ...]) -> bytes:
    return fingerprint(_map_key(item, keys))


def _correlated(node: Node, old: Any) -> dict[bytes, Any]:
    if not node.map_keys or not isinstance(old, list):
        return {}
    return {_key_of(item, node.map_keys): item for item in old}


def join(path: str, name: str) -> str:
    """The path of a field of an object."""
    return f"{path}.{name}" if path else name
