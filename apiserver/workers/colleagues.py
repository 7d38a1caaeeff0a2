"""A worker's link to the keeper, and through it to the other workers: for what there is one of that is not the store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

import structlog

from ..audit.relayed import Acknowledged, NotRecorded
from ..store.protocol import Unavailable
from ..store.remote.link import Link, Refused, connect
from .words import FAILED, GATHER, HELLO, RECORD, TO_OTHERS

RECONNECT_DELAY_S: Final = 0.05
"""Between two attempts to reach the keeper. It is on this machine: an attempt costs microseconds."""

log = structlog.get_logger(__name__)

Hear = Callable[..., object]
Reply = Callable[..., Awaitable[Any]]


class Colleagues:
    """`run` keeps the link; while there is none, questions are refused and news are dropped."""

    def __init__(self, path: Path, index: int) -> None:
        self._path, self._index = path, index
        self._link: Link | None = None
        self._heard: dict[str, Hear] = {}
        self._replies: dict[str, Reply] = {}
        self._replying: set[asyncio.Task[None]] = set()
        self.linked = asyncio.Event()

    def on(self, news: str, hear: Hear) -> None:
        """Call `hear` with the values of such news."""
        self._heard[news] = hear

    def reply(self, question: str, reply: Reply) -> None:
        """Answer such questions of other workers."""
        self._replies[question] = reply

    # Speaking.

    async def ask(self, question: str, *values: Any) -> Any:
        """The keeper's answer. Raises Unavailable, Refused."""
        if self._link is None:
            raise Unavailable("the process that keeps what the workers share is being started again")
        return await self._link.ask(question, *values)

    def say(self, news: str, *values: Any) -> None:
        """News for the keeper."""
        if self._link is not None:
            self._link.say(news, *values)

    def tell_others(self, news: str, *values: Any) -> None:
        """News for all other workers."""
        self.say(TO_OTHERS, news, values)

    async def gather(self, question: str, *values: Any) -> Sequence[tuple[int, Any]]:
        """What the other workers answer, each with its number; those that do not answer are missing."""
        try:
            answers: Sequence[tuple[int, Any]] = await self.ask(GATHER, question, values)
        except (Unavailable, Refused) as error:
            log.warning("the other workers were not asked", question=question, reason=str(error))
            return ()
        return answers

    async def record(self, sender: str, number: int, records: Sequence[bytes], sync: bool) -> Acknowledged:
        """Have audit records written. Raises NotRecorded."""
        try:
            seq, digest, is_low = await self.ask(RECORD, sender, number, records, sync)
        except Refused as error:
            raise NotRecorded(str(error.values[0])) from None
        except Unavailable as error:
            raise NotRecorded(str(error)) from None
        return seq, digest, is_low

    # The link.

    async def run(self) -> None:
        """Keep the link until cancelled."""
        while True:
            try:
                await self._follow()
            except OSError:
                pass  # It is being started again.
            await asyncio.sleep(RECONNECT_DELAY_S)

    async def _follow(self) -> None:
        link = await connect(self._path, self)
        try:
            await link.ended.wait()
        finally:
            link.close()

    def opened(self, link: Link) -> None:
        """See `Switchboard.opened`."""
        self._link = link
        link.say(HELLO, self._index)
        self.linked.set()

    def asked(self, link: Link, number: int, question: str, values: tuple[Any, ...]) -> None:
        """See `Switchboard.asked`."""
        task = asyncio.create_task(self._reply(link, number, question, values))
        self._replying.add(task)
        task.add_done_callback(self._replying.discard)

    async def _reply(self, link: Link, number: int, question: str, values: tuple[Any, ...]) -> None:
        reply = self._replies.get(question)
        if reply is None:
            link.refuse(number, FAILED, (f"nobody here answers {question!r}",))
            return
        try:
            result = await reply(*values)
        except Exception:
            log.exception("another worker's question failed", question=question)
            link.refuse(number, FAILED, ("see the worker's log",))
        else:
            link.answer(number, result)

    def told(self, link: Link, news: str, values: tuple[Any, ...]) -> None:
        """See `Switchboard.told`."""
        hear = self._heard.get(news)
        if hear is not None:
            hear(*values)

    def lost(self, link: Link) -> None:
        """See `Switchboard.lost`."""
        self._link = None
        self.linked.clear()
