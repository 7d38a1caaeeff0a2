"""A store whose door can be shut: what an API server sees when its store is on the other side of a broken network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from stark.apiserver.store.protocol import (
    Batch,
    Delete,
    Expect,
    KeyValue,
    LeaseId,
    Page,
    Put,
    Revision,
    Store,
    TxnResult,
    Unavailable,
)


class Door:
    """Passes everything on to a real store while it is open."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._shut = asyncio.Event()
        self.refused = 0

    def shut(self) -> None:
        """From now on nothing answers, and watches break."""
        self._shut.set()

    def open(self) -> None:
        """It answers again."""
        self._shut = asyncio.Event()

    def _pass(self) -> None:
        if self._shut.is_set():
            self.refused += 1
            raise Unavailable("no route to the store")

    async def get(self, key: bytes, *, revision: Revision | None = None) -> tuple[KeyValue | None, Revision]:
        self._pass()
        return await self.store.get(key, revision=revision)

    async def range(
        self, start: bytes, end: bytes, *, limit: int = 0, revision: Revision | None = None, keys_only: bool = False
    ) -> Page:
        self._pass()
        return await self.store.range(start, end, limit=limit, revision=revision, keys_only=keys_only)

    async def txn(self, expect: Sequence[Expect], ops: Sequence[Put | Delete]) -> TxnResult:
        self._pass()
        return await self.store.txn(expect, ops)

    @asynccontextmanager
    async def watch(
        self, start: bytes, end: bytes, *, after: Revision | None = None
    ) -> AsyncIterator[AsyncIterator[Batch]]:
        self._pass()
        async with self.store.watch(start, end, after=after) as batches:
            yield self._until_shut(batches)

    async def _until_shut(self, batches: AsyncIterator[Batch]) -> AsyncIterator[Batch]:
        shut = asyncio.ensure_future(self._shut.wait())
        try:
            while True:
                batch = asyncio.ensure_future(anext(batches))
                await asyncio.wait((shut, batch), return_when=asyncio.FIRST_COMPLETED)
                if shut.done():
                    batch.cancel()
                    await asyncio.gather(batch, return_exceptions=True)
                    self._pass()
                yield await batch
        finally:
            shut.cancel()

    async def revision(self) -> Revision:
        self._pass()
        return await self.store.revision()

    async def compact(self, revision: Revision) -> None:
        self._pass()
        await self.store.compact(revision)

    async def grant(self, ttl_s: int) -> LeaseId:
        self._pass()
        return await self.store.grant(ttl_s)

    async def renew(self, lease: LeaseId) -> int:
        self._pass()
        return await self.store.renew(lease)

    async def revoke(self, lease: LeaseId) -> None:
        self._pass()
        await self.store.revoke(lease)

    async def size_bytes(self) -> int:
        return await self.store.size_bytes()

    async def close(self) -> None:
        await self.store.close()
