"""The etcd store: `Store` in terms of calls, the shared watch, and the compaction of old history."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

import structlog

from ..doubt import Verdict, judge, may_ask_again
from ..feed import Watch
from ..protocol import (
    VALUE_BYTES_MAX,
    Batch,
    Compacted,
    Delete,
    Expect,
    FutureRevision,
    KeyValue,
    LeaseId,
    LeaseNotFound,
    Page,
    Put,
    Revision,
    StoreError,
    TooLarge,
    TxnResult,
    Unavailable,
)
from ..window import Window
from .address import access
from .connections import Answer, Connections
from .messages import COMPACT, GRANT, KEEP_ALIVE, RANGE, REVOKE, STATUS, TXN, Message, Method, key_value
from .settings import EtcdSettings
from .trouble import EtcdUnusable, Meaning, Refusal
from .upstream import Upstream
from .writes import current_of, txn_request

log = structlog.get_logger(__name__)

FIRST_KEY = b"\0"
"""The least key there can be; as an end it means none."""
PAGE_KEYS, PAGE_KEYS_MIN, PAGE_KEYS_MAX = 1_000, 16, 10_000
"""Keys of the first page of a long range, and how few and many they become when pages are too large or too small."""
LEASE_ID_BITS = 62


async def open_etcd(settings: EtcdSettings) -> EtcdStore:
    """Open the store in an etcd cluster, for this event loop. Raises EtcdUnusable, which says what to do."""
    connections = Connections(access(settings), settings)
    store = None
    try:
        await connections.greet()
        store = EtcdStore(connections, settings, await _ask_revision(connections))
        await store.connected()
    except BaseException as error:
        await (store.close() if store is not None else connections.close())
        if isinstance(error, StoreError) and not isinstance(error, EtcdUnusable):
            raise EtcdUnusable(f"etcd at {connections.names} cannot be used: {error}") from error
        raise
    return store


class EtcdStore:
    """Implements `Store` in an etcd cluster. Made by `open_etcd`."""

    def __init__(self, connections: Connections, settings: EtcdSettings, revision: int) -> None:
        self._connections, self._settings = connections, settings
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._current = Coalesced(lambda: _ask_revision(connections))
        self._upstream = Upstream(connections, settings, self._current, revision)
        self._window = Window(settings)
        self._tasks = [self._loop.create_task(work) for work in self._background()]

    def _background(self) -> Sequence[Coroutine[Any, Any, None]]:
        following = self._upstream.run()
        return (following, self._compact_forever()) if self._settings.compact_every_s else (following,)

    async def connected(self) -> None:
        """Wait until the watch of etcd is open. Raises EtcdUnusable."""
        try:
            async with asyncio.timeout(self._settings.start_timeout_s):
                await self._upstream.connected.wait()
        except TimeoutError:
            raise EtcdUnusable(
                f"etcd at {self._connections.names} lets us read but not watch the whole key space:"
                " give the user's role readwrite permission for the prefix ''"
            ) from None

    # Reading

    async def get(self, key: bytes, *, revision: Revision | None = None) -> tuple[KeyValue | None, Revision]:
        """See `Store.get`."""
        request = {"key": key, "revision": self._readable(revision)}
        response = (await self._ask(RANGE, RANGE.request(**request), revision)).response
        return (key_value(response.kvs[0]) if response.kvs else None), Revision(response.header.revision)

    async def range(
        self, start: bytes, end: bytes, *, limit: int = 0, revision: Revision | None = None, keys_only: bool = False
    ) -> Page:
        """See `Store.range`. A long one is read in pages, all at the revision of the first."""
        start = start or FIRST_KEY
        is_empty = bool(end) and end <= start
        at = self._readable(revision)
        items: list[KeyValue] = []
        page_keys, remaining = PAGE_KEYS, 1
        while remaining and not (limit and len(items) >= limit):
            # With `end` the start, etcd reads only that key: the way to ask for nothing but a revision.
            request = RANGE.request(
                key=start,
                range_end=(b"" if is_empty else end or FIRST_KEY),
                limit=min(page_keys, limit - len(items)) if limit else page_keys,
                revision=at,
                keys_only=keys_only,
                count_only=is_empty,
            )
            response = (await self._ask(RANGE, request, revision)).response
            at = at or response.header.revision
            if is_empty:
                break
            items += [key_value(kv) for kv in response.kvs]
            remaining = response.count - len(response.kvs)
            page_keys = _next_page_keys(page_keys, response.ByteSize(), self._settings.page_bytes)
            start = items[-1].key + b"\0" if remaining else start
        return Page(items, Revision(at) if revision is None else revision, 0 if is_empty else remaining)

    async def revision(self) -> Revision:
        """See `Store.revision`. All who ask while one request is under way share the next one."""
        self._require_open()
        revision = await self._current()
        self._upstream.expect(revision)
        return Revision(revision)

    async def size_bytes(self) -> int:
        """See `Store.size_bytes`: the database file of the member in use."""
        return int((await self._ask(STATUS, STATUS.request())).response.dbSize)

    def _readable(self, revision: Revision | None) -> int:
        """In etcd 0 means now, so what is before the first revision is answered here."""
        if revision is not None and revision < 0:
            raise Compacted(revision, self._upstream.feed.compacted)
        return 0 if revision is None else max(revision, 1)

    # Writing

    async def txn(self, expect: Sequence[Expect], ops: Sequence[Put | Delete]) -> TxnResult:
        """See `Store.txn`. A lost answer is settled by asking again, where that can be done; see `doubt`."""
        self._require_open()
        _require_sane(ops)
        if not ops and not expect:
            return TxnResult(True, await self.revision())
        before = self._upstream.feed.revision
        answer = await self._ask(TXN, txn_request(expect, ops), repeat=may_ask_again(expect, ops))
        response = answer.response
        revision = Revision(response.header.revision)
        if response.succeeded:
            return TxnResult(True, revision)
        current = current_of(response)
        if answer.doubtful:
            verdict, committed = judge(expect, ops, current, before)
            if verdict is Verdict.DONE:
                return TxnResult(True, committed)
            if verdict is Verdict.UNKNOWN:
                raise Unavailable("etcd failed during the request, and the keys have changed since")
        return TxnResult(False, revision, current)

    async def compact(self, revision: Revision) -> None:
        """See `Store.compact`."""
        current = await self.revision()
        if revision < 1:
            raise Compacted(revision, self._upstream.feed.compacted)
        if revision > current:
            raise FutureRevision(revision, current)
        # Never ahead of our own watch, which would lose what it has not heard.
        await self._upstream.heard(revision)
        answer = await self._ask_raw(COMPACT, COMPACT.request(revision=revision))
        # COMPACTED after a lost answer: it is as likely that we did it ourselves.
        if isinstance(answer, Refusal) and not (answer.doubtful and answer.meaning is Meaning.COMPACTED):
            raise await self._error(answer, revision) from answer
        feed = self._upstream.feed
        feed.compacted = max(feed.compacted, revision)

    # Leases

    async def grant(self, ttl_s: int) -> LeaseId:
        """See `Store.grant`. etcd raises a TTL that is shorter than its elections."""
        lease = LeaseId(secrets.randbits(LEASE_ID_BITS) + 1)
        answer = await self._ask_raw(GRANT, GRANT.request(TTL=ttl_s, ID=lease))
        if isinstance(answer, Refusal) and not (answer.doubtful and answer.meaning is Meaning.LEASE_EXISTS):
            raise answer.as_store_error() from answer
        return lease

    async def renew(self, lease: LeaseId) -> int:
        """See `Store.renew`."""
        response = (await self._ask(KEEP_ALIVE, KEEP_ALIVE.request(ID=lease))).response
        if response.TTL <= 0:
            raise LeaseNotFound(f"lease {lease} does not exist or has expired")
        return int(response.TTL)

    async def revoke(self, lease: LeaseId) -> None:
        """See `Store.revoke`."""
        answer = await self._ask_raw(REVOKE, REVOKE.request(ID=lease))
        if isinstance(answer, Refusal) and not (answer.doubtful and answer.meaning is Meaning.LEASE_NOT_FOUND):
            raise answer.as_store_error() from answer

    # Watching

    @asynccontextmanager
    async def watch(
        self, start: bytes, end: bytes, *, after: Revision | None = None
    ) -> AsyncIterator[AsyncIterator[Batch]]:
        """See `Store.watch`. From now on means: from etcd's revision at this moment, heard or not."""
        self._require_open()
        position = await self.revision() if after is None else after
        async with Watch(self._upstream.feed, start, end, position, lambda: position) as watch:
            yield watch

    # Calls

    async def _ask(
        self, method: Method, request: Message, revision: Revision | None = None, *, repeat: bool = True
    ) -> Answer:
        """Raises what a store raises; `revision` is the one that was asked for, if one was."""
        answer = await self._ask_raw(method, request, repeat=repeat)
        if isinstance(answer, Refusal):
            raise await self._error(answer, revision) from answer
        return answer

    async def _ask_raw(self, method: Method, request: Message, *, repeat: bool = True) -> Answer | Refusal:
        self._require_open()
        try:
            return await self._connections.ask(method, request, repeat=repeat)
        except Refusal as refusal:
            return refusal

    async def _error(self, refusal: Refusal, revision: Revision | None) -> StoreError:
        if refusal.meaning is Meaning.COMPACTED and revision is not None:
            known = self._upstream.feed.compacted
            return Compacted(revision, known if known > revision else await self._upstream.compacted())
        if refusal.meaning is Meaning.FUTURE and revision is not None:
            return FutureRevision(revision, await self._current())
        return refusal.as_store_error()

    def _require_open(self) -> None:
        if self._closed:
            raise Unavailable("the store is closed")

    # Keeping history within its window

    async def _compact_forever(self) -> None:
        while True:
            await asyncio.sleep(self._settings.compact_every_s)
            feed = self._upstream.feed
            revision = self._window.observe(self._loop.time(), feed.revision)
            if revision <= feed.compacted:
                continue
            try:
                await self.compact(Revision(revision))
            except Compacted as error:
                feed.compacted = max(feed.compacted, error.compacted)  # another server was first
            except StoreError as error:
                log.info("history was not compacted", reason=str(error))

    async def close(self) -> None:
        """See `Store.close`."""
        if self._closed:
            return
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._upstream.end()
        await self._connections.close()


