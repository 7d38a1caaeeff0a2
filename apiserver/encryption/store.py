"""A store that keeps some of its values sealed. Whoever uses it sees them in clear; what lies beneath never does.

What has no rule passes by: a request about other places is handed to the store beneath as it is, for the price of
looking at its keys.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any

from ..store.protocol import (
    Batch,
    Delete,
    Event,
    Expect,
    KeyValue,
    LeaseId,
    Page,
    Put,
    Revision,
    Store,
    TxnResult,
    prefix_end,
)
from .keyfile import KeyFile
from .keyring import Keyring


class EncryptingStore:
    """Implements `Store` over another one, with the keys of a ring."""

    def __init__(self, beneath: Store, ring: Keyring, file: KeyFile | None = None) -> None:
        self.beneath, self.ring = beneath, ring
        self.file = file
        """Where the keys are from; None for keys that are only in memory."""

    def get(
        self, key: bytes, *, revision: Revision | None = None
    ) -> Coroutine[Any, Any, tuple[KeyValue | None, Revision]]:
        """See `Store.get`. Raises Undecipherable as well."""
        found = self.beneath.get(key, revision=revision)
        return self._opened_get(found) if key.startswith(self.ring.prefixes) else found

    def range(
        self, start: bytes, end: bytes, *, limit: int = 0, revision: Revision | None = None, keys_only: bool = False
    ) -> Coroutine[Any, Any, Page]:
        """See `Store.range`. Raises Undecipherable as well."""
        page = self.beneath.range(start, end, limit=limit, revision=revision, keys_only=keys_only)
        return page if keys_only or not self._touches(start, end) else self._opened_range(page)

    def txn(self, expect: Sequence[Expect], ops: Sequence[Put | Delete]) -> Coroutine[Any, Any, TxnResult]:
        """See `Store.txn`. Raises Undecipherable as well."""
        prefixes = self.ring.prefixes
        keys = {each.key for each in expect}
        keys.update([each.key for each in ops])
        for key in keys:
            if key.startswith(prefixes):
                return self._sealed_txn(expect, ops)
        return self.beneath.txn(expect, ops)

    def watch(
        self, start: bytes, end: bytes, *, after: Revision | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[Batch]]:
        """See `Store.watch`. Iterating raises Undecipherable as well."""
        watch = self.beneath.watch(start, end, after=after)
        return _OpenedWatch(self, watch) if self._touches(start, end) else watch

    def revision(self) -> Coroutine[Any, Any, Revision]:
        """See `Store.revision`."""
        return self.beneath.revision()

    def compact(self, revision: Revision) -> Coroutine[Any, Any, None]:
        """See `Store.compact`."""
        return self.beneath.compact(revision)

    def grant(self, ttl_s: int) -> Coroutine[Any, Any, LeaseId]:
        """See `Store.grant`."""
        return self.beneath.grant(ttl_s)

    def renew(self, lease: LeaseId) -> Coroutine[Any, Any, int]:
        """See `Store.renew`."""
        return self.beneath.renew(lease)

    def revoke(self, lease: LeaseId) -> Coroutine[Any, Any, None]:
        """See `Store.revoke`."""
        return self.beneath.revoke(lease)

    def size_bytes(self) -> Coroutine[Any, Any, int]:
        """See `Store.size_bytes`."""
        return self.beneath.size_bytes()

    def close(self) -> Coroutine[Any, Any, None]:
        """See `Store.close`."""
        return self.beneath.close()

    def opened(self, batch: Batch) -> Batch:
        """The batch with its values in clear; the same one when nothing in it was sealed. Raises Undecipherable."""
        prefixes = self.ring.prefixes
        for event in batch.events:
            if event.key.startswith(prefixes):
                return Batch(batch.revision, [self._opened_event(event) for event in batch.events])
        return batch

    def _opened_event(self, event: Event) -> Event:
        current, previous = event.current, event.previous
        return event._replace(
            current=self._open(current) if current is not None else None,
            previous=self._open(previous) if previous is not None else None,
        )

    async def _opened_get(
        self, getting: Coroutine[Any, Any, tuple[KeyValue | None, Revision]]
    ) -> tuple[KeyValue | None, Revision]:
        found, at = await getting
        return self._open(found) if found is not None else None, at

    async def _opened_range(self, reading: Coroutine[Any, Any, Page]) -> Page:
        page = await reading
        return page._replace(items=[self._open(kv) for kv in page.items])

    async def _sealed_txn(self, expect: Sequence[Expect], ops: Sequence[Put | Delete]) -> TxnResult:
        ring = self.ring
        sealed = [op._replace(value=ring.seal(op.key, op.value)) if isinstance(op, Put) else op for op in ops]
        result = await self.beneath.txn(expect, sealed)
        if not result.current:
            return result
        return result._replace(current=tuple(self._open(kv) if kv is not None else None for kv in result.current))

    def _open(self, kv: KeyValue) -> KeyValue:
        if not kv.key.startswith(self.ring.prefixes):
            return kv
        value = self.ring.open(kv.key, kv.value)
        return kv if value is kv.value else kv._replace(value=value)

    def _touches(self, start: bytes, end: bytes) -> bool:
        """Whether the interval has places with a rule."""
        for prefix in self.ring.prefixes:
            last = prefix_end(prefix)
            if (not last or start < last) and (not end or prefix < end):
                return True
        return False


class _OpenedWatch(AbstractAsyncContextManager[AsyncIterator[Batch]]):
    """A watch whose batches are opened on their way. A value that cannot be opened ends it."""

    def __init__(self, store: EncryptingStore, watch: AbstractAsyncContextManager[AsyncIterator[Batch]]) -> None:
        self._store, self._watch = store, watch

    async def __aenter__(self) -> _OpenedWatch:
        self._batches = await self._watch.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._watch.__aexit__(kind, error, trace)

    def __aiter__(self) -> _OpenedWatch:
        return self

    async def __anext__(self) -> Batch:
        return self._store.opened(await anext(self._batches))
