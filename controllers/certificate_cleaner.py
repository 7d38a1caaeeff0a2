"""Take certificate requests away that have served their purpose, or that nobody answers.

Reads and deletes CertificateSigningRequests. The times are Kubernetes': whoever asked has the answer within the hour,
and a request that waits for a person waits a day.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from stark.client.errors import NotFound
from stark.crds.certificates import APPROVED, DENIED, FAILED, CertificateSigningRequest
from stark.crds.conditions import find_condition

from .kit import DONE, Context, Controller, Outcome, RequeueAfter, Source

SETTLED_FOR = timedelta(hours=1)
PENDING_FOR = timedelta(hours=24)


def ends_at(request: CertificateSigningRequest) -> datetime | None:
    """When it goes: an hour after what became of it, a day after it was made when nothing did; None without times."""
    for kind in (DENIED, FAILED, APPROVED):
        condition = find_condition(request.status.conditions, kind)
        if condition is not None and (kind != APPROVED or request.status.certificate):
            since = condition.last_update_time or condition.last_transition_time
            return since + SETTLED_FOR if since is not None else None
    made = request.metadata.creation_timestamp
    return made + PENDING_FOR if made is not None else None


class CertificateCleaner(Controller):
    """See the module."""

    name = "certificate-cleaner"

    def __init__(self, context: Context) -> None:
        self._api, self._clock = context.api, context.clock
        self._requests = context.informers.of(CertificateSigningRequest)

    def sources(self) -> Sequence[Source[Any]]:
        """Requests."""
        return (Source(self._requests),)

    async def reconcile(self, key: str) -> Outcome:
        """Delete it, or come back when its time has come."""
        request = self._requests.get(key)
        end = ends_at(request) if request is not None else None
        if request is None or end is None:
            return DONE
        left_s = (end - self._clock()).total_seconds()
        if left_s > 0:
            return RequeueAfter(left_s)
        try:
            await self._api.delete(CertificateSigningRequest, key, uid=request.uid)
        except NotFound:
            pass
        return DONE


def build(context: Context) -> Controller:
    """For the catalog."""
    return CertificateCleaner(context)
