"""The records of passwords and sessions in the store: a prefix of their own, which no cache and no watch has."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

from .auth.sessions.credentials import Record
from .registry.refusals import of_store
from .store.protocol import Batch, Delete, Expect, KeyValue, Put, Revision, Store, StoreError, prefix_end

ROOT: Final = b"/credentials/"
PAGE_SIZE: Final = 500


def credential_key(key: str) -> bytes:
    """Where a record is in the store."""
    return ROOT + key.encode()


class StoredCredentials:
    """`Credentials` over a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def read(self, key: str) -> Record | None:
        """The record, as of now. Raises ServiceUnavailable."""
        try:
            found, _ = await self._store.get(credential_key(key))
        except StoreError as error:
            raise of_store(error) from error
        return None if found is None else Record(found.value, int(found.mod_revision))

    async def write(self, expect: Mapping[str, int], changes: Mapping[str, bytes | None]) -> bool:
        """All of `changes` or none. Raises ServiceUnavailable, InsufficientStorage."""
        conditions = [Expect(credential_key(key), Revision(version)) for key, version in expect.items()]
        try:
            result = await self._store.txn(conditions, operations(changes))
        except StoreError as error:
            raise of_store(error) from error
        return result.succeeded

    async def each(self, prefix: str) -> AsyncIterator[tuple[str, Record]]:
        """All records whose keys begin so. Raises ServiceUnavailable."""
        try:
            async for item in self._items(prefix):
                yield _known(item)
        except StoreError as error:
            raise of_store(error) from error

    async def _items(self, prefix: str, revision: Revision | None = None) -> AsyncIterator[KeyValue]:
        start = credential_key(prefix)
        end = prefix_end(start)
        while True:
            page = await self._store.range(start, end, limit=PAGE_SIZE, revision=revision)
            for item in page.items:
                yield item
            if not page.remaining:
                return
            start, revision = page.items[-1].key + b"\0", page.revision

    @asynccontextmanager
    async def follow(self, prefix: str) -> AsyncIterator[AsyncIterator[Mapping[str, Record | None]]]:
        """What is there, then every change. Raises ServiceUnavailable, also while it is iterated over."""
        start = credential_key(prefix)
        try:
            revision = await self._store.revision()
            first = {key: record async for key, record in self._known_at(prefix, revision)}
            async with self._store.watch(start, prefix_end(start), after=revision) as batches:
                yield _changes(first, batches)
        except StoreError as error:
            raise of_store(error) from error

    async def _known_at(self, prefix: str, revision: Revision) -> AsyncIterator[tuple[str, Record]]:
        async for item in self._items(prefix, revision):
            yield _known(item)


async def _changes(
    first: Mapping[str, Record | None], batches: AsyncIterator[Batch]
) -> AsyncIterator[Mapping[str, Record | None]]:
    yield first
    async for batch in batches:
        yield {
            _key_of(event.key): None if event.current is None else _known(event.current)[1] for event in batch.events
        }


def operations(changes: Mapping[str, bytes | None]) -> list[Put | Delete]:
    """The changes as the store makes them."""
    return [
        Delete(credential_key(key)) if value is None else Put(credential_key(key), value)
        for key, value in changes.items()
    ]


def _key_of(stored: bytes) -> str:
    return stored[len(ROOT) :].decode()


def _known(item: KeyValue) -> tuple[str, Record]:
    return _key_of(item.key), Record(item.value, int(item.mod_revision))
