"""Transactions in etcd's words. Pure; `store/doubt` judges one whose answer was lost."""

from __future__ import annotations

from collections.abc import Sequence

from ..protocol import Delete, Expect, KeyValue, Put
from .messages import COMPARE_MOD, Message, TxnRequest, key_value


def txn_request(expect: Sequence[Expect], ops: Sequence[Put | Delete]) -> Message:
    """The transaction; when a condition fails it reads the expected keys."""
    return TxnRequest(
        compare=[{"target": COMPARE_MOD, "key": key, "mod_revision": revision} for key, revision in expect],
        success=[
            {"request_put": {"key": op.key, "value": op.value, "lease": op.lease}}
            if isinstance(op, Put)
            else {"request_delete_range": {"key": op.key}}
            for op in ops
        ],
        failure=[{"request_range": {"key": condition.key}} for condition in expect],
    )


def current_of(response: Message) -> tuple[KeyValue | None, ...]:
    """The state of the expected keys, from the answer to a transaction whose condition failed."""
    ranges = (each.response_range.kvs for each in response.responses)
    return tuple(key_value(kvs[0]) if kvs else None for kvs in ranges)
