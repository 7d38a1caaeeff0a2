"""Causes in Kubernetes' words: the texts of its field errors and of its OpenAPI validator.

Programs and people match on these texts, so they are kept to the letter, including where they repeat the path.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from ..errors import Cause

SHOWN_VALUE_MAX = 1_000
"""Characters of an offending value that a message repeats; the rest is cut, for a message is not a mirror."""

REDACTED = '"<redacted>"'


def invalid(path: str, value: Any, detail: str) -> Cause:
    """`Invalid value: ...`"""
    return Cause(path, f"Invalid value: {_shown(value)}: {detail}")


def wrong_type(path: str, wanted: str, value: Any) -> Cause:
    """The value is not of the type; Kubernetes shows the type that came instead of the value."""
    got = type_name(value)
    detail = f'{path} in body must be of type {wanted}: "{got}"'
    return Cause(path, f'Invalid value: "{got}": {detail}', "FieldValueTypeInvalid")


def wrong_format(path: str, wanted: str, value: str) -> Cause:
    """The string is not of the format. What should have been base64 is as likely as not a secret: it is not shown."""
    shown = REDACTED if wanted == "byte" else _shown(value)
    return Cause(
        path, f"Invalid value: {shown}: {path} in body must be of type {wanted}: {shown}", "FieldValueTypeInvalid"
    )


def required(path: str) -> Cause:
    """The field must be there."""
    return Cause(path, "Required value", "FieldValueRequired")


def unsupported(path: str, value: Any, allowed: Sequence[Any]) -> Cause:
    """The value is none of the enumerated ones."""
    names = ", ".join(quoted(item if isinstance(item, str) else _json(item)) for item in allowed)
    return Cause(path, f"Unsupported value: {_shown(value)}: supported values: {names}", "FieldValueNotSupported")


def duplicate(path: str, value: Any) -> Cause:
    """The item is in the list already."""
    return Cause(path, f"Duplicate value: {_shown(value)}", "FieldValueDuplicate")


def too_long(path: str, length_max: int) -> Cause:
    """The string, or the whole map, is too long."""
    return Cause(path, f"Too long: may not be more than {length_max} bytes", "FieldValueTooLong")


def too_many(path: str, count: int, count_max: int) -> Cause:
    """The list or the object has too many entries."""
    return Cause(path, f"Too many: {count}: must have at most {count_max} items", "FieldValueTooMany")


def of_own_kind(cause: Cause) -> Cause:
    """The same as Kubernetes says it of its own kinds, which it checks by hand: without the path that its OpenAPI validator
    repeats, and with a list that must not be empty as a required one."""
    head, found, rest = cause.message.partition(f": {cause.field} in body ")
    if not found:
        return cause
    if rest == _EMPTY:
        return required(cause.field)
    return Cause(cause.field, f"{head}: {rest.replace('should', 'must', 1)}", cause.reason)


_EMPTY = "should have at least 1 items"


def type_name(value: Any) -> str:
    """The JSON type of a decoded value."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
    return "object"


def number(value: float) -> str:
    """A bound as Go prints it: no point when it is whole."""
    return str(int(value)) if float(value).is_integer() else repr(value)


def quoted(text: str) -> str:
    """The text in double quotes, escaped as in JSON."""
    return _json(text)


def _json(value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        # Not JSON: a lone surrogate or a number past 64 bits, which only a YAML body can carry.
        return repr(value)


def _shown(value: Any) -> str:
    if value is None:
        return '"null"'
    if isinstance(value, float):
        return number(value)
    text = _json(value[:SHOWN_VALUE_MAX] if isinstance(value, str) else value)
    return text if len(text) <= 2 * SHOWN_VALUE_MAX else text[:SHOWN_VALUE_MAX] + "..."
