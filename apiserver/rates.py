"""How many requests somebody may make as time goes by, beside how many at once (`fairness`): by identity and by address.

Whoever keeps the cluster going is not counted; accounts of programs and nodes have far more than people, whose programs
may loop by mistake. Whoever has not said who they are shares the address's allowance; so do tokens that are not good.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
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
HOUR_S: Final = 3_600.0
MINUTE_S: Final = 60.0
QUARTER_S: Final = 900.0


class RequestRates:
    """The buckets. Asked once for every request, so it costs about a microsecond."""

    def __init__(
        self, settings: RateSettings, registry: CollectorRegistry, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.limited = Counter(
            "stark_rate_limited_requests_total", "Requests refused by a rate.", ("limit",), registry=registry
        )
        self._people = Buckets(Rate(settings.person_burst, settings.person_per_s), clock=clock)
        self._systems = Buckets(Rate(settings.system_burst, settings.system_per_s), clock=clock)
        self._anonymous = Buckets(Rate(settings.anonymous_burst, settings.anonymous_per_s), clock=clock)
        self._uploads = Buckets(Rate(settings.uploads_per_h, settings.uploads_per_h / HOUR_S), clock=clock)
        per_minute = settings.connections_per_min
        self._connections = Buckets(Rate(per_minute, per_minute / MINUTE_S), clock=clock)
        failures = settings.refused_tokens
        self._refusals = Buckets(Rate(failures, failures / QUARTER_S), clock=clock)

    def admit(self, user: User, request: Request, asked: Asked) -> None:
        """Count a request of somebody who may be somebody. Raises TooManyRequests."""
        if not UNCOUNTED.isdisjoint(user.groups):
            return
        if user.name == ANONYMOUS:
            self._take(self._anonymous, network_of(request.peer.address), "address")
        elif user.name.startswith(SYSTEM_PREFIX):
            self._take(self._systems, user.name, "system")
        else:
            self._take(self._people, user.name, "person")
            if asked.subresource == "bundles" and request.method == "PUT":
                self._take(self._uploads, user.name, "uploads")
            elif asked.subresource in CONNECTIONS:
                self._take(self._connections, user.name, "connections")

    def refused(self, request: Request) -> None:
        """Count a token that was not good, or none where one is needed. Raises TooManyRequests for too many from there."""
        if "authorization" in request.headers:
            self._take(self._refusals, network_of(request.peer.address), "tokens")
        else:
            self._take(self._anonymous, network_of(request.peer.address), "address")

    def _take(self, buckets: Buckets, key: str, limit: str) -> None:
        wait_s = buckets.take(key)
        if wait_s:
            self.limited.labels(limit).inc()
            raise TooManyRequests("Too many requests, please try again later.", retry_after_s=math.ceil(wait_s))
