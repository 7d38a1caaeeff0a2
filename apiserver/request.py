"""The request and the response as plain values: what every handler takes and gives.

Nothing above `http/` knows which HTTP library is underneath. A handler is `async (Request) -> Response | Stream | Upgrade`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import parse_qs


@dataclass(frozen=True, slots=True)
class User:
    """Who is asking (authentication/v1 UserInfo)."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def info(self) -> dict[str, Any]:
        """In wire form, as reviews and those who are asked about a write are shown it."""
        info: dict[str, Any] = {"username": self.name}
        if self.uid:
            info["uid"] = self.uid
        if self.groups:
            info["groups"] = list(self.groups)
        if self.extra:
            info["extra"] = {key: list(values) for key, values in self.extra.items()}
        return info


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """What a verified certificate says beside the user: which one it is, and when it is good."""

    user: str
    serial: str
    """Hexadecimal, in lower case, without leading zeros."""
    issued_at: float
    """When the authority signed it, in seconds since 1970."""
    expires_at: float
    """Its end, likewise: a connection may last longer than its certificate."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of the connection. The certificate has been verified against the cluster's CA."""

    address: str
    certificate_user: User | None = None
    """Common name and organisations of the client certificate, when there is one."""
    certificate: ClientCertificate | None = None


class Body(Protocol):
    """The request's body, read once."""

    async def read(self, limit: int) -> bytes:
        """All of it. Raises RequestEntityTooLarge past `limit` bytes, without having buffered more than that."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """Piece by piece, for uploads that must not be held in memory."""
        ...


class Query:
    """The query string: every value of every parameter, in order."""

    __slots__ = ("_values", "raw")

    def __init__(self, raw: str) -> None:
        self.raw = raw
        self._values = parse_qs(raw, keep_blank_values=True, max_num_fields=256) if raw else {}

    def first(self, name: str, default: str = "") -> str:
        """The first value, or `default`."""
        values = self._values.get(name)
        return values[0] if values else default

    def all(self, name: str) -> Sequence[str]:
        """Every value given, in order."""
        return self._values.get(name, ())

    @property
    def names(self) -> Sequence[str]:
        """The parameters that are given."""
        return tuple(self._values)

    def flag(self, name: str) -> bool:
        """True for `true`, `1`, `t` and a parameter without a value, as Kubernetes reads booleans."""
        return name in self._values and self.first(name).lower() in ("", "true", "1", "t")

    def __contains__(self, name: str) -> bool:
        return name in self._values


@dataclass(slots=True)
class Request:
    """One HTTP request. `user` is filled in by authentication, `warnings` by whoever has something to say."""

    method: str
    path: str
    """Percent-decoded once; begins with `/`."""
    query: Query
    headers: Mapping[str, str]
    """Names in lower case; a repeated header joined with `, `."""
    body: Body
    peer: Peer
    user: User | None = None
    proven: User | None = None
    """Who asks in truth, when `user` is somebody they impersonate."""
    warnings: list[str] = field(default_factory=list)
    """Become `Warning: 299` headers of the response (RFC 7234 section 5.5, as Kubernetes does)."""
    marks: Mapping[str, str] | None = None
    """Headers of the response, whatever it will be: which flow schema and priority level the request belongs to."""
    hang_up: Callable[[], None] | None = None
    """Ends the connection at once, whatever is under way on it."""
    audit: dict[str, str] = field(default_factory=dict)
    """What was noted about the request for the audit log: webhooks' annotations, and which of them changed the object."""
    subject: Mapping[str, Any] | None = None
    """The metadata of the object it is about, once that is known: the path of a create does not tell its name."""


@dataclass(slots=True)
class Response:
    """A whole answer. `body` may be several buffers, sent one after the other without being joined."""

    status: int = 200
    body: bytes | Sequence[bytes] = b""
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    on_sent: Callable[[], None] | None = None
    """Called once by the adapter, when the body has been written or cannot be."""


class Frames:
    """Bytes that go to many connections. What HTTP puts around a chunk is made once, for whoever asks first."""

    __slots__ = ("_chunk", "data")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._chunk = b""

    @property
    def chunk(self) -> bytes:
        """The same as a chunk of a chunked body (RFC 9112 section 7.1)."""
        if not self._chunk:
            self._chunk = b"%x\r\n%b\r\n" % (len(self.data), self.data)
        return self._chunk


class Sink(Protocol):
    """The connection that a pushed stream is written to."""

    is_ready: bool
    """False while the client has not taken what was written: then `Pushed.flow` is called when it has."""

    def send(self, frames: Frames) -> None:
        """Write one after the other, without waiting."""
        ...

    def end(self) -> None:
        """There is nothing more: the answer is complete."""
        ...


class Pushed(ABC):
    """Chunks that whoever makes them writes to the connection, with no task between. The adapter attaches it once."""

    @abstractmethod
    def attach(self, sink: Sink) -> None:
        """From now on, write there."""

    @abstractmethod
    def flow(self) -> None:
        """The client takes more: write what waits."""


@dataclass(slots=True)
class Stream:
    """An answer that goes on: a watch, a log, a download.

    When it is over, or the client leaves, the adapter closes an iterator of `chunks` and calls each of `on_close` once.
    """

    chunks: AsyncIterator[bytes] | Pushed
    status: int = 200
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    on_close: list[Callable[[], None]] = field(default_factory=list)


class ByteStream(Protocol):
    """Both ways of a connection that is HTTP no longer."""

    async def read(self) -> bytes:
        """The next bytes, as they come; empty at the end, also when the connection was cut."""
        ...

    async def write(self, data: bytes) -> None:
        """Returns when more may be written: a reader that is slow slows us down. Raises ConnectionError."""
        ...

    async def lost(self) -> None:
        """Return when the connection is gone, also when not everything it brought has been read."""
        ...

    async def close(self) -> None:
        """End the connection once what was written is on its way, or after a while without that."""
        ...


@dataclass(slots=True)
class Upgrade:
    """The answer 101: from now on the connection speaks another protocol (RFC 9110 section 7.8).

    The adapter sends the head, with `Connection: Upgrade` and `Upgrade: <protocol>`, and awaits `relay` once with the
    connection, whatever happens: to a client that has gone meanwhile it gives a stream at its end, since only `relay`
    gives back what was opened for it. When `relay` returns the connection is over.
    """

    protocol: str
    """`websocket`, `SPDY/3.1`."""
    relay: Callable[[ByteStream], Awaitable[None]]
    headers: dict[str, str] = field(default_factory=dict)
    status: int = 101


Answer = Response | Stream | Upgrade
Handler = Callable[[Request], Awaitable[Answer]]
