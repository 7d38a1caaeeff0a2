"""Assembling the controllers' process: client, informers, one runner for each named controller, and its endpoints.

The endpoint serves `/metrics` (Prometheus), `/livez` and `/healthz` (the loop turns), and `/readyz` (informers have
their first lists). It has no secrets and no writes, so it needs no login; it listens on loopback unless told otherwise.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import uuid
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from stark.client.api import Client
from stark.client.config import load_kubeconfig
from stark.client.election import ElectionSettings
from stark.crds.version import VERSION

from .catalog import builder_of, chosen
from .kit import InformerFactory, Runner, run_controllers

SHUTDOWN_TIMEOUT_S = 3.0  # for requests to our own endpoint; a scraper that takes longer is cut off
EXIT_INTERRUPTED = 130  # what a shell reports of a program that SIGINT ended
ONE_SIGNAL_S = 1.0
"""Signals that come closer together count as one."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the command line says."""

    names: Sequence[str] = ()
    """The controllers to run; all of the catalog when empty."""
    kubeconfig: Path | None = None
    """Where the API server is and who we are; None looks where kubectl looks."""
    context: str | None = None
    """The context of the kubeconfig; None takes the current one."""
    listen: str = "127.0.0.1:0"
    """HOST:PORT of /metrics and /healthz; port 0 takes a free one, which the `ready` line tells."""
    elect: bool = True
    """Lead by Lease. Without it, two processes of the same controller work against each other."""
    workers: int | None = None
    """Keys of one controller reconciled at once; None leaves it to the controller."""
    election: ElectionSettings = field(default_factory=ElectionSettings)
    """How leadership is kept and lost."""


class App:
    """The running process."""

    def __init__(self, settings: Settings, api: Client) -> None:
        identity = f"{socket.gethostname()}_{uuid.uuid4()}"
        self.informers = InformerFactory(api)
        self.runners = [
            Runner(
                name,
                builder_of(name),
                api,
                self.informers,
                election=settings.election if settings.elect else None,
                identity=identity,
                workers=settings.workers,
            )
            for name in chosen(settings.names)
        ]

    async def run(self) -> None:
        """Run the controllers until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._freeze_when_synced(), name="freeze")
            group.create_task(run_controllers(self.informers, self.runners), name="controllers")

    async def _freeze_when_synced(self) -> None:
        # The caches hold most objects of this process and live as long as it does. Left to the collector, every full
        # collection walks all of them, hundreds of milliseconds in which no reconcile runs.
        await self.informers.synced()
        gc.collect()
        gc.freeze()

    def endpoint(self) -> web.Application:
        """/metrics, /livez, /healthz and /readyz."""
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/livez", self._alive)
        app.router.add_get("/healthz", self._alive)
        app.router.add_get("/readyz", self._ready)
        return app

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _alive(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def _ready(self, _request: web.Request) -> web.Response:
        if self.informers.has_synced:
            return web.Response(text="ok")
        return web.Response(status=503, text="informers have not synced")


@asynccontextmanager
async def serving(app: web.Application, listen: str) -> AsyncIterator[str]:
    """Serve on HOST:PORT; gives the URL. Raises OSError when the address cannot be used."""
    host, _, port = listen.rpartition(":")
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_TIMEOUT_S)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host.strip("[]") or "127.0.0.1", int(port))
        await site.start()
        bound_host, bound_port = runner.addresses[0][:2]
        yield f"http://[{bound_host}]:{bound_port}" if ":" in bound_host else f"http://{bound_host}:{bound_port}"
    finally:
        await runner.cleanup()


async def run(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT. Prints one `ready` line on stdout when controllers run. Raises ConfigError, KeyError."""
    config = load_kubeconfig(settings.kubeconfig, settings.context)
    names = chosen(settings.names)
    async with Client(config, user_agent=f"stark-controllers/{VERSION}", field_manager="stark-controllers") as api:
        app = App(settings, api)
        async with serving(app.endpoint(), settings.listen) as url:
            print(f"ready {url} {','.join(names)}", flush=True)  # noqa: T201 - the line that `starkctl up` waits for
            await _until_signalled(app.run())


async def _until_signalled(work: Coroutine[None, None, None]) -> None:
    """Run `work` to its end, or until a signal; then cancel it and wait. The second signal ends the process at once."""
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()
    asked_at = 0.0

    def stop() -> None:
        nonlocal asked_at
        # A parent that dies with several threads lets the kernel send its last signal more than once.
        if asked.is_set() and loop.time() - asked_at > ONE_SIGNAL_S:
            os._exit(EXIT_INTERRUPTED)
        if not asked.is_set():
            asked_at = loop.time()
        asked.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        async with asyncio.TaskGroup() as group:
            running = group.create_task(work, name="work")
            waiting = group.create_task(asked.wait(), name="signals")
            await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
            running.cancel()
            waiting.cancel()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
