"""How many long requests there may be: watches, logs, transfers. Past that a client is told to come back.

They last as long as clients like, so they have no seats and no queues (see `fairness`): only a bound.
"""

from __future__ import annotations

from dataclasses import dataclass

from .errors import TooManyRequests
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
    """Long requests, counted apart from all others so that neither can crowd out the other."""

    def __init__(self, settings: LimitSettings) -> None:
        self.watches = Gauge(settings.watches_max)
