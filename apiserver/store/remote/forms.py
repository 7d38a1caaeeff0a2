"""The store's values as plain tuples, which marshal takes, and back. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from ..protocol import (
    Compacted,
    Delete,
    Event,
    Expect,
    FutureRevision,
    KeyValue,
    LeaseNotFound,
    NoSpace,
    Page,
    Put,
    Revision,
    StoreError,
    TooLarge,
    TxnResult,
    Unavailable,
    WatcherTooSlow,
)
from .link import Refused

Plain = tuple[Any, ...]
_new = tuple.__new__
"""Makes a named tuple in half the time of calling its class, which is worth it only for what every write makes."""

ERRORS: Final[dict[str, type[StoreError]]] = {
    error.__name__: error for error in (TooLarge, LeaseNotFound, WatcherTooSlow, NoSpace, Unavailable)
}
"""Those that are made with a message alone."""
INVALID: Final = "ValueError"
"""Of a request that no caller should make."""


def plain_ops(ops: Sequence[Put | Delete]) -> list[Plain]:
    """A deletion has only its key."""
    return [tuple(op) for op in ops]


def read_expect(expect: Sequence[Plain]) -> list[Expect]:
    """What `tuple` made of the conditions."""
    return [_new(Expect, each) for each in expect]


def read_ops(ops: Sequence[Plain]) -> list[Put | Delete]:
    """What `plain_ops` made."""
    return [_new(Put, op) if len(op) > 1 else _new(Delete, op) for op in ops]


def plain_kv(kv: KeyValue | None) -> Plain | None:
    """A key, or its absence."""
    return None if kv is None else tuple(kv)


def read_kv(kv: Plain | None) -> KeyValue | None:
    """What `plain_kv` made."""
    return None if kv is None else _new(KeyValue, kv)


def plain_result(result: TxnResult) -> Plain:
    """The outcome of a transaction."""
    return (result.succeeded, result.revision, [plain_kv(kv) for kv in result.current])


def read_result(result: Plain) -> TxnResult:
    """What `plain_result` made."""
    succeeded, revision, current = result
    return _new(TxnResult, (succeeded, revision, tuple([read_kv(kv) for kv in current])))


def plain_page(page: Page) -> Plain:
    """Part of a range."""
    return ([tuple(kv) for kv in page.items], page.revision, page.remaining)


def read_page(page: Plain) -> Page:
    """What `plain_page` made."""
    items, revision, remaining = page
    return Page([_new(KeyValue, kv) for kv in items], Revision(revision), remaining)


def plain_events(events: Sequence[Event]) -> list[Plain]:
    """Changes."""
    return [(event[0], plain_kv(event[1]), plain_kv(event[2]), event[3]) for event in events]


def read_events(events: Sequence[Plain]) -> list[Event]:
    """What `plain_events` made."""
    return [
        _new(Event, (key, read_kv(current), read_kv(previous), revision)) for key, current, previous, revision in events
    ]


def plain_error(error: Exception) -> tuple[str, Plain]:
    """The name of an error, and what it was made with."""
    if isinstance(error, Compacted):
        return "Compacted", (error.requested, error.compacted)
    if isinstance(error, FutureRevision):
        return "FutureRevision", (error.requested, error.current)
    name = INVALID if isinstance(error, ValueError) else type(error).__name__
    return (name if name in ERRORS or name == INVALID else Unavailable.__name__), (str(error),)


def read_error(refused: Refused) -> Exception:
    """What `plain_error` made."""
    if refused.name == "Compacted":
        return Compacted(*refused.values)
    if refused.name == "FutureRevision":
        return FutureRevision(*refused.values)
    if refused.name == INVALID:
        return ValueError(*refused.values)
    return ERRORS[refused.name](*refused.values)
