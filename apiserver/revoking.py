"""End the open connections of those whose certificates were revoked: a watch has no next request at which to refuse it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog

from .auth.revocation import Revocations
from .cache.bell import BELL
from .cache.feed import Feed
from .cache.filter import EVERYTHING
from .cache.resource_cache import Prefix
from .cache.watchers import Watcher
from .request import Peer

log = structlog.get_logger(__name__)

PREFIX: Final = Prefix("stark.dev", "certificaterevocations")

CutOff = Callable[[Callable[[Peer], bool]], int]
"""Ends the connections for whose peers the question is answered yes."""


async def shut_out_forever(feed: Feed, revocations: Revocations, cut_off: CutOff) -> None:
    """Look at all connections whenever a revocation was made. One that is refused before we look is ended all the same."""
    cache = feed.cache(PREFIX)
    assert cache is not None, PREFIX
    await cache.ready.wait()
    while True:
        watcher = Watcher(BELL)
        try:
            cache.watch_from_now(watcher, EVERYTHING, initial_events=False)
            while True:
                await revocations.current()
                count = cut_off(revocations.shuts_out)
                if count:
                    log.info("connections were ended: their certificates are revoked", count=count)
                await anext(watcher)
        except StopAsyncIteration:
            continue  # the watch was cut off: what happened meanwhile is looked at again
        finally:
            watcher.end()
