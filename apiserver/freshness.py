"""Where several processes serve: nobody who was told of a change by one finds another that has not heard of it.

A request is worked on once its process has heard everything that any client of any process had been told when it came.
So who it is, what they may do and what there is are judged by what was acknowledged before, as in a server that is one
process. Nearly always that is so already, and costs a look into memory that all share.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from .cache.feed import Feed, StoreLost, TooFarAhead
from .errors import ServiceUnavailable

TIMEOUT_S: Final = 3.0
"""How long a request waits for its process to hear; as long as a consistent read does for its cache."""


class Freshness:
    """`newest` is the newest revision that anybody was told."""

    def __init__(self, feed: Feed, newest: Callable[[], int]) -> None:
        self._feed, self._newest = feed, newest

    @property
    def is_behind(self) -> bool:
        """Whether others know more than we do."""
        return self._newest() > self._feed.revision

    async def caught_up(self) -> None:
        """Wait until we have heard it. Raises ServiceUnavailable."""
        if not self._feed.synced.is_set():
            return  # Whoever asks now is told so, or is answered without the caches.
        try:
            await self._feed.current(TIMEOUT_S)
        except (StoreLost, TooFarAhead) as error:
            message = f"this process of the server has not heard of the newest changes: {error}"
            raise ServiceUnavailable(message, retry_after_s=1) from error
