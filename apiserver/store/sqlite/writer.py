"""The one thread that writes: drain the queue, decide, commit once, sync once, tell the loop once.

An answer is given only after the commit that carries it is on disk. A request that fails its condition is answered
within the same group. When a commit fails for want of space nothing of it was written, and each request of the group is
tried alone, so that the small and the deleting ones still succeed. Any other error of the disk stops the store for good:
after a failed fsync nobody knows what is on disk, and a second fsync that succeeds proves nothing.

Python's lock decides the shape of the SQL here: every call into SQLite gives the lock away and may wait 5 ms for it while
the loop is busy, so a group is a handful of statements of many rows and not many statements of one row.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from queue import Empty, SimpleQueue
from typing import TypeVar

import apsw

from ..protocol import Event, LeaseId, NoSpace, Put, StoreError, Unavailable
from .draft import Draft
from .heads import Head, RecentHeads
from .requests import Close, Compact, Grant, Outcome, Parcel, Request, Revoke, Txn
from .reserve import Reserve
from .schema import (
    CUR_COLUMNS,
    LOG_COLUMNS,
    SNAPSHOT,
    fetch,
    insert_log,
    key_value,
    revision_of_snapshot,
    select_heads,
    upsert_cur,
)
from .settings import SqliteSettings
from .sweep import Sweep

log = logging.getLogger(__name__)

SIZES = (512, 64, 8, 1)
"""Rows per statement. Few sizes, so that SQLite keeps their compiled forms."""
IDLE_SWEEP_PAUSE_S = 0.002
"""Time between two steps of a compaction while there is nothing else to do: a request that comes meanwhile goes first."""
RESTART_FACTOR = 4
"""A log so many times over `checkpoint_bytes` was kept from beginning anew by readers: wait for them."""
Item = TypeVar("Item")
Tell = Callable[[Outcome], None]


class Writer:
    """Owns the writing connection. All methods but `submit` belong to the writer's thread.

    `tell` and `fail` are called in that thread and must be quick: they pass the news on to the loop.
    """

    def __init__(
        self,
        connection: apsw.Connection,
        reserve: Reserve,
        settings: SqliteSettings,
        tell: Tell,
        fail: Callable[[BaseException, list[Request]], None],
    ) -> None:
        self._connection, self._reserve, self._settings = connection, reserve, settings
        self._tell, self._fail = tell, fail
        self._queue: SimpleQueue[Parcel] = SimpleQueue()
        """Bounded by the callers: each waits for its own request."""
        self._next: Parcel | None = None
        """Taken from the queue, but too large for the group at hand."""
        self.revision = revision_of_snapshot(*fetch(connection, SNAPSHOT)[0])
        self.leases = {LeaseId(row[0]): int(row[1]) for row in fetch(connection, "SELECT id, ttl_s FROM lease")}
        self._attached: dict[LeaseId, set[bytes]] = {lease: set() for lease in self.leases}
        for key, lease in fetch(connection, "SELECT key, lease FROM cur WHERE lease <> 0"):
            self._attached[lease].add(key)
        self._heads = RecentHeads(settings.heads_bytes_max)
        self._sweep = Sweep(connection, settings.sweep_rows)
        self._swept_at = 0.0
        self._wal_bytes = 0
        self._page_bytes: int = connection.pragma("page_size")
        connection.set_wal_hook(self._note_wal)

    @property
    def compacted(self) -> int:
        """History before this revision is forgotten."""
        return self._sweep.compacted

    def submit(self, parcel: Parcel) -> None:
        """Queue requests, no more of them than one group holds; from any thread. Close is the last of its parcel."""
        self._queue.put(parcel)

    def drain(self) -> list[Request]:
        """What is queued and will not be served; from any thread, when `run` has ended."""
        parcels = [self._next] if self._next is not None else []
        while not self._queue.empty():
            parcels.append(self._queue.get())
        return [request for parcel in parcels for request in parcel.requests]

    def run(self) -> None:
        """Until Close, or an error of the disk."""
        parcel = Parcel([], 0)
        try:
            while not (parcel.requests and type(parcel.requests[-1]) is Close):
                parcel = self._gather()
                self._serve(parcel)
                self._tidy()
        except BaseException as error:  # the thread must not end silently: everyone would wait for ever
            self._fail(error, parcel.requests)

    # Gathering

    def _gather(self) -> Parcel:
        """What is there, but at least one parcel, and no more of them than make one group."""
        parcel, self._next = self._next or self._wait(), None
        requests, size_bytes = parcel
        while type(requests[-1]) is not Close and not self._queue.empty():
            following = self._queue.get()
            size_bytes += following.size_bytes
            count = len(requests) + len(following.requests)
            if count > self._settings.group_requests_max or size_bytes > self._settings.group_bytes_max:
                self._next = following
                size_bytes -= following.size_bytes
                break
            requests += following.requests
        return Parcel(requests, size_bytes)

    def _wait(self) -> Parcel:
        while True:
            try:
                return self._queue.get(timeout=IDLE_SWEEP_PAUSE_S if self._sweep.pending else None)
            except Empty:
                self._sweep_step()

    # Committing

    def _serve(self, group: Parcel) -> None:
        """Commit the group, or, for want of space, what of it can be committed alone."""
        if self._reserve.may_grow() and self._committed(group):
            return
        for request in group.requests:
            self._serve_alone(request)

    def _serve_alone(self, request: Request) -> None:
        grows = type(request) is Grant or (type(request) is Txn and any(type(op) is Put for op in request.ops))
        attempts = (self._reserve.may_grow,) if grows else (lambda: True, self._give_reserve)
        alone = Parcel([request], request.size_bytes if type(request) is Txn else 0)
        if any(allowed() and self._committed(alone) for allowed in attempts):
            return
        message = f"the disk is full or the quota of {self._settings.quota_bytes} bytes is reached: delete and compact"
        self._tell(self._refusal([request], NoSpace(message)))

    def _committed(self, group: Parcel) -> bool:
        """Commit the group and tell; False when there was no space and nothing of it was written."""
        try:
            self._tell(self._commit(group))
        except apsw.FullError:
            self._undo()
            return False
        except apsw.BusyError as error:
            # Someone else holds the database's own lock, a backup tool perhaps. Nothing was written.
            self._undo()
            self._tell(
                self._refusal(group.requests, Unavailable(f"the database is locked by another program: {error}"))
            )
        return True

    def _give_reserve(self) -> bool:
        if self._reserve.held:
            log.warning("store is full, its reserve is released for deletes")
            self._reserve.release()
        return True

    def _commit(self, group: Parcel) -> Outcome:
        """Everything the group changes, on disk. Raises apsw.FullError when nothing was written."""
        draft = Draft(self.revision, self._sweep.compacted, self._find_heads(group.requests), self.leases)
        results: list[object] = []
        for request in group.requests:
            try:
                if type(request) is Txn:
                    results.append(draft.txn(request[0], request[1]))
                else:
                    results.append(self._decide_other(draft, request))
            except StoreError as error:
                results.append(error)
        self._write(draft)
        self._adopt(draft, group.size_bytes)
        return Outcome(
            draft.revision, draft.events, group.requests, results, draft.granted, draft.ended, draft.compacted, []
        )

    def _decide_other(self, draft: Draft, request: Request) -> LeaseId | None:
        if type(request) is Grant:
            return draft.grant(request.lease, request.ttl_s)
        if type(request) is Revoke:
            draft.revoke(request.lease, self._attached.get(request.lease, ()))
        elif type(request) is Compact:
            draft.compact(request.revision)
        return None

    def _write(self, draft: Draft) -> None:
        leases_changed = draft.granted or draft.ended
        compacts = draft.compacted > self._sweep.compacted
        if draft.log or leases_changed or compacts:
            execute = self._connection.execute
            execute("BEGIN IMMEDIATE")
            _insert(self._connection, insert_log, draft.log, LOG_COLUMNS)
            _insert(self._connection, upsert_cur, _cur_rows(draft.changed), CUR_COLUMNS)
            if leases_changed:
                self._connection.executemany("INSERT INTO lease VALUES (?, ?)", draft.granted.items())
                self._connection.executemany("DELETE FROM lease WHERE id = ?", ((lease,) for lease in draft.ended))
            if compacts:
                execute("UPDATE meta SET value = ? WHERE name = 'compacted'", (draft.compacted,))
            execute("COMMIT")

    def _adopt(self, draft: Draft, size_bytes: int) -> None:
        """Take over what has become durable."""
        if draft.compacted > self._sweep.compacted:
            self._sweep.begin(draft.compacted)
        self.revision = draft.revision
        for lease, ttl_s in draft.granted.items():
            self.leases[lease] = ttl_s
            self._attached[lease] = set()
        if self._attached:
            self._attach(draft.events)
        for lease in draft.ended:
            self.leases.pop(lease, None)
            self._attached.pop(lease, None)
        self._heads.add(draft.changed, size_bytes)

    def _attach(self, events: list[Event]) -> None:
        for key, current, previous, _ in events:
            if previous is not None and previous.lease:
                self._attached[previous.lease].discard(key)
            if current is not None and current.lease:
                self._attached[current.lease].add(key)

    def _refusal(self, group: Sequence[Request], error: StoreError) -> Outcome:
        unexpired = [request.lease for request in group if type(request) is Revoke and request.answer is None]
        return Outcome(self.revision, [], group, [error] * len(group), {}, [], self._sweep.compacted, unexpired)

    def _undo(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    # Remembering where keys stand

    def _find_heads(self, group: list[Request]) -> dict[bytes, Head]:
        """Where every key of the group stands, from memory or from the tables."""
        heads: dict[bytes, Head] = {}
        missing: list[bytes] = []
        for request in group:
            if type(request) is Txn:
                for expect in request.expect:
                    if expect[0] not in heads:
                        self._heads.find(expect[0], heads, missing)
                for op in request.ops:
                    if op[0] not in heads:
                        self._heads.find(op[0], heads, missing)
            elif type(request) is Revoke:
                for key in self._attached.get(request.lease, ()):
                    self._heads.find(key, heads, missing)
        for keys in _chunks(missing):
            for key, row, op_code, *columns in fetch(self._connection, select_heads(len(keys)), keys):
                heads[key] = (row, key_value(key, row, *columns) if op_code else None)
        return heads

    # Tidying, after everyone has been told

    def _tidy(self) -> None:
        if self._sweep.pending and time.monotonic() - self._swept_at >= self._settings.sweep_pause_s:
            self._sweep_step()
        self._checkpoint()

    def _sweep_step(self) -> None:
        try:
            self._sweep.step()
        except apsw.FullError:
            self._undo()
            if self._reserve.held:
                self._give_reserve()
            else:
                self._sweep.pending = False  # until the next compaction, or restart
        except apsw.BusyError:
            self._undo()
        self._swept_at = time.monotonic()
        self._checkpoint()

    def _note_wal(self, _connection: apsw.Connection, _name: str, pages: int) -> int:
        self._wal_bytes = pages * self._page_bytes
        return apsw.SQLITE_OK

    def _checkpoint(self) -> None:
        """Copy a long log into the database. SQLite would do it by itself, but within a commit, and hide its errors."""
        if self._wal_bytes < self._settings.checkpoint_bytes:
            return
        waiting = self._wal_bytes > RESTART_FACTOR * self._settings.checkpoint_bytes
        mode = apsw.SQLITE_CHECKPOINT_RESTART if waiting else apsw.SQLITE_CHECKPOINT_PASSIVE
        try:
            self._connection.wal_checkpoint(mode=mode)
        except (apsw.FullError, apsw.BusyError):
            pass  # the log still has everything; the next commit tries again
        self._wal_bytes = 0


def _cur_rows(changed: dict[bytes, Head]) -> list[int | bytes | None]:
    rows: list[int | bytes | None] = []
    # One tuple per row and no call: this runs for every write, with Python's lock held.
    for key, (row, kv) in changed.items():
        rows += (key, row, 0, 0, 0) if kv is None else (key, row, 1, kv.create_revision, kv.lease)
    return rows


def _insert(
    connection: apsw.Connection, statement: Callable[[int], str], values: list[int | bytes | None], columns: int
) -> None:
    """Run `statement` over all rows of the flat list, as many rows at a time as there is a statement for."""
    at, rows = 0, len(values) // columns
    for size in SIZES:
        while rows >= size:
            connection.execute(statement(size), values[at : at + size * columns])
            at += size * columns
            rows -= size


def _chunks(keys: list[bytes]) -> Iterator[list[bytes | None]]:
    """The keys in lists of the lengths SIZES, the last filled up with None."""
    at = 0
    while at < len(keys):
        left = len(keys) - at
        size = min((size for size in SIZES if size >= left), default=max(SIZES))
        chunk: list[bytes | None] = list(keys[at : at + size])
        yield chunk + [None] * (size - len(chunk))
        at += size
