"""An upgraded connection: WebSocket messages over a socket that never blocks, for loops that wait for several things."""

from __future__ import annotations

import selectors
import socket
import ssl
import time
from collections.abc import Callable, Iterator

from .websocket import BINARY, CLOSE, NORMAL, PING, PONG, Messages, frame

READ_BYTES = 65_536
UNSENT_BYTES_MAX = 1024 * 1024
"""From here on nothing more is taken from whoever feeds the connection, until the server has read."""
PING_S = 30.0
"""How often a silent connection shows the proxies on its way that it lives."""
WAIT = (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError)


class Link:
    """Messages both ways. `read` and `flush` do what can be done at once."""

    def __init__(self, sock: socket.socket, received: bytes, protocol: str) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self.socket = sock
        self.protocol = protocol
        self._messages = Messages()
        self._received = received
        self._unsent = bytearray()
        self.ended = False

    @property
    def unsent(self) -> int:
        """Bytes that wait for the server to read."""
        return len(self._unsent)

    def send(self, payload: bytes, opcode: int = BINARY) -> None:
        """Queue one message. Raises OSError."""
        self._unsent += frame(opcode, payload)
        self.flush()

    def flush(self) -> None:
        """Send what the connection takes. Raises OSError."""
        try:
            while self._unsent:
                del self._unsent[: self.socket.send(bytes(memoryview(self._unsent)[:READ_BYTES]))]
        except WAIT:
            pass

    def read(self) -> Iterator[bytes]:
        """The messages that have arrived; `ended` is true after the last. Raises OSError, ProtocolError."""
        data, self._received = self._received, b""
        while not self.ended:
            for opcode, payload in self._messages.feed(data):
                if opcode == CLOSE:
                    self.ended = True
                    self._closing()
                    return
                if opcode == PING:
                    self.send(payload, PONG)
                elif opcode != PONG:
                    yield payload
            try:
                data = self.socket.recv(READ_BYTES)
            except WAIT:
                return
            if not data:
                self.ended = True

    def close(self) -> None:
        """Say good-bye, as far as it can be said at once, and let go."""
        try:
            if not self.ended:
                self._closing()
        finally:
            self.socket.close()

    def _closing(self) -> None:
        try:
            self.send(NORMAL.to_bytes(2, "big"), CLOSE)
        except OSError:
            pass  # the other side is gone: nobody is left to be polite to


class Loop:
    """Waits for a link and for others, until the link has ended or `over` says so."""

    def __init__(self, link: Link, message: Callable[[bytes], None]) -> None:
        self._link, self._message = link, message
        self._selector = selectors.PollSelector()  # which knows regular files, too
        self._feeds: dict[int, Callable[[], None]] = {}
        self.over = False

    def feed(self, descriptor: int, ready: Callable[[], None]) -> None:
        """Call `ready` whenever the descriptor can be read and the link has room."""
        self._feeds[descriptor] = ready

    def forget(self, descriptor: int) -> None:
        """It has nothing more to say."""
        if self._feeds.pop(descriptor, None) is not None and descriptor in self._selector.get_map():
            self._selector.unregister(descriptor)

    def run(self) -> None:
        """Go on to the end. Raises OSError, ProtocolError."""
        with self._selector:
            self._selector.register(self._link.socket, selectors.EVENT_READ)
            self._take()
            pinged = time.monotonic()
            while not self.over and not self._link.ended:
                self._arrange()
                ready = [key for key, _ in self._selector.select(PING_S)]
                self._link.flush()
                for key in ready:
                    if key.fd in self._feeds:
                        self._feeds[key.fd]()
                self._take()
                if time.monotonic() - pinged >= PING_S and not self._link.unsent:
                    self._link.send(b"", PING)
                    pinged = time.monotonic()

    def _take(self) -> None:
        for message in self._link.read():
            self._message(message)
            if self.over:
                return

    def _arrange(self) -> None:
        """Listen to those who feed only while there is room for what they say."""
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._link.unsent else 0)
        self._selector.modify(self._link.socket, wanted)
        for descriptor in self._feeds:
            registered = descriptor in self._selector.get_map()
            if self._link.unsent < UNSENT_BYTES_MAX and not registered:
                self._selector.register(descriptor, selectors.EVENT_READ)
            elif self._link.unsent >= UNSENT_BYTES_MAX and registered:
                self._selector.unregister(descriptor)
