"""cel-go's string extensions, version 2, as Kubernetes offers them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from ..errors import EvaluationError, NoSuchOverload
from ..frame import Frame, deep_size
from ..values import CelType, Duration, Timestamp, of_key, type_name
from .registry import Overload, function, member
from .standard import format_double
from .times import format_duration, format_timestamp

PRECISION_MAX = 100
"""Digits after the point that `format` writes."""
_VERB = re.compile(r"%(?:\.([0-9]+))?(.)", re.S)
_SPACES = (*range(9, 14), 32, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000)
_WHITESPACE = "".join(map(chr, _SPACES))
"""What `trim` takes away: Unicode's White_Space."""
_QUOTED = str.maketrans(
    {
        "\a": "\\a",
        "\b": "\\b",
        "\f": "\\f",
        "\n": "\\n",
        "\r": "\\r",
        "\t": "\\t",
        "\v": "\\v",
        "\\": "\\\\",
        '"': '\\"',
    }
)
_LOWER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")
_UPPER = str.maketrans("abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ")


def _char_at(frame: Frame, text: str, at: int) -> str:
    frame.pay(1)
    if not 0 <= at <= len(text):
        raise EvaluationError(f"index out of range: {at}")
    return text[at : at + 1]


def _index_of(frame: Frame, text: str, part: str, start: int = 0) -> int:
    frame.pay_for(len(text))
    if not 0 <= start <= len(text):
        raise EvaluationError(f"index out of range: {start}")
    return text.find(part, start) if part else start


def _last_index_of(frame: Frame, text: str, part: str, start: int | None = None) -> int:
    frame.pay_for(len(text))
    if start is not None and not 0 <= start <= len(text):
        raise EvaluationError(f"index out of range: {start}")
    if not part:
        return len(text) if start is None else start
    return text.rfind(part) if start is None else text.rfind(part, 0, start + len(part))


def _lower(frame: Frame, text: str) -> str:
    frame.pay_for(len(text))
    return text.translate(_LOWER)


def _upper(frame: Frame, text: str) -> str:
    frame.pay_for(len(text))
    return text.translate(_UPPER)


def _replace(frame: Frame, text: str, old: str, new: str, count: int = -1) -> str:
    frame.pay_for(2 * len(text))
    times = len(text) + 1 if not old else text.count(old)
    times = times if count < 0 else min(times, count)
    frame.pay_for(max(0, times * (len(new) - len(old))))
    return text.replace(old, new, count)


def _split(frame: Frame, text: str, separator: str, limit: int = -1) -> list[Any]:
    frame.pay_for(2 * len(text))
    if limit == 0:
        return []
    if limit == 1:
        return [text]
    if not separator:
        cut = len(text) if limit < 0 else min(limit - 1, len(text))
        return [*text[:cut], *([text[cut:]] if cut < len(text) else [])]
    return list(text.split(separator, limit - 1 if limit > 0 else -1))


def _join(frame: Frame, values: list[Any], separator: str = "") -> str:
    if not all(isinstance(item, str) for item in values):
        raise NoSuchOverload
    frame.pay_for(2 * (sum(map(len, values)) + max(0, len(values) - 1) * len(separator)))
    return separator.join(values)


def _substring(frame: Frame, text: str, start: int, end: int | None = None) -> str:
    frame.pay_for(len(text))
    last = len(text) if end is None else end
    if not 0 <= start <= len(text):
        raise EvaluationError(f"index out of range: {start}")
    if not 0 <= last <= len(text):
        raise EvaluationError(f"index out of range: {last}")
    if start > last:
        raise EvaluationError(f"invalid substring range. start: {start}, end: {last}")
    return text[start:last]


def _trim(frame: Frame, text: str) -> str:
    frame.pay_for(len(text))
    return text.strip(_WHITESPACE)


def _quote(frame: Frame, text: str) -> str:
    frame.pay_for(len(text))
    return f'"{text.translate(_QUOTED)}"'


