"""The etcd store's decisions without an etcd: what a lost answer meant, and who shares whose question."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from stark.apiserver.store.doubt import Verdict, judge, may_ask_again
from stark.apiserver.store.etcd.store import Coalesced
from stark.apiserver.store.protocol import NO_LEASE, Delete, Expect, KeyValue, LeaseId, Put, Revision, Unavailable

BEFORE = 10
"""A revision from before the first attempt."""


def kv(value: bytes, mod: int, created: int = 3, lease: LeaseId = NO_LEASE) -> KeyValue:
    return KeyValue(b"a", value, Revision(mod), Revision(created), 2, lease)


UPDATE = ([Expect(b"a", Revision(5))], [Put(b"a", b"mine")])
CREATE = ([Expect(b"a", Revision(0))], [Put(b"a", b"mine")])
MOVE = ([Expect(b"a", Revision(5)), Expect(b"b", Revision(6))], [Put(b"a", b"mine"), Delete(b"b")])
BOTH = ([Expect(b"a", Revision(5)), Expect(b"b", Revision(6))], [Put(b"a", b"mine"), Put(b"b", b"mine")])
CHECK = ([Expect(b"a", Revision(5))], list[Put | Delete]())


@pytest.mark.parametrize(
    ("txn", "current", "verdict"),
    [
        pytest.param(UPDATE, [kv(b"mine", 12)], Verdict.DONE, id="our value since: done"),
        pytest.param(UPDATE, [kv(b"theirs", 12)], Verdict.UNKNOWN, id="another value since: ours may be below it"),
        pytest.param(UPDATE, [kv(b"theirs", 9)], Verdict.NOT_DONE, id="another revision from before we began"),
        pytest.param(UPDATE, [kv(b"mine", 9)], Verdict.NOT_DONE, id="our value, but from before we began"),
        pytest.param(UPDATE, [kv(b"mine", 12, created=12)], Verdict.UNKNOWN, id="an update creates nothing"),
        pytest.param(UPDATE, [kv(b"mine", 12, lease=LeaseId(7))], Verdict.UNKNOWN, id="another lease"),
        pytest.param(UPDATE, [None], Verdict.UNKNOWN, id="deleted since"),
        pytest.param(CREATE, [kv(b"mine", 12, created=12)], Verdict.DONE, id="created by us"),
        pytest.param(CREATE, [kv(b"mine", 12, created=11)], Verdict.UNKNOWN, id="created and updated"),
        pytest.param(CREATE, [kv(b"theirs", 8, created=8)], Verdict.NOT_DONE, id="existed before we began"),
        pytest.param(MOVE, [kv(b"mine", 12), None], Verdict.DONE, id="put and deleted"),
        pytest.param(MOVE, [kv(b"mine", 12), kv(b"old", 6)], Verdict.UNKNOWN, id="put by someone else"),
        pytest.param(BOTH, [kv(b"mine", 12), kv(b"mine", 12)], Verdict.DONE, id="both in one commit"),
        pytest.param(BOTH, [kv(b"mine", 12), kv(b"mine", 13)], Verdict.UNKNOWN, id="in two commits"),
        pytest.param(CHECK, [kv(b"theirs", 12)], Verdict.NOT_DONE, id="nothing was to be done"),
    ],
)
def test_a_later_failed_condition_tells_what_became_of_a_lost_answer(
    txn: tuple[Sequence[Expect], Sequence[Put | Delete]], current: list[KeyValue | None], verdict: Verdict
) -> None:
    expect, ops = txn
    found, revision = judge(expect, ops, current, BEFORE)
    assert found is verdict
    assert revision == (12 if verdict is Verdict.DONE else 0)


@pytest.mark.parametrize(
    ("expect", "ops", "may"),
    [
        pytest.param(*UPDATE, True, id="a put with its condition"),
        pytest.param(*MOVE, True, id="a put and a delete with theirs"),
        pytest.param(*CHECK, True, id="only a condition"),
        pytest.param([], [Put(b"a", b"")], False, id="a put without"),
        pytest.param([Expect(b"b", Revision(5))], [Put(b"a", b"")], False, id="a put with another key's"),
        pytest.param([Expect(b"a", Revision(5))], [Delete(b"a")], False, id="a delete leaves no trace"),
    ],
)
def test_only_what_leaves_a_trace_is_asked_again(expect: list[Expect], ops: list[Put | Delete], may: bool) -> None:
    assert may_ask_again(expect, ops) is may


async def test_a_question_is_shared_by_those_who_ask_before_it_is_asked() -> None:
    asked = 0
    go = asyncio.Event()

    async def ask() -> int:
        nonlocal asked
        asked += 1
        mine = asked
        await go.wait()
        return mine

    question = Coalesced(ask)
    first = asyncio.create_task(question())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    later = [asyncio.create_task(question()) for _ in range(5)]
    await asyncio.sleep(0)
    later[0].cancel()
    go.set()
    assert await first == 1
    assert await asyncio.gather(*later[1:]) == [2] * 4, "nobody got an answer to a question from before the call"
    assert await question() == 3
    assert asked == 3


async def test_a_question_that_failed_fails_only_those_who_shared_it() -> None:
    answers: list[int | Exception] = [Unavailable("away"), 7]

    async def ask() -> int:
        await asyncio.sleep(0)
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    question = Coalesced(ask)
    results = await asyncio.gather(question(), question(), return_exceptions=True)
    assert [type(result) for result in results] == [Unavailable, Unavailable]
    assert await question() == 7
