"""Request bodies in Kubernetes' protobuf, read into the mapping that the same object in JSON would be.

kubectl from 1.32 on sends what it creates in protobuf and does not fall back to JSON; Go clients may. We read it and
answer in JSON, which every client accepts. A body is a magic number, then an envelope (runtime.Unknown) with the
kind and the bytes.

Go writes every field that is not a pointer, zero or not, where JSON leaves it out; so does this.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from ..errors import BadRequest
from .protobuf_messages import KINDS, MESSAGES, Field

MAGIC: Final = b"k8s\x00"
DEPTH_MAX: Final = 32
"""Messages within messages; a Deployment needs twelve."""
VARINT_BYTES_MAX: Final = 10
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

Object = dict[str, Any]
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def decode_protobuf(data: bytes) -> Object:
    """The object in a body. Raises BadRequest for what is no such body, or a kind that is not read in protobuf."""
    if not data.startswith(MAGIC):
        raise BadRequest("the body is not Kubernetes protobuf: it does not begin with its magic number")
    try:
        api_version, kind, raw = _envelope(data[len(MAGIC) :])
        if kind not in KINDS.get(api_version, ()):
            raise BadRequest(f"{kind} of {api_version} is not read in protobuf: send application/json")
        return {"apiVersion": api_version, "kind": kind, **_message(raw, kind, 0)}
    except (ValueError, OverflowError) as error:
        raise BadRequest(f"the body is not Kubernetes protobuf: {error}") from error


def _envelope(data: bytes) -> tuple[str, str, bytes]:
    api_version = kind = ""
    raw = b""
    for number, value in _fields(data):
        if number == 1 and isinstance(value, bytes):
            names = {n: v.decode() for n, v in _fields(value) if isinstance(v, bytes)}
            api_version, kind = names.get(1, ""), names.get(2, "")
        elif number == 2 and isinstance(value, bytes):
            raw = value
    return api_version, kind, raw


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and raw value of each field. Raises ValueError."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire_type = key >> 3, key & 7
        value: int | bytes
        if wire_type == _VARINT:
            value, at = _varint(data, at)
        elif wire_type == _BYTES:
            size, at = _varint(data, at)
            value, at = _take(data, at, size)
        elif wire_type in (_FIXED64, _FIXED32):
            value, at = _take(data, at, 8 if wire_type == _FIXED64 else 4)
        else:
            raise ValueError(f"wire type {wire_type}")
        yield number, value


def _take(data: bytes, at: int, size: int) -> tuple[bytes, int]:
    if size > len(data) - at:
        raise ValueError("it ends in the middle of a field")
    return data[at : at + size], at + size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for position, byte in enumerate(data[at : at + VARINT_BYTES_MAX]):
        value |= (byte & 0x7F) << (7 * position)
        if byte < 0x80:
            return value, at + position + 1
    raise ValueError("a number does not end")


def _message(data: bytes, name: str, depth: int) -> Object:
    if depth > DEPTH_MAX:
        raise ValueError(f"nested deeper than {DEPTH_MAX}")
    fields = MESSAGES[name]
    found: Object = {}
    for number, raw in _fields(data):
        field = fields.get(number)
        if field is None:
            # A field younger than our tables: told by its number, since nothing we are sent is dropped in silence.
            found[f"protobuf field {number} of {name}"] = True
            continue
        if field.is_map:
            key, value = _pair(_bytes(raw), field, depth)
            found.setdefault(field.name, {})[key] = value
            continue
        value = _value(raw, field, depth)
        if field.is_repeated:
            found.setdefault(field.name, []).append(value)
        elif field.is_inline:
            found.update(value)
        elif field.keeps_zero or value not in ("", 0, False, None, {}):
            found[field.name] = value
    return found


def _pair(data: bytes, field: Field, depth: int) -> tuple[str, Any]:
    parts = dict(_fields(data))
    return _bytes(parts.get(1, b"")).decode(), _value(parts.get(2, b""), field, depth)


def _value(raw: int | bytes, field: Field, depth: int) -> Any:
    kind = field.type
    if kind == "i":
        return _signed(raw)
    if kind == "B":
        return bool(raw)
    data = _bytes(raw)
    if kind == "":
        return data.decode()
    if kind == "b":
        return b64encode(data).decode()
    if kind == "q":
        return _bytes(dict(_fields(data)).get(1, b"")).decode()
    if kind == "x":
        return _int_or_string(data)
    if kind in "tu":
        return _time(data, micro=kind == "u")
    if kind == "-":
        return _unmodelled(data, field)
    return _message(data, kind, depth + 1)


def _unmodelled(data: bytes, field: Field) -> Any:
    """Something to tell the client about; a zero value that Go writes without being asked is nothing."""
    if field.is_repeated or field.keeps_zero:
        return {"set": True}
    if not _is_zero(data, 0):
        raise ValueError(f"{field.name} is not read in protobuf, send application/json")
    return {}


def _is_zero(data: bytes, depth: int) -> bool:
    return depth < DEPTH_MAX and all(
        value == 0 if isinstance(value, int) else _is_zero(value, depth + 1) for _, value in _fields(data)
    )


def _bytes(raw: int | bytes) -> bytes:
    if not isinstance(raw, bytes):
        raise ValueError("a number where text or a message was expected")
    return raw


def _signed(raw: int | bytes) -> int:
    if isinstance(raw, bytes):
        raise ValueError("text or a message where a number was expected")
    return raw - (1 << 64) if raw >= 1 << 63 else raw


def _int_or_string(data: bytes) -> int | str:
    parts = dict(_fields(data))
    return _bytes(parts.get(3, b"")).decode() if parts.get(1) else _signed(parts.get(2, 0))


def _time(data: bytes, *, micro: bool) -> str | None:
    """None for Go's zero time, which is written as an empty message."""
    if not data:
        return None
    parts = dict(_fields(data))
    moment = EPOCH + timedelta(seconds=_signed(parts.get(1, 0)), microseconds=_signed(parts.get(2, 0)) // 1000)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ" if micro else "%Y-%m-%dT%H:%M:%SZ")
