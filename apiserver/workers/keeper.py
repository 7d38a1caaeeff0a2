"""The process that keeps what there is one of: SQLite and its group commits, the audit log, the counts of tries to log in.

With etcd every worker has its own way to the store, and the keeper has only the rest. It is started first and ends last.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import structlog

from ..audit.queueing import EntryQueue
from ..auth.buckets import Buckets
from ..store.remote import StoreService
from ..store.remote.link import Link, Refused
from .words import FAILED, FILL, GATHER, GIVE_BACK, HELLO, RECORD, TAKE, TO_OTHERS

SOCKET: Final = "keeper.sock"
"""In the folder `workers` of the data directory."""
GATHER_TIMEOUT_S: Final = 2.0
"""How long a worker has to answer what another one asks all."""
LAST_WORDS_S: Final = 9.0
"""How long the keeper stays for workers that are about to end. Shorter than the supervisor's patience with all of us."""
SENDERS_MAX: Final = 256
"""Senders of audit records that are remembered: workers that live, and some that did."""

log = structlog.get_logger(__name__)


class Keeper:
    """At the keeper's end of every link."""

    def __init__(self, audit: EntryQueue[bytes], buckets: dict[str, Buckets], store: StoreService | None) -> None:
        self._audit, self._buckets, self._store = audit, buckets, store
        self._workers: dict[Link, int] = {}
        self._left = asyncio.Event()
        """Set while no worker is there."""
        self._left.set()
        self._received: dict[str, int] = {}
        """The number of the last batch of audit records, by sender."""
        self._answering: set[asyncio.Task[None]] = set()
        self._answers: dict[str, Callable[..., Awaitable[Any]]] = {
            RECORD: self._record,
            TAKE: self._take,
        }

    # Links.

    def opened(self, link: Link) -> None:
        """See `Switchboard.opened`."""

    def lost(self, link: Link) -> None:
        """See `Switchboard.lost`."""
        self._workers.pop(link, None)
        if not self._workers:
            self._left.set()
        if self._store is not None:
            self._store.lost(link)

    def asked(self, link: Link, number: int, question: str, values: tuple[Any, ...]) -> None:
        """See `Switchboard.asked`."""
        if self._store is not None and self._store.knows(question):
            self._store.asked(link, number, question, values)
            return
        task = asyncio.create_task(self._answer(link, number, question, values))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _answer(self, link: Link, number: int, question: str, values: tuple[Any, ...]) -> None:
        try:
            if question == GATHER:
                result: Any = await self._gather(link, *values)
            else:
                result = await self._answers[question](*values)
        except Refused as error:
            link.refuse(number, error.name, error.values)
        except Exception:
            # Whoever asked must not wait for ever.
            log.exception("a worker's question failed", question=question)
            link.refuse(number, FAILED, ("see the log of the process that keeps what the workers share",))
        else:
            link.answer(number, result)

    def told(self, link: Link, news: str, values: tuple[Any, ...]) -> None:
        """See `Switchboard.told`."""
        if self._store is not None and self._store.knows(news):
            self._store.told(link, news, values)
        elif news == HELLO:
            self._workers[link] = values[0]
            self._left.clear()
        elif news == TO_OTHERS:
            for other in self._workers:
                # Counts are all that is told so: a worker that does not read may miss them, and must not fill our memory.
                if other is not link and not other.is_full:
                    other.say(values[0], *values[1])
        elif news == GIVE_BACK:
            self._buckets[values[0]].give_back(values[1])
        elif news == FILL:
            self._buckets[values[0]].fill(values[1])

    # Answers.

    async def _take(self, name: str, key: str) -> float:
        return self._buckets[name].take(key)

    async def _record(self, sender: str, number: int, records: list[bytes], sync: bool) -> tuple[int, bytes, bool]:
        audit = self._audit
        if self._received.get(sender, 0) < number:
            if not audit.has_room:
                raise Refused(FAILED, (audit.trouble or "the audit log cannot be written as fast as it grows",))
            for record in records:
                audit.add(record, len(record))
            self._remember(sender, number)
        if sync:
            try:
                await audit.synced()
            except TimeoutError:
                raise Refused(FAILED, (audit.trouble or "the disk of the audit log does not answer",)) from None
        return audit.link.seq, audit.link.digest, audit.is_low

    def _remember(self, sender: str, number: int) -> None:
        self._received.pop(sender, None)
        if len(self._received) >= SENDERS_MAX:
            del self._received[next(iter(self._received))]
        self._received[sender] = number

    async def _gather(self, asker: Link, question: str, values: tuple[Any, ...]) -> list[tuple[int, Any]]:
        others = [
            (link, number)
            for link, number in self._workers.items()
            if link is not asker and not (link.is_lost or link.is_full)
        ]
        asked = {link.ask(question, *values): number for link, number in others}
        if not asked:
            return []
        began = time.monotonic()
        done, late = await asyncio.wait(asked, timeout=GATHER_TIMEOUT_S)
        for answer in late:
            answer.cancel()
            log.warning("a worker did not answer", worker=asked[answer], waited_s=round(time.monotonic() - began, 2))
        return [(asked[answer], answer.result()) for answer in done if answer.exception() is None]

    async def left(self) -> None:
        """Wait until the workers have gone, for LAST_WORDS_S at most.

        A signal may come to all processes at once (Ctrl-C, a service manager, the supervisor's death), and what workers
        answer and record at their end still passes through us.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_S):
                await self._left.wait()

    async def close(self) -> None:
        """Answer what was asked."""
        if self._store is not None:
            await self._store.close()
        await asyncio.gather(*self._answering, return_exceptions=True)


def folder_of(data_dir: Path) -> Path:
    """Where the workers and the keeper meet."""
    return data_dir / "workers"
