"""How often somebody may try: per account, lest a password be guessed, and per address, lest anybody's be.

A try is paid for before it is judged, so that many at the same moment are no way around, and given back when it was good.
Whoever is out of tries is not told whether this one would have been good.
"""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final, Protocol

from prometheus_client import Counter

from ..auth.buckets import Buckets, Rate
from ..errors import ApiError, TooManyRequests
from ..settings import RateSettings

MINUTES_15_S: Final = 900.0
ACCOUNTS: Final = "login-accounts"
ADDRESSES: Final = "login-addresses"
REGISTRATIONS: Final = "registrations"


class Tries(Protocol):
    """Buckets by name, of which there is one set however many processes serve."""

    async def take(self, name: str, key: str) -> float:
        """Take one. 0 when there was one, else the seconds until there is. Raises ServiceUnavailable."""
        ...

    def give_back(self, name: str, key: str) -> None:
        """What was taken turned out not to count."""
        ...

    def fill(self, name: str, key: str) -> None:
        """As if nothing had ever been taken."""
        ...


def tries(settings: RateSettings, *, clock: Callable[[], float] = time.monotonic) -> dict[str, Buckets]:
    """The buckets of logins and registrations."""
    counts = {
        ACCOUNTS: settings.login_failures,
        ADDRESSES: settings.login_failures_address,
        REGISTRATIONS: settings.registrations,
    }
    return {name: Buckets(_per_15_min(count), clock=clock) for name, count in counts.items()}


class OwnTries:
    """`Tries` of a server that is alone."""

    def __init__(self, buckets: Mapping[str, Buckets]) -> None:
        self._buckets = buckets

    async def take(self, name: str, key: str) -> float:
        """See `Tries.take`."""
        return self._buckets[name].take(key)

    def give_back(self, name: str, key: str) -> None:
        """See `Tries.give_back`."""
        self._buckets[name].give_back(key)

    def fill(self, name: str, key: str) -> None:
        """See `Tries.fill`."""
        self._buckets[name].fill(key)


class Guessing:
    """How often somebody may try to log in, or to register."""

    def __init__(self, tries: Tries, limited: Counter) -> None:
        self._tries, self._limited = tries, limited

    @asynccontextmanager
    async def attempt(self, email: str, address: str) -> AsyncIterator[Attempt]:
        """One try to log in. Raises TooManyRequests."""
        await self._take(ADDRESSES, address, "login-address")
        try:
            await self._take(ACCOUNTS, email, "login-account")
        except ApiError:
            self._tries.give_back(ADDRESSES, address)
            raise
        attempt = Attempt()
        try:
            yield attempt
        except ApiError:
            self._tries.give_back(ADDRESSES, address)
            self._tries.give_back(ACCOUNTS, email)
            raise
        if attempt.was_good:
            self._tries.fill(ACCOUNTS, email)
            self._tries.give_back(ADDRESSES, address)

    async def registration(self, address: str) -> None:
        """One more account from there. Raises TooManyRequests."""
        await self._take(REGISTRATIONS, address, "registration")

    async def _take(self, name: str, key: str, limit: str) -> None:
        wait_s = await self._tries.take(name, key)
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
