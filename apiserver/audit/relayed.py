"""The audit log of a worker: another process has the files, and records what all workers send it in one chain.

A batch has a number, so that one whose acknowledgement was lost is not recorded twice by a process that lives; when that
process itself was killed in between, its records may be in the log a second time, never not at all.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import structlog

from stark.crds.audit.chain import ORIGIN, Link

from .events import Encoder, Entry
from .journal import refusals
from .policy import Level
from .queueing import ENTRIES_AT_ONCE, RETRY_S, Batch, EntryQueue
from .settings import AuditSettings

log = structlog.get_logger(__name__)

CLOSE_S: Final = 3.0
"""How long the last records may take to be acknowledged when the worker stops."""


class NotRecorded(Exception):
    """The other process is away, or could not write; the message says what."""


Acknowledged = tuple[int, bytes, bool]
"""The last line's number and hash, and whether the disk is full."""
Send = Callable[[str, int, Sequence[bytes], bool], Awaitable[Acknowledged]]
"""Who sends, the batch's number, its records, and whether they must be on disk. Raises NotRecorded."""


class RelayedWriter(EntryQueue[Entry]):
    """Sends batches of records, one after the other."""

    def __init__(self, send: Send, encoder: Encoder, settings: AuditSettings) -> None:
        super().__init__(settings)
        self._send, self._encoder = send, encoder
        self._sender, self._number = uuid.uuid4().hex, 0
        self._link, self._is_low, self._is_unsigned = ORIGIN, False, False
        self._is_open = False
        self._sending: asyncio.Task[None] | None = None

    def start(self, details: Mapping[str, Any]) -> None:
        """See `EntryQueue.start`. That the log is written from now on is recorded by whoever has it."""
        self._begin()
        self._is_open = True

    @property
    def is_low(self) -> bool:
        """See `EntryQueue.is_low`."""
        return self._is_low

    @property
    def is_unsigned(self) -> bool:
        """See `EntryQueue.is_unsigned`. It is signed over there; here it matters that it is synced."""
        return self._is_unsigned

    @property
    def link(self) -> Link:
        """See `EntryQueue.link`."""
        return self._link

    def _give(self, batch: Batch[Entry]) -> None:
        self._sending = self._loop.create_task(self._carry(batch))

    async def _carry(self, batch: Batch[Entry]) -> None:
        records = [refusals(*batch.refused)] if batch.refused is not None else []
        for start in range(0, len(batch.entries), ENTRIES_AT_ONCE):
            if start:
                await asyncio.sleep(0)
            records += await self._encoded(batch.entries[start : start + ENTRIES_AT_ONCE])
        self._number += 1
        await self._deliver(records, batch)
        self._done(batch)

    async def _encoded(self, entries: Sequence[Entry]) -> list[bytes]:
        if any(entry.judgement.level > Level.METADATA for entry in entries):
            # Bodies are taken apart for these, which may take milliseconds.
            return await asyncio.to_thread(lambda: [self._encoder.encode(entry) for entry in entries])
        return [self._encoder.encode(entry) for entry in entries]

    async def _deliver(self, records: Sequence[bytes], batch: Batch[Entry]) -> None:
        """Until it succeeds. Meanwhile the queue grows to its bound, and requests are refused."""
        while True:
            try:
                number, digest, is_low = await self._send(self._sender, self._number, records, batch.sync)
                break
            except NotRecorded as error:
                self.errors += 1
                if not self.trouble:
                    log.error("the audit log cannot be written", error=str(error))
                self.trouble = str(error)
            await asyncio.sleep(RETRY_S)
        if self.trouble:
            log.info("the audit log can be written again")
            self.trouble = ""
        self._link, self._is_low, self._is_unsigned = Link(number, digest), is_low, not batch.sync

    async def close(self) -> None:
        """See `EntryQueue.close`."""
        last = self._last()
        if not self._is_open:
            return
        self._is_open = False
        try:
            async with asyncio.timeout(CLOSE_S):
                while self._sending is not None and not self._sending.done():
                    await asyncio.wait((self._sending,))
                await self._carry(last)
        except TimeoutError:
            log.error("the audit log ends incomplete", records=len(last.entries), error=self.trouble)
            if self._sending is not None:
                self._sending.cancel()
