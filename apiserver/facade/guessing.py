"""How often somebody may try: per account, lest a password be guessed, and per address, lest anybody's be.

A try is paid for before it is judged, so that many at the same moment are no way around, and given back when it was good.
Whoever is out of tries is not told whether this one would have been good.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import Counter

from ..auth.buckets import Buckets, Rate
from ..errors import ApiError, TooManyRequests
from ..settings import RateSettings

MINUTES_15_S = 900.0


class Guessing:
    """The buckets of logins and registrations."""

    def __init__(self, settings: RateSettings, limited: Counter, *, clock: Callable[[], float]) -> None:
        self._limited = limited
        self._accounts = Buckets(_per_15_min(settings.login_failures), clock=clock)
        self._addresses = Buckets(_per_15_min(settings.login_failures_address), clock=clock)
        self._registrations = Buckets(_per_15_min(settings.registrations), clock=clock)

    @contextmanager
    def attempt(self, email: str, address: str) -> Iterator[Attempt]:
        """One try to log in. Raises TooManyRequests."""
        self._take(self._addresses, address, "login-address")
        try:
            self._take(self._accounts, email, "login-account")
        except TooManyRequests:
            self._addresses.give_back(address)
            raise
        attempt = Attempt()
        try:
            yield attempt
        except ApiError:
            self._addresses.give_back(address)
            self._accounts.give_back(email)
            raise
        if attempt.was_good:
            self._accounts.fill(email)
            self._addresses.give_back(address)

    def registration(self, address: str) -> None:
        """One more account from there. Raises TooManyRequests."""
        self._take(self._registrations, address, "registration")

    def _take(self, buckets: Buckets, key: str, limit: str) -> None:
        wait_s = buckets.take(key)
        if wait_s:
            self._limited.labels(limit).inc()
            raise TooManyRequests("too many attempts: wait, then try again", retry_after_s=math.ceil(wait_s))


class Attempt:
    """What came of a try. One that we refused to judge does not count; one whose sender hung up does, lest it be free."""

    was_good = False

    def judge(self, *, good: bool) -> None:
        """It was."""
        self.was_good = good


def _per_15_min(count: float) -> Rate:
    return Rate(count, count / MINUTES_15_S)
