"""What etcd's refusals mean, as one table over their texts: gRPC's codes alone are too coarse.

The texts are etcd's `api/v3rpc/rpctypes/error.go`, the same since 3.4. What is not in the table is judged by its code,
and on the side of caution: whoever wrote does not know whether it happened.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Any

import grpc

from ..protocol import LeaseNotFound, NoSpace, StoreError, TooLarge, Unavailable


class EtcdUnusable(StoreError):
    """There is no etcd we could work with; the message says what was tried and what to do."""


class Meaning(Enum):
    """What a failed attempt says about the request and about what to do next."""

    COMPACTED = auto()
    FUTURE = auto()
    NO_SPACE = auto()
    TOO_LARGE = auto()
    LEASE_NOT_FOUND = auto()
    LEASE_EXISTS = auto()
    TOKEN = auto()
    """Not done: authenticate again."""
    UNSENT = auto()
    """Not done: ask another member, or later."""
    UNKNOWN = auto()
    """Perhaps done, perhaps not."""
    REFUSED = auto()
    """Not done, and asking again would not help."""


TEXTS = (
    ("revision has been compacted", Meaning.COMPACTED),
    ("future revision", Meaning.FUTURE),
    ("database space exceeded", Meaning.NO_SPACE),
    ("request is too large", Meaning.TOO_LARGE),
    ("message larger than max", Meaning.TOO_LARGE),
    ("too many operations in txn", Meaning.TOO_LARGE),
    ("requested lease not found", Meaning.LEASE_NOT_FOUND),
    ("lease already exists", Meaning.LEASE_EXISTS),
    ("invalid auth token", Meaning.TOKEN),
    ("revision of auth store is old", Meaning.TOKEN),
    ("user name is empty", Meaning.TOKEN),
    ("etcdserver: no leader", Meaning.UNSENT),
    ("not supported for learner", Meaning.UNSENT),
    ("too many requests", Meaning.UNSENT),
    ("failed to connect to all addresses", Meaning.UNSENT),
)

REFUSING_CODES = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.NOT_FOUND,
    }
)

ALARM = (
    "etcd's database has reached its quota and takes only reads, deletes and compaction: delete what is not needed,"
    " run `etcdctl compact` and `etcdctl defrag`, then `etcdctl alarm disarm`; or raise --quota-backend-bytes"
)


def meaning_of(error: Any) -> Meaning:
    """Of a `grpc.aio.AioRpcError`."""
    details = error.details() or ""
    for text, meaning in TEXTS:
        if text in details:
            return meaning
    return Meaning.REFUSED if error.code() in REFUSING_CODES else Meaning.UNKNOWN


def said(error: Any) -> str:
    """The error in words, on one line."""
    code = error.code().name.lower().replace("_", " ")
    details = " ".join((error.details() or "").split())
    return f"{code}: {details}" if details else str(code)


class Refusal(Exception):
    """etcd's answer is an error that asking again will not change. `doubtful`: an attempt before may have been done."""

    def __init__(self, meaning: Meaning, message: str, doubtful: bool) -> None:
        super().__init__(message)
        self.meaning, self.doubtful = meaning, doubtful

    def as_store_error(self) -> StoreError:
        """What the caller of a store is told; COMPACTED and FUTURE need the revision and are told elsewhere."""
        if self.doubtful:
            return Unavailable(f"etcd failed during the request, and then refused it ({self})")
        if self.meaning is Meaning.NO_SPACE:
            return NoSpace(ALARM)
        if self.meaning is Meaning.TOO_LARGE:
            return TooLarge(f"etcd finds the request too large: {self}")
        if self.meaning is Meaning.LEASE_NOT_FOUND:
            return LeaseNotFound(f"etcd knows no such lease: {self}")
        return Unavailable(f"etcd refuses: {self}")
