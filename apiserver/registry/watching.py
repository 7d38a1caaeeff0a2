"""Watches: from now, from a revision, with what is there now first; ended by time, by the client, or by falling behind."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Final

from ..cache.change import Rendering
from ..cache.feed import Feed
from ..cache.resource_cache import Expired, ResourceCache
from ..cache.watchers import Watcher
from ..errors import Gone
from ..request import Pushed, Sink
from .frames import AsStored, ConvertedFrames
from .options import Listing, Target
from .records import Records
from .versions import Versions

TIMEOUT_MIN_S: Final = 1_800
"""A watch without timeoutSeconds lasts between this and twice this long, so that many do not end at the same moment."""


class WatchFrames(Pushed):
    """The frames of one watch, which the cache writes to the connection."""

    __slots__ = ("_timer", "_watcher")

    def __init__(self, watcher: Watcher, timer: asyncio.TimerHandle) -> None:
        self._watcher, self._timer = watcher, timer

    def attach(self, sink: Sink) -> None:
        """From now on, write there."""
        self._watcher.attach(sink)

    def flow(self) -> None:
        """The client takes more."""
        self._watcher.flow()

    def when_live(self, call: Callable[[], None]) -> None:
        """Call it when everything there was has been sent; not at all when the watch ends before."""
        self._watcher.when_live(call)

    def close(self) -> None:
        """Whoever read it is gone, or the answer complete."""
        self._timer.cancel()
        self._watcher.detach()


class Watches:
    """The watch side of the registry."""

    def __init__(self, feed: Feed, records: Records, versions: Versions) -> None:
        self._feed, self._records, self._versions = feed, records, versions

    async def open(self, target: Target, options: Listing, rendering: Rendering) -> WatchFrames | ConvertedFrames:
        """Begin a watch, which must be closed. Raises Timeout, ServiceUnavailable."""
        cache = await self._records.cache(target.resource)
        version = options.resource_version
        if version:
            await self._records.reached(version)
        elif version is None:
            await self._records.fresh()
        is_plain = self._versions.is_plain(target.resource)
        watcher = Watcher(rendering if is_plain else AsStored(rendering), bookmarks=options.bookmarks)
        self._begin(cache, watcher, options)
        timeout_s = options.timeout_s or random.uniform(TIMEOUT_MIN_S, 2 * TIMEOUT_MIN_S)
        timer = asyncio.get_running_loop().call_later(timeout_s, self._expire, cache, watcher)
        if is_plain:
            return WatchFrames(watcher, timer)
        return ConvertedFrames(watcher, timer, target.resource, self._versions, rendering)

    def _expire(self, cache: ResourceCache, watcher: Watcher) -> None:
        # The bookmark says that the watch has seen everything: what has been applied and not yet delivered comes first.
        cache.watchers.flush()
        watcher.expire(self._feed.revision)

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
