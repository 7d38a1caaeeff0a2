"""The tables, and the statements that more than one module needs.

`log` has one row per change. Its `id` is the revision and the change's place within the commit in one number, so that
the log is in revision order, a row is found by what points to it, and one commit may hold many keys. `prev` is the id of
the key's row before this one (0: none): following it from `cur` leads to the key's state at any kept revision, without
an index over history that every write would pay for. `cur` says which row is each key's newest; a deleted key stays
there with `live = 0` until compaction has passed its deletion. A value is stored once, in the log.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apsw

from ..protocol import KeyValue, LeaseId, Revision
from .datadir import DataDirUnusable
from .settings import SqliteSettings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Bindings = Sequence[int | bytes | str | None] | Mapping[str, int | bytes | str | None]

PLACE_BITS = 20
"""Bits of a row's id for its place within the commit: a commit has fewer keys than 2**20, since each takes a byte of
VALUE_BYTES_MAX or was put by such a commit; the other 43 bits last for 10**12 revisions."""

FORMAT = 1
APPLICATION_ID = 0x5374726B  # "Strk"
BUSY_TIMEOUT_MS = 5_000

TABLES = f"""
CREATE TABLE log(
    id INTEGER PRIMARY KEY, key BLOB NOT NULL, op INTEGER NOT NULL, create_rev INTEGER NOT NULL, prev INTEGER NOT NULL,
    version INTEGER NOT NULL, lease INTEGER NOT NULL, value BLOB
);
CREATE TABLE cur(
    key BLOB PRIMARY KEY, id INTEGER NOT NULL, live INTEGER NOT NULL, create_rev INTEGER NOT NULL, lease INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX cur_lease ON cur(lease) WHERE lease <> 0;
CREATE TABLE lease(id INTEGER PRIMARY KEY, ttl_s INTEGER NOT NULL);
CREATE TABLE meta(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO meta VALUES ('compacted', 0), ('swept', 0);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {FORMAT};
"""

PUT, DELETED = 1, 0
LOG_COLUMNS, CUR_COLUMNS = 8, 5

SNAPSHOT = """
SELECT coalesce((SELECT max(id) FROM log), 0), (SELECT value FROM meta WHERE name = 'compacted')
"""
"""The newest row, and up to where history is compacted; `revision_of_snapshot` makes the revision of them."""


def revision_of_snapshot(newest_row: int, compacted: int) -> int:
    """The store's revision. Compaction may have removed the newest row, a deletion; then its own mark is the revision."""
    return max(newest_row >> PLACE_BITS, compacted, 1)


@cache
def insert_log(rows: int) -> str:
    """Inserts so many rows into `log` in one step, since every step may cost the thread a wait for Python's lock."""
    return "INSERT INTO log VALUES " + ",".join(["(?,?,?,?,?,?,?,?)"] * rows)


@cache
def upsert_cur(rows: int) -> str:
    """Sets so many rows of `cur` in one step."""
    return (
        "INSERT INTO cur VALUES "
        + ",".join(["(?,?,?,?,?)"] * rows)
        + " ON CONFLICT(key) DO UPDATE SET id = excluded.id, live = excluded.live,"
        " create_rev = excluded.create_rev, lease = excluded.lease"
    )


@cache
def select_heads(keys: int) -> str:
    """The newest row of each of so many keys; fill up with NULL, which matches nothing."""
    return (
        "SELECT c.key, c.id, l.op, l.create_rev, l.version, l.lease, l.value FROM cur c CROSS JOIN log l ON l.id = c.id"
        f" WHERE c.key IN ({','.join('?' * keys)})"
    )


def fetch(connection: apsw.Connection, statement: str, bindings: Bindings | None = None) -> list[tuple[Any, ...]]:
    """All rows of a statement. Here, and only here, what SQLite answers is taken at its word about types."""
    return connection.execute(statement, bindings).fetchall()


def key_value(key: bytes, row: int, create_rev: int, version: int, lease: int, value: bytes) -> KeyValue:
    """A key's state from the columns of its row."""
    return KeyValue(key, value, Revision(row >> PLACE_BITS), Revision(create_rev), version, LeaseId(lease))


def open_writer(database: Path, settings: SqliteSettings) -> apsw.Connection:
    """The one connection that writes; makes the tables in a new file. Raises DataDirUnusable."""
    try:
        connection = apsw.Connection(str(database))
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        connection.execute(f"PRAGMA page_size = {settings.page_bytes}")
        connection.execute("PRAGMA journal_mode = WAL")
        # FULL: the log is on disk before a commit is acknowledged. The two others are the same promise on macOS.
        connection.execute("PRAGMA synchronous = FULL; PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON")
        connection.execute(f"PRAGMA cache_size = {-(settings.cache_bytes >> 10)}; PRAGMA temp_store = MEMORY")
        # The log shrinks back to this after a large commit or a long read made it grow.
        connection.execute(f"PRAGMA journal_size_limit = {4 * settings.checkpoint_bytes}")
        _check_format(connection, database)
    except apsw.Error as error:
        raise DataDirUnusable(f"{database}: cannot be opened as a store: {error}") from error
    return connection


def _check_format(connection: apsw.Connection, database: Path) -> None:
    application_id = connection.pragma("application_id")
    found = connection.pragma("user_version")
    if application_id == 0 and found == 0 and not connection.execute("SELECT 1 FROM sqlite_schema").fetchall():
        connection.execute("BEGIN IMMEDIATE;" + TABLES + "COMMIT")
    elif application_id != APPLICATION_ID or found != FORMAT:
        raise DataDirUnusable(f"{database}: format {found} is not the format {FORMAT} of this version")


def open_reader(database: Path, settings: SqliteSettings) -> apsw.Connection:
    """A connection that cannot write."""
    connection = apsw.Connection(str(database))
    connection.set_busy_timeout(BUSY_TIMEOUT_MS)
    connection.execute(f"PRAGMA query_only = ON; PRAGMA cache_size = {-(settings.cache_bytes >> 10)}")
    return connection
