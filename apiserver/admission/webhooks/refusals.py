"""How a write ends that a webhook does not let pass: with the webhook's own Status, or because it could not be asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from ...errors import ApiError, BadRequest, Cause, InternalError
from .review import Misanswered


class Denied(ApiError):
    """A webhook said no. Its Status is the answer, with our sentence before its message."""

    def __init__(self, webhook: str, given: Mapping[str, Any] | None) -> None:
        status = dict(given or {})
        code = status.get("code")
        # A refusal is no success, whatever the webhook says it is.
        self.code = code if isinstance(code, int) and 400 <= code <= 599 else 400
        self.reason = str(status.get("reason") or "")
        message, said = f'admission webhook "{webhook}" denied the request', status.get("message") or self.reason
        super().__init__(f"{message}: {said}" if said else f"{message} without explanation")
        details = status.get("details")
        self._details = details if isinstance(details, dict) else None
        wait = (self._details or {}).get("retryAfterSeconds")
        self.retry_after_s = wait if isinstance(wait, int) and wait > 0 else None

    def status(self) -> dict[str, Any]:
        """The Status, in Kubernetes' field order."""
        body: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            body["reason"] = self.reason
        if self._details:
            body["details"] = self._details
        return {**body, "code": self.code}


def not_asked(webhook: str, error: Exception) -> InternalError:
    """The webhook could not be asked, or gave no sensible answer, and its failurePolicy is Fail."""
    return internal(failed_call(webhook, error))


def failed_call(webhook: str, error: Exception) -> str:
    """What went wrong between us and a webhook."""
    what = "received invalid webhook response" if isinstance(error, Misanswered) else "failed to call webhook"
    return f"failed calling webhook {quoted(webhook)}: {what}: {error}"


def internal(message: str) -> InternalError:
    """Kubernetes' InternalError, which repeats what happened as a cause."""
    return InternalError(f"Internal error occurred: {message}", causes=[Cause("", message, "")])


def no_dry_run(webhook: str) -> BadRequest:
    """The webhook has effects that a dry run must not have."""
    return BadRequest(f"admission webhook {quoted(webhook)} does not support dry run")


def quoted(text: str) -> str:
    """As Go's %q."""
    return orjson.dumps(text).decode()
