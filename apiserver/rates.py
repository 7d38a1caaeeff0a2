"""How many requests somebody may make as time goes by, beside how many at once (`fairness`): by identity and by address.

Whoever keeps the cluster going is not counted; accounts of programs and nodes have far more than people, whose programs
may loop by mistake. Whoever has not said who they are shares the address's allowance; so do tokens that are not good.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from prometheus_client import CollectorRegistry, Counter

from .auth.buckets import Buckets, Rate, network_of
from .auth.identities import ANONYMOUS, CONTROLLERS, MASTERS
from .errors import TooManyRequests
from .request import Request, User
from .routes import CONNECTIONS, Asked
from .settings import RateSettings

UNCOUNTED: Final = frozenset({MASTERS, CONTROLLERS})
SYSTEM_PREFIX: Final = "system:"
"""Names of nodes and of accounts of programs begin with it, and no user's address does."""
PEOPLE: Final = "person"
SYSTEMS: Final = "system"
ANONYMOUS_ONES: Final = "address"
UPLOADS: Final = "uploads"
CONNECTIONS_MADE: Final = "connections"
REFUSALS: Final = "tokens"
HOUR_S: Final = 3_600.0
MINUTE_S: Final = 60.0
QUARTER_S: Final = 900.0


class RequestRates:
    """The buckets. Asked once for every request, so it costs about a microsecond."""

    def __init__(
        self,
        settings: RateSettings,
        registry: CollectorRegistry,
        *,
        clock: Callable[[], float] = time.monotonic,
        tell: Callable[[str, str], object] | None = None,
    ) -> None:
        """`tell` hears of each that is taken, with its bucket's name and key, where several processes serve."""
        self.limited = Counter(
            "stark_rate_limited_requests_total", "Requests refused by a rate.", ("limit",), registry=registry
        )
        per_minute, failures = settings.connections_per_min, settings.refused_tokens
        rates = {
            PEOPLE: Rate(settings.person_burst, settings.person_per_s),
            SYSTEMS: Rate(settings.system_burst, settings.system_per_s),
            ANONYMOUS_ONES: Rate(settings.anonymous_burst, settings.anonymous_per_s),
            UPLOADS: Rate(settings.uploads_per_h, settings.uploads_per_h / HOUR_S),
            CONNECTIONS_MADE: Rate(per_minute, per_minute / MINUTE_S),
            REFUSALS: Rate(failures, failures / QUARTER_S),
        }
        self._buckets = {
            name: Buckets(rate, clock=clock, on_take=None if tell is None else partial(tell, name))
            for name, rate in rates.items()
        }

    def count(self, name: str, key: str) -> None:
        """Another process of this server took one from the bucket of that name."""
        self._buckets[name].count(key)

    def admit(self, user: User, request: Request, asked: Asked) -> None:
        """Count a request of somebody who may be somebody. Raises TooManyRequests."""
        if not UNCOUNTED.isdisjoint(user.groups):
            return
        if user.name == ANONYMOUS:
            self._take(ANONYMOUS_ONES, network_of(request.peer.address))
        elif user.name.startswith(SYSTEM_PREFIX):
            self._take(SYSTEMS, user.name)
        else:
            self._take(PEOPLE, user.name)
            if asked.subresource == "bundles" and request.method == "PUT":
                self._take(UPLOADS, user.name)
            elif asked.subresource in CONNECTIONS:
                self._take(CONNECTIONS_MADE, user.name)

    def refused(self, request: Request) -> None:
        """Count a token that was not good, or none where one is needed. Raises TooManyRequests for too many from there."""
        if "authorization" in request.headers:
            self._take(REFUSALS, network_of(request.peer.address))
        else:
            self._take(ANONYMOUS_ONES, network_of(request.peer.address))

    def _take(self, name: str, key: str) -> None:
        wait_s = self._buckets[name].take(key)
        if wait_s:
            self.limited.labels(name).inc()
            raise TooManyRequests("Too many requests, please try again later.", retry_after_s=math.ceil(wait_s))
