"""How many long requests there may be: watches, logs, transfers. Past that a client is told to come back.

They last as long as clients like, so they have no seats and no queues (see `fairness`): only a bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .auth.identities import CONTROLLERS, MASTERS, NODES
from .errors import TooManyRequests
from .request import User
from .settings import LimitSettings

RETRY_AFTER_S = 1
RESERVED_PART: Final = 5
"""One place of so many is kept for those who keep the cluster going: whatever users open, nodes hear of their pods."""
VITAL: Final = frozenset({MASTERS, CONTROLLERS, NODES})
"""Groups of users who may take those."""


@dataclass(slots=True)
class Gauge:
    """How many of one sort there are, and may be."""

    limit: int
    count: int = 0

    def enter(self, user: User) -> None:
        """One more. Raises TooManyRequests."""
        reserved = self.limit // RESERVED_PART if VITAL.isdisjoint(user.groups) else 0
        if self.count >= self.limit - reserved:
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
