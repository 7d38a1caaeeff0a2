"""How admission and authorisation read other objects: from the caches."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Final

from ..cache.entry import OWNER_PATH, Entry
from ..cache.feed import Feed, StoreLost, TooFarAhead
from ..cache.filter import EVERYTHING, Filter
from ..cache.resource_cache import ResourceCache
from .keys import local_key, prefix_at
from .refusals import store_away

FIRST_TIMEOUT_S: Final = 3.0
"""How long who needs all objects of a resource waits for its cache to be filled the first time."""
DECODED_MAX: Final = 256
"""Objects kept decoded: admission asks for the same namespace again and again."""
DECODED_BYTES_MAX: Final = 16_384
"""Of an object that is kept decoded."""
EVENTS: Final = prefix_at("", "events")
FURNITURE: Final = frozenset({("configmaps", "kube-root-ca.crt"), ("serviceaccounts", "default")})
"""What controllers put into every namespace."""
LAG_TIMEOUT_S: Final = 1.0
"""How long a missing object is waited for before it counts as missing."""


class CachedLookup:
    """Reads the caches. An object that seems missing is looked for again once the cache is surely current, since
    it may have been created a moment ago, by the same client."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._decoded: dict[Entry, Mapping[str, Any]] = {}

    async def get(self, group: str, plural: str, namespace: str, name: str) -> Mapping[str, Any] | None:
        """The object, or None."""
        cache = self._cache(group, plural)
        if cache is None:
            return None
        key = local_key(namespace, name)
        entry = cache.get(key)
        if entry is None:
            try:
                await self._feed.current(LAG_TIMEOUT_S)
            except (StoreLost, TooFarAhead):
                return None
            entry = cache.get(key)
        return self._decode(entry) if entry is not None else None

    async def list(self, group: str, plural: str, namespace: str = "") -> list[Mapping[str, Any]]:
        """All objects of the resource; of one namespace when given."""
        cache = self._cache(group, plural)
        if cache is None:
            return []
        try:
            # A pack registered a moment ago must be among those an untagged image is pinned to.
            await self._feed.current(LAG_TIMEOUT_S)
        except (StoreLost, TooFarAhead):
            pass  # what the cache has is the best there is; the write itself will fail at the store
        return [entry.decode() for entry in cache.select(Filter(namespace=namespace))]

    def _decode(self, entry: Entry) -> Mapping[str, Any]:
        """The object, once a revision: entries never change, and who is given a Mapping does not change it either."""
        known = self._decoded.get(entry)
        if known is None:
            if len(entry.data) > DECODED_BYTES_MAX:
                return entry.decode()
            if len(self._decoded) >= DECODED_MAX:
                self._decoded.clear()
            known = self._decoded[entry] = entry.decode()
        return known

    def _cache(self, group: str, plural: str) -> ResourceCache | None:
        return self._feed.cache(prefix_at(group, plural))


class CachedObjects:
    """All objects of one resource, for whoever makes something of them and keeps it until one of them changes."""

    def __init__(self, feed: Feed, group: str, plural: str) -> None:
        self._feed, self._prefix = feed, prefix_at(group, plural)

    def is_empty(self) -> bool:
        """There is surely none."""
        cache = self._feed.cache(self._prefix)
        return cache is not None and cache.is_empty

    def moved(self) -> Hashable:
        """Another one whenever anything changed, of this resource or not: what is cheapest to look at first."""
        return self._feed.revision, self._feed.relists

    def changes_since(self, mark: Hashable) -> list[tuple[str, Entry | None]] | None:
        """Key and new state of what changed since that mark, in order; None when that is no longer known."""
        cache = self._feed.cache(self._prefix)
        if cache is None or not isinstance(mark, tuple) or mark[0] != id(cache):
            return None
        changes = cache.changes_after(mark[1])
        return None if changes is None else [(change.entry.key, change.current) for change in changes]

    def mark(self) -> Hashable:
        """Another one whenever an object changed; None while the cache is being filled."""
        cache = self._feed.cache(self._prefix)
        return (id(cache), cache.revision) if cache is not None and cache.ready.is_set() else None

    def entries(self) -> Sequence[Entry]:
        """All of them as the cache has them, in the order of their keys."""
        cache = self._feed.cache(self._prefix)
        return cache.select(EVERYTHING) if cache is not None else ()

    async def current(self) -> None:
        """Wait until everything is there that the store had acknowledged when this was called, or for a while."""
        try:
            await self._feed.current(LAG_TIMEOUT_S)
        except (StoreLost, TooFarAhead):
            pass  # what the cache has is the best there is

    async def objects(self) -> Sequence[Mapping[str, Any]]:
        """All of them, in the order of their names. Raises ServiceUnavailable."""
        cache = self._feed.cache(self._prefix)
        assert cache is not None, self._prefix
        try:
            async with asyncio.timeout(FIRST_TIMEOUT_S):
                await cache.ready.wait()
        except TimeoutError:
            raise store_away("storage is (re)initializing") from None
        return [entry.decode() for entry in cache.select(EVERYTHING)]


class BoundPods:
    """Which pods of which node have changed, for whoever keeps something of each node's pods."""

    def __init__(self, feed: Feed) -> None:
        cache = feed.cache(prefix_at("", "pods"))
        assert cache is not None
        self._feed, self._cache = feed, cache
        self._node_at = cache.paths.index("spec.nodeName")
        self._stale: dict[str, set[str]] = {}
        cache.follow(self._note)

    def _note(self, before: Entry | None, after: Entry | None) -> None:
        for entry in (before, after):
            if entry is not None and (node := entry.fields[self._node_at]):
                self._stale.setdefault(node, set()).add(entry.key)

    def stale(self, node: str) -> set[str]:
        """Keys of the pods that have come to the node, changed or left it since this was asked last."""
        return self._stale.pop(node, set())

    def pod(self, key: str) -> Mapping[str, Any] | None:
        """The pod of that key."""
        entry = self._cache.get(key)
        return entry.decode() if entry is not None else None

    async def catch_up(self) -> None:
        """Wait, if it can be had, until everything that has been written so far is here."""
        try:
            await self._feed.current(LAG_TIMEOUT_S)
        except (StoreLost, TooFarAhead):
            pass  # what is here is the best there is


class CachedCensus:
    """Who has something in a namespace, by the owners that the caches know."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    async def foreign_in(self, namespace: str, owner: str) -> str:
        """An object that is not the owner's, as `plural/name`; empty when there is none.

        Raises ServiceUnavailable. What every namespace is furnished with is nobody's, and events go by themselves.
        """
        try:
            await self._feed.current(LAG_TIMEOUT_S)
        except (StoreLost, TooFarAhead) as error:
            raise store_away(str(error)) from error
        for cache in self._feed.caches():
            if cache.prefix == EVENTS:
                continue
            owner_at = cache.paths.index(OWNER_PATH)
            for entry in cache.select(Filter(namespace=namespace)):
                if entry.fields[owner_at] != owner and (cache.prefix.plural, entry.name) not in FURNITURE:
                    return f"{cache.prefix.plural}/{entry.name}"
        return ""
