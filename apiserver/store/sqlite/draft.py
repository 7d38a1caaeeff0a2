"""Decide what a group of requests changes, in memory, before a byte is written.

No clock, no file, no await: the writer hands in where the touched keys stand, and gets back rows, events and answers. A
request whose condition fails adds nothing to the draft, so it cannot hurt the others of its group.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ..protocol import Delete, Event, Expect, KeyValue, LeaseId, LeaseNotFound, Put, Revision, TxnResult
from .schema import DELETED, PLACE_BITS, PUT


class Head(NamedTuple):
    """Where a key stands: its newest row in the log, and its state unless that row is a deletion."""

    row: int
    kv: KeyValue | None


ABSENT = Head(0, None)


class Draft:
    """What one group would change. `heads` must have every key of every request; it is changed in place."""

    def __init__(self, revision: int, heads: dict[bytes, Head], leases: Mapping[LeaseId, int]) -> None:
        self.revision = revision
        self.heads = heads
        self.changed: dict[bytes, Head] = {}
        """Keys with a new newest row."""
        self.log: list[int | bytes | None] = []
        """The columns of the new rows, one row after the other."""
        self.events: list[Event] = []
        self.granted: dict[LeaseId, int] = {}
        """New leases and their TTL in seconds."""
        self.ended: list[LeaseId] = []
        self._leases = leases

    def txn(self, expect: Sequence[Expect], ops: Sequence[Put | Delete]) -> TxnResult:
        """As `Store.txn`. Raises LeaseNotFound."""
        heads = self.heads
        for key, mod_revision in expect:
            kv = heads[key].kv
            if mod_revision != (kv.mod_revision if kv is not None else 0):
                return TxnResult(False, Revision(self.revision), tuple(heads[seen.key].kv for seen in expect))
        for op in ops:
            if type(op) is Put and op.lease and not self.has_lease(op.lease):
                raise LeaseNotFound(f"lease {op.lease} does not exist or has expired")
        self._apply(ops)
        return TxnResult(True, Revision(self.revision))

    def has_lease(self, lease: LeaseId) -> bool:
        """Whether the lease exists at this point of the group."""
        return lease in self.granted or (lease in self._leases and lease not in self.ended)

    def grant(self, lease: LeaseId, ttl_s: int) -> LeaseId:
        """Add a lease."""
        self.granted[lease] = ttl_s
        return lease

    def revoke(self, lease: LeaseId, attached: Iterable[bytes]) -> None:
        """End the lease and delete its keys, those `attached` before this group and those of the group."""
        if not self.has_lease(lease):
            raise LeaseNotFound(f"lease {lease} does not exist or has expired")
        self.ended.append(lease)
        self.granted.pop(lease, None)
        keys = sorted({*attached, *self.changed})
        self._apply([Delete(key) for key in keys if (kv := self.heads[key].kv) is not None and kv.lease == lease])

    def _apply(self, ops: Sequence[Put | Delete]) -> None:
        revision = Revision(self.revision + 1)
        row = first = revision << PLACE_BITS
        for op in ops:
            key = op.key
            head = self.heads[key]
            old = head.kv
            if type(op) is Put:
                created, version = (revision, 1) if old is None else (old.create_revision, old.version + 1)
                new = KeyValue(key, op.value, revision, created, version, op.lease)
                self.log += (row, key, PUT, created, head.row, version, op.lease, op.value)
            elif old is not None:
                new = None
                self.log += (row, key, DELETED, 0, head.row, 0, 0, None)
            else:
                continue
            self.heads[key] = self.changed[key] = Head(row, new)
            self.events.append(Event(key, new, old, revision))
            row += 1
        if row > first:
            self.revision = revision
