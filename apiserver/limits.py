"""How much may go on at the same time. Past that a client is told to come back, before anything is read or decoded.

One loop serves everybody: what is let in and cannot be served would only make everybody slower.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from .errors import TooManyRequests
from .routes import Asked
from .settings import LimitSettings

RETRY_AFTER_S = 1


@dataclass(slots=True)
class Gauge:
    """How many of one sort there are, and may be."""

    limit: int
    count: int = 0

    def enter(self) -> None:
        """One more. Raises TooManyRequests."""
        if self.count >= self.limit:
            raise TooManyRequests("Too many requests, please try again later.", retry_after_s=RETRY_AFTER_S)
        self.count += 1

    def leave(self) -> None:
        """One less."""
        assert self.count > 0, self.limit
        self.count -= 1


class Limits:
    """Reads, writes and long requests, counted apart so that none can crowd out another."""

    def __init__(self, settings: LimitSettings) -> None:
        self.reads = Gauge(settings.reads_max)
        self.writes = Gauge(settings.writes_max)
        self.watches = Gauge(settings.watches_max)

    @contextmanager
    def admit(self, asked: Asked) -> Iterator[None]:
        """Hold a place while the request is answered. Long ones hold theirs for as long as their stream lives."""
        if asked.is_long:
            yield
            return
        gauge = self.reads if asked.is_read else self.writes
        gauge.enter()
        try:
            yield
        finally:
            gauge.leave()
