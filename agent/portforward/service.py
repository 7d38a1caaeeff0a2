"""The agent's endpoint of port-forward: `/portForward/<namespace>/<pod>?uid=...`, reached through the API server only.

Which protocol is the client's choice: SPDY in WebSocket messages (kubectl from 1.31 on), SPDY itself (kubectl before), or
plain WebSocket channels with the ports in the query (the Python clients).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from socket import socket
from typing import Final

from aiohttp import web
from prometheus_client import Gauge

from ..wires import CLOSE_TIMEOUT_S, MESSAGE_BYTES_MAX, Spent, WebSocketWire, Wire, keep_alive, take_over
from .carrying import connect
from .channels import BASE64, BINARY, PORTS_MAX, Channels
from .targets import NotForwarded, Target
from .tunnel import Dial, Tunnel

log = logging.getLogger(__name__)

SPDY: Final = "SPDY/3.1"
PROTOCOL: Final = "portforward.k8s.io"
"""The only version there is of kubectl's protocol over SPDY."""
TUNNEL: Final = f"{SPDY}+{PROTOCOL}"
FORWARDS_MAX: Final = 128
"""Clients at a time. Those beyond are refused."""

FORWARDS = Gauge("stark_agent_port_forwards", "Clients that forward ports to pods of this node now")

Find = Callable[[str], Target | None]
"""The pod of a uid as it is now; None when it is not here."""


class PortForwards:
    """The endpoint. `end` ends the forwards of a pod that is no more."""

    def __init__(self, find: Find, node_ip: str) -> None:
        self._find, self._node_ip = find, node_ip
        self._ends: dict[str, set[asyncio.Event]] = {}
        self.open = 0
        """Clients now."""

    def end(self, uid: str) -> None:
        """The pod is gone, and so are the connections to it."""
        for gone in self._ends.get(uid, ()):
            gone.set()

    def routes(self) -> list[web.RouteDef]:
        """For the agent's server."""
        path = "/portForward/{namespace}/{pod}"
        return [web.get(path, self.handle), web.post(path, self.handle)]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request, for as long as it lasts."""
        target = self._find(request.query.get("uid", ""))
        if target is None:
            return web.Response(status=404, text=f'pod "{request.match_info["pod"]}" is not on this node\n')
        if self.open >= FORWARDS_MAX:
            return web.Response(status=503, text=f"more than {FORWARDS_MAX} clients forward ports to this node\n")
        self.open += 1
        FORWARDS.inc()
        keep_alive(request)
        try:
            return await self._upgrade(request, target)
        finally:
            self.open -= 1
            FORWARDS.dec()

    async def _upgrade(self, request: web.Request, target: Target) -> web.StreamResponse:
        upgrade = request.headers.get("Upgrade", "").lower()
        if upgrade == SPDY.lower():
            return await self._spdy(request, target)
        if upgrade != "websocket":
            return web.Response(status=400, text="Upgrade request required\n")
        offered = _offered(request, "Sec-WebSocket-Protocol")
        if TUNNEL in offered:
            websocket = _websocket(TUNNEL)
            await websocket.prepare(request)
            await self._tunnel(WebSocketWire(websocket), target)
            return websocket
        if offered and not {BINARY, BASE64}.intersection(offered):
            accepted = ", ".join((TUNNEL, BINARY, BASE64))
            text = f"unable to negotiate protocol: client supports {offered}, server accepts [{accepted}]\n"
            return web.Response(status=400, text=text)
        return await self._channels(request, target)

    async def _spdy(self, request: web.Request, target: Target) -> web.StreamResponse:
        offered = _offered(request, "X-Stream-Protocol-Version")
        if PROTOCOL not in offered:
            text = f"unable to negotiate protocol: client supports {offered}, server accepts [{PROTOCOL}]\n"
            return web.Response(status=400, text=text)
        head = (
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
            f"Upgrade: {SPDY}\r\nX-Stream-Protocol-Version: {PROTOCOL}\r\n\r\n"
        )
        await self._tunnel(take_over(request, head.encode()), target)
        return Spent()

    async def _tunnel(self, wire: Wire, target: Target) -> None:
        await self._until_over(Tunnel(wire, self._dial(target), _subject(target)), target)

    async def _channels(self, request: web.Request, target: Target) -> web.StreamResponse:
        try:
            ports = ports_of(request)
        except ValueError as error:
            return web.Response(status=400, text=f"{error}\n")
        websocket = _websocket(BINARY, BASE64)
        await websocket.prepare(request)
        await self._until_over(Channels(websocket, ports, self._dial(target), _subject(target)), target)
        return websocket

    def _dial(self, target: Target) -> Dial:
        async def dial(port: int) -> socket:
            # Looked up for each connection: containers come and go while a forward lasts.
            now = self._find(target.pod.uid)
            if now is None:
                raise NotForwarded("the pod is gone")
            return await connect(now.node_port(port), self._node_ip)

        return dial

    async def _until_over(self, session: Tunnel | Channels, target: Target) -> None:
        uid = target.pod.uid
        gone = asyncio.Event()
        self._ends.setdefault(uid, set()).add(gone)
        running, ending = asyncio.create_task(session.run()), asyncio.create_task(gone.wait())
        try:
            await asyncio.wait([running, ending], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._ends[uid].discard(gone)
            if not self._ends[uid]:
                del self._ends[uid]
            ending.cancel()
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running


def _offered(request: web.Request, header: str) -> list[str]:
    return [word.strip() for value in request.headers.getall(header, ()) for word in value.split(",") if word.strip()]


def _websocket(*protocols: str) -> web.WebSocketResponse:
    return web.WebSocketResponse(
        protocols=protocols, max_msg_size=MESSAGE_BYTES_MAX, compress=False, timeout=CLOSE_TIMEOUT_S
    )


def _subject(target: Target) -> str:
    return f"{target.pod.metadata.name}, uid {target.pod.uid}"


def ports_of(request: web.Request) -> list[int]:
    """The ports in the query, repeated or with commas between them. Raises ValueError."""
    words = [word for value in request.query.getall("ports", ()) for word in value.split(",")]
    if not words:
        raise ValueError('query parameter "ports" is required')
    if len(words) > PORTS_MAX:
        raise ValueError(f"{len(words)} ports, and {PORTS_MAX} is the most")
    for word in words:
        if not word.isdecimal() or not 0 < int(word) < 1 << 16:
            raise ValueError(f"unable to parse {word!r} as a port")
    return [int(word) for word in words]
