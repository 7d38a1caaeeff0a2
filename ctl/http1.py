"""HTTP/1.1 (RFC 9112), as much as a command needs: one connection, one request at a time, bodies sized or chunked.

`http.client` would do, but it imports the e-mail package to read headers, which alone takes as long as Python takes to
start. Nothing here is lenient: a message that is not as the RFC wants it is a ProtocolError, and every length has a bound.
"""

from __future__ import annotations

import io
import socket
import ssl
from collections.abc import Iterable
from typing import cast

LINE_BYTES_MAX = 65_536
"""Status line, one header field, or one chunk's head: the size http.client allows."""
FIELDS_MAX = 200
BUFFER_BYTES = 65_536
SWITCHING = 101
"""From here on the connection speaks what was asked for (RFC 9110, 15.2.2)."""


class ProtocolError(Exception):
    """The other side does not speak HTTP/1.1, or stopped in the middle of a message."""


class ConnectionClosed(ProtocolError):
    """The other side closed the connection before it said anything about the request."""


class Response:
    """Status, header fields, and the body as a file that ends where the message ends."""

    def __init__(self, status: int, fields: list[tuple[str, str]], body: io.BufferedReader) -> None:
        self.status = status
        self.fields = fields
        self.body = body

    def all(self, name: str) -> list[str]:
        """Every value of a header field; `name` in lower case."""
        return [value for field, value in self.fields if field == name]


class Connection:
    """One connection to one server, opened by the constructor. Raises OSError."""

    def __init__(
        self, host: str, port: int, *, context: ssl.SSLContext | None, server_name: str, timeout_s: float
    ) -> None:
        name = f"[{host}]" if ":" in host else host
        # Without the scheme's own port, as RFC 9110 (4.2.3) wants it: a signed address is signed for the short form.
        self._host = name if port == (80 if context is None else 443) else f"{name}:{port}"
        plain = socket.create_connection((host, port), timeout_s)
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket = plain if context is None else context.wrap_socket(plain, server_hostname=server_name)
        except BaseException:
            plain.close()
            raise
        self._file = cast("io.BufferedReader", self._socket.makefile("rb", BUFFER_BYTES))

    def peer_certificate(self) -> bytes | None:
        """What the other side has shown (DER), believed or not; None without TLS."""
        return self._socket.getpeercert(binary_form=True) if isinstance(self._socket, ssl.SSLSocket) else None

    def patience(self, timeout_s: float | None) -> None:
        """How long the other side may be silent; None: for ever."""
        self._socket.settimeout(timeout_s)

    def request(
        self, method: str, target: str, fields: Iterable[tuple[str, str]], body: bytes | Iterable[bytes] | None
    ) -> None:
        """Send a request. A body that is not bytes needs its Content-Length among the fields."""
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self._host}", *(f"{key}: {value}" for key, value in fields)]
        if isinstance(body, bytes):
            lines.append(f"Content-Length: {len(body)}")
        for line in lines:
            if "\r" in line or "\n" in line:
                raise ProtocolError(f"a line break in {line.splitlines()[0]!r}")
        head = "\r\n".join(
            [*lines, "", ""]
        ).encode()  # names to act for may be in any script; Kubernetes' clients send UTF-8, too
        if isinstance(body, bytes) or body is None:
            self._socket.sendall(head + (body or b""))
            return
        self._socket.sendall(head)
        for piece in body:
            self._socket.sendall(piece)

    def response(self) -> Response:
        """The answer to the request. Raises ProtocolError, OSError."""
        while True:
            status = self._status()
            fields = self._fields()
            if status >= 200 or status == SWITCHING:
                return Response(status, fields, io.BufferedReader(self._body(status, fields), BUFFER_BYTES))

    def upgraded(self) -> tuple[socket.socket, bytes]:
        """The socket after a 101, not blocking from now on, and what has been read of the new protocol already."""
        self._socket.settimeout(0)
        try:
            received = self._file.peek()
        except (ssl.SSLWantReadError, BlockingIOError):
            received = b""
        return self._socket, received

    def close(self) -> None:
        """Close the connection."""
        self._file.close()
        self._socket.close()

    def _status(self) -> int:
        line = self._file.readline(LINE_BYTES_MAX)
        if not line:
            raise ConnectionClosed("the connection was closed")
        parts = line.split(None, 2)
        if len(parts) < 2 or not parts[0].startswith(b"HTTP/1.") or len(parts[1]) != 3 or not parts[1].isdigit():
            raise ProtocolError(f"not an HTTP answer: {line[:60]!r}")
        return int(parts[1])

    def _fields(self) -> list[tuple[str, str]]:
        fields: list[tuple[str, str]] = []
        while (line := _line(self._file)) != b"":
            name, colon, value = line.partition(b":")
            if not colon or not name or name != name.strip() or len(fields) == FIELDS_MAX:
                raise ProtocolError(f"not a header field: {line[:60]!r}")
            fields.append((name.decode("latin-1").lower(), value.strip().decode("latin-1")))
        return fields

    def _body(self, status: int, fields: list[tuple[str, str]]) -> io.RawIOBase:
        known = dict(fields)
        if status in (SWITCHING, 204, 304):
            return _Sized(self._file, 0)
        if "transfer-encoding" in known:
            if known["transfer-encoding"].lower() != "chunked":
                raise ProtocolError(f"unknown transfer encoding {known['transfer-encoding']!r}")
            return _Chunked(self._file)
        length = known.get("content-length")
        if length is None:
            return _UntilClosed(self._file)
        if not length.isdecimal():
            raise ProtocolError(f"not a length: {length[:60]!r}")
        return _Sized(self._file, int(length))


def _line(file: io.BufferedReader) -> bytes:
    line = file.readline(LINE_BYTES_MAX)
    if not line.endswith(b"\n"):
        raise ProtocolError(
            "the message ended in the middle of a line" if len(line) < LINE_BYTES_MAX else "a line is too long"
        )
    return line.rstrip(b"\r\n")


class _UntilClosed(io.RawIOBase):
    """A body that goes on until the connection is closed."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._source = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # BufferedReader hands a memoryview
        return self._source.readinto1(buffer)


class _Sized(_UntilClosed):
    """A body of known length."""

    def __init__(self, file: io.BufferedReader, length: int) -> None:
        super().__init__(file)
        self._left = length

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # BufferedReader hands a memoryview
        if not self._left:
            return 0
        count = self._source.readinto1(memoryview(buffer)[: self._left])
        if not count:
            raise ProtocolError(f"the message ended {self._left} bytes early")
        self._left -= count
        return count


class _Chunked(_Sized):
    """A body in chunks (RFC 9112, 7.1); extensions and trailers are passed over."""

    def __init__(self, file: io.BufferedReader) -> None:
        super().__init__(file, 0)
        self._ended = False

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # BufferedReader hands a memoryview
        if not self._left and not self._ended:
            self._begin_chunk()
        if self._ended:
            return 0
        count = super().readinto(buffer)
        if not self._left and _line(self._source):
            raise ProtocolError("a chunk is longer than it says")
        return count

    def _begin_chunk(self) -> None:
        head = _line(self._source).partition(b";")[0].strip()
        try:
            self._left = int(head, 16)
        except ValueError as error:
            raise ProtocolError(f"not a chunk: {head[:60]!r}") from error
        if not self._left:
            while _line(self._source):
                pass
            self._ended = True
