"""From a request to an Event of audit.k8s.io/v1 as bytes. Runs aside of the event loop, on what the loop only pointed at."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final, NamedTuple
from urllib.parse import quote, unquote

import orjson

from ..request import Request, User
from ..routes import Asked
from .journal import timestamp
from .policy import LEVEL_NAMES, RECEIVED, Judgement, Level

USER_AGENT_MAX: Final = 1_024
URI_MAX: Final = 8_192
MESSAGE_MAX: Final = 1_024
ADDRESSES_MAX: Final = 16
"""Characters, and addresses, of what a client may say as long as it likes."""
STATUS_BYTES_MAX: Final = 256 * 1024
"""A refusal that is longer is not looked into."""
TRUNCATED: Final = "audit.k8s.io/truncated"
"""Kubernetes' annotation for an event whose objects were left out because of their size."""
CLIENT_LEFT: Final = 499
"""No answer: the client had gone. There is no code for it in HTTP; this one is what proxies write."""

_SECRET_NAME: Final = re.compile(r"(?i)token|password|secret|code")

_USUAL_PATH: Final = re.compile(r"[A-Za-z0-9/._:-]*")

ReadBody = Callable[[bytes, str], Mapping[str, Any]]
"""From a body and its content type to the object. Raises ApiError."""


class Outcome(NamedTuple):
    """How a request was answered."""

    code: int
    body: bytes | Sequence[bytes] = b""
    content_type: str = ""
    is_gzip: bool = False


@dataclass(slots=True)
class Entry:
    """One event to be."""

    request: Request
    asked: Asked
    judgement: Judgement
    user: User | None
    """Who was connected."""
    stage: str
    received_at: float
    at: float
    outcome: Outcome | None = None
    sent: bytes = b""
    """The request's body, if it is recorded."""
    sent_bytes: int = 0
    """How much the client sent, also when it was too much to be kept."""

    @property
    def cost(self) -> int:
        """Bytes that it keeps from being forgotten."""
        return len(self.sent) + (_size_of(self.outcome.body) if self.outcome is not None else 0)


def _size_of(body: bytes | Sequence[bytes]) -> int:
    """Bytes. A long list knows its size without being made."""
    if isinstance(body, bytes):
        return len(body)
    size: int | None = getattr(body, "size", None)
    return sum(map(len, body)) if size is None else size


class Encoder:
    """Makes the bytes."""

    def __init__(self, read_body: ReadBody, body_bytes_max: int) -> None:
        self._read_body, self._body_bytes_max = read_body, body_bytes_max

    def encode(self, entry: Entry) -> bytes:
        """The event as JSON. Never fails: what cannot be said is left out, and the event says so."""
        request, judgement = entry.request, entry.judgement
        is_end = entry.stage != RECEIVED
        notes = dict(request.audit) if is_end else {}
        event: dict[str, Any] = {
            "kind": "Event",
            "apiVersion": "audit.k8s.io/v1",
            "level": LEVEL_NAMES[judgement.level],
            "auditID": request.headers.get("audit-id", ""),
            "stage": entry.stage,
            "requestURI": _uri(request),
            "verb": entry.asked.verb,
            "user": entry.user.info() if entry.user is not None else {},
        }
        if is_end and request.user is not None and request.user is not entry.user:
            event["impersonatedUser"] = request.user.info()
        event["sourceIPs"] = _addresses(request)
        agent = request.headers.get("user-agent", "")
        if agent:
            event["userAgent"] = agent if len(agent) <= USER_AGENT_MAX else agent[:USER_AGENT_MAX] + "...TRUNCATED"
        if entry.asked.plural:
            event["objectRef"] = _reference(entry.asked, request.subject if is_end else None)
        if entry.outcome is not None:
            event["responseStatus"] = _status(entry.outcome, with_message=not judgement.is_secret)
        if judgement.level >= Level.REQUEST:
            self._add_objects(event, entry, notes)
        event["requestReceivedTimestamp"] = timestamp(entry.received_at)
        event["stageTimestamp"] = timestamp(entry.at)
        if notes:
            event["annotations"] = notes
        return _dumped(event)

    def _add_objects(self, event: dict[str, Any], entry: Entry, notes: dict[str, str]) -> None:
        if entry.sent_bytes and entry.stage != RECEIVED:
            content_type = entry.request.headers.get("content-type", "")
            if entry.sent_bytes > self._body_bytes_max:
                notes[TRUNCATED] = "true"
            elif (sent := self._object(entry.sent, content_type, entry.judgement)) is not None:
                event["requestObject"] = sent
        outcome = entry.outcome
        if entry.judgement.level < Level.REQUEST_RESPONSE or outcome is None or not outcome.body:
            return
        body = self._plain(outcome)
        if body is None:
            notes[TRUNCATED] = "true"
        elif (brought := self._object(body, outcome.content_type, entry.judgement)) is not None:
            event["responseObject"] = brought

    def _plain(self, outcome: Outcome) -> bytes | None:
        """The body in one piece, not compressed; None when it is too long."""
        body = outcome.body
        if _size_of(body) > self._body_bytes_max:
            return None
        whole = body if isinstance(body, bytes) else b"".join(body)
        if not outcome.is_gzip:
            return whole
        opened = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16).decompress(whole, self._body_bytes_max + 1)
        return opened if len(opened) <= self._body_bytes_max else None

    def _object(self, body: bytes, content_type: str, judgement: Judgement) -> Any | None:
        """What a body holds; None when it is nothing that JSON can say."""
        kind = content_type.partition(";")[0].strip().lower()
        try:
            # A JSON patch is a list, so that the reader of objects would refuse it.
            found: Any = (
                orjson.loads(body) if kind.endswith("json") or not kind else dict(self._read_body(body, content_type))
            )
        except Exception:
            return None
        if judgement.omits_managed_fields:
            for each in (found, *(found.get("items") or ())) if isinstance(found, dict) else ():
                metadata = each.get("metadata") if isinstance(each, dict) else None
                if isinstance(metadata, dict):
                    metadata.pop("managedFields", None)
        return found


