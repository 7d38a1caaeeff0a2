"""Compaction: forget what no readable revision needs, in steps of a few milliseconds.

The promise is made at once and durably: `compacted` is written, and from then on older revisions are refused. Removing
the rows can wait and be interrupted: `swept` says how far it has come. Each row between the two is looked at once; the
row it replaced is unreadable now, and if it is a deletion, so is it.
"""

from __future__ import annotations

import apsw

from .schema import DELETED, PLACE_BITS, fetch

STEP_END = "SELECT max(id) FROM (SELECT id FROM log WHERE id > ? AND id < ? ORDER BY id LIMIT ?)"

STEP = f"""
BEGIN IMMEDIATE;
DELETE FROM log WHERE id IN (SELECT prev FROM log WHERE id > :swept AND id <= :upto AND prev > 0);
DELETE FROM cur WHERE (key, id) IN (SELECT key, id FROM log WHERE id > :swept AND id <= :upto AND op = {DELETED});
DELETE FROM log WHERE id > :swept AND id <= :upto AND op = {DELETED};
UPDATE meta SET value = :upto WHERE name = 'swept';
COMMIT;
"""


class Sweep:
    """What is still to be removed. Used by the writer thread only, outside of transactions."""

    def __init__(self, connection: apsw.Connection, rows: int) -> None:
        self._connection, self._rows = connection, rows
        marks: dict[str, int] = dict(fetch(connection, "SELECT name, value FROM meta"))
        self.compacted: int = marks["compacted"]
        """History before this revision is forgotten."""
        self._swept: int = marks["swept"]
        self.pending = self._swept < self._bound() - 1
        """Whether there are rows left to visit."""

    def _bound(self) -> int:
        """The first row after the compacted revision."""
        return (self.compacted + 1) << PLACE_BITS

    def begin(self, revision: int) -> None:
        """History before `revision` is forgotten, and the mark that says so committed: rows go in later steps."""
        self.compacted = revision
        self.pending = True

    def step(self) -> None:
        """Visit the next rows, in one transaction."""
        bindings = (self._swept, self._bound(), self._rows)
        upto = fetch(self._connection, STEP_END, bindings)[0][0]
        if upto is None:
            # Not worth a commit: after a restart the same rows are not found again.
            self._swept, self.pending = self._bound() - 1, False
            return
        self._connection.execute(STEP, {"swept": self._swept, "upto": upto})
        self._swept = upto
