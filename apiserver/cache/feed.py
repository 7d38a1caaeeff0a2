"""One watch of the whole registry keeps every cache current.

One watch and not one per resource, because a consistent read has to know that its cache has heard everything up to the
store's revision, and an idle prefix hears nothing: with a single watch every commit, of whatever resource, moves all
caches forward.

When the store is away the caches stay as they are, readers that accept any version go on, and the watch resumes where it
stopped. Only when the store no longer has what we missed do we start over, and then watchers are told to.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager
from itertools import count
from typing import Final

import structlog

from ..errors import Gone
from ..store.protocol import (
    Batch,
    Compacted,
    FutureRevision,
    KeyValue,
    Page,
    Revision,
    Store,
    StoreError,
    Unavailable,
    WatcherTooSlow,
    prefix_end,
)
from .resource_cache import Prefix, ResourceCache

ROOT: Final = b"/registry/"
LOAD_PAGE_SIZE: Final = 500
"""Objects read at once when a cache is filled."""
RETRY_DELAY_MIN_S: Final = 0.05
RETRY_DELAY_MAX_S: Final = 2.0
"""While the store is away we ask again this often: a second watch costs little, and everybody waits for it."""
BOOKMARK_INTERVAL_S: Final = 30.0
"""How often watchers that want bookmarks get one. Often enough that a resuming watcher is within the history."""

log = structlog.get_logger(__name__)


class StoreLost(Exception):
    """The store does not answer, so nothing can be said to be current."""


class TooFarAhead(Exception):
    """The revision asked for was not reached in time."""

    def __init__(self, requested: int, current: int) -> None:
        super().__init__(f"Too large resource version: {requested}, current: {current}")
        self.requested, self.current = requested, current


class Feed:
    """Owns the caches. `run` is its task; everything else is called by readers."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._caches: dict[Prefix, ResourceCache] = {}
        self._loading: set[asyncio.Task[None]] = set()
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._unflushed: dict[ResourceCache, None] = {}
        self._ticket = count()
        self.revision = 0
        """Everything up to this revision of the store has been applied."""
        self.connected = False
        """False while the store's watch is broken."""
        self.synced = asyncio.Event()
        """Set once every cache there was at the start has been filled."""
        self.relists = 0

    def cache(self, prefix: Prefix) -> ResourceCache | None:
        """The cache of a resource."""
        return self._caches.get(prefix)

    def caches(self) -> Iterable[ResourceCache]:
        """All of them."""
        return tuple(self._caches.values())

    def add(self, prefix: Prefix, paths: Iterable[str] = ()) -> ResourceCache:
        """Keep a cache of the resource from now on. Readers wait for its `ready`."""
        cache = self._caches[prefix] = ResourceCache(prefix, tuple(paths))
        if self.synced.is_set():
            task = asyncio.create_task(self._fill_later(cache))
            self._loading.add(task)
            task.add_done_callback(self._loading.discard)
        return cache

    def remove(self, prefix: Prefix) -> None:
        """Forget the resource; its watches end."""
        cache = self._caches.pop(prefix, None)
        if cache is not None:
            for watcher in cache.watchers.each():
                watcher.end()

    async def current(self, timeout_s: float) -> int:
        """Wait until the caches hold everything the store had acknowledged when this was called; that revision.

        Raises StoreLost, TooFarAhead.
        """
        try:
            revision = await self._store.revision()
        except StoreError as error:
            raise StoreLost(str(error)) from error
        await self.reached(revision, timeout_s)
        return revision

    async def reached(self, revision: int, timeout_s: float) -> None:
        """Wait until everything up to `revision` has been applied. Raises TooFarAhead after `timeout_s`."""
        if revision <= self.revision:
            return
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (revision, next(self._ticket), future))
        try:
            async with asyncio.timeout(timeout_s):
                await future
        except TimeoutError:
            raise TooFarAhead(revision, self.revision) from None

    async def run(self) -> None:
        """Fill the caches and follow the store until cancelled."""
        delay_s = RETRY_DELAY_MIN_S
        try:
            while True:
                before = self.revision
                try:
                    await self._follow()
                except (Compacted, FutureRevision) as error:
                    log.warning("watch cache starts over", reason=str(error), revision=self.revision)
                    self._start_over()
                except (WatcherTooSlow, Unavailable) as error:
                    log.warning("the store's watch broke, it is resumed", reason=str(error), revision=self.revision)
                self.connected = False
                delay_s = RETRY_DELAY_MIN_S if self.revision != before else min(delay_s * 2, RETRY_DELAY_MAX_S)
                await asyncio.sleep(delay_s)
        finally:
            for task in self._loading:
                task.cancel()

    async def bookmark_forever(self) -> None:
        """Send bookmarks to the watchers that want them, so that their place stays within the history."""
        while True:
            await asyncio.sleep(BOOKMARK_INTERVAL_S)
            for cache in self.caches():
                cache.watchers.bookmark(max(self.revision, cache.revision))
                await asyncio.sleep(0)

    def end_watches(self) -> None:
        """We are stopping: every watch ends as if its time were over."""
        for cache in self.caches():
            # Their last bookmark says that they have seen everything, also what came in this very turn of the loop.
            cache.watchers.flush()
            for watcher in cache.watchers.each():
                watcher.expire(self.revision)

    async def _follow(self) -> None:
        if not self.synced.is_set():
            await self._fill_all()
        async with self._watch() as batches:
            async for batch in batches:
                if not self.connected:
                    self.connected = True
                    log.info("watch cache follows the store", revision=batch.revision)
                self._apply(batch)

    def _watch(self) -> AbstractAsyncContextManager[AsyncIterator[Batch]]:
        return self._store.watch(ROOT, prefix_end(ROOT), after=Revision(self.revision))

    def _apply(self, batch: Batch) -> None:
        touched: dict[ResourceCache, None] = {}
        for event in batch.events:
            _, _, group, plural, _ = event.key.split(b"/", 4)
            cache = self._caches.get(Prefix(group.decode(), plural.decode()))
            if cache is not None:
                cache.apply(event)
                touched[cache] = None
        if batch.revision > self.revision:
            self.revision = batch.revision
        self._flush_soon(touched)
        while self._waiting and self._waiting[0][0] <= self.revision:
            future = heapq.heappop(self._waiting)[2]
            if not future.done():
                future.set_result(None)

    def _flush_soon(self, touched: Iterable[ResourceCache]) -> None:
        """Deliver at the next turn of the loop: while watchers of one commit are written to, those that come next add up."""
        if not self._unflushed:
            asyncio.get_running_loop().call_soon(self._flush)
        self._unflushed.update(dict.fromkeys(touched))

    def _flush(self) -> None:
        unflushed, self._unflushed = self._unflushed, {}
        for cache in unflushed:
            cache.watchers.flush()

    async def _fill_all(self) -> None:
        """Read every resource at one revision, the one the watch then starts from."""
        revision: Revision | None = None
        while unfilled := [cache for cache in self.caches() if not cache.ready.is_set()]:
            for cache in unfilled:
                items, revision = await self._snapshot(cache.prefix, revision)
                cache.load(items, revision)
        self.revision = revision if revision is not None else await self._store.revision()
        self.synced.set()
        self.connected = True

    async def _fill_later(self, cache: ResourceCache) -> None:
        """Fill a cache that was added while we run. What happens meanwhile waits in it."""
        while not cache.ready.is_set():
            try:
                items, revision = await self._snapshot(cache.prefix, None)
            except StoreError as error:
                log.warning("a cache is not filled yet", resource=str(cache.prefix), reason=str(error))
                await asyncio.sleep(RETRY_DELAY_MAX_S)
                continue
            if self._caches.get(cache.prefix) is not cache or cache.ready.is_set():
                return
            if not self.synced.is_set():
                return  # Everything starts over meanwhile, at a later revision than this one.
            cache.load(items, revision)

    async def _snapshot(self, prefix: Prefix, revision: Revision | None) -> tuple[list[KeyValue], Revision]:
        start, end = bytes(prefix), prefix_end(bytes(prefix))
        items: list[KeyValue] = []
        while True:
            page: Page = await self._store.range(start, end, limit=LOAD_PAGE_SIZE, revision=revision)
            items += page.items
            revision = page.revision
            if not page.remaining:
                return items, revision
            start = page.items[-1].key + b"\0"

    def _start_over(self) -> None:
        """What we missed is gone: the next round lists again, and watchers must too."""
        self.synced.clear()
        self.relists += 1
        status = Gone(f"too old resource version: {self.revision} (the history was compacted)").status()
        for cache in self.caches():
            cache.ready.clear()
            for watcher in cache.watchers.each():
                watcher.fail(status)
