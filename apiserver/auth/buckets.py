"""Token buckets, one for each key: so many at once, and so many more as time goes by."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

IPV6_PREFIX: Final = 64
"""Bits of an IPv6 address that tell one customer from another (RFC 6177)."""
BUCKETS_MAX: Final = 20_000
"""Keys that are remembered. The one not heard of for the longest time is forgotten first, and is full again then."""


@lru_cache(1_024)
def network_of(peer: str) -> str:
    """Whose allowance a peer `host:port` uses: its address's, or its network's with IPv6, where everybody has a /64."""
    host = peer.rpartition(":")[0].strip("[]") or peer
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((address, IPV6_PREFIX), strict=False))


@dataclass(frozen=True, slots=True)
class Rate:
    """What a bucket holds, and how fast it fills."""

    burst: float
    per_s: float


class Buckets:
    """All buckets of one rate. `clock` in seconds, never going back."""

    def __init__(
        self,
        rate: Rate,
        *,
        clock: Callable[[], float] = time.monotonic,
        on_take: Callable[[str], object] | None = None,
    ) -> None:
        """`on_take` hears of every one that is taken: others have buckets of the same clients."""
        assert rate.burst >= 1, rate
        assert rate.per_s > 0, rate
        self._rate, self._clock, self._on_take = rate, clock, on_take
        self._levels: dict[str, tuple[float, float]] = {}
        """How full, and when; in the order of use."""

    def __len__(self) -> int:
        return len(self._levels)

    def take(self, key: str) -> float:
        """Take one. 0 when there was one; else the seconds until there is, and nothing was taken."""
        now_s = self._clock()
        level = self._level(key, now_s)
        if level >= 1:
            self._set(key, level - 1, now_s)
            if self._on_take is not None:
                self._on_take(key)
            return 0.0
        self._set(key, level, now_s)
        return (1 - level) / self._rate.per_s

    def count(self, key: str) -> None:
        """Another took one. There may have been none left: then it is missing until it has filled up again."""
        now_s = self._clock()
        self._set(key, self._level(key, now_s) - 1, now_s)

    def give_back(self, key: str) -> None:
        """What was taken turned out not to count."""
        now_s = self._clock()
        self._set(key, min(self._rate.burst, self._level(key, now_s) + 1), now_s)

    def fill(self, key: str) -> None:
        """As if nothing had ever been taken."""
        self._levels.pop(key, None)

    def _level(self, key: str, now_s: float) -> float:
        level, at_s = self._levels.pop(key, (self._rate.burst, now_s))
        return min(self._rate.burst, level + (now_s - at_s) * self._rate.per_s)

    def _set(self, key: str, level: float, now_s: float) -> None:
        if len(self._levels) >= BUCKETS_MAX:
            del self._levels[next(iter(self._levels))]
        self._levels[key] = (level, now_s)
