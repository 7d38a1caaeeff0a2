"""How many seats a request takes: one, more for a list of many objects, more for a write that many watch.

Estimates, and cheap ones: what a request really takes corrects its queue's virtual time afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from ..cache.feed import Feed
from ..cache.resource_cache import Prefix, ResourceCache
from ..registry.keys import prefix_at
from ..registry.options import DECIMAL_DIGITS_MAX
from ..request import Query
from ..routes import Asked

SEATS_MAX: Final = 10
"""Widest request, as in Kubernetes."""
OBJECTS_PER_SEAT: Final = 100
"""Objects of a list that are a request's worth of work, as in Kubernetes."""
WATCHERS_PER_SEAT: Final = 100
"""Watchers of a write that are a request's worth of work: each gets the change framed and sent."""
WRITES: Final = frozenset({"create", "update", "patch", "delete"})
LISTS: Final = frozenset({"list", "watch", "deletecollection"})


class Widths:
    """Estimates with what the caches know."""

    def __init__(self, feed: Feed) -> None:
        self._cache: Callable[[Prefix], ResourceCache | None] = feed.cache

    def seats(self, asked: Asked, query: Query, seats_max: int) -> int:
        """Seats of the request, at most `seats_max`."""
        if asked.verb == "get" or not asked.plural:
            return 1
        cache = self._cache(prefix_at(asked.group, asked.plural))
        if cache is None:
            return 1
        if asked.verb in WRITES:
            wanted = 1 + cache.watchers.count // WATCHERS_PER_SEAT
        elif asked.verb in LISTS:
            wanted = math.ceil(_objects(asked, query, cache) / OBJECTS_PER_SEAT)
        else:
            wanted = 1
        return max(1, min(wanted, seats_max))


def _objects(asked: Asked, query: Query, cache: ResourceCache) -> int:
    """Objects that are looked at: all of the namespace with a selector, no more than a page of them without."""
    if asked.verb == "watch" and not _begins_with_all(query):
        return 0
    selector = query.first("fieldSelector")
    if asked.name or "metadata.name=" in selector:
        return 1
    there = cache.count_from(asked.namespace, "")
    limit = query.first("limit")
    is_page = limit.isdecimal() and len(limit) <= DECIMAL_DIGITS_MAX and int(limit) > 0
    if selector or query.first("labelSelector") or not is_page:
        return there
    return min(there, int(limit))


def _begins_with_all(query: Query) -> bool:
    """Whether a watch sends everything there is before it goes on to what changes."""
    return query.flag("sendInitialEvents") or query.first("resourceVersion") in ("", "0")
