"""An hour without the API server, in virtual time: what an agent goes on doing, and what it says when it is heard again."""

from __future__ import annotations

import asyncio
from typing import Any

from stark.agent.machine import Prepare
from stark.agent.membership import Membership
from stark.agent.reports import RETRY_MAX_S, WRITERS, StatusWriter
from stark.client.errors import ApiError
from stark.crds.incarnations import Holder, Incarnation
from tests.support.lives import Life, pod
from tests.support.virtual_time import virtual_run

HOUR_S = 3600.0
PODS = 20


class FarServer:
    """The wire to an API server that answers nobody for an hour."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.told: dict[str, list[Any]] = {}

    def present(self, header: str, value: str) -> None:
        """Nobody looks at it."""

    async def patch(self, kind: object, name: str, body: dict[str, Any], *_: object, **__: object) -> None:
        now = asyncio.get_running_loop().time()
        self.asked.append(now)
        if now < HOUR_S:
            raise ApiError("nobody answers")
        self.told.setdefault(name, []).append(body)


async def crash_on(life: Life, name: str, writer: StatusWriter) -> int:
    """A container that ends one second after each start, for an hour; how often it was started."""
    meta = life.pod.metadata.model_copy(update={"name": name})
    named, starts, begun = life.pod.model_copy(update={"metadata": meta}), 0, life.now
    while life.now - begun < HOUR_S:
        if life.all(Prepare):
            attempt, starts = life.run(), starts + 1
            await asyncio.sleep(1)
            life.exit(1, attempt)
        else:
            assert life.timer is not None
            pause_s = life.timer - life.now
            await asyncio.sleep(pause_s)
            life.wait(pause_s)
        assert life.status is not None
        await writer.write(name, named, life.status, {})
    return starts


def test_an_hour_alone_is_an_hour_of_back_offs_and_ends_with_the_newest_report_of_each_pod() -> None:
    async def hour() -> tuple[FarServer, list[Life], list[int], float]:
        server = FarServer()
        membership = Membership(server, Holder("i", "p"))  # type: ignore[arg-type]
        membership.claimed(Incarnation("u", 1, membership.holder))
        writer = StatusWriter(server, membership)  # type: ignore[arg-type]
        writing = asyncio.create_task(writer.run())
        lives = [Life(pod()) for _ in range(PODS)]
        starts = await asyncio.gather(*(crash_on(life, f"p{n}", writer) for n, life in enumerate(lives)))
        await writer.drained()
        ended = asyncio.get_running_loop().time()
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        return server, lives, starts, ended

    server, lives, starts, ended = virtual_run(hour())
    assert set(starts) == {17}, "0, 10, 20, ... 160 s, then every five minutes, as if somebody had listened"
    assert len(server.asked) < WRITERS * (HOUR_S / RETRY_MAX_S * 3), "nobody is besieged"
    for number, life in enumerate(lives):
        last = server.told[f"p{number}"][-1]["status"]["containerStatuses"][0]
        assert last["restartCount"] == life.container.restart_count
    assert ended < HOUR_S + 330 + RETRY_MAX_S
