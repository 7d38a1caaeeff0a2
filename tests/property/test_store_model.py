"""Random histories: whatever is asked, in whatever order, a real back end answers as the reference does.

The reference (`MemoryStore`) keeps every key's whole history in plain lists. A history is a list of steps, run on both;
every answer must be equal, watches opened anywhere on the way must tell the same events, and so must a reopened store.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stark.apiserver.store.protocol import (
    NO_LEASE,
    Batch,
    Compacted,
    Delete,
    Expect,
    FutureRevision,
    KeyValue,
    LeaseId,
    LeaseNotFound,
    Put,
    Revision,
    Store,
)
from tests.support.stores import DURABLE, STORES, events_up_to, open_store

EXAMPLES = int(os.environ.get("STARK_STORE_EXAMPLES", "25"))
"""Each opens a real store and waits for its disk, so few; set STARK_STORE_EXAMPLES to look longer."""
REAL = tuple(kind for kind in STORES if kind != "memory")

KEYS = (b"a", b"a\x00", b"a\xff", b"b", b"\xff", b"\xff\xff")
key = st.sampled_from(KEYS)
bound = st.sampled_from((*KEYS, b"", b"c"))
back = st.integers(0, 12)
"""How many revisions before the newest one; sometimes further than compaction left, or before the first."""
lease = st.sampled_from((0, 0, 0, 1, 2))
"""None, or the number of a lease granted before, counted from the last."""

op = st.one_of(st.tuples(st.just("put"), key, lease), st.tuples(st.just("delete"), key))
txn = st.tuples(
    st.just("txn"),
    st.lists(st.tuples(key, st.sampled_from(("is", "is", "is", "was", "missing"))), max_size=2),
    st.lists(op, max_size=4, unique_by=lambda step: step[1]),
)
step = st.one_of(
    txn,
    txn,
    txn,
    st.tuples(st.just("together"), st.lists(op, min_size=2, max_size=6)),
    st.tuples(st.just("get"), key, back),
    st.tuples(st.just("range"), bound, bound, st.integers(0, 4), back, st.booleans()),
    st.tuples(st.just("compact"), back),
    st.tuples(st.just("watch"), bound, bound, back),
    st.tuples(st.just("grant")),
    st.tuples(st.just("revoke"), st.integers(1, 3)),
    st.tuples(st.just("reopen")),
)
Step = tuple[Any, ...]


class Side:
    """One of the two stores, with its watches and leases."""

    def __init__(self, store: Store, stack: AsyncExitStack, *, at_once: bool = True) -> None:
        self.store, self._stack, self._at_once = store, stack, at_once
        self._leases: list[LeaseId] = []
        self._watches: list[AsyncIterator[Batch]] = []
        self.numbers: dict[LeaseId, LeaseId] = {NO_LEASE: NO_LEASE}
        """Each lease's number, since the two stores choose different ids."""

    async def take(self, step: Step, value: bytes) -> object:
        """The step's answer, or the refusal in a form that can be compared."""
        try:
            return self._plain(await getattr(self, "_" + step[0])(*step[1:], value))
        except (Compacted, FutureRevision, LeaseNotFound) as error:
            return type(error).__name__

    def _plain(self, answer: Any) -> Any:
        """The answer with lists for sequences and numbers for leases."""
        if isinstance(answer, KeyValue):
            return answer._replace(lease=self.numbers[answer.lease])
        if isinstance(answer, list | tuple):
            return [self._plain(part) for part in answer]
        return answer

    def _op(self, step: Step, value: bytes) -> Put | Delete:
        if step[0] == "delete":
            return Delete(step[1])
        number = step[2]
        return Put(step[1], value, self._leases[-number] if 0 < number <= len(self._leases) else NO_LEASE)

    async def _at(self, back: int) -> Revision:
        return Revision(await self.store.revision() - back + 1)

    async def _txn(self, conditions: Sequence[tuple[bytes, str]], steps: Sequence[Step], value: bytes) -> object:
        expect = []
        for name, which in conditions:
            kv, _ = await self.store.get(name)
            revision = 0 if kv is None or which == "missing" else kv.mod_revision - (which == "was")
            expect.append(Expect(name, Revision(revision)))
        return await self.store.txn(expect, [self._op(step, value) for step in steps])

    async def _together(self, steps: Sequence[Step], value: bytes) -> object:
        """Transactions in flight at once share a group commit, and are still one after the other."""
        ops = [self._op(step, value + str(n).encode()) for n, step in enumerate(steps)]
        if not self._at_once:
            return [await self._outcome(op) for op in ops]
        results = await asyncio.gather(*(self.store.txn((), (op,)) for op in ops), return_exceptions=True)
        return [type(result).__name__ if isinstance(result, Exception) else result for result in results]

    async def _outcome(self, op: Put | Delete) -> object:
        try:
            return await self.store.txn((), (op,))
        except LeaseNotFound as error:
            return type(error).__name__

    async def _get(self, name: bytes, back: int, _value: bytes) -> object:
        return await self.store.get(name, revision=None if back == 0 else await self._at(back))

    async def _range(self, start: bytes, end: bytes, limit: int, back: int, keys_only: bool, _value: bytes) -> object:
        revision = None if back == 0 else await self._at(back)
        return await self.store.range(start, end, limit=limit, revision=revision, keys_only=keys_only)

    async def _compact(self, back: int, _value: bytes) -> object:
        await self.store.compact(await self._at(back))
        return None

    async def _watch(self, start: bytes, end: bytes, back: int, _value: bytes) -> object:
        after = None if back == 0 else await self._at(back)
        watch = await self._stack.enter_async_context(self.store.watch(start, end, after=after))
        batch = await anext(watch)  # refused here, if it is refused
        self._watches.append(watch)
        return batch.events if after is not None and after <= await self.store.revision() else []

    async def _grant(self, _value: bytes) -> object:
        self._leases.append(await self.store.grant(600))
        self.numbers[self._leases[-1]] = LeaseId(len(self._leases))
        return None

    async def _revoke(self, number: int, _value: bytes) -> object:
        if number <= len(self._leases):
            await self.store.revoke(self._leases[-number])
        return None

    async def told(self) -> object:
        """What the watches have told since they were opened."""
        revision = await self.store.revision()
        return self._plain([await events_up_to(watch, revision) for watch in self._watches])

    def forget_watches(self) -> None:
        """After a restart they have ended."""
        self._watches = []


