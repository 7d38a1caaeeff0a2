"""Bring every value under the key that writes, while everybody goes on reading and writing.

Nothing is remembered: a value says by itself which key it is under, so whoever was interrupted begins again and skips
what is done. A value that changed between the reading and the writing was written by somebody with the same keys.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from ..store.protocol import Expect, KeyValue, LeaseNotFound, Put, Store, prefix_end
from .envelope import Undecipherable, is_sealed, parse
from .keyring import Keyring
from .store import EncryptingStore

PAGE_KEYS: Final = 200
"""Values read at once: the loop is free for others between two pages."""
TXN_KEYS: Final = 50
"""Values written in one commit."""
TXN_BYTES: Final = 500_000
"""Bytes written in one commit, unless one value alone is larger."""


@dataclass(slots=True)
class Census:
    """Values of the places with a rule: how many each key opens, and how many are in clear."""

    by_key: Counter[str] = field(default_factory=Counter)
    clear: int = 0
    outdated: int = 0
    """Those that are not as they would be written now."""


async def take_census(beneath: Store, ring: Keyring, *, opens: bool = False) -> Census:
    """Look at every value; with `opens`, open it as well. Raises Undecipherable, and what stores raise."""
    census = Census()
    async for page in _pages(beneath, ring):
        for kv in page:
            if is_sealed(kv.value):
                census.by_key[parse(kv.key, kv.value).key_name] += 1
            else:
                census.clear += 1
            if opens:
                ring.open(kv.key, kv.value)
            census.outdated += not ring.is_current(kv.key, kv.value)
    return census


async def reencrypt(store: EncryptingStore, rewritten: Counter[str]) -> None:
    """Rewrite what is not as it would be written now; counts in `rewritten` by key. Raises what stores raise."""
    async for page in _pages(store.beneath, store.ring):
        outdated = [kv for kv in page if not store.ring.is_current(kv.key, kv.value)]
        for group in _groups(outdated):
            if not await _rewrite(store, group, rewritten):
                for kv in group:
                    await _rewrite(store, [kv], rewritten)


async def _rewrite(store: EncryptingStore, group: Sequence[KeyValue], rewritten: Counter[str]) -> bool:
    """False when one of them has changed or is gone meanwhile, and nothing was written."""
    ring = store.ring
    puts = [Put(kv.key, ring.seal(kv.key, ring.open(kv.key, kv.value)), kv.lease) for kv in group]
    try:
        result = await store.beneath.txn([Expect(kv.key, kv.mod_revision) for kv in group], puts)
    except LeaseNotFound:
        return False
    if result.succeeded:
        for put in puts:
            key = ring.writing(put.key)
            rewritten[key.name if key is not None else ""] += 1
    return result.succeeded


async def _pages(store: Store, ring: Keyring) -> AsyncIterator[Sequence[KeyValue]]:
    """Every value of a place with a rule, as it is stored. A place that two rules cover is met once."""
    for prefix in outermost(ring.prefixes):
        start, remaining = prefix, 1
        while remaining:
            page = await store.range(start, prefix_end(prefix), limit=PAGE_KEYS)
            if page.items:
                yield page.items
                start = page.items[-1].key + b"\0"
            remaining = page.remaining


def outermost(prefixes: Sequence[bytes]) -> list[bytes]:
    """Those that are in no other one, in order."""
    found: list[bytes] = []
    for prefix in sorted(prefixes):
        if not found or not prefix.startswith(found[-1]):
            found.append(prefix)
    return found


def _groups(items: Sequence[KeyValue]) -> list[list[KeyValue]]:
    groups: list[list[KeyValue]] = []
    size = 0
    for kv in items:
        if not groups or len(groups[-1]) == TXN_KEYS or size + len(kv.value) > TXN_BYTES:
            groups.append([])
            size = 0
        groups[-1].append(kv)
        size += len(kv.value)
    return groups


async def any_sealed(store: Store, prefixes: Sequence[bytes]) -> Undecipherable | None:
    """Why a store must not be used without its keys: the first sealed value found; None when nothing is sealed."""
    for prefix in prefixes:
        start, remaining = prefix, 1
        while remaining:
            page = await store.range(start, prefix_end(prefix), limit=PAGE_KEYS)
            for kv in page.items:
                if is_sealed(kv.value):
                    name = parse(kv.key, kv.value).key_name
                    return Undecipherable(f"{kv.key.decode(errors='replace')} was encrypted with the key {name!r}")
            remaining = page.remaining
            start = page.items[-1].key + b"\0" if page.items else start
    return None
