"""The listening side: which connections there are, how long each may take, and their end."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Coroutine
from email.utils import formatdate
from typing import Any, Final

import structlog

from ..request import Answer, Peer, Request
from ..settings import HttpSettings
from .answers import AnswerHeads
from .connection import Connection

Handle = Callable[[Request], Awaitable[Answer]]

BACKLOG: Final = 1_024
"""Connections the kernel holds for us while the loop is busy."""
LOOK_INTERVAL_MAX_S: Final = 1.0
"""How often all connections' times are looked at: one look at thousands is cheaper than a timer for each request."""
LOOKS_PER_TIMEOUT: Final = 8
"""How often at least within the shortest time allowed; so an end comes late by an eighth of it at most."""
CLOSING_S: Final = 1.0
"""How long clients get to take note of the end, once nothing is under way."""

log = structlog.get_logger(__name__)


class HttpServer:
    """Listens and serves until closed."""

    def __init__(self, handle: Handle, settings: HttpSettings) -> None:
        self.handle = handle
        self.settings = settings
        self.heads = AnswerHeads()
        self.draining = False
        self.port = 0
        self._connections: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._all_gone: asyncio.Event | None = None
        self._listening: asyncio.Server | None = None
        self._loop: asyncio.AbstractEventLoop
        self._look: asyncio.TimerHandle | None = None

    async def listen(self, host: str, port: int, tls: ssl.SSLContext | None, *, shares_port: bool = False) -> None:
        """Accept connections from now on. Raises OSError when the address cannot be had.

        With `shares_port` others listen there, too, and the kernel gives each connection to one of them.
        """
        self._loop = asyncio.get_running_loop()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shares_port:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind((host, port))
            sock.setblocking(False)
            self._look_at_times()
            self._listening = await self._loop.create_server(
                lambda: Connection(self),
                sock=sock,
                ssl=tls,
                backlog=BACKLOG,
                ssl_handshake_timeout=self.settings.handshake_timeout_s if tls else None,
                ssl_shutdown_timeout=self.settings.write_timeout_s if tls else None,
            )
        except BaseException:
            sock.close()
            self._stop_looking()
            raise
        self.port = int(sock.getsockname()[1])

    def stop_accepting(self) -> None:
        """No new connections; idle ones end, the others after their request."""
        self.draining = True
        if self._listening is not None:
            self._listening.close()
        for connection in tuple(self._connections):
            connection.end_when_idle()

    def cut_off(self, is_shut_out: Callable[[Peer], bool]) -> int:
        """End at once the connections of those who may not be here any more, with all that goes on in them. How many."""
        shut_out = [connection for connection in self._connections if is_shut_out(connection.peer)]
        for connection in shut_out:
            connection.abort()
        return len(shut_out)

    async def close(self, timeout_s: float) -> None:
        """End everything: requests get `timeout_s` to complete."""
        self.stop_accepting()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=timeout_s)
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=timeout_s)
        if self._connections:
            self._all_gone = asyncio.Event()
            try:
                async with asyncio.timeout(min(CLOSING_S, timeout_s)):
                    await self._all_gone.wait()
            except TimeoutError:
                log.info("connections are given up", count=len(self._connections))
        for connection in tuple(self._connections):
            connection.abort()
        await asyncio.sleep(0)
        self._stop_looking()

    # What connections need.

    def now(self) -> float:
        """The loop's clock in seconds."""
        return self._loop.time()

    def opened(self, connection: Connection) -> bool:
        """Count a connection. False when there are too many."""
        if self.draining:
            return False
        if len(self._connections) >= self.settings.connections_max:
            log.warning("connection refused: too many are open", limit=self.settings.connections_max)
            return False
        self._connections.add(connection)
        return True

    def closed(self, connection: Connection) -> None:
        """It is gone."""
        self._connections.discard(connection)
        if self._all_gone is not None and not self._connections:
            self._all_gone.set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Begin a task of a connection: it ends with the connection, and at the latest with `close`."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _look_at_times(self) -> None:
        settings, now = self.settings, self._loop.time()
        shortest = min(settings.header_timeout_s, settings.keepalive_timeout_s, settings.write_timeout_s)
        delay_s = min(LOOK_INTERVAL_MAX_S, shortest / LOOKS_PER_TIMEOUT)
        self._look = self._loop.call_later(delay_s, self._look_at_times)
        self.heads.tell_date(formatdate(usegmt=True))
        for connection in tuple(self._connections):
            try:
                connection.check_time(now)
            except OSError:
                connection.abort()  # Its peer reset it before we could say goodbye.

    def _stop_looking(self) -> None:
        if self._look is not None:
            self._look.cancel()
            self._look = None
