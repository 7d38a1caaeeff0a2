"""The form of every answer of the facade: `{success, data}`, or `{success, error: {code, message, details}}`.

The codes are for programs and never change; the message is for people.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from ..errors import ApiError, BadRequest, Unauthorized
from ..request import Response

CODES: Final[Mapping[int, str]] = {
    400: "VALIDATION_ERROR",
    401: "UNAUTHORIZED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    409: "CONFLICT",
    413: "PAYLOAD_TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
    429: "TOO_MANY_REQUESTS",
    500: "INTERNAL_ERROR",
    503: "SERVICE_UNAVAILABLE",
    504: "TIMEOUT",
    507: "INSUFFICIENT_STORAGE",
}
"""By status: each failure has one."""
AUTHENTICATION_REQUIRED: Final = "AUTHENTICATION_REQUIRED"
"""A 401 for a request that brought nothing; one that brought the wrong thing is UNAUTHORIZED."""


class Refused(BadRequest):
    """A request that makes no sense as things are; `word` is the code by which programs know it."""

    def __init__(self, word: str, message: str, code: int = 400) -> None:
        super().__init__(message)
        self.word, self.code = word, code


class CredentialsRefused(Unauthorized):
    """What was given as proof, a password or a token in the body, is not good."""


INVALID: Final = 422
"""What the registry says of an object with bad fields; the facade calls it 400, as it does every bad input."""


def success(data: Mapping[str, Any], status: int = 200) -> Response:
    """The answer of a request that was done."""
    return Response(status, orjson.dumps({"success": True, "data": data}), headers=_no_store())


def failure(error: ApiError, *, anonymous: bool = False) -> Response:
    """The answer of a refusal; `anonymous`: the request brought nothing to prove who asks."""
    status = 400 if error.code == INVALID else error.code
    code = CODES.get(status, CODES[500])
    if anonymous and type(error) is Unauthorized:
        code = AUTHENTICATION_REQUIRED
    if isinstance(error, Refused):
        code = error.word
    told: dict[str, Any] = {"code": code, "message": error.message}
    details: dict[str, Any] = {}
    for cause in error.causes:
        if cause.field:
            known = details.get(_field(cause.field))
            details[_field(cause.field)] = f"{known}; {cause.message}" if known else cause.message
    if error.retry_after_s is not None:
        details["retryAfterSeconds"] = error.retry_after_s
    if details:
        told["details"] = details
    headers = _no_store()
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(error.retry_after_s)
    return Response(status, orjson.dumps({"success": False, "error": told}), headers=headers)


def _field(path: str) -> str:
    """A field of an object by the name it has in a request of the facade."""
    return path.removeprefix("spec.")


def _no_store() -> dict[str, str]:
    """Nothing of this may be kept on the way: there are tokens in it (RFC 6749 section 5.1)."""
    return {"Cache-Control": "no-store"}
