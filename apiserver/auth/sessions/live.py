"""Which sessions there are, in memory: every request asks, and the end of a session holds from its next request on.

Follows the records. What this process ends itself is ended at once; what another server ends, as soon as the store tells.
While the store's news do not come, every question goes to the store: nothing that may have ended is believed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

import structlog

from ...errors import ApiError
from .credentials import Credentials, Record
from .rotation import Session

PREFIX: Final = "sessions/"
RETRY_S: Final = 0.5
NEWS_MAX_AGE_S: Final = 30.0
"""The store says something every few seconds; when it has been silent for so long, its news are not followed any more."""
ENDED_KEPT_S: Final = 2 * NEWS_MAX_AGE_S
"""News of a session that we have ended are not older than this when they are believed."""

log = structlog.get_logger(__name__)


def session_key(uid: str, sid: str) -> str:
    """Where a session's record is."""
    return f"{PREFIX}{uid}/{sid}"


class LiveSessions:
    """`run` is its task. `on_end` is called once for each session that ends, with its user's uid and its own id."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._known: dict[str, Session] = {}
        self._ended: dict[str, float] = {}
        """Ended by us, and when, the oldest first; what the store may still tell of them is old news."""
        self._follows = False
        self._heard_s = 0.0
        self.on_end: Callable[[str, str], None] = lambda uid, sid: None

    def __len__(self) -> int:
        return len(self._known)

    async def find(self, uid: str, sid: str, now_s: float) -> Session | None:
        """The session, if it is alive. Raises ServiceUnavailable."""
        key = session_key(uid, sid)
        if key in self._ended:
            return None
        session = self._known.get(key) if self._is_current() else None
        if session is None:
            # Perhaps begun a moment ago by another server, or ended by it: the store knows.
            record = await self._credentials.read(key)
            session = None if record is None or key in self._ended else Session.decode(record.value)
        return session if session is not None and now_s < session.ends_s else None

    def end(self, uid: str, sid: str) -> None:
        """It was ended by this process."""
        key, now_s = session_key(uid, sid), asyncio.get_running_loop().time()
        while self._ended and now_s - next(iter(self._ended.values())) > ENDED_KEPT_S:
            del self._ended[next(iter(self._ended))]
        self._ended[key] = now_s
        self._forget(key)

    async def run(self) -> None:
        """Follow the records until cancelled."""
        while True:
            try:
                async with self._credentials.follow(PREFIX) as changes:
                    self._load(await anext(changes))
                    async for change in changes:
                        self._heard_s = asyncio.get_running_loop().time()
                        self._apply(change)
            except ApiError as error:
                log.warning("the news of sessions broke off, they are followed anew", reason=error.message)
            self._follows = False
            await asyncio.sleep(RETRY_S)

    def _is_current(self) -> bool:
        return self._follows and asyncio.get_running_loop().time() - self._heard_s < NEWS_MAX_AGE_S

    def _load(self, records: Mapping[str, Record | None]) -> None:
        for key in [key for key in self._known if key not in records]:
            self._forget(key)
        self._apply(records)
        self._ended = {key: at_s for key, at_s in self._ended.items() if key in records}
        self._follows, self._heard_s = True, asyncio.get_running_loop().time()

    def _apply(self, records: Mapping[str, Record | None]) -> None:
        for key, record in records.items():
            if record is None:
                self._ended.pop(key, None)
                self._forget(key)
            elif key not in self._ended:
                self._known[key] = Session.decode(record.value)

    def _forget(self, key: str) -> None:
        if self._known.pop(key, None) is not None:
            uid, _, sid = key.removeprefix(PREFIX).partition("/")
            self.on_end(uid, sid)
