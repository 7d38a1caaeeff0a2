"""Serve one exec or attach: a WebSocket or SPDY on one side, a session with the pod's supervisor on the other.

The process belongs to the pod, not to us: when the client, the API server between or this agent goes away, the session's
connection ends, and the supervisor hangs up on the command and then kills it. What is read of one side is written to
the other before more is read, so nothing accumulates here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import select
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from aiohttp import web

from ..descriptors import Descriptor
from ..supervisor.link import SupervisorError
from ..supervisor.session import Session, open_session
from ..wires import Spent, take_over
from . import channels
from .connections import Connection, WebSocketConnection
from .spdy import V4, SpdyConnection, choose_version, switching
from .stdio import Stdio

log = logging.getLogger(__name__)

MESSAGE_BYTES_MAX = 32 << 20  # of one WebSocket message from the client, Kubernetes' limit
HANGUP_CHECK_S = 2.0  # how often a connection that is not being read is asked whether its other end has left
STALLED_PING_S = 5.0  # how often a client is asked whether it is there while a command does not take its input
CLOSE_TIMEOUT_S = 5.0  # for the client to answer that it has heard the end
OUTPUTS = {"stdout": channels.STDOUT, "stderr": channels.STDERR}
_FLAG = re.compile(r"^(1|t|true)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Place:
    """A container that runs."""

    pod_dir: Path
    container: str
    tty: bool
    """It has a terminal of its own."""


class Containers(Protocol):
    """Finds containers."""

    def find(self, namespace: str, pod: str, uid: str, container: str) -> Place:
        """The running container; `uid` may be empty. Raises NoPod, NoContainer."""


class NoPod(LookupError):
    """Not on this node."""


class NoContainer(LookupError):
    """It does not run."""


@dataclass(frozen=True, slots=True)
class Options:
    """What is asked, as in PodExecOptions and PodAttachOptions."""

    stdin: bool
    stdout: bool
    stderr: bool
    tty: bool
    command: list[str]

    @property
    def streams(self) -> frozenset[str]:
        """The streams a client opens one by one, where the protocol makes it do that."""
        wanted = {"stdin": self.stdin, "stdout": self.stdout, "stderr": self.stderr, "resize": self.tty}
        return frozenset({"error", *(name for name, is_wanted in wanted.items() if is_wanted)})


def options_of(request: web.Request) -> Options:
    """The query. Raises ValueError in the kubelet's words."""
    query = request.query
    flags = {name: bool(_FLAG.match(query.get(name, ""))) for name in ("stdin", "stdout", "stderr", "tty")}
    if flags["tty"]:
        flags["stderr"] = False  # a terminal has one output
    if not (flags["stdin"] or flags["stdout"] or flags["stderr"]):
        raise ValueError("you must specify at least 1 of stdin, stdout, stderr")
    return Options(**flags, command=query.getall("command", []))


class RemoteStreams:
    """The endpoints."""

    def __init__(self, containers: Containers) -> None:
        self._containers = containers

    def routes(self) -> list[web.RouteDef]:
        """For the agent's server. Old clients ask with POST."""
        found: list[web.RouteDef] = []
        for kind, handler in (("exec", self._exec), ("attach", self._attach)):
            path = f"/{kind}/{{namespace}}/{{pod}}/{{container}}"
            found += [web.get(path, handler), web.post(path, handler)]
        return found

    async def _exec(self, request: web.Request) -> web.StreamResponse:
        async def open_exec(place: Place, options: Options) -> tuple[Stdio, Session]:
            stdio = (
                Stdio.pty(stdin=options.stdin, stdout=options.stdout)
                if options.tty
                else Stdio.pipes(stdin=options.stdin, stdout=options.stdout, stderr=options.stderr)
            )
            command = {"cmd": "run", "container": place.container, "argv": options.command, "tty": options.tty}
            return stdio, await _open(place, command, stdio)

        return await self._serve(request, open_exec, "error executing command in container")

    async def _attach(self, request: web.Request) -> web.StreamResponse:
        async def open_attach(place: Place, options: Options) -> tuple[Stdio, Session]:
            stdio = Stdio.pipes(stdin=False, stdout=options.stdout, stderr=options.stderr and not place.tty)
            session = await _open(place, {"cmd": "attach", "container": place.container, "stdin": options.stdin}, stdio)
            _take_input(stdio, session, options.stdin, place.tty)
            return stdio, session

        return await self._serve(request, open_attach, "error attaching to container")

    async def _serve(
        self,
        request: web.Request,
        open_to: Callable[[Place, Options], Awaitable[tuple[Stdio, Session]]],
        trouble: str,
    ) -> web.StreamResponse:
        asked = request.match_info
        try:
            options = options_of(request)
            place = self._containers.find(
                asked["namespace"], asked["pod"], request.query.get("uid", ""), asked["container"]
            )
        except ValueError as error:
            return web.Response(status=400, text=f"{error}\n")
        except NoPod:
            return web.Response(status=404, text="pod does not exist\n")
        except NoContainer:
            text = f'unable to upgrade connection: container not found ("{asked["container"]}")\n'
            return web.Response(status=500, text=text)
        transport = request.transport
        try:
            connection, response = await _connect(request, options)
        except ValueError as error:
            return web.Response(status=400, text=f"{error}\n")
        try:
            stdio, session = await open_to(place, options)
        except (SupervisorError, OSError) as error:
            await connection.end(channels.failure_status(f"{trouble}: {error}"))
            return response
        try:
            await converse(connection, stdio, session, transport)
        finally:
            session.close()
            stdio.close()
        return response


