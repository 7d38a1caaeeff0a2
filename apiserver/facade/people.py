"""`/auth/users` and `/auth/sessions`: who there is, new ones, their passwords and their logins."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import structlog

from ..auth.identities import is_admin
from ..auth.passwords import Passwords
from ..auth.sessions.authenticator import SESSION_EXTRA, Person
from ..auth.sessions.rotation import Session
from ..auth.sessions.sessions import Sessions
from ..errors import Forbidden, NotFound
from ..people import KnownPeople, Registrar
from ..request import Answer, Request, User
from ..times import timestamp
from .accounts import ACCOUNT, DEFAULT_ROLE, NEW_ACCOUNT, check_password, create_user, new_spec, shown_user
from .envelope import success
from .facade import Route, read_fields
from .permission import Permission, somebody

log = structlog.get_logger(__name__)


class PeopleDesk:
    """The handlers. Who may is asked about the kind `users`, and its subresources `password` and `sessions`."""

    def __init__(
        self,
        people: KnownPeople,
        registrar: Registrar,
        passwords: Passwords,
        sessions: Sessions,
        permission: Permission,
    ) -> None:
        self._people, self._registrar, self._passwords = people, registrar, passwords
        self._sessions, self._permission = sessions, permission

    def routes(self) -> Sequence[Route]:
        """What is answered here."""
        return (
            Route("GET", "/auth/users", self.list),
            Route("POST", "/auth/users", self.add),
            Route("PUT", "/auth/users/*/password", self.set_password),
            Route("DELETE", "/auth/users/*/sessions", self.end_sessions),
            Route("GET", "/auth/sessions", self.own_sessions),
            Route("DELETE", "/auth/sessions/*", self.end_own_session),
        )

    async def list(self, request: Request, found: Sequence[str]) -> Answer:
        """Everybody there is."""
        await self._permission.need(request, "list", "users")
        return success({"users": [shown_user(user) for user in await self._people.all()]})

    async def add(self, request: Request, found: Sequence[str]) -> Answer:
        """A new user with a password that somebody else has chosen."""
        by = await self._permission.need(request, "create", "users")
        fields = await read_fields(request, {**NEW_ACCOUNT, "roles": list}, ("email", "password"))
        spec = new_spec(fields, fields.get("roles") or [DEFAULT_ROLE])
        user = await create_user(self._registrar, self._passwords, spec, fields["password"], by)
        request.audit[ACCOUNT] = spec["email"]
        log.info("a user was added", user=spec["email"], roles=spec["roles"], by=by.name)
        return success({"user": shown_user(user)}, 201)

    async def set_password(self, request: Request, found: Sequence[str]) -> Answer:
        """A new password for somebody who has forgotten theirs. All their sessions end."""
        email = found[0]
        by = await self._permission.need(request, "update", "users", email, "password")
        fields = await read_fields(request, {"newPassword": str}, ("newPassword",))
        person = await self._find(email, by)
        check_password(fields["newPassword"], "newPassword")
        await self._registrar.set_password_hash(person.uid, await self._passwords.hash(fields["newPassword"]))
        ended = await self._sessions.end_all(person.uid)
        log.info("a user was given a new password", user=email, by=by.name, sessions_ended=ended)
        return success({})

    async def end_sessions(self, request: Request, found: Sequence[str]) -> Answer:
        """Log somebody out everywhere."""
        email = found[0]
        by = await self._permission.need(request, "deletecollection", "users", email, "sessions")
        person = await self._find(email, by)
        ended = await self._sessions.end_all(person.uid)
        log.info("a user was logged out everywhere", user=email, by=by.name, sessions_ended=ended)
        return success({"ended": ended})

    async def own_sessions(self, request: Request, found: Sequence[str]) -> Answer:
        """Where whoever asks is logged in."""
        user = somebody(request)
        sessions = await self._sessions.of(user.uid) if user.extra.get(SESSION_EXTRA) else {}
        current = user.extra.get(SESSION_EXTRA, ())
        newest_first = sorted(sessions.items(), key=lambda item: -item[1].rotated_s)
        return success({"sessions": [_shown(sid, session, sid in current) for sid, session in newest_first]})

    async def end_own_session(self, request: Request, found: Sequence[str]) -> Answer:
        """Log whoever asks out on another machine."""
        user = somebody(request)
        if not user.extra.get(SESSION_EXTRA) or not await self._sessions.end(user.uid, found[0]):
            raise NotFound(f"you have no session {found[0]}")
        log.info("a user ended a session", user=user.name, session_id=found[0])
        return success({})

    async def _find(self, email: str, by: User) -> Person:
        """Raises NotFound; Forbidden for somebody with roles that `by` does not have."""
        person = await self._people.find(email)
        if person is None:
            raise NotFound(f"there is no user {email}")
        beyond = sorted(role for role in person.roles if f"stark:{role}" not in by.groups)
        if beyond and not is_admin(by):
            raise Forbidden(f"{email} has the role {', '.join(beyond)}, which {by.name} does not have")
        return person


def _shown(sid: str, session: Session, is_current: bool) -> dict[str, Any]:
    return {
        "id": sid,
        "current": is_current,
        "address": session.address,
        "userAgent": session.agent,
        "createdAt": _moment(session.began_s),
        "lastUsedAt": _moment(session.rotated_s),
        "endsAt": _moment(session.ends_s),
    }


def _moment(seconds: float) -> str:
    return timestamp(datetime.fromtimestamp(seconds, UTC))
