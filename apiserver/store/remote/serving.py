"""The store's process answers its workers: their questions, and everything that happens, in one feed to each.

Events leave before the answer to whoever caused them, and the shared revision is raised before either: so who was
answered finds every worker knowing that there is something it must have heard first.

A worker that does not read holds nobody up. What it has not been sent waits in its watch of the store; past that watch's
bound it is told that it was too slow, and begins again where it was, from the log.
"""

from __future__ import annotations

import asyncio
import marshal
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final, Protocol, runtime_checkable

import structlog

from ..protocol import Batch, Delete, Expect, LeaseId, Put, Revision, Store, StoreError, TxnResult
from .forms import Plain, plain_error, plain_events, plain_kv, plain_page, plain_result, read_expect, read_ops
from .link import FORM, Link
from .shared import SharedRevision

log = structlog.get_logger(__name__)

GET: Final = "get"
RANGE: Final = "range"
TXN: Final = "txn"
COMPACT: Final = "compact"
GRANT: Final = "grant"
RENEW: Final = "renew"
REVOKE: Final = "revoke"
SIZE: Final = "size"
HISTORY: Final = "history"

FOLLOW: Final = "follow"
"""News to the store's process: tell me of everything later than a revision (None: than now)."""
BEGUN: Final = "begun"
"""News: the feed begins after a revision; and where the store is."""
EVENTS: Final = "events"
"""News: a revision and the packed events up to it."""
BROKEN: Final = "broken"
"""News: the feed has ended, with an error's name and values."""
COMPACTED: Final = "compacted"
"""News: history before a revision is forgotten."""

Answering = Callable[..., Awaitable[Any]]


@runtime_checkable
class BeginsTxn(Protocol):
    """A store whose transactions need no task to wait for them, which would cost as much as the rest of the way."""

    def begin_txn(self, expect: Sequence[Expect], ops: Sequence[Put | Delete]) -> asyncio.Future[TxnResult]:
        """See `Store.txn`."""
        ...


class StoreService:
    """What one store answers to all its workers. `shared` is its revision for them."""

    def __init__(self, store: Store, shared: SharedRevision) -> None:
        self._store, self._shared = store, shared
        self._begin_txn = store.begin_txn if isinstance(store, BeginsTxn) else None
        self._followers: dict[Link, asyncio.Task[None]] = {}
        self._answers: set[asyncio.Task[None]] = set()
        self._packed: tuple[tuple[int, int, int], bytes] = ((0, 0, 0), b"")
        """The last batch: every worker is sent the same one."""
        self._answering: dict[str, Answering] = {
            GET: self._get,
            RANGE: self._range,
            TXN: self._txn,
            COMPACT: self._compact,
            GRANT: self._grant,
            RENEW: self._renew,
            REVOKE: self._revoke,
            SIZE: self._size,
            HISTORY: self._history,
        }

    async def begin(self) -> None:
        """Make the store's revision known, before anybody links up."""
        self._shared.value = await self._store.revision()

    def knows(self, what: str) -> bool:
        """Whether a question, or news, is about the store."""
        return what == FOLLOW or what in self._answering

    def opened(self, link: Link) -> None:
        """See `Switchboard.opened`: the worker speaks first."""

    def asked(self, link: Link, number: int, question: str, values: Plain) -> None:
        """See `Switchboard.asked`. Every question is worked on at once: the store has its own queue, and bounds it."""
        if question == TXN and self._begin_txn is not None:
            try:
                outcome = self._begin_txn(read_expect(values[0]), read_ops(values[1]))
            except (StoreError, ValueError) as error:
                link.refuse(number, *plain_error(error))
            else:
                outcome.add_done_callback(partial(self._tell_outcome, link, number))
            return
        task = asyncio.create_task(self._answer(link, number, question, values))
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)

    def told(self, link: Link, _news: str, values: Plain) -> None:
        """See `Switchboard.told`: from now on the worker follows."""
        assert link not in self._followers, values
        self._followers[link] = asyncio.create_task(self._follow(link, *values))

    def lost(self, link: Link) -> None:
        """See `Switchboard.lost`. What it asked for is carried out all the same."""
        follower = self._followers.pop(link, None)
        if follower is not None:
            follower.cancel()

    async def close(self) -> None:
        """Answer what was asked, and end the feeds."""
        followers = [*self._followers.values()]
        for follower in followers:
            follower.cancel()
        await asyncio.gather(*followers, *self._answers, return_exceptions=True)

    async def _answer(self, link: Link, number: int, question: str, values: Plain) -> None:
        try:
            result = await self._answering[question](*values)
        except (StoreError, ValueError) as error:
            link.refuse(number, *plain_error(error))
        else:
            link.answer(number, result)

    def _tell_outcome(self, link: Link, number: int, outcome: asyncio.Future[TxnResult]) -> None:
        error = outcome.exception()
        if error is None:
            result = outcome.result()
            self._seen(result.revision)
            link.answer(number, plain_result(result))
        else:
            assert isinstance(error, Exception), error
            link.refuse(number, *plain_error(error))

    def _seen(self, revision: int) -> None:
        if revision > self._shared.value:
            self._shared.value = revision

    # Questions.

    async def _get(self, key: bytes, revision: Revision | None) -> Plain:
        found, at = await self._store.get(key, revision=revision)
        self._seen(at)
        return (plain_kv(found), at)

    async def _range(self, start: bytes, end: bytes, limit: int, revision: Revision | None, keys_only: bool) -> Plain:
        page = await self._store.range(start, end, limit=limit, revision=revision, keys_only=keys_only)
        self._seen(page.revision)
        return plain_page(page)

    async def _txn(self, expect: list[Plain], ops: list[Plain]) -> Plain:
        result = await self._store.txn(read_expect(expect), read_ops(ops))
        self._seen(result.revision)
        return plain_result(result)

    async def _compact(self, revision: Revision) -> None:
        await self._store.compact(revision)
        for link in self._followers:
            link.say(COMPACTED, revision)

    async def _grant(self, ttl_s: int) -> int:
        return await self._store.grant(ttl_s)

    async def _renew(self, lease: LeaseId) -> int:
        return await self._store.renew(lease)

    async def _revoke(self, lease: LeaseId) -> None:
        await self._store.revoke(lease)
        self._seen(await self._store.revision())

    async def _size(self) -> int:
        return await self._store.size_bytes()

    async def _history(self, start: bytes, end: bytes, after: Revision) -> Plain:
        """The next events of a range: as many as the store gives at once."""
        async with self._store.watch(start, end, after=after) as watch:
            batch = await anext(watch)
            return (plain_events(batch.events), batch.revision)

    # The feed.

    async def _follow(self, link: Link, after: Revision | None) -> None:
        """Tell the worker of everything later than `after`, until it goes or is too slow."""
        try:
            current = await self._store.revision()
            begin = current if after is None else after
            link.say(BEGUN, begin, current)
            async with self._store.watch(b"", b"", after=begin) as watch:
                async for batch in watch:
                    self._tell(link, batch)
                    await link.drained()
        except StoreError as error:
            log.warning("the feed of a worker has ended", reason=str(error))
            link.say(BROKEN, *plain_error(error))

    def _tell(self, link: Link, batch: Batch) -> None:
        self._seen(batch.revision)
        link.say(EVENTS, batch.revision, self._pack(batch) if batch.events else b"")

    def _pack(self, batch: Batch) -> bytes:
        of = (batch.events[0].revision, batch.revision, len(batch.events))
        if self._packed[0] != of:
            self._packed = (of, marshal.dumps(plain_events(batch.events), FORM))
        return self._packed[1]
