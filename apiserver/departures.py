"""What happens when somebody is a user no more: their sessions end, their open requests are cut, their password goes.

A request of theirs is refused without any of this, since authentication looks at the user each time. Looks at all users
whenever one of them changed, and now and then at every record of a credential, so that a missed change cannot matter.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

import orjson
import structlog

from .auth.open_requests import OpenRequests
from .auth.sessions.authenticator import SESSION_EXTRA, Person
from .auth.sessions.credentials import Credentials
from .auth.sessions.live import PREFIX as SESSIONS
from .auth.sessions.live import LiveSessions
from .auth.sessions.sessions import Sessions
from .cache.bell import BELL
from .cache.feed import Feed
from .cache.filter import EVERYTHING
from .cache.resource_cache import ResourceCache
from .cache.watchers import Watcher
from .errors import ApiError
from .people import PREFIX, KnownPeople, address_key, person_of

PASSWORDS: Final = "passwords/"
SWEEP_INTERVAL_S: Final = 600.0
"""How often every record is looked at: of sessions whose time is over, and of users that are gone."""
RETRY_S: Final = 1.0

log = structlog.get_logger(__name__)


class Departures:
    """One task beside the requests."""

    def __init__(
        self,
        feed: Feed,
        people: KnownPeople,
        credentials: Credentials,
        sessions: Sessions,
        live: LiveSessions,
        requests: OpenRequests,
    ) -> None:
        self._feed, self._people, self._credentials = feed, people, credentials
        self._sessions, self._requests = sessions, requests
        self._present: dict[str, Person] = {}
        """Those who may log in, by uid."""
        live.on_end = self._session_ended

    def _session_ended(self, uid: str, sid: str) -> None:
        self._requests.cut(lambda user: user.uid == uid and user.extra.get(SESSION_EXTRA) == (sid,))

    async def run(self) -> None:
        """Until cancelled."""
        cache = self._feed.cache(PREFIX)
        assert cache is not None, PREFIX
        sweep_at_s = 0.0
        while True:
            await cache.ready.wait()
            watcher = Watcher(BELL)
            cache.watch_from_now(watcher, EVERYTHING, initial_events=False)
            try:
                sweep_at_s = await self._follow(cache, watcher, sweep_at_s)
            finally:
                watcher.end()

    async def _follow(self, cache: ResourceCache, watcher: Watcher, sweep_at_s: float) -> float:
        """Look, and again after every change, until the watch is cut off; when the next sweep is due."""
        loop = asyncio.get_running_loop()
        while True:
            present = _present(cache)
            try:
                await self._part(present)
                if loop.time() >= sweep_at_s:
                    await self._sweep()
                    sweep_at_s = loop.time() + SWEEP_INTERVAL_S
                wait_s = sweep_at_s - loop.time()
            except ApiError as error:
                log.warning("credentials of former users are not gone yet", reason=error.message)
                wait_s = RETRY_S
            try:
                async with asyncio.timeout(wait_s):
                    await anext(watcher)
            except TimeoutError:
                continue
            except StopAsyncIteration:
                return sweep_at_s

    async def _part(self, present: Mapping[str, Person]) -> None:
        """End what those have going on who may not log in any more."""
        self._requests.cut(lambda user: SESSION_EXTRA in user.extra and user.uid not in present)
        gone = [person for uid, person in self._present.items() if uid not in present]
        for person in gone:
            # Perhaps made without the registrar. Whoever may come to have the address next is not them.
            await self._credentials.write({}, {address_key(person.email): orjson.dumps({"user": person.uid})})
            sessions = await self._sessions.end_all(person.uid)
            log.info("a user may not log in any more", user=person.email, sessions=sessions)
        self._present = dict(present)

    async def _sweep(self) -> None:
        await self._sessions.end_overdue()
        passwords = [(key, record.version) async for key, record in self._credentials.each(PASSWORDS)]
        sessions = {key.split("/")[1] async for key, _ in self._credentials.each(SESSIONS)}
        # Only now: whoever has a record was made before it, or with it.
        people = [person_of(obj) for obj in await self._people.all()]
        known = {person.uid for person in people}
        for key, version in passwords:
            if key.removeprefix(PASSWORDS) not in known:
                await self._credentials.write({key: version}, {key: None})
        for uid in sessions - {person.uid for person in people if not person.disabled}:
            await self._sessions.end_all(uid)


def _present(cache: ResourceCache) -> dict[str, Person]:
    """Everybody who may log in, by uid."""
    people = (person_of(entry.decode()) for entry in cache.select(EVERYTHING))
    return {person.uid: person for person in people if not person.disabled}
