"""The way from the event loop to the disk: entries queue on the loop, a thread makes lines of them, writes and syncs.

The loop never waits for the disk. An answer that must not leave before its record is on disk waits for a future; one sync
serves all that wait. What nobody waits for is handed over a tenth of a second later at most, many at once: waking a
thread for every read would cost more than the read.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from ..errors import InsufficientStorage, ServiceUnavailable
from .events import Encoder, Entry
from .journal import Journal, refusals
from .settings import AuditSettings

log = structlog.get_logger(__name__)

ENTRIES_AT_ONCE: Final = 64
"""Entries that are made into lines before the event loop may have the interpreter: it never waits for more than these."""
HANDED_OVER: Final = 256
"""Entries past which the thread is woken at once."""
RETRY_S: Final = 0.5
"""Between two attempts to write when the disk refuses."""
CLOSE_S: Final = 5.0
"""How long the last records may take to be written when the server stops."""


@dataclass(slots=True)
class Batch:
    """What the thread is to do."""

    entries: list[Entry]
    sync: bool
    waiters: list[asyncio.Future[None]] = field(default_factory=list)
    refused: tuple[int, str, float, float] | None = None
    is_last: bool = False


class Writer:
    """Takes entries on the event loop and sees to it that they are written."""

    def __init__(self, journal: Journal, encoder: Encoder, settings: AuditSettings) -> None:
        self._journal, self._encoder, self._settings = journal, encoder, settings
        self._inbox: queue.SimpleQueue[Batch] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="audit", daemon=True)
        self._pending: list[Entry] = []
        self._pending_bytes = 0
        self._under_way: tuple[int, int] = (0, 0)
        """Entries and bytes the thread has."""
        self._waiters: list[asyncio.Future[None]] = []
        self._room: list[asyncio.Future[None]] = []
        self._is_busy = False
        self._timer: asyncio.TimerHandle | None = None
        self._refused = 0
        self._refused_from = self._refused_to = 0.0
        self._synced_at = 0.0
        self._ended = threading.Event()
        self.trouble = ""
        """Why nothing can be written at present; set by the thread."""
        self.errors = 0
        """Failed attempts to write."""
        self.events = 0
        """Entries written."""

    # On the event loop.

    def start(self, details: Mapping[str, Any]) -> None:
        """Open the log and begin. Raises OSError, JournalHeld."""
        self._journal.open(details)
        self._loop = asyncio.get_running_loop()
        self._synced_at = self._loop.time()
        self._thread.start()

    @property
    def queued(self) -> int:
        """Entries that are not written yet."""
        return len(self._pending) + self._under_way[0]

    @property
    def journal(self) -> Journal:
        """The files."""
        return self._journal

    @property
    def is_hampered(self) -> bool:
        """A change may have to be refused."""
        return bool(self.trouble) or self._journal.is_low

    @property
    def has_room(self) -> bool:
        """Another entry can be taken."""
        settings = self._settings
        return (
            self.queued < settings.queue_records_max
            and self._pending_bytes + self._under_way[1] < settings.queue_bytes_max
        )

    def add(self, entry: Entry) -> None:
        """One more. It is never refused: `admit` has seen to it that there is room."""
        pending = self._pending
        pending.append(entry)
        if entry.judgement.level > 1:
            self._pending_bytes += entry.cost
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
        async with asyncio.timeout(self._settings.wait_max_s):
            await waiter

    async def admit(self, *, changes: bool, frees: bool) -> None:
        """Return when a request may go on: its record has room, and a change is not made that could not be recorded.

        Raises InsufficientStorage, ServiceUnavailable.
        """
        if changes and (self.trouble or (self._journal.is_low and not frees)):
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
        if self._journal.is_low or "space" in reason:
            return InsufficientStorage(message)
        return ServiceUnavailable(message, retry_after_s=1)

    def count_refused(self) -> None:
        """A request was refused without a record of its own: how many, is recorded as soon as that can be."""
        now = time.time()
        self._refused_from = self._refused_from or now
        self._refused_to = now
        self._refused += 1

    def _tick(self) -> None:
        self._timer = None
        if self._is_busy:
            return  # What has come meanwhile is handed over when the thread is done.
        is_due = self._loop.time() - self._synced_at >= self._settings.sync_interval_s
        self._hand_over(sync=is_due)

    def _hand_over(self, *, sync: bool) -> None:
        refused = self._take_refused() if not self.trouble else None
        batch = Batch(self._pending, sync or bool(self._waiters), self._waiters, refused)
        self._under_way = (len(self._pending), self._pending_bytes)
        self._pending, self._pending_bytes, self._waiters = [], 0, []
        self._is_busy = True
        self._inbox.put(batch)

    def _take_refused(self) -> tuple[int, str, float, float] | None:
        if not self._refused:
            return None
        refused = (self._refused, "the audit log could not be written", self._refused_from, self._refused_to)
        self._refused, self._refused_from = 0, 0.0
        return refused

    def _done(self, batch: Batch) -> None:
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
        elif self._timer is None and (self._pending or self._refused or self._journal.is_unsigned):
            # The last ones are synced and signed, too, when nothing comes after them.
            self._timer = self._loop.call_later(self._delay(), self._tick)

    def _delay(self) -> float:
        if self._pending:
            return self._settings.flush_interval_s
        return max(0.0, self._synced_at + self._settings.sync_interval_s - self._loop.time())

    async def close(self) -> None:
        """Write what there is, and end. What cannot be written by then is logged, not waited for."""
        if self._timer is not None:
            self._timer.cancel()
        if not self._thread.is_alive():
            return
        if self.trouble:
            log.error("the audit log ends incomplete", records=self.queued, error=self.trouble)
            self._ended.set()
        self._inbox.put(Batch(self._pending, True, self._waiters, self._take_refused(), is_last=True))
        self._pending, self._waiters = [], []
        await asyncio.to_thread(self._thread.join, CLOSE_S)

    # On the thread.

    def _work(self) -> None:
        while True:
            batch = self._inbox.get()
            is_done = self._perform(batch)
            if batch.is_last:
                self._attempt(self._journal.close, gives_up=True)
                return
            if not is_done:
                continue  # We are ending, and whoever waits for it must not be told that it is on disk.
            try:
                self._loop.call_soon_threadsafe(self._done, batch)
            except RuntimeError:
                return  # The loop is closed: nobody is left to be told.
            if batch.sync:
                self._attempt(self._journal.settle, gives_up=False)

    def _perform(self, batch: Batch) -> bool:
        journal, entries = self._journal, batch.entries
        if batch.refused is not None:
            journal.keep([refusals(*batch.refused)])
        for start in range(0, len(entries), ENTRIES_AT_ONCE):
            if start:
                time.sleep(0)
            journal.keep([self._encoder.encode(entry) for entry in entries[start : start + ENTRIES_AT_ONCE]])
        return self._attempt(journal.sync if batch.sync else journal.write, gives_up=batch.is_last)

    def _attempt(self, act: Callable[[], None], *, gives_up: bool) -> bool:
        """Until it succeeds; False when we end before. Meanwhile the queue grows to its bound, and requests are refused."""
        while True:
            try:
                act()
            except OSError as error:
                self.errors += 1
                if not self.trouble:
                    log.error("the audit log cannot be written", error=str(error))
                self.trouble = error.strerror or str(error)
                if gives_up or self._ended.is_set():
                    return False
                self._ended.wait(RETRY_S)
            else:
                if self.trouble:
                    log.info("the audit log can be written again")
                    self.trouble = ""
                return True
