"""`/audit/logs`: what was done, for administrators, the newest first; and whether the log is whole.

Reading it is a request like any other, and recorded like any other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from stark.crds.audit.chain import parse_link
from stark.crds.audit.reading import read_page
from stark.crds.audit.selecting import OUTCOMES, Selection, moment
from stark.crds.audit.verifying import verify

from ..auth.identities import is_admin
from ..errors import BadRequest, Cause, Forbidden, TooManyRequests
from ..facade.envelope import success
from ..facade.facade import Route
from ..request import Answer, Request
from ..workers.colleagues import Colleagues
from ..workers.words import SETTLE
from .recording import Audit

LIMIT_DEFAULT: Final = 100
LIMIT_MAX: Final = 500
READERS_MAX: Final = 2
"""Threads that read the log at the same time: it may be a gigabyte, and the machine has other work."""
SECOND_S: Final = 2.0
"""Of work for one page; then it ends where it is, and says where to go on."""
_TEXTS: Final = ("user", "verb", "resource", "namespace", "name")


class AuditLogs:
    """The handlers."""

    def __init__(self, audit: Audit, directory: Path, colleagues: Colleagues | None = None) -> None:
        self._audit, self._directory, self._colleagues = audit, directory, colleagues
        if colleagues is not None:
            colleagues.reply(SETTLE, self._settled_here)
        self._readers = 0

    def routes(self) -> Sequence[Route]:
        """What is answered here."""
        return (
            Route("GET", "/audit/logs", self.logs),
            Route("GET", "/audit/logs/verify", self.verification),
            Route("GET", "/audit/logs/settings", self.configuration),
        )

    async def logs(self, request: Request, found: Sequence[str]) -> Answer:
        """A page of events."""
        _only_admins(request)
        selection, limit, before = _asked_for(request)
        await self._settled()
        read = partial(read_page, self._directory, selection, limit=limit, before=before, budget_s=SECOND_S)
        page = await self._aside(read)
        data: dict[str, Any] = {"logs": page.events}
        if page.before:
            data["continue"] = str(page.before)
        return success({**data, "end": str(self._audit.writer.link)})

    async def verification(self, request: Request, found: Sequence[str]) -> Answer:
        """Whether the log is whole, as far as the one who writes it can say that."""
        _only_admins(request)
        try:
            expected = tuple(parse_link(text) for text in request.query.first("expect").split(",") if text)
        except ValueError as error:
            raise BadRequest(f"expect: {error}", causes=[Cause("expect", str(error))]) from None
        await self._settled()
        verdict = await self._aside(partial(verify, self._directory, expected=expected))
        return success(verdict.to_wire())

    async def configuration(self, request: Request, found: Sequence[str]) -> Answer:
        """How the log is kept."""
        _only_admins(request)
        settings = self._audit.settings
        return success(
            {
                "policySha256": self._audit.policy_digest,
                "policyFile": str(settings.policy_file or ""),
                "sync": settings.sync,
                "fileBytesMax": settings.file_bytes_max,
                "filesMax": settings.files_max,
                "ageMaxDays": settings.age_max_days,
                "hampered": self._audit.writer.is_hampered,
                "trouble": self._audit.writer.trouble,
            }
        )

    async def _settled(self) -> None:
        """Whoever looks sees what was done just before, by whichever worker."""
        await self._settled_here()
        if self._colleagues is not None:
            await self._colleagues.gather(SETTLE)

    async def _settled_here(self) -> None:
        """When the log cannot be written, they see what there is."""
        if not self._audit.writer.trouble:
            await self._audit.writer.synced()

    async def _aside(self, read: partial[Any]) -> Any:
        """On a thread. Raises TooManyRequests when enough others read."""
        if self._readers >= READERS_MAX:
            raise TooManyRequests("the audit log is being read by others: try again", retry_after_s=1)
        self._readers += 1
        try:
            return await asyncio.to_thread(read)
        finally:
            self._readers -= 1


def _only_admins(request: Request) -> None:
    if request.user is None or not is_admin(request.user):
        raise Forbidden("the audit log is for administrators")


def _asked_for(request: Request) -> tuple[Selection, int, int]:
    """Raises BadRequest with every parameter that will not do."""
    query, causes = request.query, []
    now = datetime.now(UTC)
    texts = {name: query.first(name) for name in _TEXTS}
    times = {}
    for name in ("since", "until"):
        try:
            times[name] = moment(query.first(name), now) if query.first(name) else ""
        except ValueError as error:
            causes.append(Cause(name, str(error)))
    outcome = query.first("outcome")
    if outcome and outcome not in OUTCOMES:
        causes.append(Cause("outcome", f"must be one of {', '.join(OUTCOMES)}"))
    limit = _number(query.first("limit"), LIMIT_DEFAULT)
    if not 1 <= limit <= LIMIT_MAX:
        causes.append(Cause("limit", f"must be a number from 1 to {LIMIT_MAX}"))
    before = _number(query.first("continue"), 0)
    if before < 0:
        causes.append(Cause("continue", "is not what an earlier answer gave"))
    if causes:
        raise BadRequest("; ".join(f"{cause.field} {cause.message}" for cause in causes), causes=causes)
    return Selection(**texts, **times, outcome=outcome), limit, before


def _number(text: str, default: int) -> int:
    if not text:
        return default
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else -1
