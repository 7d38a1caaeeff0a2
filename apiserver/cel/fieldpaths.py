"""Simple JSON paths into a schema: `.spec.color`, `.data['a.b']`. What a rule's fieldPath and a selectable field may be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_TOKEN = re.compile(r"\[(?P<quoted>'(?:[^'\\]|\\.)*')\]|\.(?P<name>[^.\[\]]+)|(?P<other>.)", re.S)
_ESCAPE = re.compile(r"\\(.)", re.S)
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "'": "'", "\\": "\\"}


class PathError(ValueError):
    """The path leads nowhere in the schema, or is none."""


@dataclass(frozen=True, slots=True)
class Found:
    """Where a path leads."""

    path: str
    """As errors show it: `spec.color`, `data[a.b]`."""
    steps: tuple[str, ...]
    schema: Mapping[str, Any]


def follow(path: str, schema: Mapping[str, Any], *, brackets: bool = True) -> Found:
    """Where the path leads. Raises PathError, in Kubernetes' words."""
    steps: list[str] = []
    shown = ""
    at = 0
    while at < len(path):
        token = _TOKEN.match(path, at)
        assert token is not None, path
        at = token.end()
        if token["other"] is not None:
            if token["other"] == "[" and not brackets:
                raise PathError("array notation is not allowed")
            raise PathError(f"expected [ or . but got: {path[token.start() :]}")
        if token["quoted"] is not None and not brackets:
            raise PathError("array notation is not allowed")
        name = token["name"] if token["quoted"] is None else _unescaped(token["quoted"][1:-1])
        schema, piece = _step(schema, name)
        shown = shown + piece if piece.startswith("[") else f"{shown}.{piece}" if shown else piece
        steps.append(name)
    return Found(shown, tuple(steps), schema)


def _step(schema: Mapping[str, Any], name: str) -> tuple[Mapping[str, Any], str]:
    properties, additional = schema.get("properties"), schema.get("additionalProperties")
    if properties:
        if name not in properties:
            raise PathError("does not refer to a valid field")
        found: Mapping[str, Any] = properties[name]
        return found, name
    if isinstance(additional, Mapping):
        return additional, f"[{name}]"
    raise PathError("does not refer to a valid field")


def _unescaped(text: str) -> str:
    def sign(match: re.Match[str]) -> str:
        if match[1] not in _ESCAPES:
            raise PathError(f"invalid string literal: invalid escape char {match[0]}")
        return _ESCAPES[match[1]]

    return _ESCAPE.sub(sign, text)
