"""Whether a transaction whose answer was lost has happened. Pure.

A lost answer is settled by asking again: a compare-and-swap that was carried out cannot be carried out a second time,
because it changed what it compares. Its second answer is then a failed condition with the current state, and that state
tells: it is exactly what we wrote, or the condition had failed before we began, or nobody can know.

One case stays open, as with every client of such a store: a key that was to be created, was created, and was deleted by
someone else before we asked again is created a second time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum, auto

from .protocol import Delete, Expect, KeyValue, Put, Revision


def may_ask_again(expect: Sequence[Expect], ops: Sequence[Put | Delete]) -> bool:
    """Whether a lost answer can be settled: every changed key has its condition, and a put leaves its trace."""
    if not ops:
        return True
    conditions = {condition.key for condition in expect}
    return all(op.key in conditions for op in ops) and any(isinstance(op, Put) for op in ops)


class Verdict(Enum):
    """About an attempt whose answer was lost, after a later one has failed its condition."""

    DONE = auto()
    NOT_DONE = auto()
    UNKNOWN = auto()


def judge(
    expect: Sequence[Expect], ops: Sequence[Put | Delete], current: Sequence[KeyValue | None], before: int
) -> tuple[Verdict, Revision]:
    """The verdict, and for DONE the commit's revision. `before`: a revision from before the first attempt."""
    state = {condition.key: kv for condition, kv in zip(expect, current, strict=True)}
    wanted = {condition.key: condition.mod_revision for condition in expect}
    revision = _revision_if_ours(ops, state, wanted)
    if revision > before:
        return Verdict.DONE, revision
    for key, kv in state.items():
        if kv is not None and kv.mod_revision != wanted[key] and kv.mod_revision <= before:
            # It had that other revision before we began, so no attempt can have succeeded.
            return Verdict.NOT_DONE, Revision(0)
    return (Verdict.UNKNOWN if ops else Verdict.NOT_DONE), Revision(0)


def _revision_if_ours(
    ops: Sequence[Put | Delete], state: Mapping[bytes, KeyValue | None], wanted: Mapping[bytes, Revision]
) -> Revision:
    """The one revision at which all the ops' keys came to be as they are and as we wanted them; else 0."""
    revisions = set()
    for op in ops:
        kv = state[op.key]
        if isinstance(op, Delete):
            if kv is not None:
                return Revision(0)
            continue
        if kv is None or (kv.value, kv.lease) != (op.value, op.lease):
            return Revision(0)
        if (wanted[op.key] == 0) != (kv.create_revision == kv.mod_revision):
            return Revision(0)
        revisions.add(kv.mod_revision)
    return revisions.pop() if len(revisions) == 1 else Revision(0)
