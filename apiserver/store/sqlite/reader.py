"""Reads, each in one short read transaction whose revision it reports. Runs in threads; knows nothing of the loop.

A read transaction is one snapshot of the database, so a page's items, its count and its revision always belong together,
whatever is being written. It must stay short: the write-ahead log cannot begin anew while anyone reads from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import apsw

from ..feed import Chapter
from ..protocol import Compacted, Event, FutureRevision, KeyValue, Page, Revision
from .schema import PLACE_BITS, PUT, SNAPSHOT, fetch, key_value, revision_of_snapshot

HISTORY_ROWS = 1_000
"""Rows of the log that one read of history looks at, so that a watch of a quiet range in a busy store reads shortly."""
HISTORY_BYTES = 8 << 20
"""Bytes of values after which one read of history ends, but for the first row."""

COLUMNS = "s.key, l.id, l.create_rev, l.version, l.lease"

NEWEST = """
SELECT {columns} FROM (
    SELECT key, id FROM cur WHERE key >= :start AND {below_end} AND live ORDER BY key LIMIT :limit
) s CROSS JOIN log l ON l.id = s.id ORDER BY s.key
"""
"""The limit is inside, or SQLite would join the whole range first."""

ROW_AT = """
CASE WHEN c.id < :bound THEN c.id ELSE (
    WITH RECURSIVE older(id) AS (
        VALUES (c.id) UNION ALL SELECT prev FROM older JOIN log ON log.id = older.id WHERE older.id >= :bound
    ) SELECT id FROM older WHERE id < :bound
) END
"""
"""The key's newest row before `bound`; only keys changed since then are followed back."""

PINNED = (
    "SELECT {columns} FROM (SELECT key, "
    + ROW_AT
    + " AS at FROM cur c WHERE key >= :start AND {below_end} ORDER BY key)"
    + f" s CROSS JOIN log l ON l.id = s.at AND l.op = {PUT} ORDER BY s.key LIMIT :limit"
)

COUNT_NEWEST = "SELECT count(*) FROM cur WHERE key > :start AND {below_end} AND live"

# A key that is alive now and was created by then was alive then; the others changed since and are followed back.
COUNT_PINNED = (
    "SELECT count(*) FROM cur c WHERE key > :start AND {below_end} AND ((live AND create_rev <= :revision) OR"
    f" EXISTS (SELECT 1 FROM log l WHERE l.op = {PUT} AND l.id = " + ROW_AT + "))"
)

HISTORY_END = f"""
SELECT max(id), count(*) FROM (
    SELECT id, bytes, sum(bytes) OVER (ORDER BY id) AS total FROM (
        SELECT id, coalesce(length(value), 0) AS bytes FROM log WHERE id >= ? ORDER BY id LIMIT {HISTORY_ROWS}
    )
) WHERE total - bytes < {HISTORY_BYTES}
"""

HISTORY = """
SELECT l.key, l.id, l.op, l.create_rev, l.version, l.lease, l.value, p.op, p.id, p.create_rev, p.version, p.lease, p.value
FROM log l LEFT JOIN log p ON p.id = l.prev WHERE l.id >= :first AND l.id < :bound AND l.key >= :start AND {below_end}
ORDER BY l.id
"""


class Range(NamedTuple):
    """What to read; fields as in `Store.range`."""

    start: bytes
    end: bytes
    limit: int = 0
    revision: Revision | None = None
    keys_only: bool = False


class Reader:
    """One connection; used by one thread at a time."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def get(self, key: bytes, revision: Revision | None) -> tuple[KeyValue | None, Revision]:
        """As `Store.get`."""
        with self._snapshot(revision) as current:
            found = self._items(Range(key, key + b"\0", 0, revision), current)
        return (found[0] if found else None), Revision(current)

    def range(self, wanted: Range) -> Page:
        """As `Store.range`."""
        with self._snapshot(wanted.revision) as current:
            items = self._items(wanted, current)
            more = 0 < wanted.limit <= len(items)
            remaining = self._count(wanted._replace(start=items[-1].key), current) if more else 0
        return Page(items, Revision(current) if wanted.revision is None else wanted.revision, remaining)

    def history(self, start: bytes, end: bytes, after: int) -> Chapter:
        """The next events later than `after`; as many as one short read finds. Raises Compacted."""
        with self._snapshot(None) as current:
            compacted = self._compacted()
            if after < compacted:
                raise Compacted(after, compacted)
            first = (after + 1) << PLACE_BITS
            last, rows = fetch(self._connection, HISTORY_END, (first,))[0]
            # A commit is never told in parts: if the limits cut one in the middle, the rest of it comes along.
            upto = current if rows == 0 else last >> PLACE_BITS
            bindings: dict[str, int | bytes] = {
                "first": first,
                "bound": (upto + 1) << PLACE_BITS,
                "start": start,
                "end": end,
            }
            found = fetch(self._connection, _below(HISTORY, "l.key", end), bindings)
        return Chapter([_event(*row) for row in found], upto)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    @contextmanager
    def _snapshot(self, revision: Revision | None) -> Iterator[int]:
        self._connection.execute("BEGIN")
        try:
            newest_row, compacted = fetch(self._connection, SNAPSHOT)[0]
            current = revision_of_snapshot(newest_row, compacted)
            if revision is not None and revision < compacted:
                raise Compacted(revision, compacted)
            if revision is not None and revision > current:
                raise FutureRevision(revision, current)
            yield current
        finally:
            self._connection.execute("ROLLBACK")

    def _compacted(self) -> int:
        compacted: int = fetch(self._connection, SNAPSHOT)[0][1]
        return compacted

    def _items(self, wanted: Range, current: int) -> list[KeyValue]:
        newest = wanted.revision is None or wanted.revision == current
        columns = COLUMNS + (", x''" if wanted.keys_only else ", l.value")
        statement = _below(NEWEST if newest else PINNED, "key", wanted.end).replace("{columns}", columns)
        bindings: dict[str, int | bytes] = {"start": wanted.start, "end": wanted.end, "limit": wanted.limit or -1}
        if not newest:
            bindings["bound"] = _bound(wanted.revision)
        return [key_value(*row) for row in fetch(self._connection, statement, bindings)]

    def _count(self, wanted: Range, current: int) -> int:
        newest = wanted.revision is None or wanted.revision == current
        bindings: dict[str, int | bytes] = {"start": wanted.start, "end": wanted.end}
        if not newest:
            assert wanted.revision is not None
            bindings |= {"revision": wanted.revision, "bound": _bound(wanted.revision)}
        statement = _below(COUNT_NEWEST if newest else COUNT_PINNED, "key", wanted.end)
        count: int = fetch(self._connection, statement, bindings)[0][0]
        return count


def _bound(revision: Revision | None) -> int:
    """The first row that is later than the revision."""
    assert revision is not None
    return (revision + 1) << PLACE_BITS


def _below(statement: str, column: str, end: bytes) -> str:
    return statement.replace("{below_end}", f"{column} < :end" if end else "true")


def _event(
    key: bytes,
    row: int,
    op: int,
    create_rev: int,
    version: int,
    lease: int,
    value: bytes,
    old_op: int | None,
    old_row: int,
    old_create_rev: int,
    old_version: int,
    old_lease: int,
    old_value: bytes,
) -> Event:
    current = key_value(key, row, create_rev, version, lease, value) if op == PUT else None
    previous = key_value(key, old_row, old_create_rev, old_version, old_lease, old_value) if old_op == PUT else None
    return Event(key, current, previous, Revision(row >> PLACE_BITS))
