"""The listening side: connections, their limits, and their end."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Any, Final

import structlog
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from ..request import Peer
from ..settings import HttpSettings
from .adapter import Adapter, Handle

BACKLOG: Final = 1_024
"""Connections the kernel holds for us while the loop is busy."""

log = structlog.get_logger(__name__)


class _Connection(RequestHandler):
    """aiohttp's connection, and: a request's headers must come in time, and there is a limit on connections."""

    __slots__ = ("_header_timeout_s", "_header_timer", "peer")

    def __init__(self, server: _Server, header_timeout_s: float, **options: Any) -> None:
        super().__init__(server, **options)
        self._header_timeout_s = header_timeout_s
        self._header_timer: asyncio.TimerHandle | None = None
        self.peer: Peer | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        server = self._manager
        if isinstance(server, _Server) and len(server.connections) > server.connections_max:
            log.warning("connection refused: too many are open", limit=server.connections_max)
            self.force_close()
            return
        self._await_headers()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._request_in_progress or self._messages:
            self._cancel_timer()
        elif self._header_timer is None:
            self._await_headers()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._cancel_timer()
        super().connection_lost(exc)

    def _await_headers(self) -> None:
        loop = asyncio.get_running_loop()
        self._header_timer = loop.call_later(self._header_timeout_s, self._give_up)

    def _give_up(self) -> None:
        self._header_timer = None
        if not self._request_in_progress and not self._messages:
            self.force_close()

    def _cancel_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None


class _Server(web.Server):
    """Makes the connections."""

    def __init__(self, handler: Any, settings: HttpSettings) -> None:
        super().__init__(handler, handler_cancellation=True)
        self.connections_max = settings.connections_max
        self._settings = settings

    def __call__(self) -> RequestHandler:
        settings = self._settings
        return _Connection(
            self,
            settings.header_timeout_s,
            loop=self._loop,
            keepalive_timeout=settings.keepalive_timeout_s,
            max_line_size=settings.header_bytes_max,
            max_field_size=settings.header_bytes_max,
            max_headers=settings.headers_max,
            access_log=None,
        )


class HttpServer:
    """Listens and serves until closed."""

    def __init__(self, handle: Handle, settings: HttpSettings) -> None:
        self._server = _Server(Adapter(handle, settings), settings)
        self._settings = settings
        self._listening: asyncio.Server | None = None
        self.port = 0

    async def listen(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        """Accept connections from now on. Raises OSError when the address cannot be had."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((host, port))
            sock.setblocking(False)
            timeout_s = self._settings.handshake_timeout_s if tls else None
            self._listening = await asyncio.get_running_loop().create_server(
                self._server, sock=sock, ssl=tls, backlog=BACKLOG, ssl_handshake_timeout=timeout_s
            )
        except BaseException:
            sock.close()
            raise
        self.port = int(sock.getsockname()[1])

    def stop_accepting(self) -> None:
        """No new connections; idle ones end, the others after their request."""
        if self._listening is not None:
            self._listening.close()
        self._server.pre_shutdown()

    async def close(self, timeout_s: float) -> None:
        """End everything: requests get `timeout_s` to complete."""
        self.stop_accepting()
        await self._server.shutdown(timeout_s)
