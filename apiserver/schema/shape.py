"""Pruning and defaulting without judging: what an object looks like before it is validated, and what it loses.

The Rust pass does this and the validation in one go. This is the same in Python for the objects that pass refused:
their errors are explained, or let pass by ratcheting, on the shaped object.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .checks import join
from .nodes import ANYTHING, Node

UNKNOWN_FIELDS_MAX = 256
"""Unknown fields that are named; an object with more is wrong enough. Kubernetes stops at 32 warnings."""


def shape(node: Node, value: Any) -> Any:
    """A pruned and defaulted copy. Values of a wrong type stay as they are, for `causes` to complain about.

    A null is replaced by the default where the field is not nullable, dropped from an object where there is none, and
    left standing in a list, as in Kubernetes.
    """
    if isinstance(value, dict) and node.is_object:
        return _shape_object(node, value)
    if isinstance(value, list) and node.items is not None:
        items = node.items
        return [shape(items, _or_default(items, item)) for item in value]
    if node.type == "integer" and isinstance(value, float) and value.is_integer():
        return int(value)
    if node.quantity:
        return as_quantity(value)
    return value


def as_quantity(value: Any) -> Any:
    """A number as the text of a quantity: `0.5` is written without a quotation mark more often than with one."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return value
    return f"{value:.9f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def _shape_object(node: Node, value: dict[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, item in value.items():
        child = node.child(name)
        if child is None:
            continue
        item = _or_default(child, item)
        if item is None and not child.nullable:
            continue
        out[name] = item if child is ANYTHING else shape(child, item)
    for name, child in node.properties.items():
        if child.default is not None and name not in out:
            out[name] = child.fresh_default()
    return out


def _or_default(node: Node, value: Any) -> Any:
    return node.fresh_default() if value is None and not node.nullable and node.default is not None else value


def unknown(node: Node, value: Any, path: str = "") -> Iterator[str]:
    """The paths of the fields that pruning drops, in document order."""
    if isinstance(value, dict) and node.is_object:
        for name, item in value.items():
            child = node.child(name)
            if child is None:
                yield join(path, name)
            elif child is not ANYTHING:
                yield from unknown(child, item, join(path, name))
    elif isinstance(value, list) and node.items is not None and node.items is not ANYTHING:
        for index, item in enumerate(value):
            yield from unknown(node.items, item, f"{path}[{index}]")
