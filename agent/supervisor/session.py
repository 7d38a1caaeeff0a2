"""The agent's end of a session: a command in a container's surroundings, or the streams of its own program.

Descriptors go to the supervisor with the first line. Closing the session is hanging up.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..descriptors import ready
from .link import SOCKET, SupervisorError, View

ANSWER_TIMEOUT_S = 20.0  # for the command to be started; a machine that needs longer is thrashing
READ_SIZE = 64 * 1024
LINE_MAX = 4 << 20  # bytes of one event; the first tells what all containers of the pod do
FDS_MAX = 4


class Session:
    """Use `open_session`, and `close` it. It ends when the command or the container does."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._rest = b""
        self.fds: list[int] = []
        """What the supervisor handed over; whoever takes one out must close it."""
        self.feeds = False
        """Attached, and what is written to the descriptor that was handed over is the container's input."""
        self._is_attached = False

    async def ended(self) -> int:
        """Wait for the end: the exit code, 128 + n for signal n; 0 for whoever only watched the container.

        Raises SupervisorError when it cannot be told.
        """
        code = int((await self.event("ended"))["code"])
        return 0 if self._is_attached else code

    def end_input(self) -> None:
        """The client writes no more: a container that takes input once gets the end of it."""
        if self.feeds:
            with contextlib.suppress(OSError):  # a supervisor that has gone says so elsewhere
                self._socket.send(b'{"cmd":"end_input"}\n')

    def begun(self, command: Mapping[str, Any], answer: View) -> None:
        """What the supervisor said to the command."""
        self._is_attached = command["cmd"] == "attach"
        self.feeds = bool(answer.get("stdin"))

    async def event(self, *kinds: str) -> View:
        """The next event of these kinds. Raises SupervisorError."""
        while True:
            line, newline, rest = self._rest.partition(b"\n")
            if not newline:
                self._rest += await self._receive()
                continue
            self._rest = rest
            view: View = json.loads(line)
            if view["ev"] in kinds:
                return view

    async def _receive(self) -> bytes:
        if len(self._rest) > LINE_MAX:
            raise SupervisorError("the supervisor says too much")
        while True:
            try:
                data, fds, _, _ = socket.recv_fds(self._socket, READ_SIZE, FDS_MAX, socket.MSG_CMSG_CLOEXEC)
            except BlockingIOError:
                await ready(self._socket.fileno(), asyncio.get_running_loop().add_reader)
                continue
            except OSError as error:
                raise SupervisorError(f"the supervisor is gone: {error}") from error
            self.fds += fds
            if not data:
                raise SupervisorError("the supervisor is gone")
            return data

    def close(self) -> None:
        """Hang up."""
        self._socket.close()
        for fd in self.fds:
            os.close(fd)
        self.fds.clear()


class Refused(SupervisorError):
    """The supervisor is there and will not do it, or cannot."""


async def open_session(pod_dir: Path, command: Mapping[str, Any], fds: Sequence[int]) -> Session:
    """Say `command` (`run` or `attach`) and hand `fds` over; they are still ours to close.

    Raises Refused with the supervisor's reason, SupervisorError when it cannot be reached.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    session = Session(sock)
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            await _connect(sock, pod_dir)
            if not (await session.event("snapshot")).get("sessions"):
                raise Refused(
                    "the pod was started by an agent that could not do this; it can after the pod's next start"
                )
            line = json.dumps(command).encode() + b"\n"
            sent = socket.send_fds(sock, [line], fds)
            await asyncio.get_running_loop().sock_sendall(sock, line[sent:])
            answer = await session.event("running", "failed")
    except (OSError, TimeoutError) as error:
        session.close()
        raise SupervisorError(f"{pod_dir}: {error or 'no answer in time'}") from error
    except BaseException:
        session.close()
        raise
    if answer["ev"] == "failed":
        session.close()
        raise Refused(answer["message"])
    session.begun(command, answer)
    return session


async def _connect(sock: socket.socket, pod_dir: Path) -> None:
    # The path of a socket is limited to 107 bytes; through /proc the directory's name no longer counts.
    fd = os.open(pod_dir, os.O_RDONLY | os.O_DIRECTORY)
    try:
        await asyncio.get_running_loop().sock_connect(sock, f"/proc/self/fd/{fd}/{SOCKET}")
    finally:
        os.close(fd)
