"""Deciding about certificate requests by hand: what `certificate approve` and `certificate deny` have in common."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from .errors import EXIT_OK, CommandError, ServerError
from .options import Session

REQUESTS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
ATTEMPTS_MAX = 5
"""How often a request that changed under our hands is read and decided again."""
HTTP_CONFLICT = 409
OPPOSITE = {"Approved": "Denied", "Denied": "Approved"}


def decide(session: Session, names: Sequence[str], kind: str, reason: str, *, force: bool) -> int:
    """Add the condition to each request. Raises CommandError, ServerError."""
    for name in names:
        for attempt in range(ATTEMPTS_MAX):
            try:
                _decide(session, name, kind, reason, force=force)
                break
            except ServerError as error:
                if error.code != HTTP_CONFLICT or attempt + 1 == ATTEMPTS_MAX:
                    raise
        print(f"certificatesigningrequest.certificates.k8s.io/{name} {kind.lower()}")
    return EXIT_OK


def _decide(session: Session, name: str, kind: str, reason: str, *, force: bool) -> None:
    request = session.api.get(f"{REQUESTS}/{name}")
    status = request.setdefault("status", {})
    conditions = status.get("conditions") or []
    types = {condition["type"] for condition in conditions}
    if OPPOSITE[kind] in types:
        raise CommandError(f"certificate request {name} is {OPPOSITE[kind].lower()} already")
    if kind in types and not force:
        return
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    condition = {
        "type": kind,
        "status": "True",
        "reason": reason,
        "message": f"This certificate request was {kind.lower()} by starkctl certificate.",
        "lastUpdateTime": now,
    }
    status["conditions"] = [*(each for each in conditions if each["type"] != kind), condition]
    session.api.request("PUT", f"{REQUESTS}/{name}/approval", body=request)
