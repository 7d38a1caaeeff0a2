"""Open any back end of the store by name, so that one suite holds them all to the same page.

Adding a back end: one more branch in `_open`, one more name in STORES, and in DURABLE when it survives `reopen`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from stark.apiserver.encryption.configuration import Configuration, Key, Rule
from stark.apiserver.encryption.keyring import Keyring
from stark.apiserver.encryption.store import EncryptingStore
from stark.apiserver.store.etcd import EtcdSettings, open_etcd
from stark.apiserver.store.memory import MemoryStore
from stark.apiserver.store.protocol import (
    Batch,
    Compacted,
    Delete,
    Event,
    Expect,
    KeyValue,
    Put,
    Revision,
    Store,
)
from stark.apiserver.store.remote import RemoteSettings, RemoteStore, SharedRevision, StoreService
from stark.apiserver.store.remote.link import listen
from stark.apiserver.store.sqlite import SqliteSettings, open_sqlite
from tests.support.etcd import shared_etcd

STORES = ("memory", "sqlite", "etcd", "remote")
DURABLE = ("sqlite", "etcd", "remote")
"""Those whose contents survive being closed."""
ENCRYPTED = "encrypted "
"""Before the name of a store: with encryption over all of its keys."""
TEST_KEYS = (Key("second", b"2" * 32), Key("first", b"1" * 32))


class Everywhere(Configuration):
    """One whose rules are about every key of the store."""

    def places(self) -> list[tuple[bytes, Rule]]:
        """All of them."""
        return [(b"", rule) for rule in self.rules]


def encrypted_everywhere(beneath: Store, *keys: Key) -> EncryptingStore:
    """The store with every value sealed, by the first of the keys."""
    return EncryptingStore(beneath, Keyring(Everywhere((Rule(("everything",), keys or TEST_KEYS),))))


FIRST = Revision(1)
WIPED_AT_ONCE = 100
"""Keys deleted in one transaction; etcd takes 128."""
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
        assert self.kind.removeprefix(ENCRYPTED) in DURABLE, self.kind
        await self.store.close()
        self.store = await _open(self.kind, self.path, self.limits)
        return self.store


async def _open(kind: str, path: Path, limits: Limits, first: Revision = FIRST) -> Store:
    if kind.startswith(ENCRYPTED):
        return encrypted_everywhere(await _open(kind.removeprefix(ENCRYPTED), path, limits, first))
    if kind == "memory":
        return MemoryStore(
            progress_interval_s=limits.progress_interval_s,
            watch_backlog_events=limits.watch_backlog_events,
            revision=first,
        )
    if kind == "sqlite":
        return await open_sqlite(path / "data", sqlite_settings(limits))
    if kind == "etcd":
        return await open_etcd(etcd_settings(shared_etcd().url, limits=limits))
    if kind == "remote":
        return await open_kept(path, limits)
    raise ValueError(kind)


class Kept(RemoteStore):
    """A store used over a socket, with the one who keeps it in the same process: both are closed at once."""

    beneath: Store
    service: StoreService
    listening: asyncio.Server

    async def close(self) -> None:
        """See `Store.close`."""
        if not self.listening.is_serving():
            return
        await super().close()
        self.listening.close()
        await self.service.close()
        await self.beneath.close()
        self.shared.close()


async def open_kept(path: Path, limits: Limits) -> Kept:
    """SQLite, and a worker's view of it."""
    beneath, shared = await open_sqlite(path / "data", sqlite_settings(limits)), SharedRevision.create()
    service = StoreService(beneath, shared)
    await service.begin()
    listening = await listen(path / "store.sock", service)
    store = Kept(path / "store.sock", shared, remote_settings(limits))
    store.beneath, store.service, store.listening = beneath, service, listening
    async with asyncio.timeout(PATIENCE_S):
        await store.connected()
    return store


def remote_settings(limits: Limits | None = None) -> RemoteSettings:
    """Short memory and small pages."""
    limits = limits or Limits()
    return RemoteSettings(
        page_keys=7,
        progress_interval_s=limits.progress_interval_s,
        watch_backlog_events=limits.watch_backlog_events,
        recent_events=50,
    )


def etcd_settings(*urls: str, limits: Limits | None = None) -> EtcdSettings:
    """Short memory, and no compaction but what the test asks for."""
    limits = limits or Limits()
    return EtcdSettings(
        urls,
        progress_interval_s=limits.progress_interval_s,
        watch_backlog_events=limits.watch_backlog_events,
        recent_events=50,
        compact_every_s=0,
    )


async def _wipe(store: Store) -> None:
    """Leave nothing of the tests before: no keys, and no history."""
    keys = [kv.key for kv in (await store.range(b"", b"", keys_only=True)).items]
    for at in range(0, len(keys), WIPED_AT_ONCE):
        await store.txn((), tuple(Delete(key) for key in keys[at : at + WIPED_AT_ONCE]))
    try:
        await store.compact(await store.revision())
    except Compacted:
        pass  # nothing has happened since the last time
    await store.close()


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
async def open_store(
    kind: str, path: Path, limits: Limits | None = None, *, first: Revision = FIRST
) -> AsyncIterator[Opened]:
    """The store, empty at first and closed at the end. All etcd stores are one, and those opened before are emptied too.

    `first`: where the revisions of a store in memory begin, with nothing known of what was before.
    """
    opened = Opened(kind, path, limits or Limits())
    if kind.endswith("etcd"):
        await _wipe(await _open("etcd", path, opened.limits))
    opened.store = await _open(kind, path, opened.limits, first)
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
