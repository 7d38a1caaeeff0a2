"""The store as a worker sees it: questions to the process that has it, and one feed of everything for all our watches.

When that process is away, questions are answered with Unavailable at once, and the watches wait: they hear the rest when
it is back. A write that was under way is settled then by asking again (see `store/doubt`), never repeated blindly.
"""

from __future__ import annotations

import asyncio
import marshal
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import structlog

from ..doubt import Verdict, judge, may_ask_again
from ..feed import Chapter, Feed, Watch
from ..protocol import (
    VALUE_BYTES_MAX,
    Compacted,
    Delete,
    Expect,
    FutureRevision,
    KeyValue,
    LeaseId,
    Page,
    Put,
    Revision,
    StoreError,
    TooLarge,
    TxnResult,
    Unavailable,
)
from .forms import Plain, plain_ops, read_error, read_events, read_kv, read_page, read_result
from .link import Link, LinkLost, Refused, connect
from .serving import (
    BEGUN,
    BROKEN,
    COMPACT,
    COMPACTED,
    EVENTS,
    FOLLOW,
    GET,
    GRANT,
    HISTORY,
    RANGE,
    RENEW,
    REVOKE,
    SIZE,
    TXN,
)
from .settings import RemoteSettings
from .shared import SharedRevision

log = structlog.get_logger(__name__)

DEFAULTS = RemoteSettings()


async def open_remote(path: Path, shared: SharedRevision, settings: RemoteSettings = DEFAULTS) -> RemoteStore:
    """The store of the process that listens at `path`. Raises Unavailable when it does not answer in time."""
    store = RemoteStore(path, shared, settings)
    try:
        async with asyncio.timeout(settings.start_timeout_s):
            await store.connected()
    except TimeoutError:
        await store.close()
        raise Unavailable(f"the store's process does not answer at {path}") from None
    return store


