"""Objects in the store: read through the cache, written by compare-and-swap.

A change is decided on what the cache has, which is nearly always current, and written on condition that it is. When it
is not, the decision is made again on what the store says. So a lost race costs a repetition, and neither a refusal nor
a "nothing to do" is ever based on old news.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from ..admission.attributes import Premise
from ..cache.entry import Entry, encode_object, with_revision
from ..cache.feed import Feed, StoreLost, TooFarAhead
from ..cache.resource_cache import ResourceCache
from ..errors import ApiError
from ..resources import Resource
from ..store.protocol import (
    NO_LEASE,
    Delete,
    Expect,
    KeyValue,
    LeaseId,
    LeaseNotFound,
    Put,
    Revision,
    Store,
    StoreError,
)
from .along import Along
from .keys import local_key, prefix_at, prefix_of, store_key
from .refusals import already_exists, conflict, not_found, of_store, store_away, too_far_ahead

Object = dict[str, Any]

FRESH_TIMEOUT_S: Final = 3.0
"""How long a consistent read waits for its cache; Kubernetes waits as long."""
CHANGE_ATTEMPTS_MAX: Final = 12
"""How often a change is decided anew when others are faster. Each lost attempt means somebody else's succeeded."""


@dataclass(slots=True)
class Stored:
    """An object as it is in the store, at a revision that `obj` carries, too."""

    entry: Entry
    obj: Object

    @property
    def revision(self) -> int:
        """The revision of the change that made it so; 0 when nothing was written."""
        return self.entry.revision

    @classmethod
    def of(cls, obj: Object, revision: int) -> Stored:
        """An object that is not in the store, as if it were, at `revision`."""
        return _stored(encode_object(obj), obj, revision)

    @classmethod
    def unwritten(cls, obj: Object) -> Stored:
        """An object that was never in the store, and has no revision."""
        metadata = obj["metadata"]
        return cls(Entry(local_key(metadata.get("namespace", ""), metadata["name"]), 0, encode_object(obj)), obj)


@dataclass(frozen=True, slots=True)
class Beside:
    """Another object that changes in the same commit, if it is still at `revision`."""

    resource: Resource
    obj: Object
    revision: int


class Removed:
    """What a decision returns to delete the object instead of changing it."""


REMOVED: Final = Removed()
Place = tuple[Resource, str, str]
"""A resource, a namespace (empty for cluster-scoped ones) and a name."""
Decision = Callable[[Object], Awaitable[Object | Removed]]
"""From a copy of the current object to what it should become. Called again when the object changed meanwhile."""


class Leases:
    """Leases shared by objects that vanish after the same time: one per minute and TTL, not one per object."""

    SHARED_FOR_S: Final = 60

    def __init__(self, store: Store) -> None:
        self._store = store
        self._current: dict[int, tuple[float, LeaseId]] = {}

    async def lease(self, ttl_s: int) -> LeaseId:
        """A lease with at least `ttl_s` left; NO_LEASE for zero."""
        if not ttl_s:
            return NO_LEASE
        until, lease = self._current.get(ttl_s, (0.0, NO_LEASE))
        if time.monotonic() >= until:
            lease = await self._store.grant(ttl_s + self.SHARED_FOR_S)
            self._current[ttl_s] = (time.monotonic() + self.SHARED_FOR_S, lease)
        return lease

    def forget(self, ttl_s: int) -> None:
        """The store no longer knows the lease: take a new one next time."""
        self._current.pop(ttl_s, None)


