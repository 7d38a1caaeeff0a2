"""Sessions: begun by a login, kept alive by refresh tokens, ended by a logout, by their time, or by a token shown twice.

A session is alive exactly as long as its record is there. Every change of it is a compare-and-swap, so that of two that
come at the same moment one is first, and the other is judged by what the first has made of it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Counter

from ...errors import Conflict
from ...settings import SessionSettings
from .credentials import ABSENT, Credentials
from .live import PREFIX, LiveSessions, session_key
from .rotation import Over, Rotated, Session, show
from .tokens import ACCESS_MAX_S, SigningKeys

PER_USER_MAX: Final = 50
"""Sessions of one user; a further login ends the one that was refreshed the longest time ago."""
ATTEMPTS_MAX: Final = 8
"""How often a change is decided anew when others are faster."""
SHOWN_LENGTH_MAX: Final = 200
"""Characters of an address or a program's name that are remembered with a session."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Pair:
    """What a login or a refresh gives out."""

    uid: str
    sid: str
    email: str
    access_token: str
    refresh_token: str
    expires_s: float
    """When the access token ends, in seconds since 1970."""


class Sessions:
    """The changes of sessions. Raises ServiceUnavailable everywhere."""

    def __init__(
        self,
        credentials: Credentials,
        keys: SigningKeys,
        live: LiveSessions,
        settings: SessionSettings,
        registry: CollectorRegistry,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._credentials, self._keys, self._live = credentials, keys, live
        self._settings, self._clock = settings, clock
        self._counted = Counter("stark_sessions_total", "What happened to sessions.", ("event",), registry=registry)

    async def begin(
        self, uid: str, email: str, *, address: str, agent: str, proof: Mapping[str, int] | None = None
    ) -> Pair:
        """A new session of a user who has proved who they are, by records that are at these versions still.

        Raises Conflict when they are not: whoever ends all sessions after changing one of them has ended this one, too.
        """
        now_s = self._clock()
        await self._make_room(uid)
        session = Session(
            email,
            now_s,
            now_s + self._settings.session_max_s,
            rotated_s=now_s,
            address=address[:SHOWN_LENGTH_MAX],
            agent=agent[:SHOWN_LENGTH_MAX],
        )
        sid = secrets.token_hex(16)
        key = session_key(uid, sid)
        if not await self._credentials.write({key: ABSENT, **(proof or {})}, {key: session.encode()}):
            raise Conflict("the session could not be begun: log in again")
        self._counted.labels("begun").inc()
        return self._pair(uid, sid, session, now_s)

    async def refresh(self, token: str) -> Pair | None:
        """New tokens for a refresh token; None when it is not good, or not any more."""
        shown = self._keys.read_refresh(token)
        if shown is None:
            return None
        key = session_key(shown.uid, shown.sid)
        for _ in range(ATTEMPTS_MAX):
            record = await self._credentials.read(key)
            if record is None:
                return None
            session, now_s = Session.decode(record.value), self._clock()
            outcome = show(session, shown.generation, now_s, self._settings.idle_max_s)
            if isinstance(outcome, Over):
                await self.end(shown.uid, shown.sid)
                self._note_over(outcome, session, shown.sid)
                return None
            if not isinstance(outcome, Rotated):
                self._counted.labels("repeated").inc()
                return self._pair(shown.uid, shown.sid, outcome.session, now_s)
            if await self._credentials.write({key: record.version}, {key: outcome.session.encode()}):
                self._counted.labels("refreshed").inc()
                return self._pair(shown.uid, shown.sid, outcome.session, now_s)
        raise Conflict("the session was refreshed by too many at the same moment: try again", retry_after_s=1)

    def _note_over(self, outcome: Over, session: Session, sid: str) -> None:
        if outcome.reused:
            self._counted.labels("reused").inc()
            log.warning("a refresh token was shown twice, its session has ended", user=session.email, session_id=sid)
        else:
            self._counted.labels("expired").inc()

    async def end(self, uid: str, sid: str) -> bool:
        """End one session: its tokens are good for nothing from now on. False when there is none."""
        key = session_key(uid, sid)
        existed = await self._credentials.read(key) is not None
        if existed:
            await self._credentials.write({}, {key: None})
            self._counted.labels("ended").inc()
            self._live.end(uid, sid)
        return existed

    async def end_all(self, uid: str, *, but: str = "") -> int:
        """End every session of a user, `but` one; how many there were."""
        sids = [sid for sid in await self.of(uid) if sid != but]
        for sid in sids:
            await self.end(uid, sid)
        return len(sids)

    async def of(self, uid: str) -> dict[str, Session]:
        """All sessions of a user by their ids."""
        prefix = session_key(uid, "")
        return {
            key.removeprefix(prefix): Session.decode(record.value)
            async for key, record in self._credentials.each(prefix)
        }

    async def end_overdue(self) -> int:
        """Remove the records of sessions whose time is over, or whose refresh token has not been used for too long."""
        now_s, overdue = self._clock(), []
        async for key, record in self._credentials.each(PREFIX):
            session = Session.decode(record.value)
            if now_s >= session.ends_s or now_s - session.rotated_s >= self._settings.idle_max_s + ACCESS_MAX_S:
                overdue.append(key)
        for key in overdue:
            uid, _, sid = key.removeprefix(PREFIX).partition("/")
            await self.end(uid, sid)
        return len(overdue)

    async def _make_room(self, uid: str) -> None:
        sessions = await self.of(uid)
        oldest_first = sorted(sessions, key=lambda sid: sessions[sid].rotated_s)
        for sid in oldest_first[: max(0, len(sessions) - PER_USER_MAX + 1)]:
            await self.end(uid, sid)

    def _pair(self, uid: str, sid: str, session: Session, now_s: float) -> Pair:
        expires_s = min(now_s + self._settings.access_token_s, session.ends_s)
        return Pair(
            uid,
            sid,
            session.email,
            self._keys.access_token(uid, sid, session.email, now_s=now_s, expires_s=expires_s),
            self._keys.refresh_token(uid, sid, session.generation),
            int(expires_s),
        )
