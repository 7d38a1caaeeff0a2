"""The envelope around every body: four bytes of magic and a runtime.Unknown, which names the kind of what is inside."""

from __future__ import annotations

from typing import Any, Final

from ...errors import BadRequest, UnsupportedMediaType
from .fields import BYTES, Malformed, Source, Span
from .messages import Decoder
from .tables import Table, table
from .values import text

MAGIC: Final = b"k8s\x00"
MEDIA_TYPE: Final = "application/vnd.kubernetes.protobuf"

_TYPE_META, _RAW, _ENCODING, _CONTENT_TYPE = 1, 2, 3, 4
_API_VERSION, _KIND = 1, 2


def decode_protobuf(data: bytes) -> dict[str, Any]:
    """The object in a body, with apiVersion and kind. Raises BadRequest, and UnsupportedMediaType for users' kinds."""
    if not data.startswith(MAGIC):
        expected = " ".join(str(byte) for byte in MAGIC)
        raise BadRequest(f"provided data does not appear to be a protobuf message, expected prefix [{expected}]")
    source = Source(data)
    try:
        api_version, kind, inside = _opened(source)
    except Malformed as error:
        raise BadRequest(f"couldn't get version/kind; {error}") from error
    known = table()
    message = _message_of(known, api_version, kind)
    try:
        obj = Decoder(source, known).message(message, inside.start, inside.end)
    except Malformed as error:
        raise BadRequest(f'{kind} in version "{api_version}" cannot be handled as a {kind}: {error}') from error
    return {"apiVersion": api_version, "kind": kind, **obj}


def _opened(source: Source) -> tuple[str, str, Span]:
    """apiVersion, kind, and where the message is."""
    end = len(source.data)
    inside = Span(_RAW, BYTES, 0, end, end)
    named: dict[int, str] = {}
    for span in source.scan(len(MAGIC), end):
        if span.number > _CONTENT_TYPE:
            continue
        if span.wire_type != BYTES:
            raise Malformed(f"proto: wrong wireType = {span.wire_type} for the envelope's field {span.number}")
        if span.number == _RAW:
            inside = span
        elif span.number == _TYPE_META:
            named |= _named(source, span)
        else:
            _check_plain(span.number, text(source, span))
    for number, name in ((_KIND, "Kind"), (_API_VERSION, "apiVersion")):
        if not named.get(number):
            raise Malformed(f"Object '{name}' is missing in the envelope")
    return named[_API_VERSION], named[_KIND], inside


def _named(source: Source, type_meta: Span) -> dict[int, str]:
    return {
        span.number: text(source, span)
        for span in source.scan(type_meta.start, type_meta.end)
        if span.number in (_API_VERSION, _KIND) and span.wire_type == BYTES
    }


def _check_plain(number: int, value: str) -> None:
    """Nothing compresses what is inside, or puts another format there; we would read it wrongly."""
    if number == _ENCODING and value:
        raise Malformed(f"content encoding {value!r} is not supported")
    if number == _CONTENT_TYPE and value not in ("", MEDIA_TYPE):
        raise Malformed(f"content type {value!r} inside the envelope is not supported")


def _message_of(known: Table, api_version: str, kind: str) -> str:
    message = known.message_of(api_version, kind)
    if message is not None:
        return message
    if known.knows_version(api_version):
        raise BadRequest(f'no kind "{kind}" is registered for version "{api_version}"')
    # Kinds that exist only as schemas have no field numbers; Kubernetes refuses protobuf for them in the same words.
    raise UnsupportedMediaType(
        "the body of the request was in an unknown format - "
        "accepted media types include: application/json, application/yaml"
    )
