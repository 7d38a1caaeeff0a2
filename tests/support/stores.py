"""Open any back end of the store by name, so that one suite holds them all to the same page.

Adding a back end: one more branch in `_open`, one more name in STORES, and in DURABLE when it survives `reopen`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from stark.apiserver.store.memory import MemoryStore
from stark.apiserver.store.protocol import Batch, Delete, Event, Expect, KeyValue, Put, Revision, Store
from stark.apiserver.store.sqlite import SqliteSettings, open_sqlite

STORES = ("memory", "sqlite")
DURABLE = ("sqlite",)
"""Those whose contents survive being closed."""
PATIENCE_S = 10.0
"""How long a test waits for what must happen before it fails."""


@dataclass(frozen=True)
class Limits:
    """What tests make smaller than in real life, as far as the back end has it."""

    progress_interval_s: float = 0.2
    watch_backlog_events: int = 10_000


@dataclass
class Opened:
    """An open store of one kind; `reopen` closes it and opens the same one again."""

    kind: str
    path: Path
    limits: Limits
    store: Store = field(init=False)

    async def reopen(self) -> Store:
        """Only for the kinds in DURABLE."""
        assert self.kind in DURABLE, self.kind
        await self.store.close()
        self.store = await _open(self.kind, self.path, self.limits)
        return self.store


async def _open(kind: str, path: Path, limits: Limits) -> Store:
    if kind == "memory":
        return MemoryStore(
            progress_interval_s=limits.progress_interval_s, watch_backlog_events=limits.watch_backlog_events
        )
    if kind == "sqlite":
        return await open_sqlite(path / "data", sqlite_settings(limits))
    raise ValueError(kind)


def sqlite_settings(limits: Limits | None = None) -> SqliteSettings:
    """Small reserves, and no compaction but what the test asks for."""
    limits = limits or Limits()
    return SqliteSettings(
        progress_interval_s=limits.progress_interval_s,
        watch_backlog_events=limits.watch_backlog_events,
        recent_events=50,
        reserve_bytes=256 << 10,
        compact_every_s=0,
    )


@asynccontextmanager
async def open_store(kind: str, path: Path, limits: Limits | None = None) -> AsyncIterator[Opened]:
    """The store, closed at the end."""
    opened = Opened(kind, path, limits or Limits())
    opened.store = await _open(kind, path, opened.limits)
    try:
        yield opened
    finally:
        await opened.store.close()


async def put(store: Store, key: bytes, value: bytes = b"v") -> Revision:
    """Set a key whatever it was; the commit's revision."""
    result = await store.txn((), (Put(key, value),))
    assert result.succeeded
    return result.revision


async def delete(store: Store, key: bytes) -> Revision:
    """Remove a key whatever it was; the store's revision after it."""
    result = await store.txn((), (Delete(key),))
    assert result.succeeded
    return result.revision


async def create(store: Store, key: bytes, value: bytes = b"v") -> bool:
    """Set a key that does not exist; whether it did not."""
    return (await store.txn((Expect(key, Revision(0)),), (Put(key, value),))).succeeded


async def next_batch(watch: AsyncIterator[Batch]) -> Batch:
    """The next batch, in good time."""
    async with asyncio.timeout(PATIENCE_S):
        return await anext(watch)


async def next_events(watch: AsyncIterator[Batch], number: int) -> list[Event]:
    """The next so many events, or more when their batch has more; bookmarks are passed over."""
    events: list[Event] = []
    async with asyncio.timeout(PATIENCE_S):
        while len(events) < number:
            events += (await anext(watch)).events
    return events


async def events_up_to(watch: AsyncIterator[Batch], revision: int) -> list[Event]:
    """All events until the watch says that it has told everything up to `revision`."""
    events: list[Event] = []
    async with asyncio.timeout(PATIENCE_S):
        while True:
            batch = await anext(watch)
            events += batch.events
            if batch.revision >= revision:
                return events


async def all_pages(store: Store, start: bytes, end: bytes, limit: int) -> list[KeyValue]:
    """A whole range, page by page at the revision of the first."""
    page = await store.range(start, end, limit=limit)
    items = list(page.items)
    while page.remaining:
        page = await store.range(items[-1].key + b"\0", end, limit=limit, revision=page.revision)
        items += page.items
    return items
