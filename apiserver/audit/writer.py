"""The audit log written by this process: a thread makes lines of the entries that the loop hands over, writes and syncs."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import structlog

from stark.crds.audit.chain import Link

from .journal import Journal, refusals
from .queueing import ENTRIES_AT_ONCE, RETRY_S, Batch, Encodes, EntryQueue
from .settings import AuditSettings

log = structlog.get_logger(__name__)

CLOSE_S: Final = 5.0
"""How long the last records may take to be written when the server stops."""
T = TypeVar("T")


class Writer(EntryQueue[T]):
    """Owns the files."""

    def __init__(self, journal: Journal, encoder: Encodes[T], settings: AuditSettings) -> None:
        super().__init__(settings)
        self._journal, self._encoder = journal, encoder
        self._inbox: queue.SimpleQueue[Batch[T]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="audit", daemon=True)
        self._ended = threading.Event()

    # On the event loop.

    def start(self, details: Mapping[str, Any]) -> None:
        """See `EntryQueue.start`."""
        self._journal.open(details)
        self._begin()
        self._thread.start()

    @property
    def is_low(self) -> bool:
        """See `EntryQueue.is_low`."""
        return self._journal.is_low

    @property
    def is_unsigned(self) -> bool:
        """See `EntryQueue.is_unsigned`."""
        return self._journal.is_unsigned

    @property
    def link(self) -> Link:
        """See `EntryQueue.link`."""
        return self._journal.link

    def _give(self, batch: Batch[T]) -> None:
        self._inbox.put(batch)

    async def close(self) -> None:
        """See `EntryQueue.close`."""
        last = self._last()
        if not self._thread.is_alive():
            return
        if self.trouble:
            log.error("the audit log ends incomplete", records=self.queued, error=self.trouble)
            self._ended.set()
        self._inbox.put(last)
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

    def _perform(self, batch: Batch[T]) -> bool:
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
