"""What the API server answered when it was not what we asked for: one class per kind of trouble.

`error_from_status` is the one table from an HTTP code and a Kubernetes `Status` to a class. Whoever calls the API
catches the class that it can do something about and lets the others travel on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from stark.crds.incarnations import HELD, STALE


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing that is wrong in an object, and where: `field` is a path such as `spec.containers[0].image`."""

    field: str
    message: str
    reason: str = "FieldValueInvalid"


class ApiError(Exception):
    """A request that did not give its object. `code` is the HTTP code (0: there was no answer at all)."""

    code: ClassVar[int] = 0

    def __init__(
        self,
        message: str,
        *,
        code: int | None = None,
        reason: str = "",
        causes: Sequence[Cause] = (),
        retry_after_s: float | None = None,
        status: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status_code = self.code if code is None else code
        self.reason = reason or type(self).__name__
        self.causes = tuple(causes)
        self.retry_after_s = retry_after_s
        self.status: Mapping[str, Any] = status or {}


class BadRequest(ApiError):
    """The request itself was not understood."""

    code = 400


class Unauthorized(ApiError):
    """The server does not know who is asking: the certificate or token is missing, wrong or expired."""

    code = 401


class Forbidden(ApiError):
    """The server knows who is asking, and they may not."""

    code = 403


class NotFound(ApiError):
    """There is no such object, kind or path."""

    code = 404


class MethodNotAllowed(ApiError):
    """The path exists; this verb does not, there."""

    code = 405


class NotAcceptable(ApiError):
    """The server cannot answer in any of the media types that we asked for."""

    code = 406


class AlreadyExists(ApiError):
    """An object of that name is there already."""

    code = 409


class Conflict(ApiError):
    """The object moved on since it was read, or a precondition failed: read it again and redo the change."""

    code = 409


class Superseded(Conflict):
    """The life of the node for which this was said is over, or another agent lives it: join again before anything else."""

    @property
    def is_held_by_another(self) -> bool:
        """Another agent has this node's name, and is alive as far as the server knows."""
        return any(cause.reason == HELD for cause in self.causes)


class Gone(ApiError):
    """The resource version is too old: list again and start from there."""

    code = 410


class RequestTooLarge(ApiError):
    """The body is over the server's limit."""

    code = 413


class UnsupportedMediaType(ApiError):
    """The server does not read this content type here, e.g. a strategic merge patch of a custom resource."""

    code = 415


class Invalid(ApiError):
    """The object was understood and is not valid; `causes` names each field."""

    code = 422


class TooManyRequests(ApiError):
    """Come back after `retry_after_s`."""

    code = 429


class ServerError(ApiError):
    """The server failed; it may or may not have done what was asked."""

    code = 500


class Unavailable(ApiError):
    """Nobody answered, or the server cannot serve now; a write may or may not have happened."""

    code = 503


class Elsewhere(Unavailable):
    """The server has sent us to another one, and that did not give what it was to give."""


class Timeout(ApiError):
    """The answer did not come in time; a write may or may not have happened."""

    code = 504


class FrameTooLarge(ApiError):
    """The server sent more than we are willing to hold at once."""


class Fenced(ApiError):
    """The write was not sent, because the leadership that allowed it has ended."""


_BY_REASON: dict[str, type[ApiError]] = {
    "AlreadyExists": AlreadyExists,
    "BadRequest": BadRequest,
    "Conflict": Conflict,
    "Expired": Gone,
    "Forbidden": Forbidden,
    "Gone": Gone,
    "InternalError": ServerError,
    "Invalid": Invalid,
    "MethodNotAllowed": MethodNotAllowed,
    "NotAcceptable": NotAcceptable,
    "NotFound": NotFound,
    "RequestEntityTooLarge": RequestTooLarge,
    "ServerTimeout": Timeout,
    "ServiceUnavailable": Unavailable,
    "Timeout": Timeout,
    "TooManyRequests": TooManyRequests,
    "Unauthorized": Unauthorized,
    "UnsupportedMediaType": UnsupportedMediaType,
}

_BY_CODE: dict[int, type[ApiError]] = {
    kind.code: kind
    for kind in (
        BadRequest,
        Unauthorized,
        Forbidden,
        NotFound,
        MethodNotAllowed,
        NotAcceptable,
        Conflict,
        Gone,
        RequestTooLarge,
        UnsupportedMediaType,
        Invalid,
        TooManyRequests,
        ServerError,
        Unavailable,
        Timeout,
    )
}


def error_from_status(
    code: int, status: Mapping[str, Any] | None, *, fallback: str = "", retry_after_s: float | None = None
) -> ApiError:
    """The typed error for an HTTP code and its `Status` body; `fallback` is the message when there is no Status.

    The reason decides when we know it, because 409 is both AlreadyExists and Conflict; the code decides otherwise.
    """
    body = status if status is not None and status.get("kind") == "Status" else {}
    code = code or int(body.get("code") or 0)
    reason = str(body.get("reason") or "")
    details = body.get("details")
    details = details if isinstance(details, Mapping) else {}
    if retry_after_s is None and isinstance(details.get("retryAfterSeconds"), int | float):
        retry_after_s = float(details["retryAfterSeconds"])
    kind = _BY_REASON.get(reason) or _BY_CODE.get(code) or (ServerError if code >= 500 else ApiError)
    causes = _causes(details.get("causes"))
    if kind is Conflict and any(cause.reason in (STALE, HELD) for cause in causes):
        kind = Superseded
    return kind(
        str(body.get("message") or fallback or f"the server answered {code}"),
        code=code,
        reason=reason,
        causes=causes,
        retry_after_s=retry_after_s,
        status=body,
    )


def _causes(listed: Any) -> list[Cause]:
    if not isinstance(listed, list):
        return []
    return [
        Cause(str(c.get("field") or ""), str(c.get("message") or ""), str(c.get("reason") or ""))
        for c in listed
        if isinstance(c, Mapping)
    ]
