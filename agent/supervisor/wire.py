"""JSON without the `json` package: the shim's share of memory is counted per pod, and `re` alone costs a megabyte.

The C scanner and string encoder are the ones `json` itself uses; only the thin Python around them is ours. Numbers
are integers or floats, keys are strings; anything else is a mistake of ours and raises.
"""

from __future__ import annotations

from _json import encode_basestring_ascii, make_scanner

TYPE_CHECKING = False  # `typing` itself would cost the shim a megabyte
if TYPE_CHECKING:
    from typing import Any


class _Context:
    """What the C scanner asks of a decoder."""

    strict = False
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float


_scan = make_scanner(_Context())  # type: ignore[arg-type]  # it reads six attributes, not the whole JSONDecoder


def decode(line: bytes) -> dict[str, Any]:
    """One JSON object from one line. Raises ValueError when it is not one."""
    text = line.decode("utf-8", "replace").strip()
    try:
        value, end = _scan(text, 0)
    except (StopIteration, RecursionError):
        raise ValueError("not JSON, or too deep") from None
    if end != len(text) or not isinstance(value, dict):
        raise ValueError("not one JSON object")
    return value


def _render(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return encode_basestring_ascii(value)
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, dict):
        return "{" + ",".join([encode_basestring_ascii(k) + ":" + _render(v) for k, v in value.items()]) + "}"
    return "[" + ",".join([_render(item) for item in value]) + "]"


def encode(value: dict[str, Any]) -> bytes:
    """The object as one line of ASCII JSON, newline included."""
    return _render(value).encode("ascii") + b"\n"


class Lines:
    """Splits a byte stream into lines; a line longer than `limit` bytes raises ValueError."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The lines completed by `data`, without their newlines."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > self._limit:
            raise ValueError(f"line longer than {self._limit} bytes")
        return [line for line in lines if line]
