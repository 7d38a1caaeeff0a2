"""From an access token to the user it speaks for: what is signed is believed only as long as session and user are there.

Roles are the user's of this moment, not those of the login: what an administrator takes away is gone with the next request.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from stark.crds.users import ROLE_GROUP_PREFIX

from ...request import User
from .live import LiveSessions
from .tokens import Access, SigningKeys

SESSION_EXTRA: Final = "authentication.stark.dev/session-id"
"""Key of a user's `extra` with the id of the session."""
TOKENS_REMEMBERED: Final = 4_096
"""Tokens whose signature is not checked again; a signature costs more than the rest of a small request."""


@dataclass(frozen=True, slots=True)
class Person:
    """A user as far as it matters who they are."""

    uid: str
    email: str
    roles: tuple[str, ...]
    disabled: bool


class People(Protocol):
    """The users there are."""

    async def find(self, email: str) -> Person | None:
        """The user of that address. Raises ServiceUnavailable."""
        ...


class SessionTokens:
    """A TokenAuthenticator."""

    def __init__(self, keys: SigningKeys, live: LiveSessions, people: People) -> None:
        self._keys, self._live, self._people = keys, live, people
        self._checked: dict[bytes, Access] = {}

    async def user_of(self, token: str) -> User | None:
        """The user of a good access token; None for any other. Raises ServiceUnavailable."""
        access, now_s = self._access(token), time.time()
        if access is None or now_s >= access.expires_s:
            return None
        if await self._live.find(access.uid, access.sid, now_s) is None:
            return None
        person = await self._people.find(access.email)
        if person is None or person.uid != access.uid or person.disabled:
            return None
        return user_of(person, {SESSION_EXTRA: (access.sid,)})

    def _access(self, token: str) -> Access | None:
        digest = hashlib.sha256(token.encode()).digest()
        access = self._checked.get(digest)
        if access is None:
            access = self._keys.read_access(token)
            if access is None:
                return None
            if len(self._checked) >= TOKENS_REMEMBERED:
                del self._checked[next(iter(self._checked))]
            self._checked[digest] = access
        return access


def user_of(person: Person, extra: Mapping[str, tuple[str, ...]]) -> User:
    """The user as rules know them."""
    return User(person.email, tuple(ROLE_GROUP_PREFIX + role for role in person.roles), person.uid, extra)
