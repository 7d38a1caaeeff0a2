"""What the event loop asks of the writer thread, and what it gets back: one message each way per group."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

from ..protocol import Delete, Event, Expect, LeaseId, Put, Revision, TxnResult


class Txn(NamedTuple):
    """`Store.txn`. `size_bytes` counts the keys and values of `ops`."""

    expect: Sequence[Expect]
    ops: Sequence[Put | Delete]
    size_bytes: int
    answer: asyncio.Future[TxnResult]


class Grant(NamedTuple):
    """`Store.grant`, with the id chosen."""

    lease: LeaseId
    ttl_s: int
    answer: asyncio.Future[LeaseId]


class Revoke(NamedTuple):
    """`Store.revoke`; without `answer` the lease has expired and nobody waits."""

    lease: LeaseId
    answer: asyncio.Future[None] | None


class Compact(NamedTuple):
    """`Store.compact`; without `answer` it is the store's own, which may be late or unnecessary."""

    revision: Revision
    answer: asyncio.Future[None] | None


class Close(NamedTuple):
    """Finish everything asked before, and end the thread."""

    answer: None = None


Request = Txn | Grant | Revoke | Compact | Close


class Parcel(NamedTuple):
    """Requests that were made together, in their order, and the bytes of their keys and values."""

    requests: list[Request]
    size_bytes: int


class Outcome(NamedTuple):
    """What one durable commit did, for the loop to tell: first the watches and leases, then who asked."""

    revision: int
    events: list[Event]
    requests: Sequence[Request]
    results: Sequence[Any]
    """Of each request its result, or the exception that is its answer."""
    granted: dict[LeaseId, int]
    ended: list[LeaseId]
    compacted: int
    unexpired: list[LeaseId]
    """Leases that have expired and whose keys could not be deleted yet: try again."""
