"""JSON patch (RFC 6902) and JSON merge patch (RFC 7386), with bounds on what a small patch may ask for.

Values are shared between arguments and results where nothing changed, so treat both as read-only or copy first.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

JSON_PATCH_OPERATIONS_MAX = 10_000
"""Operations in one JSON patch, Kubernetes' limit."""
COPIED_BYTES_MAX = 3 * 1024 * 1024
"""JSON text that all `copy` operations of a patch may add; each could double the document otherwise."""
DEPTH_MAX = 200
"""Levels of nesting. No kind comes near; beyond it a patch could exhaust the stack."""

Json = Any


class PatchError(ValueError):
    """The patch cannot be applied to this document. `path` says where."""

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.message = message
        self.path = path


class PatchMalformed(PatchError):
    """The patch makes no sense, whatever the document."""


class PatchTestFailed(PatchError):
    """A `test` operation found another value."""


class PatchTooLarge(PatchError):
    """The patch is over a limit."""


def json_patch(document: Json, operations: Sequence[Mapping[str, Any]]) -> Json:
    """The document after all operations, in order; all of them or none. Raises PatchError and its subclasses."""
    if not isinstance(operations, Sequence) or isinstance(operations, str):
        raise PatchMalformed("a JSON patch is a list of operations")
    if len(operations) > JSON_PATCH_OPERATIONS_MAX:
        raise PatchTooLarge(
            f"The allowed maximum operations in a JSON patch is {JSON_PATCH_OPERATIONS_MAX}, got {len(operations)}"
        )
    result = _copy(document, 0)
    copied = 0
    for number, operation in enumerate(operations):
        if not isinstance(operation, Mapping):
            raise PatchMalformed("an operation is an object", f"[{number}]")
        if operation.get("op") == "copy":
            copied += len(json.dumps(_read(result, _pointer(operation, "from")), separators=(",", ":")))
            if copied > COPIED_BYTES_MAX:
                raise PatchTooLarge(f"copies add more than {COPIED_BYTES_MAX} bytes", f"[{number}]")
        result = _apply(result, operation)
    return result


def _apply(document: Json, operation: Mapping[str, Any]) -> Json:
    op, path = operation.get("op"), _pointer(operation, "path")
    if op == "test":
        return _test(document, operation, path)
    if op == "add":
        return _add(document, path, _copy(_value(operation), 0))
    if op == "replace":
        _read(document, path)
        return _replace(document, path, _copy(_value(operation), 0))
    if op == "remove":
        _read(document, path)
        return _remove(document, path)
    if op == "copy":
        return _add(document, path, _copy(_read(document, _pointer(operation, "from")), 0))
    if op == "move":
        return _move(document, _pointer(operation, "from"), path)
    raise PatchMalformed(f"unknown operation {op!r}: add, remove, replace, move, copy or test")


def _test(document: Json, operation: Mapping[str, Any], path: list[str]) -> Json:
    found, expected = _read(document, path), _value(operation)
    if not same(found, expected):
        raise PatchTestFailed("testing value failed", _show(path))
    return document


def _move(document: Json, source: list[str], target: list[str]) -> Json:
    if target[: len(source)] == source and target != source:
        raise PatchMalformed("a value cannot be moved into itself", _show(source))
    value = _read(document, source)
    return document if source == target else _add(_remove(document, source), target, value)


def _value(operation: Mapping[str, Any]) -> Json:
    if "value" not in operation:
        raise PatchMalformed(f"operation {operation.get('op')!r} needs a value", str(operation.get("path", "")))
    return operation["value"]


def _pointer(operation: Mapping[str, Any], member: str) -> list[str]:
    """The parts of a JSON pointer (RFC 6901)."""
    text = operation.get(member)
    if not isinstance(text, str):
        raise PatchMalformed(f"operation {operation.get('op')!r} needs {member!r}")
    if text and not text.startswith("/"):
        raise PatchMalformed("a JSON pointer begins with '/'", text)
    if re.search(r"~(?![01])", text):
        raise PatchMalformed("'~' is written '~0' in a JSON pointer", text)
    parts = text.split("/")[1:]
    if len(parts) > DEPTH_MAX:
        raise PatchTooLarge(f"more than {DEPTH_MAX} levels deep", member)
    return [part.replace("~1", "/").replace("~0", "~") for part in parts]


def _show(path: Sequence[str]) -> str:
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in path)


def _read(document: Json, path: Sequence[str]) -> Json:
    value = document
    for depth, part in enumerate(path):
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list):
            value = value[_index(part, len(value) - 1, path[: depth + 1])]
        else:
            raise PatchError("there is nothing here", _show(path[: depth + 1]))
    return value


def _index(part: str, last: int, path: Sequence[str]) -> int:
    if not re.fullmatch(r"0|[1-9][0-9]{0,9}", part, re.ASCII):
        raise PatchError("is not an index of a list", _show(path))
    if int(part) > last:
        raise PatchError("there is nothing here", _show(path))
    return int(part)


def _add(document: Json, path: list[str], value: Json) -> Json:
    if not path:
        return value
    parent, last = _read(document, path[:-1]), path[-1]
    if isinstance(parent, dict):
        parent[last] = value
    elif isinstance(parent, list):
        parent.insert(len(parent) if last == "-" else _index(last, len(parent), path), value)
    else:
        raise PatchError("is neither an object nor a list", _show(path[:-1]))
    return document


def _replace(document: Json, path: list[str], value: Json) -> Json:
    if not path:
        return value
    parent, last = _read(document, path[:-1]), path[-1]
    parent[last if isinstance(parent, dict) else int(last)] = value
    return document


def _remove(document: Json, path: list[str]) -> Json:
    if not path:
        return None
    parent, last = _read(document, path[:-1]), path[-1]
    del parent[last if isinstance(parent, dict) else int(last)]
    return document


def _copy(value: Json, depth: int) -> Json:
    if depth > DEPTH_MAX:
        raise PatchTooLarge(f"more than {DEPTH_MAX} levels deep")
    if isinstance(value, dict):
        return {key: _copy(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_copy(item, depth + 1) for item in value]
    return value


def same(left: Json, right: Json) -> bool:
    """Whether two JSON values are equal. True is not 1, 1 is 1.0: JSON's types, not Python's."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(item, right[key]) for key, item in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return bool(left == right)


def merge_patch(target: Json, patch: Json) -> Json:
    """The target with the patch merged in (RFC 7386): null removes, objects merge, all else replaces."""
    return _merge(target, patch, 0)


def _merge(target: Json, patch: Json, depth: int) -> Json:
    if not isinstance(patch, dict):
        return patch
    if depth > DEPTH_MAX:
        raise PatchTooLarge(f"more than {DEPTH_MAX} levels deep")
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merge(result.get(key), value, depth + 1)
    return result


def create_merge_patch(original: Mapping[str, Any], modified: Mapping[str, Any]) -> dict[str, Any]:
    """The merge patch that makes `modified` of `original`; empty when they are equal. A null cannot be expressed."""
    patch: dict[str, Any] = {key: None for key in original if key not in modified}
    for key, value in modified.items():
        old = original.get(key)
        if key in original and same(old, value):
            continue
        both = isinstance(old, dict) and isinstance(value, dict)
        patch[key] = create_merge_patch(old, value) if both else value  # type: ignore[arg-type]  # both are dicts here
    return patch