def _format(frame: Frame, pattern: str, values: list[Any]) -> str:
    frame.pay_for(len(pattern) + deep_size(values))
    out: list[str] = []
    at = used = 0
    while (sign := pattern.find("%", at)) >= 0:
        out.append(pattern[at:sign])
        verb = _VERB.match(pattern, sign)
        if verb is None:
            raise EvaluationError("unexpected end of string")
        at = verb.end()
        if verb[2] == "%":
            out.append("%")
            continue
        if used >= len(values):
            raise EvaluationError(f"index {used} out of range")
        out.append(_formatted(verb[2], 6 if verb[1] is None else int(verb[1][:4]), values[used]))
        used += 1
    return "".join((*out, pattern[at:]))


def _formatted(verb: str, precision: int, value: Any) -> str:
    if precision > PRECISION_MAX:
        raise EvaluationError(f"precision {precision} is over the limit of {PRECISION_MAX}")
    whole = isinstance(value, int) and type(value) is not bool
    match verb:
        case "s":
            return _as_text(value)
        case "d" if whole:
            return str(int(value))
        case "d" if isinstance(value, float) and not math.isfinite(value):
            return _as_text(value)
        case "b" if whole or type(value) is bool:
            return f"{int(value):b}"
        case "o" if whole:
            return f"{int(value):o}"
        case "x" | "X" if whole:
            return f"{int(value):{verb}}"
        case "x" | "X" if isinstance(value, (str, bytes)):
            text = (value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value).hex()
            return text.upper() if verb == "X" else text
        case "f" | "e" if whole or isinstance(value, float):
            number = float(value)
            if not math.isfinite(number):
                return _as_text(number)
            return f"{number:.{precision}{verb}}"
        case "d" | "b" | "o" | "x" | "X" | "f" | "e":
            raise EvaluationError(f"error during formatting: %{verb} clause cannot be used on {type_name(value)}")
    raise EvaluationError(f'could not parse formatting clause: unrecognized formatting clause "{verb}"')


def _as_text(value: Any) -> str:
    match value:
        case str():
            return value
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case float():
            return {"+Inf": "Infinity", "-Inf": "-Infinity"}.get(format_double(value), format_double(value))
        case int():
            return str(int(value))
        case bytes():
            return value.decode(errors="replace")
        case Timestamp():
            return format_timestamp(value)
        case Duration():
            return format_duration(value)
        case CelType():
            return value.name
        case list():
            return f"[{', '.join(map(_as_text, value))}]"
        case Mapping():
            pairs = sorted((_as_text(of_key(key)), _as_text(item)) for key, item in value.items())
            return "{" + ", ".join(f"{key}: {item}" for key, item in pairs) + "}"
    raise EvaluationError(
        "error during formatting: string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, "
        f"types, durations, and timestamps, was given {type_name(value)}"
    )


OVERLOADS: list[Overload] = [
    member("charAt", "string; int", "string", _char_at),
    member("indexOf", "string; string", "int", _index_of),
    member("indexOf", "string; string; int", "int", _index_of),
    member("lastIndexOf", "string; string", "int", _last_index_of),
    member("lastIndexOf", "string; string; int", "int", _last_index_of),
    member("lowerAscii", "string", "string", _lower),
    member("upperAscii", "string", "string", _upper),
    member("replace", "string; string; string", "string", _replace),
    member("replace", "string; string; string; int", "string", _replace),
    member("split", "string; string", "list<string>", _split),
    member("split", "string; string; int", "list<string>", _split),
    member("join", "list<string>", "string", _join),
    member("join", "list<string>; string", "string", _join),
    member("substring", "string; int", "string", _substring),
    member("substring", "string; int; int", "string", _substring),
    member("trim", "string", "string", _trim),
    member("format", "string; list<dyn>", "string", _format),
    function("strings.quote", "string", "string", _quote),
]
