"""Decide what a group of requests changes, in memory, before a byte is written.

No clock, no file, no await: the writer hands in where the touched keys stand, and gets back rows, events and answers. A
request whose condition fails adds nothing to the draft, so it cannot hurt the others of its group.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ..protocol import (
    Compacted,
    Delete,
    Event,
    Expect,
    FutureRevision,
    KeyValue,
    LeaseId,
    LeaseNotFound,
    Put,
    Revision,
    TxnResult,
)
from .heads import Head
from .schema import DELETED, PLACE_BITS, PUT

_new = tuple.__new__
"""Makes a named tuple in half the time of calling its class, which is worth it only here: several for every write."""


class Draft:
    """What one group would change. `heads` must have every key of every request; it is changed in place."""

    def __init__(self, revision: int, compacted: int, heads: dict[bytes, Head], leases: Mapping[LeaseId, int]) -> None:
        self.revision, self.compacted = revision, compacted
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
            kv = heads[key][1]
            if mod_revision if kv is None else mod_revision != kv.mod_revision:
                return TxnResult(False, Revision(self.revision), tuple(heads[seen.key][1] for seen in expect))
        for op in ops:
            if type(op) is Put and op[2] and not self.has_lease(op[2]):
                raise LeaseNotFound(f"lease {op.lease} does not exist or has expired")
        return _new(TxnResult, (True, self._apply(ops), ()))

    def compact(self, revision: Revision) -> None:
        """As `Store.compact`. Raises Compacted, FutureRevision."""
        if revision <= self.compacted:
            raise Compacted(revision, self.compacted)
        if revision > self.revision:
            raise FutureRevision(revision, self.revision)
        self.compacted = revision

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
        self._apply([Delete(key) for key in keys if (kv := self.heads[key][1]) is not None and kv.lease == lease])

    def _apply(self, ops: Sequence[Put | Delete]) -> Revision:
        """Add the changes; the revision they have, or the one from before if there are none."""
        heads = self.heads
        revision = Revision(self.revision + 1)
        row = first = revision << PLACE_BITS
        for op in ops:
            key = op[0]
            newest, old = heads[key]
            if type(op) is Put:
                _, value, lease = op
                created, version = (revision, 1) if old is None else (old.create_revision, old.version + 1)
                new = _new(KeyValue, (key, value, revision, created, version, lease))
                self.log += (row, key, PUT, created, newest, version, lease, value)
                heads[key] = self.changed[key] = (row, new)
                self.events.append(_new(Event, (key, new, old, revision)))
            elif old is not None:
                self.log += (row, key, DELETED, 0, newest, 0, 0, None)
                heads[key] = self.changed[key] = (row, None)
                self.events.append(_new(Event, (key, None, old, revision)))
            else:
                continue
            row += 1
        if row == first:
            return Revision(self.revision)
        self.revision = revision
        return revision