async def _open(place: Place, command: dict[str, Any], stdio: Stdio) -> Session:
    try:
        session = await open_session(
            place.pod_dir, {**command, "streams": list(stdio.theirs)}, list(stdio.theirs.values())
        )
    except BaseException:
        stdio.close()
        raise
    stdio.handed_over()
    return session


def _take_input(stdio: Stdio, session: Session, wants_stdin: bool, tty: bool) -> None:
    """What the supervisor handed over to an attached client: the container's input, or its terminal."""
    if not session.fds:
        return
    end = Descriptor(session.fds.pop())
    if tty:
        stdio.terminal = end
    if wants_stdin and session.feeds:
        stdio.stdin = end if not tty else Descriptor(os.dup(end.fd))


async def _connect(request: web.Request, options: Options) -> tuple[Connection, web.StreamResponse]:
    """Change to the client's protocol. Raises ValueError when we speak none of them."""
    match request.headers.get("Upgrade", "").lower():
        case "websocket":
            protocol = channels.choose(_offered(request, "Sec-WebSocket-Protocol"))
            if protocol is None:
                raise ValueError("none of the subprotocols is known here")
            socket = web.WebSocketResponse(
                protocols=(protocol.name,) if protocol.name else (),
                compress=False,
                max_msg_size=MESSAGE_BYTES_MAX,
                autoclose=False,
                timeout=CLOSE_TIMEOUT_S,
            )
            await socket.prepare(request)
            return WebSocketConnection(socket, protocol), socket
        case "spdy/3.1":
            name = choose_version(_offered(request, "X-Stream-Protocol-Version"))
            wire = take_over(request, switching(name))
            connection = SpdyConnection(wire, has_status=name == V4)
            await connection.opened(options.streams)
            return connection, Spent()
    raise ValueError("Upgrade request required")


def _offered(request: web.Request, header: str) -> list[str]:
    return [name.strip() for line in request.headers.getall(header, []) for name in line.split(",")]


async def converse(
    connection: Connection, stdio: Stdio, session: Session, transport: asyncio.BaseTransport | None
) -> None:
    """Carry bytes until the command has ended and all its output is delivered, or the client has left."""
    # An empty message tells the client that it is connected, before the command says anything.
    first = next((OUTPUTS[name] for name in stdio.outputs), channels.ERROR)
    ending = asyncio.create_task(_output(connection, stdio, session))
    parts = [ending, asyncio.create_task(_input(connection, stdio, session)), asyncio.create_task(_gone(transport))]
    try:
        await connection.send(first, b"")
        await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
    except ConnectionError:
        pass  # the client has left
    finally:
        for part in parts:
            part.cancel()
        results = await asyncio.gather(*parts, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception) and not isinstance(result, ConnectionError):
            log.error("a stream failed", exc_info=result)
    if isinstance(results[0], dict):
        await connection.end(results[0])


async def _output(connection: Connection, stdio: Stdio, session: Session) -> dict[str, Any] | None:
    """How it ended, once everything that was written is with the client; None when the client has left."""
    status: dict[str, Any] | None
    try:
        async with asyncio.TaskGroup() as group:
            for name, end in stdio.outputs.items():
                group.create_task(_copy(end, connection, OUTPUTS[name]))
            if stdio.unread is not None:
                group.create_task(_copy(stdio.unread, None, channels.STDOUT))
            try:
                status = channels.exit_status(await session.ended())
            except SupervisorError as error:
                status = channels.failure_status(f"error while the command ran: {error}")
            if stdio.terminal is not None:
                # Pipes end when the last who has them is gone, as in Kubernetes. A terminal ends with its session.
                stdio.finish()
    except* ConnectionError:
        status = None
    return status


async def _copy(end: Descriptor, connection: Connection | None, channel: int) -> None:
    while data := await end.read():
        if connection is not None:
            await connection.send(channel, data)


async def _input(connection: Connection, stdio: Stdio, session: Session) -> None:
    """Returns when the client has left."""
    while (message := await connection.receive()) is not None:
        channel, data = message
        if connection.closes(channel, data) == channels.STDIN:
            stdio.end_input()
            session.end_input()
        elif channel == channels.STDIN and stdio.stdin is not None:
            try:
                await _write(stdio.stdin, data, connection)
            except OSError:
                stdio.drop_input()  # nobody reads it any more, which is no reason to end: there may be output
        elif channel == channels.RESIZE and (size := channels.terminal_size(data)):
            stdio.resize(*size)


async def _write(end: Descriptor, data: bytes, connection: Connection) -> None:
    """Write what the command takes. Until it does we do not read, and would not see that the client has gone: so we ask."""
    writing = asyncio.ensure_future(end.write(data))
    try:
        while not (await asyncio.wait([writing], timeout=STALLED_PING_S))[0]:
            with contextlib.suppress(ConnectionError):
                await connection.ping()
        await writing
    finally:
        writing.cancel()


async def _gone(transport: asyncio.BaseTransport | None) -> None:
    """Return when the other end of the connection has closed it.

    Whoever does not read does not hear of that: input that no command takes would keep the command for ever.
    """
    sock = transport.get_extra_info("socket") if transport is not None else None
    while True:
        if sock is None or _has_hung_up(sock):
            return
        await asyncio.sleep(HANGUP_CHECK_S)


def _has_hung_up(sock: Any) -> bool:
    if sock.fileno() < 0:
        return True
    poll = select.poll()
    poll.register(sock.fileno(), select.POLLRDHUP)
    return bool(poll.poll(0))