async def run(kind: str, steps: Sequence[Step]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        async with AsyncExitStack() as stack:
            real = await stack.enter_async_context(open_store(kind, Path(directory)))
            first = await real.store.revision()
            model = await stack.enter_async_context(open_store("memory", Path(directory), first=first))
            # Requests under way at once have no order in etcd, so their answers cannot be foretold.
            at_once = kind != "etcd"
            ours, truth = Side(real.store, stack, at_once=at_once), Side(model.store, stack, at_once=at_once)
            for number, step in enumerate(steps):
                if step[0] == "reopen":
                    if kind in DURABLE:
                        assert await ours.told() == await truth.told()
                        ours.store = await real.reopen()
                        ours.forget_watches()
                        truth.forget_watches()
                    continue
                value = str(number).encode()
                assert await ours.take(step, value) == await truth.take(step, value), (number, step)
            assert await ours.told() == await truth.told()
            assert await ours.take(("range", b"", b"", 0, 0, False), b"") == await truth.take(
                ("range", b"", b"", 0, 0, False), b""
            )


@pytest.mark.parametrize("kind", REAL)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=st.lists(step, min_size=5, max_size=40))
def test_a_random_history_is_answered_as_the_reference_answers_it(kind: str, steps: Sequence[Step]) -> None:
    asyncio.run(run(kind, steps))
