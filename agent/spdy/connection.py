"""The server's side of one SPDY connection: which streams are open, which way, and what must be answered at once.

Bytes in by `receive`, which gives events; bytes out by `take`. No input, no output, no clock. Streams are opened by the
client only.

Windows: we always grant what was consumed, as SPDY/3.1 asks, and moby/spdystream does not care. A peer's own windows are
respected from the first sign that it has any (a WINDOW_UPDATE, or SETTINGS with an initial window). Until then there is no
limit, because a peer that never grants anything would otherwise get 64 KiB and then nothing; back-pressure is TCP's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from .frames import (
    DATA_BYTES_MAX,
    SETTING_INITIAL_WINDOW,
    Data,
    Frame,
    FrameError,
    FrameReader,
    FrameWriter,
    GoAway,
    GoAwayStatus,
    Headers,
    Ping,
    ResetStatus,
    RstStream,
    SettingsFrame,
    SynReply,
    SynStream,
    WindowUpdate,
)

STREAMS_MAX: Final = 1_024
"""Open at a time: 512 forwarded connections. Those beyond are refused, and kubectl says so."""
WINDOW_BYTES: Final = 64 * 1024
"""A window at the beginning, theirs and ours (section 2.6.8)."""
WINDOW_MAX: Final = 0x7FFF_FFFF


@dataclass(frozen=True, slots=True)
class Opened:
    """The client wants a stream: answer with `reply` or `reset`. `fin`: it will send nothing on it."""

    stream_id: int
    headers: Mapping[str, str]
    fin: bool


@dataclass(frozen=True, slots=True)
class DataReceived:
    """Bytes of an open stream. `fin`: they were the last."""

    stream_id: int
    data: bytes
    fin: bool


@dataclass(frozen=True, slots=True)
class Reset:
    """The client gave the stream up."""

    stream_id: int
    status: int


@dataclass(frozen=True, slots=True)
class Roomier:
    """More may be sent than before: see `sendable`."""


@dataclass(frozen=True, slots=True)
class GoneAway:
    """The client will open no more streams."""

    status: int


@dataclass(frozen=True, slots=True)
class Ponged:
    """The answer to a ping of ours: everything sent before it has been read."""

    ping_id: int


Event = Opened | DataReceived | Reset | Roomier | GoneAway | Ponged


@dataclass(slots=True)
class _Window:
    """What one side lets the other send."""

    sendable: int = WINDOW_BYTES
    consumed: int = 0
    """Of what was received, taken by whoever it was for and not granted again yet."""

    def grant(self, size: int) -> int:
        """How much to grant now that `size` more were consumed: nothing, until it is worth a frame."""
        self.consumed += size
        if self.consumed < WINDOW_BYTES // 2:
            return 0
        granted, self.consumed = self.consumed, 0
        return granted


@dataclass(slots=True)
class _Stream:
    theirs: bool
    """Whether the client may still send."""
    ours: bool
    """Whether we may."""
    window: _Window = field(default_factory=_Window)


class Connection:
    """Created when the connection has been upgraded; after a FrameError only `take` may be called."""

    def __init__(self, streams_max: int = STREAMS_MAX) -> None:
        self._streams_max = streams_max
        self._reader, self._writer = FrameReader(), FrameWriter()
        self._streams: dict[int, _Stream] = {}
        self._window = _Window()
        self._initial_window = WINDOW_BYTES
        self._is_counted = False
        """Whether the peer has shown that it has windows."""
        self._last_id = 0
        self._is_ending = False
        self._next_ping_id = 2  # a server's are even
        self._out: deque[bytes] = deque()
        self.pending = 0
        """Bytes that `take` would give."""

    # -- out ------------------------------------------------------------------------------------------------------

    def take(self) -> bytes:
        """Everything that is to be sent, in one piece."""
        data = b"".join(self._out)
        self._out.clear()
        self.pending = 0
        return data

    def reply(self, stream_id: int) -> None:
        """Accept a stream."""
        self._send(SynReply(stream_id, {}))

    def send(self, stream_id: int, data: bytes, fin: bool = False) -> None:
        """Bytes of a stream; `fin` with the last. Nothing happens when the stream is over for us."""
        stream = self._streams.get(stream_id)
        if stream is None or not stream.ours:
            return
        assert len(data) <= min(self.sendable(stream_id), DATA_BYTES_MAX), (len(data), self.sendable(stream_id))
        stream.window.sendable -= len(data)
        self._window.sendable -= len(data)
        self._send(Data(stream_id, data, fin))
        if fin:
            stream.ours = False
            self._forget_if_over(stream_id, stream)

    def sendable(self, stream_id: int) -> int:
        """How many bytes the peer lets us send on the stream now."""
        stream = self._streams.get(stream_id)
        if stream is None or not self._is_counted:
            return DATA_BYTES_MAX
        return max(0, min(stream.window.sendable, self._window.sendable))

    def consumed(self, stream_id: int, size: int) -> None:
        """`size` bytes of what was received have been taken: the peer may send as many again."""
        if granted := self._window.grant(size):
            self._send(WindowUpdate(0, granted))
        stream = self._streams.get(stream_id)
        if stream is not None and stream.theirs and (granted := stream.window.grant(size)):
            self._send(WindowUpdate(stream_id, granted))

    def reset(self, stream_id: int, status: ResetStatus) -> None:
        """Give a stream up. Nothing happens when it is over already."""
        if self._streams.pop(stream_id, None) is not None:
            self._send(RstStream(stream_id, status))

    def ping(self) -> int:
        """Ask whether the peer is there: the id of the ping, with which the answer will come."""
        ping_id = self._next_ping_id
        self._send(Ping(ping_id))
        self._next_ping_id = ping_id % 0xFFFF_FFFE + 2
        return ping_id

    def go_away(self, status: GoAwayStatus) -> None:
        """Announce the end, once."""
        if not self._is_ending:
            self._is_ending = True
            self._send(GoAway(self._last_id, status))

    def _send(self, frame: Frame) -> None:
        data = self._writer.encode(frame)
        self._out.append(data)
        self.pending += len(data)

    # -- in -------------------------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> list[Event]:
        """What has happened. Raises FrameError, and then GOAWAY is the last thing to be sent."""
        try:
            return [event for frame in self._reader.feed(data) if (event := self._on(frame)) is not None]
        except FrameError:
            self.go_away(GoAwayStatus.PROTOCOL_ERROR)
            raise

    def _on(self, frame: Frame) -> Event | None:
        match frame:
            case Data():
                return self._on_data(frame)
            case SynStream():
                return self._on_stream(frame)
            case RstStream(stream_id, status):
                return Reset(stream_id, status) if self._streams.pop(stream_id, None) else None
            case Ping(ping_id):
                if ping_id % 2 == 0:
                    return Ponged(ping_id)
                self._send(frame)
            case Headers(stream_id, _, True):
                return self._on_data(Data(stream_id, b"", True))
            case SettingsFrame(values):
                return self._on_settings(values)
            case WindowUpdate(stream_id, delta):
                return self._on_update(stream_id, delta)
            case GoAway(_, status):
                return GoneAway(status)
            case SynReply(stream_id):
                # We open no streams, so there is nothing to reply to (section 2.3.4).
                self._send(RstStream(stream_id, ResetStatus.INVALID_STREAM))
        return None

    def _on_stream(self, frame: SynStream) -> Event | None:
        stream_id = frame.stream_id
        if stream_id % 2 == 0 or stream_id <= self._last_id:
            raise FrameError(f"stream {stream_id} is opened after {self._last_id}")
        self._last_id = stream_id
        if len(self._streams) >= self._streams_max:
            self._send(RstStream(stream_id, ResetStatus.REFUSED_STREAM))
            return None
        stream = _Stream(theirs=not frame.fin, ours=not frame.unidirectional)
        stream.window.sendable = self._initial_window
        self._streams[stream_id] = stream
        return Opened(stream_id, frame.headers, frame.fin)

    def _on_data(self, frame: Data) -> Event | None:
        stream = self._streams.get(frame.stream_id)
        if stream is None or not stream.theirs:
            # A stream that we have just given up: its last bytes were on their way. They count for the connection.
            if frame.stream_id > self._last_id:
                raise FrameError(f"data of stream {frame.stream_id}, which was never opened")
            self.consumed(frame.stream_id, len(frame.data))
            return None
        if frame.fin:
            stream.theirs = False
            self._forget_if_over(frame.stream_id, stream)
        return DataReceived(frame.stream_id, frame.data, frame.fin)

    def _on_settings(self, values: Mapping[int, int]) -> Event | None:
        initial = values.get(SETTING_INITIAL_WINDOW)
        if initial is None:
            return None
        if initial > WINDOW_MAX:
            raise FrameError(f"an initial window of {initial} bytes")
        for stream in self._streams.values():
            stream.window.sendable += initial - self._initial_window
        self._initial_window = initial
        self._is_counted = True
        return Roomier()

    def _on_update(self, stream_id: int, delta: int) -> Event | None:
        self._is_counted = True
        stream = self._streams.get(stream_id)
        if stream_id and stream is None:
            return None  # it was over before the peer knew
        window = stream.window if stream is not None else self._window
        if window.sendable + delta > WINDOW_MAX:
            raise FrameError(f"the window of stream {stream_id} is beyond 31 bits")
        window.sendable += delta
        return Roomier()

    def _forget_if_over(self, stream_id: int, stream: _Stream) -> None:
        if not stream.theirs and not stream.ours:
            del self._streams[stream_id]