class Coalesced:
    """One question for many callers: who asks while it is being asked shares the next answer, never an older one."""

    def __init__(self, ask: Callable[[], Awaitable[int]]) -> None:
        self._ask = ask
        self._asking: asyncio.Task[None] | None = None
        self._next: asyncio.Future[int] | None = None

    async def __call__(self) -> int:
        """The answer to a question that was asked after this call. Raises what asking raises."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
            if self._asking is None:
                self._asking = asyncio.create_task(self._run())
        return await asyncio.shield(self._next)

    async def _run(self) -> None:
        while self._next is not None:
            answer, self._next = self._next, None
            try:
                result = await self._ask()
            except Exception as error:
                answer.set_exception(error)
                answer.exception()  # seen, even if all who asked were cancelled
            else:
                answer.set_result(result)
        self._asking = None


async def _ask_revision(connections: Connections) -> int:
    """etcd's revision, linearizably: the least there is to read."""
    try:
        request = RANGE.request(key=FIRST_KEY, keys_only=True)
        return int((await connections.ask(RANGE, request)).response.header.revision)
    except Refusal as refusal:
        raise refusal.as_store_error() from refusal


def _next_page_keys(page_keys: int, page_bytes: int, aim_bytes: int) -> int:
    if page_bytes > 2 * aim_bytes:
        return max(page_keys // 2, PAGE_KEYS_MIN)
    return min(page_keys * 2, PAGE_KEYS_MAX) if page_bytes < aim_bytes // 2 else page_keys


def _require_sane(ops: Sequence[Put | Delete]) -> None:
    size = 0
    for op in ops:
        size += len(op.key) + (len(op.value) if isinstance(op, Put) else 0)
    if size > VALUE_BYTES_MAX:
        raise TooLarge(f"the request has {size} bytes, the limit is {VALUE_BYTES_MAX}")
    if len(ops) > 1 and len({op.key for op in ops}) < len(ops):
        raise ValueError("a key occurs more than once in one transaction")
