"""How plugins complain: Kubernetes' field errors (`field.Invalid`, `field.Required` ...) and its Forbidden message."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from ..errors import Cause, Forbidden
from .attributes import Attributes

UNNAMED = "Unknown"
"""What Kubernetes calls an object that has neither a name nor a prefix for one."""


def shown(value: Any) -> str:
    """A value as messages spell it: strings quoted, everything else as JSON."""
    return orjson.dumps(value, default=str).decode()


def bad_value(path: str, value: Any, message: str) -> Cause:
    """The value is there and wrong."""
    return Cause(path, f"Invalid value: {shown(value)}: {message}")


def required(path: str, message: str = "") -> Cause:
    """The value is missing."""
    return Cause(path, f"Required value: {message}" if message else "Required value", "FieldValueRequired")


def duplicate(path: str, value: Any) -> Cause:
    """The value is there twice and may be only once."""
    return Cause(path, f"Duplicate value: {shown(value)}", "FieldValueDuplicate")


def not_found(path: str, value: Any) -> Cause:
    """The value names something that is not there."""
    return Cause(path, f"Not found: {shown(value)}", "FieldValueNotFound")


def not_supported(path: str, value: Any, supported: Sequence[str]) -> Cause:
    """The value is not one of a list."""
    choices = ", ".join(shown(choice) for choice in supported)
    return Cause(path, f"Unsupported value: {shown(value)}: supported values: {choices}", "FieldValueNotSupported")


def not_allowed(path: str, message: str) -> Cause:
    """The value may not be given, or not be changed, here."""
    return Cause(path, f"Forbidden: {message}", "FieldValueForbidden")


def too_long(path: str, limit: int) -> Cause:
    """The value has more than `limit` bytes."""
    return Cause(path, f"Too long: may not be more than {limit} bytes", "FieldValueTooLong")


def immutable(path: str, old: Any, new: Any) -> Iterable[Cause]:
    """A complaint when a field that cannot change did."""
    if old != new:
        yield bad_value(path, new, "field is immutable")


def named(attributes: Attributes) -> str:
    """The object's name for a message: its prefix while it has no name yet."""
    if attributes.name:
        return attributes.name
    metadata = (attributes.object or {}).get("metadata") or {}
    return metadata.get("name") or metadata.get("generateName") or UNNAMED


def refused(attributes: Attributes, message: str, causes: Sequence[Cause] = ()) -> Forbidden:
    """A Forbidden about this write: `pods "web" is forbidden: <message>`."""
    resource, name = attributes.resource, named(attributes)
    return Forbidden(
        f'{resource.group_resource} "{name}" is forbidden: {message}',
        group=resource.group,
        kind=resource.plural,
        name=name,
        causes=causes,
    )
