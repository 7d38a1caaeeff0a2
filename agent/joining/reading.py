"""What an agent has to know of its own certificates: whom they name, and when they end (X.690, RFC 5280).

The cryptographic library takes eight MiB of memory. An agent needs it when it asks for a certificate, a few times a year;
these facts it needs all the time. Nothing here says whom to trust: that is for TLS, which `is_signed_by` asks.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from stark.client.config import ConfigError
from stark.client.tls import load_identity

COMMON_NAME = bytes((0x55, 0x04, 0x03))
"""The object identifier 2.5.4.3."""
OBJECT_IDENTIFIER, UTC_TIME, GENERALIZED_TIME, EXPLICIT_VERSION = 0x06, 0x17, 0x18, 0xA0
LONG_LENGTH = 0x80
LENGTH_BYTES_MAX = 4
END = "-----END CERTIFICATE-----"
FLIGHTS_MAX = 8
"""Of a handshake; TLS 1.3 has three."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a certificate says."""

    common_names: tuple[str, ...]
    not_valid_before_utc: datetime
    not_valid_after_utc: datetime


def read_certificate(pem: bytes) -> Facts:
    """The facts of the first certificate. Raises ValueError."""
    text = pem.decode("ascii").lstrip()
    der = ssl.PEM_cert_to_DER_cert(text[: text.find(END) + len(END)])
    try:
        ((_, certificate),) = _fields(der)
        (_, signed) = next(_fields(certificate))
        parts = [content for tag, content in _fields(signed) if tag != EXPLICIT_VERSION]
        begin, end = (_time(tag, content) for tag, content in _fields(parts[3]))
        return Facts(tuple(_common_names(parts[4])), begin, end)
    except (IndexError, StopIteration) as error:
        raise ValueError("the certificate is cut short") from error


def _fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The elements side by side, as tag and content. Raises ValueError, IndexError."""
    at = 0
    while at < len(data):
        tag, length, at = data[at], data[at + 1], at + 2
        if length & LONG_LENGTH:
            size = length & ~LONG_LENGTH
            if not 0 < size <= LENGTH_BYTES_MAX:
                raise ValueError("an element of the certificate has no length that can be")
            length, at = int.from_bytes(data[at : at + size], "big"), at + size
        if at + length > len(data):
            raise ValueError("an element of the certificate is longer than what it is in")
        yield tag, data[at : at + length]
        at += length


def _common_names(subject: bytes) -> Iterator[str]:
    for _, relative in _fields(subject):
        for _, attribute in _fields(relative):
            (_, kind), (_, value) = _fields(attribute)
            if kind == COMMON_NAME:
                yield value.decode("utf-8")


def _time(tag: int, content: bytes) -> datetime:
    text = content.decode("ascii")
    if tag == UTC_TIME:
        text = ("19" if text >= "5" else "20") + text  # RFC 5280, 4.1.2.5.1
    elif tag != GENERALIZED_TIME:
        raise ValueError("the certificate's validity is no time")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


def belongs_to_its_key(certificate: bytes, key: bytes) -> bool:
    """Whether TLS can be spoken with the two."""
    try:
        load_identity(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), certificate, key, "")
    except ConfigError:
        return False
    return True


def is_signed_by(authority: str, certificate: bytes, key: bytes, *, serves: bool) -> bool:
    """Whether who trusts this authority alone accepts the certificate, as a server's or a client's."""
    # There is no better judge than TLS, so it is tried on ourselves.
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if serves else ssl.PROTOCOL_TLS_CLIENT)
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT if serves else ssl.PROTOCOL_TLS_SERVER)
    for context in (ours, theirs):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    theirs.verify_mode = ssl.CERT_REQUIRED
    theirs.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        theirs.load_verify_locations(cadata=authority)
        for context in (ours, theirs):
            # What verifies shows the same certificate where it has to show one: nobody looks at that.
            load_identity(context, certificate, key, "")
        return _shake_hands(*((ours, theirs) if serves else (theirs, ours)))
    except (ssl.SSLError, ConfigError):
        return False


def _shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> bool:
    """Whether both sides are content. Raises SSLError."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [client.wrap_bio(down, up), server.wrap_bio(up, down, server_side=True)]
    for _ in range(FLIGHTS_MAX):
        for side in tuple(sides):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            sides.remove(side)
        if not sides:
            return True
    return False