def _dumped(event: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(event)
    except TypeError:
        # A lone surrogate in what a client sent: JSON in UTF-8 cannot have it.
        return orjson.dumps(_clean(event))


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_clean(str(key)): _clean(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean(each) for each in value]
    return value if isinstance(value, (int, float, bool)) or value is None else str(value)


def _uri(request: Request) -> str:
    path = request.path
    if _USUAL_PATH.fullmatch(path) is None:
        path = quote(path, safe="/:@!$&'()*+,;=-._~")
    raw = request.query.raw
    if not raw:
        return path[:URI_MAX]
    shown = "&".join(map(_shown, raw[:URI_MAX].split("&")))
    return f"{path}?{shown}"[:URI_MAX]


def _shown(parameter: str) -> str:
    """The parameter without its value, if its name says that this is a credential; however the name is written."""
    name, equals, _ = parameter.partition("=")
    return f"{name}=REDACTED" if equals and _SECRET_NAME.search(unquote(name)) else parameter


def _addresses(request: Request) -> list[str]:
    """As in Kubernetes: what proxies say first, the connection's own last. All but the last may be invented."""
    headers = request.headers
    own = request.peer.address.rpartition(":")[0] or request.peer.address
    told = headers.get("x-forwarded-for", "")
    if not told and "x-real-ip" not in headers:
        return [own]
    found = [text.strip() for text in told.split(",")] + [headers.get("x-real-ip", "").strip()]
    given = [text for text in dict.fromkeys(found[:ADDRESSES_MAX]) if _is_address(text)]
    return given if given and given[-1] == own else [*given, own]


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _reference(asked: Asked, subject: Mapping[str, Any] | None) -> dict[str, str]:
    told = subject if isinstance(subject, dict) else {}
    found = {"resource": asked.plural}
    if asked.namespace:
        found["namespace"] = asked.namespace
    name = asked.name or told.get("name")
    if name and isinstance(name, str):
        found["name"] = name
    if told and isinstance(told.get("uid"), str):
        found["uid"] = told["uid"]
    if asked.group:
        found["apiGroup"] = asked.group
    found["apiVersion"] = asked.version
    if told and isinstance(told.get("resourceVersion"), str):
        found["resourceVersion"] = told["resourceVersion"]
    if asked.subresource:
        found["subresource"] = asked.subresource
    return found


def _status(outcome: Outcome, *, with_message: bool) -> dict[str, Any]:
    """A meta/v1 Status with what is known: of a success only the code, as in Kubernetes."""
    if outcome.code < 400:
        return {"metadata": {}, "code": outcome.code}
    status: dict[str, Any] = {"metadata": {}, "status": "Failure", "code": outcome.code}
    if outcome.code == CLIENT_LEFT:
        return {**status, "reason": "ClientLeft", "message": "the client left before it was answered"}
    body = outcome.body if isinstance(outcome.body, bytes) else b"".join(outcome.body)
    if len(body) > STATUS_BYTES_MAX or not outcome.content_type.startswith("application/json"):
        return status
    try:
        wire = orjson.loads(gzip.decompress(body) if outcome.is_gzip else body)
    except (ValueError, OSError, EOFError):
        return status
    told = wire if isinstance(wire, dict) else {}
    error = told.get("error")
    if isinstance(error, dict):  # the facade's envelope
        told = {"reason": error.get("code"), "message": error.get("message")}
    reason, message = told.get("reason"), told.get("message")
    if isinstance(reason, str):
        status["reason"] = reason
    if with_message and isinstance(message, str):
        status["message"] = message[:MESSAGE_MAX]
    return status
