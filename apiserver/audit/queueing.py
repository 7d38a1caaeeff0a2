"""What is to be recorded, on the event loop: entries queue within bounds, and answers wait until theirs are on disk.

The loop never waits for the disk. An answer that must not leave before its record is on disk waits for a future; one sync
serves all that wait. What nobody waits for is handed over a tenth of a second later at most, many at once. Where entries go
from here the classes beneath know: to a file, or to the process that has the file.
"""

from __future__ import annotations

import abc
import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Protocol, TypeVar

from stark.crds.audit.chain import Link

from ..errors import InsufficientStorage, ServiceUnavailable
from .settings import AuditSettings

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)

ENTRIES_AT_ONCE: Final = 64
"""Entries that are made into records before the event loop may go on: it never waits for more than these."""
HANDED_OVER: Final = 256
"""Entries past which they are handed over at once."""
RETRY_S: Final = 0.5
"""Between two attempts to write when the disk refuses."""


class Encodes(Protocol[T_contra]):
    """Makes the bytes of a record."""

    def encode(self, entry: T_contra, /) -> bytes:
        """The record as a JSON object. Never fails."""
        ...


@dataclass(slots=True)
class Batch(Generic[T]):
    """What is handed over at once."""

    entries: list[T]
    sync: bool
    waiters: list[asyncio.Future[None]] = field(default_factory=list)
    refused: tuple[int, str, float, float] | None = None
    is_last: bool = False


