"""The SQLite store: the loop's side, which joins the writer, the readers, the watches and the leases.

Nothing here touches the database: requests are collected for one tick of the loop and handed to the writer as one
message, and one message comes back for the whole group. See the modules beside this one for each part's rules.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from queue import SimpleQueue
from typing import TypeVar

import apsw

from ..feed import Chapter, Feed, Watch
from ..protocol import (
    VALUE_BYTES_MAX,
    Delete,
    Expect,
    KeyValue,
    LeaseId,
    Page,
    Put,
    Revision,
    TooLarge,
    TxnResult,
    Unavailable,
)
from ..window import Window
from .datadir import DataDir
from .leases import LeaseClock
from .reader import Range, Reader
from .requests import Close, Compact, Grant, Outcome, Parcel, Request, Revoke, Txn
from .reserve import Reserve
from .schema import open_reader, open_writer
from .settings import SqliteSettings
from .writer import Writer

log = logging.getLogger(__name__)

DEFAULTS = SqliteSettings()
LEASE_ID_BITS = 62
_new = tuple.__new__
"""Makes a named tuple in half the time of calling its class, which is worth it only for what every write makes."""

Result = TypeVar("Result")


async def open_sqlite(
    path: Path, settings: SqliteSettings = DEFAULTS, *, fatal: Callable[[BaseException], object] | None = None
) -> SqliteStore:
    """Open the data directory `path`, made when missing, for this process and this event loop alone.

    `fatal` is called once, in the loop, when the disk fails and the store has stopped: end the process.
    Raises DataDirLocked, DataDirUnusable.
    """
    loop = asyncio.get_running_loop()
    directory = DataDir(path)
    try:
        opened = await loop.run_in_executor(None, _open_files, directory, settings)
    except BaseException:
        directory.release()
        raise
    return SqliteStore(directory, *opened, settings, fatal)


def _open_files(directory: DataDir, settings: SqliteSettings) -> tuple[apsw.Connection, Reserve, list[Reader]]:
    connection = open_writer(directory.database, settings)
    directory.sync()
    reserve = Reserve(connection, directory.ballast, settings)
    return connection, reserve, [Reader(open_reader(directory.database, settings)) for _ in range(settings.readers)]


class SqliteStore:
    """Implements `Store` in one directory. Made by `open_sqlite`."""

    def __init__(
        self,
        directory: DataDir,
        connection: apsw.Connection,
        reserve: Reserve,
        readers: list[Reader],
        settings: SqliteSettings,
        fatal: Callable[[BaseException], object] | None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._directory, self._connection, self._settings, self._fatal = directory, connection, settings, fatal
        self._writer = Writer(connection, reserve, settings, self._tell, self._fail)
        self._outbox: list[Request] = []
        self._outbox_bytes = 0
        """What was asked in this tick of the loop, in keys and values."""
        self._parcel_requests_max, self._parcel_bytes_max = settings.group_requests_max, settings.group_bytes_max
        self._readers = readers
        self._idle_readers: SimpleQueue[Reader] = SimpleQueue()
        for reader in readers:
            self._idle_readers.put(reader)
        self._pool = ThreadPoolExecutor(len(readers), "store-reader")
        self._feed = Feed(self._writer.revision, self._writer.compacted, settings, self._read_history)
        self._seen = self._writer.revision
        """The newest revision that any answer has shown."""
        self._leases = LeaseClock(self._writer.leases, self._expired)
        self._window = Window(settings)
        self._compaction: asyncio.TimerHandle | None = None
        self._refused: str | None = None
        """What every call is answered once the store is closed or has failed."""
        self._failed = False
        self._ended = asyncio.Event()
        """Set when the writer's thread has done all it was asked."""
        self._closing = asyncio.Lock()
        self._thread = threading.Thread(target=self._run_writer, name="store-writer", daemon=True)
        self._thread.start()
        self._compact_later()

    # Reading

    async def get(self, key: bytes, *, revision: Revision | None = None) -> tuple[KeyValue | None, Revision]:
        """See `Store.get`."""
        found, at = await self._read(lambda reader: reader.get(key, revision))
        self._seen = max(self._seen, at)
        return found, at

    async def range(
        self, start: bytes, end: bytes, *, limit: int = 0, revision: Revision | None = None, keys_only: bool = False
    ) -> Page:
        """See `Store.range`."""
        page = await self._read(lambda reader: reader.range(Range(start, end, limit, revision, keys_only)))
        self._seen = max(self._seen, page.revision)
        return page

    async def revision(self) -> Revision:
        """See `Store.revision`."""
        self._require_open()
        self._feed.bookmark_those_behind()
        if self._seen > self._feed.revision:
            self._feed.bookmark_at(self._seen)
        return Revision(max(self._seen, self._feed.revision))

    async def size_bytes(self) -> int:
        """See `Store.size_bytes`: the database, its log, and the ballast."""
        self._require_open()
        return self._directory.size_bytes()

    async def _read_history(self, start: bytes, end: bytes, after: int) -> Chapter:
        return await self._read(lambda reader: reader.history(start, end, after))

    async def _read(self, read: Callable[[Reader], Result]) -> Result:
        self._require_open()
        try:
            return await self._loop.run_in_executor(self._pool, self._with_reader, read)
        except apsw.BusyError as error:
            raise Unavailable(f"the database is locked by another program: {error}") from error
        except apsw.Error as error:
            self._stop(error, [])
            self._require_open()
            raise

    def _with_reader(self, read: Callable[[Reader], Result]) -> Result:
        reader = self._idle_readers.get()
        try:
            return read(reader)
        finally:
            self._idle_readers.put(reader)

    # Writing

    async def txn(self, expect: Sequence[Expect], ops: Sequence[Put | Delete]) -> TxnResult:
        """See `Store.txn`."""
        return await self.begin_txn(expect, ops)

    def begin_txn(self, expect: Sequence[Expect], ops: Sequence[Put | Delete]) -> asyncio.Future[TxnResult]:
        """`txn`, for whoever needs no task of its own to wait."""
        if len(ops) == 1:
            op = ops[0]
            size = len(op[0]) + len(op[1]) if type(op) is Put else len(op[0])
        else:
            size = _size_of_distinct(ops)
        if size > VALUE_BYTES_MAX:
            raise TooLarge(f"the request has {size} bytes, the limit is {VALUE_BYTES_MAX}")
        answer: asyncio.Future[TxnResult] = self._loop.create_future()
        self._ask(_new(Txn, (expect, ops, size, answer)), size)
        return answer

    async def compact(self, revision: Revision) -> None:
        """See `Store.compact`. Refused from now on; the space is freed in steps after the answer."""
        answer: asyncio.Future[None] = self._loop.create_future()
        self._ask(Compact(revision, answer))
        await answer

    async def grant(self, ttl_s: int) -> LeaseId:
        """See `Store.grant`."""
        answer: asyncio.Future[LeaseId] = self._loop.create_future()
        self._ask(Grant(LeaseId(secrets.randbits(LEASE_ID_BITS) + 1), ttl_s, answer))
        return await answer

    async def renew(self, lease: LeaseId) -> int:
        """See `Store.renew`. Kept in memory only: a restart gives every lease its full time."""
        self._require_open()
        return self._leases.renew(lease)

    async def revoke(self, lease: LeaseId) -> None:
        """See `Store.revoke`."""
        answer: asyncio.Future[None] = self._loop.create_future()
        self._ask(Revoke(lease, answer))
        await answer

    def _ask(self, request: Request, size_bytes: int = 0) -> None:
        if self._refused is not None:
            raise Unavailable(self._refused)
        outbox = self._outbox
        if not outbox:
            # At the end of this tick, so that all who ask within it share a commit and the writer is woken once.
            self._loop.call_soon(self._send)
        outbox.append(request)
        self._outbox_bytes += size_bytes
        if len(outbox) >= self._parcel_requests_max or self._outbox_bytes >= self._parcel_bytes_max:
            self._send()

    def _send(self) -> None:
        if self._outbox:
            self._writer.submit(Parcel(self._outbox, self._outbox_bytes))
            self._outbox, self._outbox_bytes = [], 0

    def _expired(self, lease: LeaseId) -> None:
        if self._refused is None:
            self._ask(Revoke(lease, None))

    # Watching

    def watch(
        self, start: bytes, end: bytes, *, after: Revision | None = None
    ) -> AbstractAsyncContextManager[Watch, None]:
        """See `Store.watch`."""
        self._require_open()
        return Watch(self._feed, start, end, after, lambda: max(self._seen, self._feed.revision))

    # News from the writer

    def _run_writer(self) -> None:
        self._writer.run()
        self._call(self._ended.set)

    def _call(self, callback: Callable[[], object]) -> None:
        try:
            self._loop.call_soon_threadsafe(callback)
        except RuntimeError:
            log.warning("store is written after its event loop was closed")

    def _tell(self, outcome: Outcome) -> None:
        self._call(lambda: self._publish(outcome))

    def _publish(self, outcome: Outcome) -> None:
        self._feed.compacted = outcome.compacted
        self._feed.tell(outcome.revision, outcome.events)
        for lease, ttl_s in outcome.granted.items():
            self._leases.start(lease, ttl_s)
        for lease in outcome.ended:
            self._leases.drop(lease)
        for lease in outcome.unexpired:
            self._leases.retry(lease)
        for request, result in zip(outcome.requests, outcome.results, strict=True):
            answer = request.answer
            if answer is None or answer.done():
                continue  # nobody asked, or whoever did was cancelled
            if isinstance(result, Exception):
                answer.set_exception(result)
            else:
                answer.set_result(result)

    def _fail(self, error: BaseException, requests: list[Request]) -> None:
        self._call(lambda: self._stop(error, [*requests, *self._writer.drain()]))

    def _stop(self, error: BaseException, requests: Sequence[Request]) -> None:
        """The disk failed: nothing is answered any more but this."""
        first, self._failed = not self._failed, True
        if self._refused is None:
            log.critical("store has stopped", extra={"error": repr(error), "directory": str(self._directory.path)})
            self._refused = f"the store has stopped, its disk failed: {error!r}"
            self._feed.end(Unavailable(self._refused))
            self._leases.stop()
            self._cancel_compaction()
        for request in [*requests, *self._outbox]:
            if request.answer is not None and not request.answer.done():
                request.answer.set_exception(Unavailable(self._refused))
        self._outbox = []
        if first and self._fatal is not None:
            self._fatal(error)

    def _require_open(self) -> None:
        if self._refused is not None:
            raise Unavailable(self._refused)

    # Keeping history within its window

    def _compact_later(self) -> None:
        if self._settings.compact_every_s:
            self._compaction = self._loop.call_later(self._settings.compact_every_s, self._compact_now)

    def _compact_now(self) -> None:
        revision = self._window.observe(self._loop.time(), self._feed.revision)
        if revision > self._feed.compacted:
            self._ask(Compact(Revision(revision), None))
        self._compact_later()

    def _cancel_compaction(self) -> None:
        if self._compaction is not None:
            self._compaction.cancel()

    async def close(self) -> None:
        """See `Store.close`."""
        self._cancel_compaction()
        self._leases.stop()
        self._refused = self._refused or "the store is closed"
        self._outbox.append(Close())
        self._send()
        async with self._closing:
            await self._ended.wait()
            self._feed.end(None)
            if self._readers:
                await self._loop.run_in_executor(None, self._close_files)

    def _close_files(self) -> None:
        self._thread.join()
        self._pool.shutdown()
        for reader in self._readers:
            reader.close()
        self._readers = []
        try:
            # Last: whoever closes last copies the log into the database. After a failed sync that could make a commit of
            # it that was never acknowledged half durable; the next process to open the files sorts it out.
            if self._failed:
                self._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            self._connection.close()
        finally:
            self._directory.release()


def _size_of_distinct(ops: Sequence[Put | Delete]) -> int:
    """Bytes of the keys and values. Raises ValueError when a key occurs twice."""
    if len({op.key for op in ops}) < len(ops):
        raise ValueError("a key occurs more than once in one transaction")
    return sum(len(op.key) + (len(op.value) if type(op) is Put else 0) for op in ops)