class Records:
    """Reading and changing single objects."""

    def __init__(self, store: Store, feed: Feed) -> None:
        self._store, self._feed = store, feed
        self._leases = Leases(store)

    async def cache(self, resource: Resource) -> ResourceCache:
        """The resource's cache, filled. Raises ServiceUnavailable when it is not filled in time."""
        cache = self._cache(resource)
        if not cache.ready.is_set():
            await self._feed_ready(cache)
        return cache

    def holds_none(self, resource: Resource) -> bool:
        """Whether there is surely no object of the resource."""
        return self._cache(resource).is_empty

    def _cache(self, resource: Resource) -> ResourceCache:
        cache = self._feed.cache(prefix_of(resource))
        if cache is None:
            raise not_found(resource, "")
        return cache

    async def _feed_ready(self, cache: ResourceCache) -> None:
        try:
            async with asyncio.timeout(FRESH_TIMEOUT_S):
                await cache.ready.wait()
        except TimeoutError:
            raise store_away("storage is (re)initializing") from None

    async def fresh(self) -> int:
        """Wait until the caches hold everything acknowledged so far. Raises ServiceUnavailable, Timeout."""
        try:
            return await self._feed.current(FRESH_TIMEOUT_S)
        except StoreLost as error:
            raise store_away(str(error)) from error
        except TooFarAhead as error:
            raise too_far_ahead(error) from error

    async def reached(self, revision: int) -> None:
        """Wait until the caches hold `revision`. Raises Timeout."""
        try:
            await self._feed.reached(revision, FRESH_TIMEOUT_S)
        except TooFarAhead as error:
            raise too_far_ahead(error) from error

    async def get(self, resource: Resource, namespace: str, name: str, *, at_least: int | None = None) -> Entry:
        """The object: current, or not older than `at_least`. Raises NotFound."""
        cache = await self.cache(resource)
        if at_least is None:
            await self.fresh()
        elif at_least:
            await self.reached(at_least)
        entry = cache.get(local_key(namespace, name))
        if entry is None:
            raise not_found(resource, name)
        return entry

    async def create(self, resource: Resource, obj: Object, *, ttl_s: int = 0, dry_run: bool = False) -> Stored:
        """Store a new object. Raises AlreadyExists, RequestEntityTooLarge, ServiceUnavailable, InsufficientStorage."""
        metadata = obj["metadata"]
        cache = self._cache(resource)
        if not cache.ready.is_set():
            await self._feed_ready(cache)
        local = local_key(metadata.get("namespace", ""), metadata["name"])
        key, value = cache.store_key(local), encode_object(obj)
        if dry_run:
            if await self._from_store(cache, key) is not None:
                raise already_exists(resource, metadata["name"])
            return Stored(Entry(local, 0, value), obj)
        revision = await self._put(cache, key, value, obj, [Expect(key, Revision(0))], ttl_s)
        if revision is None:
            raise already_exists(resource, metadata["name"])
        return _stored(value, obj, revision, cache.get(local))

    async def latest(self, resource: Resource, namespace: str, name: str) -> Entry | None:
        """The object as the store has it. Raises ServiceUnavailable."""
        return await self._from_store(await self.cache(resource), store_key(resource, namespace, name))

    async def create_beside(
        self, resource: Resource, obj: Object, beside: Sequence[Beside], *, ttl_s: int = 0
    ) -> Stored | None:
        """`create` in one commit with changes of other objects; None when one of those moved on. Raises as it does."""
        metadata = obj["metadata"]
        key, value = store_key(resource, metadata.get("namespace", ""), metadata["name"]), encode_object(obj)
        expect, ops = [Expect(key, Revision(0))], []
        for each in beside:
            meta = each.obj["metadata"]
            other = store_key(each.resource, meta.get("namespace", ""), meta["name"])
            expect.append(Expect(other, Revision(each.revision)))
            ops.append(Put(other, encode_object(each.obj)))
        try:
            lease = await self._leases.lease(ttl_s)
            result = await self._store.txn(expect, [Put(key, value, lease), *ops])
        except LeaseNotFound:
            self._leases.forget(ttl_s)
            return None
        except StoreError as error:
            raise of_store(error) from error
        if result.succeeded:
            return _stored(value, obj, int(result.revision))
        if result.current[0] is not None:
            raise already_exists(resource, metadata["name"])
        return None

    async def create_along(self, resource: Resource, obj: Object, along: Along) -> Stored:
        """`create` in one commit with something else. Raises as it does, and Conflict when that cannot be."""
        metadata = obj["metadata"]
        key = store_key(resource, metadata.get("namespace", ""), metadata["name"])
        value = encode_object(obj)
        try:
            result = await self._store.txn(
                [Expect(key, Revision(0)), *along.expect], [Put(key, value), *along.operations(obj)]
            )
        except StoreError as error:
            raise of_store(error) from error
        if result.succeeded:
            return _stored(value, obj, int(result.revision))
        if result.current[0] is not None:
            raise already_exists(resource, metadata["name"])
        raise conflict(resource, metadata["name"])

    async def change(
        self,
        place: Place,
        decide: Decision,
        *,
        ttl_s: int = 0,
        dry_run: bool = False,
        premises: list[Premise] | None = None,
    ) -> tuple[Stored, bool]:
        """Make the object what `decide` says; what it was when `decide` says Removed, and whether it was removed.

        `premises` is where `decide` leaves what its decision rests on: it is made anew when one of them fell meanwhile.
        A change that changes nothing writes nothing. Raises NotFound, Conflict, and whatever `decide` raises.
        """
        resource, namespace, name = place
        cache = await self.cache(resource)
        key = store_key(resource, namespace, name)
        current, is_cached = cache.get(local_key(namespace, name)), True
        rests_on = premises if premises is not None else []
        for _ in range(CHANGE_ATTEMPTS_MAX):
            if current is None or not is_cached:
                current, is_cached = await self._from_store(cache, key), False
            if current is None:
                raise not_found(resource, name)
            rests_on.clear()
            try:
                done = await self._attempt(cache, key, current, decide, ttl_s, dry_run, rests_on)
            except ApiError:
                if not await self.outdated(rests_on) and (not is_cached or await self._is_latest(cache, key, current)):
                    raise
                done = None
            wrote_nothing = done is not None and done[0].revision == current.revision
            if wrote_nothing and is_cached and not await self._is_latest(cache, key, current):
                done = None
            elif wrote_nothing and await self.outdated(rests_on):
                done = None  # no commit has asked
            if done is not None:
                return done
            is_cached = False
            if rests_on:
                await self.fresh()  # plugins read the caches: what has changed must be seen there
        raise conflict(resource, name)

    async def outdated(self, premises: Sequence[Premise]) -> bool:
        """Whether something a decision rests on is not as it was; then the caches show it. Raises ServiceUnavailable."""
        for premise in premises:
            expect = expectation(premise)
            try:
                item = (await self._store.get(expect.key))[0]
            except StoreError as error:
                raise of_store(error) from error
            if (item.mod_revision if item is not None else 0) != expect.mod_revision:
                await self.fresh()
                return True
        return False

    async def _attempt(
        self,
        cache: ResourceCache,
        key: bytes,
        current: Entry,
        decide: Decision,
        ttl_s: int,
        dry_run: bool,
        premises: Sequence[Premise],
    ) -> tuple[Stored, bool] | None:
        """Decide and write; None when somebody else was faster."""
        outcome = await decide(current.decode())
        expected = [Expect(key, Revision(current.revision)), *map(expectation, premises)]
        if isinstance(outcome, Removed):
            if dry_run:
                return Stored(current, current.decode()), True
            removed = await self._delete(key, expected)
            return (Stored(current.at(removed), current.decode()), True) if removed is not None else None
        value = encode_object(outcome)
        if dry_run or _is_same(value, current):
            return _stored(value, outcome, current.revision), False
        revision = await self._put(cache, key, value, outcome, expected, ttl_s)
        return (_stored(value, outcome, revision, cache.get(current.key)), False) if revision is not None else None

    async def _is_latest(self, cache: ResourceCache, key: bytes, seen: Entry) -> bool:
        latest = await self._from_store(cache, key)
        return latest is not None and latest.revision == seen.revision

    async def _from_store(self, cache: ResourceCache, key: bytes) -> Entry | None:
        try:
            item: KeyValue | None = (await self._store.get(key))[0]
        except StoreError as error:
            raise of_store(error) from error
        return cache.read(item) if item is not None else None

    async def _put(
        self, cache: ResourceCache, key: bytes, value: bytes, obj: Object, expected: Sequence[Expect], ttl_s: int
    ) -> int | None:
        """The revision of the write; None when something is not as expected."""
        cache.foretell(value, obj)
        revision: int | None = None
        try:
            lease = await self._leases.lease(ttl_s) if ttl_s else NO_LEASE
            try:
                result = await self._store.txn(expected, [Put(key, value, lease)])
                revision = int(result.revision) if result.succeeded else None
            except LeaseNotFound:
                self._leases.forget(ttl_s)
                revision = await self._txn(Put(key, value, await self._leases.lease(ttl_s)), expected)
        except StoreError as error:
            raise of_store(error) from error
        finally:
            if revision is None:
                cache.forget_foretold(value)
        return revision

    async def _delete(self, key: bytes, expected: Sequence[Expect]) -> int | None:
        try:
            return await self._txn(Delete(key), expected)
        except StoreError as error:
            raise of_store(error) from error

    async def _txn(self, op: Put | Delete, expected: Sequence[Expect]) -> int | None:
        result = await self._store.txn(expected, [op])
        return int(result.revision) if result.succeeded else None


def expectation(premise: Premise) -> Expect:
    """A premise as a condition of the commit."""
    key = bytes(prefix_at(premise.group, premise.plural)) + local_key(premise.namespace, premise.name).encode()
    return Expect(key, Revision(premise.revision))


def _is_same(value: bytes, current: Entry) -> bool:
    """Whether the value is what is stored already; the order of fields does not matter."""
    data = with_revision(value, current.revision)
    if len(data) != len(current.data):
        return False
    return data == current.data or orjson.loads(data) == current.decode()


def _stored(value: bytes, obj: Object, revision: int, cached: Entry | None = None) -> Stored:
    """What was written; the cache has mostly heard of it by now, and made the bytes that clients get."""
    metadata = obj["metadata"]
    metadata["resourceVersion"] = str(revision)
    if cached is not None and cached.revision == revision:
        return Stored(cached, obj)
    local = local_key(metadata.get("namespace", ""), metadata["name"])
    return Stored(Entry(local, revision, with_revision(value, revision)), obj)
