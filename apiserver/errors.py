"""Every way a request can fail, and the one table that puts it on the wire.

Exception class -> HTTP code and reason -> Kubernetes `Status` (meta/v1), compact JSON, in Kubernetes' field order:
kind, apiVersion, metadata, status, message, reason, details, code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing that is wrong, and where: `field` is a path such as `spec.containers[0].image`.

    `reason` is one of Kubernetes' cause types: FieldValueInvalid, FieldValueRequired, FieldValueNotSupported,
    FieldValueDuplicate, FieldValueForbidden, FieldValueTypeInvalid, FieldValueTooLong, FieldValueTooMany.
    """

    field: str
    message: str
    reason: str = "FieldValueInvalid"

    def to_wire(self) -> dict[str, str]:
        """As one of details.causes."""
        told = {"reason": self.reason, "message": self.message, "field": self.field}
        return {name: value for name, value in told.items() if value}


class ApiError(Exception):
    """A request that is answered with a Status instead of an object."""

    code: int = 500
    reason: str = "InternalError"

    def __init__(
        self,
        message: str,
        *,
        group: str = "",
        kind: str = "",
        name: str = "",
        uid: str = "",
        causes: Sequence[Cause] = (),
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.group, self.kind, self.name, self.uid = group, kind, name, uid
        self.causes = tuple(causes)
        self.retry_after_s = retry_after_s

    def status(self) -> dict[str, Any]:
        """The Status object. For `details.kind` Kubernetes gives the plural except for Invalid, which gives the kind."""
        named = (("name", self.name), ("group", self.group), ("kind", self.kind), ("uid", self.uid))
        details: dict[str, Any] = {key: value for key, value in named if value}
        if self.causes:
            details["causes"] = [c.to_wire() for c in self.causes]
        if self.retry_after_s is not None:
            details["retryAfterSeconds"] = self.retry_after_s
        body: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
        }
        if details:
            body["details"] = details
        return {**body, "code": self.code}

    def encode(self) -> bytes:
        """The Status as compact JSON bytes."""
        return orjson.dumps(self.status())


class BadRequest(ApiError):
    """The request itself cannot be understood."""

    code, reason = 400, "BadRequest"


class Unauthorized(ApiError):
    """Nobody we know is asking."""

    code, reason = 401, "Unauthorized"


class Forbidden(ApiError):
    """We know who is asking, and they may not."""

    code, reason = 403, "Forbidden"


class NotFound(ApiError):
    """There is no such object, kind or path."""

    code, reason = 404, "NotFound"


class MethodNotAllowed(ApiError):
    """The path exists; this verb does not, there."""

    code, reason = 405, "MethodNotAllowed"


class NotAcceptable(ApiError):
    """None of the media types in Accept can be given."""

    code, reason = 406, "NotAcceptable"


class AlreadyExists(ApiError):
    """An object of that name is there already."""

    code, reason = 409, "AlreadyExists"


class Conflict(ApiError):
    """The object moved on since it was read: read it again and redo the change."""

    code, reason = 409, "Conflict"


class Gone(ApiError):
    """The resource version is compacted: list again and start from there."""

    code, reason = 410, "Expired"


class RequestEntityTooLarge(ApiError):
    """The body is over the limit."""

    code, reason = 413, "RequestEntityTooLarge"


class UnsupportedMediaType(ApiError):
    """The body's content type is not one we read here."""

    code, reason = 415, "UnsupportedMediaType"


class Invalid(ApiError):
    """The object was understood and is not valid; `causes` names each field."""

    code, reason = 422, "Invalid"


class TooManyRequests(ApiError):
    """Come back after `retry_after_s`."""

    code, reason = 429, "TooManyRequests"


class InternalError(ApiError):
    """Our fault. The message says what to look for in the log, never a stack trace."""

    code, reason = 500, "InternalError"


class ServiceUnavailable(ApiError):
    """The store or a node does not answer."""

    code, reason = 503, "ServiceUnavailable"


class Timeout(ApiError):
    """It took longer than the client or we allow; a write may or may not have happened."""

    code, reason = 504, "Timeout"


class InsufficientStorage(ApiError):
    """The disk is full or a quota is reached; nothing was written."""

    code, reason = 507, "InsufficientStorage"


def invalid(kind: str, name: str, causes: Sequence[Cause], *, group: str = "") -> Invalid:
    """An Invalid with Kubernetes' message: `Pod "web" is invalid: spec.x: ...`, several causes in brackets."""
    lines = [f"{cause.field}: {cause.message}" if cause.field else cause.message for cause in causes]
    text = lines[0] if len(lines) == 1 else f"[{', '.join(lines)}]"
    full = f"{kind}.{group}" if group else kind
    return Invalid(f'{full} "{name}" is invalid: {text}', group=group, kind=kind, name=name, causes=causes)