class RemoteStore:
    """Implements `Store` over a link. Made by `open_remote`."""

    def __init__(self, path: Path, shared: SharedRevision, settings: RemoteSettings) -> None:
        self._loop = asyncio.get_running_loop()
        self._path, self.shared, self._settings = path, shared, settings
        self._closed = False
        self._feed = Feed(0, 0, settings, self._read_history)
        self._has_begun = False
        self._link: Link | None = None
        """While it can be used, and its feed is followed."""
        self._linked = asyncio.Event()
        self._trouble: Exception | None = None
        """Why the feed ended, when it was not for the link."""
        self._following = self._loop.create_task(self._follow_forever())

    async def connected(self) -> None:
        """Wait until the store can be used."""
        await self._linked.wait()

    # Reading

    async def get(self, key: bytes, *, revision: Revision | None = None) -> tuple[KeyValue | None, Revision]:
        """See `Store.get`."""
        found, at = await self._ask(GET, key, revision)
        return read_kv(found), Revision(at)

    async def range(
        self, start: bytes, end: bytes, *, limit: int = 0, revision: Revision | None = None, keys_only: bool = False
    ) -> Page:
        """See `Store.range`. A long one is asked for in pages, all at the revision of the first."""
        items: list[KeyValue] = []
        at = revision
        while True:
            size = min(self._settings.page_keys, limit - len(items)) if limit else self._settings.page_keys
            page = read_page(await self._ask(RANGE, start, end, size, at, keys_only))
            items += page.items
            if not page.remaining or len(items) == limit:
                return Page(items, page.revision, page.remaining)
            start, at = items[-1].key + b"\0", page.revision

    async def revision(self) -> Revision:
        """See `Store.revision`. Nobody is asked: the memory we share with the store's process says it."""
        self._usable()
        return Revision(self._expect(self.shared.value))

    @property
    def newest(self) -> int:
        """The newest revision that anybody was told, in whatever process; whether the store can be reached or not."""
        return self.shared.value

    def _expect(self, revision: int) -> int:
        """Watches hear of a revision as soon as the feed has come so far; the newer of it and the feed's."""
        if revision <= self._feed.revision:
            self._feed.bookmark_those_behind()
            return self._feed.revision
        self._feed.bookmark_at(revision)
        return revision

    async def size_bytes(self) -> int:
        """See `Store.size_bytes`."""
        return int(await self._ask(SIZE))

    async def _read_history(self, start: bytes, end: bytes, after: int) -> Chapter:
        events, revision = await self._ask(HISTORY, start, end, after)
        return Chapter(read_events(events), revision)

    # Writing

    async def txn(self, expect: Sequence[Expect], ops: Sequence[Put | Delete]) -> TxnResult:
        """See `Store.txn`. When the answer is lost, the outcome is found out, where that can be done."""
        _require_sane(ops)
        question = [tuple(each) for each in expect], plain_ops(ops)
        before = self._feed.revision
        try:
            return read_result(await self._ask(TXN, *question))
        except LinkLost:
            if not may_ask_again(expect, ops):
                raise
        result = await self._settled(question)
        if result.succeeded:
            return result
        verdict, committed = judge(expect, ops, result.current, before)
        if verdict is Verdict.DONE:
            return TxnResult(True, committed)
        if verdict is Verdict.UNKNOWN:
            raise Unavailable("the store's process ended during the request, and the keys have changed since")
        return result

    async def _settled(self, question: tuple[list[Plain], list[Plain]]) -> TxnResult:
        """The answer of the next process to a transaction that the last one may have carried out. Raises Unavailable."""
        try:
            async with asyncio.timeout(self._settings.settle_timeout_s):
                while True:
                    await self._linked.wait()
                    try:
                        return read_result(await self._ask(TXN, *question))
                    except LinkLost:
                        continue
        except TimeoutError:
            raise LinkLost("the store's process ended during the request, and is not back yet") from None

    async def compact(self, revision: Revision) -> None:
        """See `Store.compact`."""
        await self._ask(COMPACT, revision)
        self._feed.compacted = max(self._feed.compacted, revision)

    # Leases

    async def grant(self, ttl_s: int) -> LeaseId:
        """See `Store.grant`."""
        return LeaseId(await self._ask(GRANT, ttl_s))

    async def renew(self, lease: LeaseId) -> int:
        """See `Store.renew`."""
        return int(await self._ask(RENEW, lease))

    async def revoke(self, lease: LeaseId) -> None:
        """See `Store.revoke`."""
        await self._ask(REVOKE, lease)

    # Watching

    def watch(
        self, start: bytes, end: bytes, *, after: Revision | None = None
    ) -> AbstractAsyncContextManager[Watch, None]:
        """See `Store.watch`."""
        if self._closed:
            raise Unavailable("the store is closed")
        return Watch(self._feed, start, end, after, lambda: max(self.shared.value, self._feed.revision))

    # The link

    async def _ask(self, question: str, *values: Any) -> Any:
        """Raises what a store raises."""
        try:
            return await self._usable().ask(question, *values)
        except Refused as refused:
            raise read_error(refused) from None

    def _usable(self) -> Link:
        if self._closed:
            raise Unavailable("the store is closed")
        if self._link is None:
            raise Unavailable("the store's process does not answer, it is being started again")
        return self._link

    def opened(self, link: Link) -> None:
        """See `Switchboard.opened`."""

    def asked(self, link: Link, number: int, question: str, values: Plain) -> None:
        """See `Switchboard.asked`: nobody asks a worker about the store."""
        raise AssertionError(question)

    def told(self, link: Link, news: str, values: Plain) -> None:
        """See `Switchboard.told`."""
        if news == EVENTS:
            revision, packed = values
            if packed:
                self._feed.tell(revision, _later(packed, self._feed.revision))
            elif revision > self._feed.revision:
                # It says that nothing happened up to there: a store whose revision was raised by nothing we hear of.
                self._feed.revision = revision
                self._feed.bookmark_those_behind()
        elif news == COMPACTED:
            self._feed.compacted = max(self._feed.compacted, *values)
        elif news == BEGUN:
            self._begin(link, *values)
        elif news == BROKEN:
            self._end(link, read_error(Refused(*values)))

    def lost(self, link: Link) -> None:
        """See `Switchboard.lost`."""
        self._linked.clear()
        if self._link is not None:
            log.warning("the store's process has gone, what is asked is refused until it is back")
        self._link = None

    async def _follow_forever(self) -> None:
        while True:
            try:
                await self._follow()
            except (Compacted, FutureRevision) as error:
                log.warning("the store's feed cannot be resumed, all watches start over", reason=str(error))
                self._start_over(error)
            except (StoreError, OSError):
                pass  # It is being started again, or was too busy to feed us: whoever asks meanwhile is told.
            await asyncio.sleep(self._settings.reconnect_delay_s)

    async def _follow(self) -> None:
        """Until the link is lost. Raises OSError, StoreError: Compacted and FutureRevision when there is no resuming."""
        self._trouble = None
        link = await connect(self._path, self)
        try:
            link.say(FOLLOW, self._feed.revision if self._has_begun else None)
            await link.ended.wait()
        finally:
            link.close()
        if self._trouble is not None:
            raise self._trouble

    def _begin(self, link: Link, begin: int, current: int) -> None:
        """The feed comes: from here on the store can be used."""
        if current < begin:
            # Another store than the one we followed: what we have told did not happen there.
            self._end(link, FutureRevision(begin, current))
            return
        if not self._has_begun:
            self._feed.end(None)
            self._feed = Feed(begin, 0, self._settings, self._read_history)
            self._has_begun = True
        self._link = link
        self._linked.set()

    def _end(self, link: Link, trouble: Exception) -> None:
        """The feed does not come any more."""
        log.warning("the feed of the store broke, it is resumed", reason=str(trouble))
        self._trouble = trouble
        link.close()

    def _start_over(self, error: Compacted | FutureRevision) -> None:
        revision = error.compacted if isinstance(error, Compacted) else error.current
        self._feed.end(error)
        self._feed = Feed(revision, revision, self._settings, self._read_history)

    async def close(self) -> None:
        """See `Store.close`."""
        if self._closed:
            return
        self._closed, self._link = True, None
        self._following.cancel()
        await asyncio.gather(self._following, return_exceptions=True)
        self._feed.end(None)


def _later(packed: bytes, position: int) -> list[Any]:
    """Those events that were not told yet."""
    events = read_events(marshal.loads(packed))
    return events if events and events[0].revision > position else [each for each in events if each.revision > position]


def _require_sane(ops: Sequence[Put | Delete]) -> None:
    size = 0
    for op in ops:
        size += len(op[0]) + (len(op[1]) if len(op) > 1 else 0)
    if size > VALUE_BYTES_MAX:
        raise TooLarge(f"the request has {size} bytes, the limit is {VALUE_BYTES_MAX}")
    if len(ops) > 1 and len({op[0] for op in ops}) < len(ops):
        raise ValueError("a key occurs more than once in one transaction")
