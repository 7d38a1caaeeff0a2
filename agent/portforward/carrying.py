"""One forwarded connection: from wherever the client's bytes come to a socket of the pod's program, and back.

Sockets and not asyncio's streams, because both directions have an end of their own: an answer must be readable to its last
byte although the program has stopped taking what is still being sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from .targets import NotForwarded

PIECE_BYTES_MAX: Final = 64 * 1024
"""Read from a pod at a time."""
INLET_BYTES_MAX: Final = 256 * 1024
"""What one connection may hold of what its program has not taken. Then nothing more is read from the client, on any of
its connections, because neither protocol lets us slow down a single one."""
INLETS_BYTES_MAX: Final = 2 * 1024 * 1024
"""The same for all connections of one client together."""
CONNECT_TIMEOUT_S: Final = 5.0
"""For a port of this very machine."""
LOOPBACK: Final = ("127.0.0.1", "::1")


class Client(Protocol):
    """The client's side of one connection."""

    half_closes: bool
    """Whether the client may go on when the pod has said everything; otherwise the connection is over then."""

    async def receive(self) -> bytes:
        """The next bytes; empty when there will be no more."""
        ...

    async def send(self, data: bytes) -> None:
        """Returns when more may be sent."""
        ...

    async def finish(self) -> None:
        """There is nothing more to send."""
        ...


class Inlet:
    """What the client has sent for one connection and its program has not taken."""

    def __init__(self, on_taken: Callable[[int], None]) -> None:
        """`on_taken` hears how many bytes have left."""
        self._on_taken = on_taken
        self._waiting: deque[bytes] = deque()
        self._in_hand = 0
        self._is_ended = False
        self._changed = asyncio.Event()
        self.size = 0

    def feed(self, data: bytes) -> None:
        """More has come."""
        if data and not self._is_ended:
            self._waiting.append(data)
            self.size += len(data)
            self._changed.set()

    def end(self) -> None:
        """Nothing more will come."""
        self._is_ended = True
        self._changed.set()

    def discard(self) -> None:
        """Nobody wants what has come and what may come."""
        self.end()
        self._waiting.clear()
        dropped, self.size, self._in_hand = self.size, 0, 0
        if dropped:
            self._on_taken(dropped)

    async def receive(self) -> bytes:
        """Everything that has come; empty at the end. What the last call gave counts as taken now."""
        self._take()
        while not self._waiting:
            if self._is_ended:
                return b""
            self._changed.clear()
            await self._changed.wait()
        data = b"".join(self._waiting)
        self._waiting.clear()
        self._in_hand = len(data)
        return data

    def _take(self) -> None:
        if self._in_hand:
            taken, self._in_hand = self._in_hand, 0
            self.size -= taken
            self._on_taken(taken)


async def connect(port: int, node_ip: str) -> socket.socket:
    """A connection to a port of this machine, whichever address the program listens on. Raises NotForwarded."""
    loop = asyncio.get_running_loop()
    trouble: OSError | None = None
    for address in dict.fromkeys((*LOOPBACK, node_ip)):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError as error:  # a machine without IPv6, or without a file descriptor left
            trouble = trouble or error
            continue
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await loop.sock_connect(sock, (address, port))
        except (OSError, TimeoutError) as error:
            sock.close()
            # What 127.0.0.1 said tells more than that nobody listens on ::1 either.
            trouble = trouble or error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    assert trouble is not None, port
    # asyncio words its errors by the call; the number says what Go's "connection refused" says.
    reason = os.strerror(trouble.errno).lower() if trouble.errno else "no answer in time"
    raise NotForwarded(f"failed to connect to port {port} of the node: {reason}")


async def carry(client: Client, pod: socket.socket) -> None:
    """Bytes both ways until nobody has anything more to say. Closes `pod`. Raises OSError when the program breaks off."""
    upload = asyncio.create_task(_upload(client, pod))
    download = asyncio.create_task(_download(client, pod))
    try:
        await download
        if client.half_closes:
            await upload
    finally:
        for task in (upload, download):
            task.cancel()
        await asyncio.gather(upload, download, return_exceptions=True)
        pod.close()


async def _upload(client: Client, pod: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    is_taking = True
    while data := await client.receive():
        if is_taking:
            try:
                await loop.sock_sendall(pod, data)
            except OSError:
                # The program has had enough. It may have said why: the download decides when this is over.
                is_taking = False
    with contextlib.suppress(OSError):
        pod.shutdown(socket.SHUT_WR)


async def _download(client: Client, pod: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    while data := await loop.sock_recv(pod, PIECE_BYTES_MAX):
        await client.send(data)
    await client.finish()
