"""Everything about people who log in, put together: what the composition of the server needs of it."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from prometheus_client import Gauge

from .auth.authorization import Authorizer
from .auth.open_requests import OpenRequests
from .auth.passwords import Passwords
from .auth.sessions.authenticator import SessionTokens
from .auth.sessions.live import LiveSessions
from .auth.sessions.sessions import Sessions
from .auth.sessions.tokens import SigningKeys
from .cache.feed import Feed
from .cluster_config import ClusterSettings
from .credentials import StoredCredentials
from .departures import Departures
from .facade.accounts import Accounts
from .facade.config import ConfigDesk
from .facade.facade import Route
from .facade.guessing import Guessing, OwnTries, Tries, tries
from .facade.people import PeopleDesk
from .facade.permission import Permission
from .metrics import Metrics
from .people import KnownPeople, Registrar
from .rates import RequestRates
from .registry.records import Records
from .registry.writes import Writes
from .resources import Resources
from .settings import Settings
from .store.protocol import Store
from .workers.place import Place
from .workers.tries import SharedTries
from .workers.words import COUNTED


class People:
    """Users, their passwords and their sessions."""

    def __init__(
        self, settings: Settings, store: Store, feed: Feed, records: Records, metrics: Metrics, place: Place
    ) -> None:
        self._settings, self._records, registry = settings, records, metrics.registry
        self.credentials = StoredCredentials(store)
        self.open_requests = OpenRequests()
        colleagues = place.colleagues
        self._tries: Tries = OwnTries(tries(settings.rates)) if colleagues is None else SharedTries(colleagues)
        if colleagues is None:
            self.rates = RequestRates(settings.rates, registry)
        else:
            self.rates = RequestRates(settings.rates, registry, tell=partial(colleagues.tell_others, COUNTED))
            colleagues.on(COUNTED, self.rates.count)
        self.known = KnownPeople(feed, records)
        self.live = LiveSessions(self.credentials)
        self.keys = keys = SigningKeys.open(_pki(settings))
        self.sessions = Sessions(self.credentials, keys, self.live, settings.sessions, registry)
        self.tokens = SessionTokens(keys, self.live, self.known)
        self.passwords = Passwords(settings.passwords, registry)
        self._departures = Departures(feed, self.known, self.credentials, self.sessions, self.live, self.open_requests)
        self._registry = registry
        alive = Gauge("stark_live_sessions", "Sessions that have not ended.", registry=registry)
        alive.set_function(lambda: len(self.live))

    def routes(
        self, resources: Resources, writes: Writes, config: ClusterSettings, authorizer: Authorizer
    ) -> Sequence[Route]:
        """What the facade answers about them."""
        registrar = Registrar(resources, self._records, writes, self.credentials)
        permission = Permission(authorizer)
        guessing = Guessing(self._tries, self.rates.limited)
        accounts = Accounts(self.known, registrar, self.passwords, self.sessions, config, guessing, self._registry)
        desk = PeopleDesk(self.known, registrar, self.passwords, self.sessions, permission)
        settings = ConfigDesk(resources, self._records, writes, config, permission)
        return (*accounts.routes(), *desk.routes(), *settings.routes())

    def background(self) -> Sequence[Coroutine[Any, Any, None]]:
        """What goes on beside the requests."""
        return self.live.run(), self._departures.run()

    def close(self) -> None:
        """No more passwords are hashed."""
        self.passwords.close()


def _pki(settings: Settings) -> Path:
    return settings.data_dir / "pki"