class EntryQueue(abc.ABC, Generic[T]):
    """Takes entries on the event loop and sees to it that they are written, one batch at a time."""

    def __init__(self, settings: AuditSettings) -> None:
        self._settings = settings
        self._loop: asyncio.AbstractEventLoop
        self._pending: list[T] = []
        self._pending_bytes = 0
        self._under_way: tuple[int, int] = (0, 0)
        """Entries and bytes that are handed over, and not written yet."""
        self._waiters: list[asyncio.Future[None]] = []
        self._waiting: dict[asyncio.Future[None], float] = {}
        """Until when, of all who wait; in the order in which they began."""
        self._patience: asyncio.TimerHandle | None = None
        self._room: list[asyncio.Future[None]] = []
        self._is_busy = False
        self._timer: asyncio.TimerHandle | None = None
        self._refused = 0
        self._refused_from = self._refused_to = 0.0
        self._synced_at = 0.0
        self.trouble = ""
        """Why nothing can be written at present."""
        self.errors = 0
        """Failed attempts to write."""
        self.events = 0
        """Entries written."""

    # Where entries go.

    @property
    @abc.abstractmethod
    def is_low(self) -> bool:
        """The disk is full: only what frees space should go on."""

    @property
    @abc.abstractmethod
    def is_unsigned(self) -> bool:
        """Something was written since the last signature or sync."""

    @property
    @abc.abstractmethod
    def link(self) -> Link:
        """The last line that is known of."""

    @abc.abstractmethod
    def _give(self, batch: Batch[T]) -> None:
        """Begin to write the batch; `_done` is to be called on the loop when it is."""

    @abc.abstractmethod
    def start(self, details: Mapping[str, Any]) -> None:
        """Open the log and begin. Raises OSError, JournalHeld."""

    @abc.abstractmethod
    async def close(self) -> None:
        """Write what there is, and end. What cannot be written by then is logged, not waited for."""

    # Taking entries.

    def _begin(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._synced_at = self._loop.time()

    @property
    def queued(self) -> int:
        """Entries that are not written yet."""
        return len(self._pending) + self._under_way[0]

    @property
    def is_hampered(self) -> bool:
        """A change may have to be refused."""
        return bool(self.trouble) or self.is_low

    @property
    def has_room(self) -> bool:
        """Another entry can be taken."""
        settings, (records, size) = self._settings, self._under_way
        return (
            len(self._pending) + records < settings.queue_records_max
            and self._pending_bytes + size < settings.queue_bytes_max
        )

    def add(self, entry: T, cost: int = 0) -> None:
        """One more, which holds so many bytes. It is never refused: `admit` has seen to it that there is room."""
        pending = self._pending
        pending.append(entry)
        self._pending_bytes += cost
        if len(pending) >= HANDED_OVER and not self._is_busy:
            self._hand_over(sync=False)
        elif self._timer is None:
            self._timer = self._loop.call_later(self._settings.flush_interval_s, self._tick)

    async def synced(self) -> None:
        """Return when everything added so far is on disk. Raises TimeoutError when that takes too long."""
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._waiters.append(waiter)
        if not self._is_busy:
            self._hand_over(sync=True)
        # All wait equally long, so that one timer is enough, for the oldest. One for each would cost more than the wait.
        self._waiting[waiter] = self._loop.time() + self._settings.wait_max_s
        if self._patience is None:
            self._patience = self._loop.call_later(self._settings.wait_max_s, self._look)
        try:
            await waiter
        finally:
            del self._waiting[waiter]

    def _look(self) -> None:
        """Tell those who have waited too long, and look again when the next one will have."""
        self._patience = None
        now = self._loop.time()
        for waiter, until in self._waiting.items():
            if until > now:
                self._patience = self._loop.call_at(until, self._look)
                return
            if not waiter.done():
                waiter.set_exception(TimeoutError())

    async def admit(self, *, changes: bool, frees: bool) -> None:
        """Return when a request may go on: its record has room, and a change is not made that could not be recorded.

        Raises InsufficientStorage, ServiceUnavailable.
        """
        if changes and (self.trouble or (self.is_low and not frees)):
            raise self._refusal(self.trouble or "no space left on the disk of the audit log")
        if self.has_room:
            return
        if self.trouble:
            raise self._refusal(self.trouble)
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._room.append(waiter)
        try:
            async with asyncio.timeout(self._settings.wait_max_s):
                await waiter
        except TimeoutError:
            raise self._refusal("the audit log cannot be written as fast as it grows") from None

    def _refusal(self, reason: str) -> InsufficientStorage | ServiceUnavailable:
        message = f"requests that cannot be recorded in the audit log are not carried out: {reason}"
        if self.is_low or "space" in reason:
            return InsufficientStorage(message)
        return ServiceUnavailable(message, retry_after_s=1)

    def count_refused(self) -> None:
        """A request was refused without a record of its own: how many, is recorded as soon as that can be."""
        now = time.time()
        self._refused_from = self._refused_from or now
        self._refused_to = now
        self._refused += 1

    # Handing over.

    def _tick(self) -> None:
        self._timer = None
        if self._is_busy:
            return  # What has come meanwhile is handed over when the batch is done.
        is_due = self._loop.time() - self._synced_at >= self._settings.sync_interval_s
        self._hand_over(sync=is_due)

    def _hand_over(self, *, sync: bool) -> None:
        refused = self._take_refused() if not self.trouble else None
        batch = Batch(self._pending, sync or bool(self._waiters), self._waiters, refused)
        self._under_way = (len(self._pending), self._pending_bytes)
        self._pending, self._pending_bytes, self._waiters = [], 0, []
        self._is_busy = True
        self._give(batch)

    def _take_refused(self) -> tuple[int, str, float, float] | None:
        if not self._refused:
            return None
        refused = (self._refused, "the audit log could not be written", self._refused_from, self._refused_to)
        self._refused, self._refused_from = 0, 0.0
        return refused

    def _done(self, batch: Batch[T]) -> None:
        self._is_busy = False
        self.events += len(batch.entries)
        self._under_way = (0, 0)
        if batch.sync:
            self._synced_at = self._loop.time()
        for waiter in batch.waiters:
            if not waiter.done():
                waiter.set_result(None)
        room, self._room = self._room, []
        for waiter in room:
            if not waiter.done():
                waiter.set_result(None)
        if self._waiters or len(self._pending) >= HANDED_OVER:
            self._hand_over(sync=False)
        elif self._timer is None and (self._pending or self._refused or self.is_unsigned):
            # The last ones are synced and signed, too, when nothing comes after them.
            self._timer = self._loop.call_later(self._delay(), self._tick)

    def _delay(self) -> float:
        if self._pending:
            return self._settings.flush_interval_s
        return max(0.0, self._synced_at + self._settings.sync_interval_s - self._loop.time())

    def _last(self) -> Batch[T]:
        """What there still is."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        batch = Batch(self._pending, True, self._waiters, self._take_refused(), is_last=True)
        self._pending, self._waiters = [], []
        return batch
