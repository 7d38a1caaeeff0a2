"""Users as the cache has them: that it is being filled anew is no word about anybody."""

from __future__ import annotations

import pytest

from stark.apiserver.cache.feed import Feed
from stark.apiserver.errors import ServiceUnavailable
from stark.apiserver.people import PREFIX, KnownPeople
from stark.apiserver.registry.records import Records
from stark.apiserver.store.memory import MemoryStore
from stark.apiserver.store.protocol import Revision


async def test_while_the_cache_is_filled_anew_nobody_is_taken_for_gone() -> None:
    store = MemoryStore()
    feed = Feed(store)
    cache = feed.add(PREFIX)
    people = KnownPeople(feed, Records(store, feed))
    feed.revision = await store.revision()
    with pytest.raises(ServiceUnavailable):
        await people.find("ada@example.com")
    cache.load([], Revision(0))
    assert await people.find("ada@example.com") is None
    await store.close()
