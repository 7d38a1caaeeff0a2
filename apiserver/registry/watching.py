"""Watches: from now, from a revision, with what is there now first; ended by time, by the client, or by falling behind."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from typing import Final

from ..cache.change import Rendering
from ..cache.feed import Feed
from ..cache.resource_cache import Expired, ResourceCache
from ..cache.watchers import Watcher
from ..errors import Gone
from .options import Listing, Target
from .records import Records

TIMEOUT_MIN_S: Final = 1_800
"""A watch without timeoutSeconds lasts between this and twice this long, so that many do not end at the same moment."""


class WatchFrames:
    """The frames of one watch, as the adapter sends them. `watcher` is for an adapter that can take frames directly."""

    def __init__(self, watcher: Watcher, on_close: Callable[[], None]) -> None:
        self.watcher = watcher
        self._on_close: Callable[[], None] | None = on_close

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await self.watcher.__anext__()
        except StopAsyncIteration:
            self.close()
            raise

    async def aclose(self) -> None:
        """The connection is gone, or the answer complete."""
        self.close()

    def close(self) -> None:
        """End the watch and give back what it held; nothing happens the second time."""
        self.watcher.end()
        on_close, self._on_close = self._on_close, None
        if on_close is not None:
            on_close()


class Watches:
    """The watch side of the registry."""

    def __init__(self, feed: Feed, records: Records) -> None:
        self._feed, self._records = feed, records

    async def open(
        self, target: Target, options: Listing, rendering: Rendering, on_close: Callable[[], None]
    ) -> WatchFrames:
        """Begin a watch; `on_close` is called once when it is over. Raises Timeout, ServiceUnavailable."""
        cache = await self._records.cache(target.resource)
        version = options.resource_version
        if version:
            await self._records.reached(version)
        elif version is None:
            await self._records.fresh()
        watcher = Watcher(rendering, bookmarks=options.bookmarks)
        self._begin(cache, watcher, options)
        timeout_s = options.timeout_s or random.uniform(TIMEOUT_MIN_S, 2 * TIMEOUT_MIN_S)
        timer = asyncio.get_running_loop().call_later(timeout_s, lambda: watcher.expire(self._feed.revision))

        def closed() -> None:
            timer.cancel()
            on_close()

        return WatchFrames(watcher, closed)

    def _begin(self, cache: ResourceCache, watcher: Watcher, options: Listing) -> None:
        version, wanted = options.resource_version, options.wanted
        if options.initial_events:
            cache.watch_from_now(watcher, wanted, initial_events=True, initial_end=options.bookmarks)
            return
        if not version:
            initial = options.initial_events is None
            cache.watch_from_now(watcher, wanted, initial_events=initial)
            return
        try:
            cache.watch_after(watcher, wanted, version)
        except Expired as error:
            watcher.fail(Gone(str(error)).status())
