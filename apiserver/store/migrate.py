"""Copy everything from one store to another, whatever the back ends are.

The source is read at one revision, page by page. The target must be empty, and every key is created only if it is
absent, so a copy never mixes with what someone else writes there. Afterwards the target is read again and compared byte
by byte. Revisions are the target's own: clients that were watching list again, as after any compaction. What history
there was stays behind.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from .protocol import NO_LEASE, Expect, KeyValue, LeaseId, LeaseNotFound, Put, Revision, Store, prefix_end

ROOTS = (b"/credentials/", b"/registry/")
"""Everything the API server stores begins with one of them; an etcd may hold other programs' keys beside it."""
PAGE_KEYS = 500
"""Keys read at once."""
TXN_KEYS = 100
"""Keys written in one commit; etcd takes 128."""
TXN_BYTES = 1_000_000
"""Bytes written in one commit, unless one value alone is larger."""


class MigrationRefused(Exception):
    """The copy was not begun, or it is not a true copy. The message says why and what to do."""


@dataclass
class Copied:
    """What was copied: `revision` is the source's that was read."""

    revision: Revision
    keys: int = 0
    value_bytes: int = 0
    expired: int = 0
    """Keys that were left out because their lease ended meanwhile."""
    leases: dict[LeaseId, LeaseId | None] = field(default_factory=dict)
    """The target's lease for each of the source's; None when it had ended."""


async def migrate(source: Store, target: Store) -> Copied:
    """Copy and verify. Raises MigrationRefused, and what stores raise (Compacted: somebody compacted the source)."""
    for root in ROOTS:
        found = await target.range(root, prefix_end(root), limit=1, keys_only=True)
        if found.items:
            raise MigrationRefused(
                f"the target already holds {1 + found.remaining} keys under {root.decode()}: choose an empty one"
            )
    copied = Copied(await source.revision())
    async for page in _pages(source, copied.revision):
        kept = [kv for kv in page if await _lease(source, target, copied, kv.lease) is not None]
        copied.expired += len(page) - len(kept)
        for group in _groups(kept):
            await _create(target, group, copied)
    await _verify(source, target, copied)
    return copied


async def _pages(store: Store, revision: Revision) -> AsyncIterator[Sequence[KeyValue]]:
    for root in ROOTS:
        start, remaining = root, 1
        while remaining:
            page = await store.range(start, prefix_end(root), limit=PAGE_KEYS, revision=revision)
            if page.items:
                yield page.items
                start = page.items[-1].key + b"\0"
            remaining = page.remaining


async def _lease(source: Store, target: Store, copied: Copied, lease: LeaseId) -> LeaseId | None:
    """The target's lease that stands for the source's, with its full time; None when that has ended."""
    if lease == NO_LEASE:
        return NO_LEASE
    if lease not in copied.leases:
        try:
            copied.leases[lease] = await target.grant(await source.renew(lease))
        except LeaseNotFound:
            copied.leases[lease] = None
    return copied.leases[lease]


def _groups(items: Sequence[KeyValue]) -> list[list[KeyValue]]:
    """Parts that one commit takes."""
    groups: list[list[KeyValue]] = []
    size = 0
    for kv in items:
        weight = 2 * len(kv.key) + len(kv.value)
        if not groups or len(groups[-1]) == TXN_KEYS or size + weight > TXN_BYTES:
            groups.append([])
            size = 0
        groups[-1].append(kv)
        size += weight
    return groups


async def _create(target: Store, group: Sequence[KeyValue], copied: Copied) -> None:
    puts = [Put(kv.key, kv.value, copied.leases.get(kv.lease) or NO_LEASE) for kv in group]
    result = await target.txn([Expect(put.key, Revision(0)) for put in puts], puts)
    if not result.succeeded:
        raise MigrationRefused("somebody else writes to the target: stop every API server that uses it and empty it")
    copied.keys += len(puts)
    copied.value_bytes += sum(len(put.value) for put in puts)


async def _verify(source: Store, target: Store, copied: Copied) -> None:
    """Read both again: the same keys with the same values, but for what a lease has ended. Raises MigrationRefused."""
    theirs = _flat(_pages(target, await target.revision()))
    keys = value_bytes = 0
    copy = await anext(theirs, None)
    async for kv in _flat(_pages(source, copied.revision)):
        if copy is not None and copy.key == kv.key:
            if copy.value != kv.value:
                raise MigrationRefused(f"{kv.key!r} is not the same in the target: empty it and start over")
            keys, value_bytes = keys + 1, value_bytes + len(copy.value)
            copy = await anext(theirs, None)
        elif kv.lease == NO_LEASE:
            raise MigrationRefused(f"{kv.key!r} is missing in the target: empty it and start over")
    if copy is not None:
        raise MigrationRefused(f"the target holds {copy.key!r}, the source does not: empty the target and start over")
    if not copied.leases and (keys, value_bytes) != (copied.keys, copied.value_bytes):
        raise MigrationRefused(
            f"{copied.keys} keys were written, but {keys} were found: empty the target and start over"
        )


async def _flat(pages: AsyncIterator[Sequence[KeyValue]]) -> AsyncIterator[KeyValue]:
    async for page in pages:
        for kv in page:
            yield kv
