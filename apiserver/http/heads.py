"""What a request's head must be before anybody looks at what it asks.

The parser has refused what no HTTP/1.1 sender writes (bare line feeds, folded lines, two lengths, a length beside chunks).
Here is the rest of what makes a message mean the same to every reader of it (RFC 9112, sections 3, 6 and 11.2),
and our bounds. A head that fails is answered once, and its connection ends: what follows on it cannot be trusted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

RawHeaders = Sequence[tuple[bytes, bytes]]

CHUNKED: Final = -1
"""The length of a body that says itself where it ends."""
VERSIONS: Final = ("1.1", "1.0")
_USUAL: Final = (
    "accept", "accept-encoding", "audit-id", "authorization", "cache-control", "connection", "content-encoding",
    "content-length", "content-type", "expect", "host", "if-match", "if-none-match", "kubectl-command", "kubectl-session",
    "origin", "range", "traceparent", "transfer-encoding", "upgrade", "user-agent", "x-correlation-id",
)  # fmt: skip
_NAMES: Final = {
    spelling.encode(): name
    for name in _USUAL
    for spelling in (name, name.title(), name.replace("audit-id", "Audit-ID").replace("-id", "-ID"))
}
"""The names that nearly every header has, so that they are lower-cased once. Never grows: clients choose the others."""


class Refused(Exception):
    """The connection ends with this answer."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


@dataclass(slots=True)
class Head:
    """Request line and headers. `length` is that of the body in bytes, or CHUNKED."""

    method: str
    path: str
    """Percent-decoded once; begins with `/`."""
    query: str
    headers: dict[str, str]
    length: int
    is_1_0: bool
    keep_alive: bool
    expects_continue: bool
    upgrades: bool


def read_head(method: str, version: str, target: bytes, raw: RawHeaders, *, keep_alive: bool, upgrades: bool) -> Head:
    """A head that means one thing only. Raises Refused."""
    if method == "CONNECT":
        raise Refused(405, "there are no tunnels here")
    if version not in VERSIONS:
        raise Refused(505, f"HTTP/{version} is not spoken here, HTTP/1.1 is")
    headers = _read_headers(raw)
    is_1_0 = version == "1.0"
    length = _length(headers, is_1_0)
    path, query = _read_target(method, target)
    if not is_1_0 and "host" not in headers:
        raise Refused(400, "the Host header is missing")
    if upgrades and length:
        # The parser takes what follows such a head for another protocol: as a request it would be a smuggled one.
        raise Refused(400, "a request that asks for another protocol must not have a body")
    expects_continue = False
    if "expect" in headers and not is_1_0:
        if headers["expect"].lower() != "100-continue":
            raise Refused(417, "only 100-continue can be expected")
        expects_continue = length != 0
    return Head(method, path, query, headers, length, is_1_0, keep_alive, expects_continue, upgrades and not is_1_0)


def _read_headers(raw: RawHeaders) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name_bytes, value_bytes in raw:
        name = _NAMES.get(name_bytes) or name_bytes.decode("ascii").lower()
        try:
            value = value_bytes.decode().strip(" \t")
        except UnicodeDecodeError:
            value = value_bytes.decode("latin-1").strip(" \t")
        known = headers.get(name)
        if known is None:
            headers[name] = value
        elif name == "host":
            raise Refused(400, "there is more than one Host header")
        else:
            headers[name] = f"{known}, {value}"
    return headers


def _length(headers: dict[str, str], is_1_0: bool) -> int:
    coding = headers.get("transfer-encoding")
    length = headers.get("content-length")
    if coding is not None:
        if length is not None or is_1_0:
            raise Refused(400, "Transfer-Encoding beside Content-Length or in HTTP/1.0 is ambiguous")
        if coding.lower() != "chunked":
            raise Refused(501, "the only transfer coding that is read is chunked")
        return CHUNKED
    if length is None:
        return 0
    if not (length.isascii() and length.isdecimal()):
        raise Refused(400, "Content-Length is not a number")
    return int(length)


def _read_target(method: str, target: bytes) -> tuple[str, str]:
    """Path and query of origin form, absolute form, or `*`."""
    try:
        text = target.decode("ascii")
    except UnicodeDecodeError:
        raise Refused(400, "the request target has characters that are not ASCII") from None
    if not text.startswith("/"):
        text = _without_authority(method, text)
    if "#" in text:
        raise Refused(400, "a request target has no fragment")
    path, _, query = text.partition("?")
    return (unquote(path) if "%" in path else path), query


def _without_authority(method: str, text: str) -> str:
    """RFC 9112 section 3.2.2: every server must take the absolute form, as proxies get it."""
    if method == "OPTIONS" and text == "*":
        return "/"
    scheme, found, rest = text.partition("://")
    if not found or scheme.lower() not in ("http", "https"):
        raise Refused(400, "the request target is neither a path nor a URL")
    at = min((rest.index(sign) for sign in "/?" if sign in rest), default=len(rest))
    path = rest[at:]
    return path if path.startswith("/") else f"/{path}"
