"""Many connections over one SPDY connection, as kubectl opens them (`portforward.k8s.io`).

Each is a pair of streams with the same `requestid`: one of type `error`, on which only we speak and only if something is
wrong, and one of type `data`. When the client has opened both, the pod's port is dialled. A connection that the program
breaks off is a reset stream and not an error: kubectl gives up the whole forward after any text on an error stream.

One task writes, so frames leave in the order in which they were made; connections take turns to fill what it writes from.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from socket import socket
from typing import Final

from ..spdy import (
    Connection,
    DataReceived,
    Event,
    FrameError,
    GoAwayStatus,
    Opened,
    Ponged,
    Reset,
    ResetStatus,
    Roomier,
)
from ..wires import Wire
from .carrying import INLET_BYTES_MAX, INLETS_BYTES_MAX, PIECE_BYTES_MAX, Inlet, carry
from .pacing import Pace
from .targets import NotForwarded

log = logging.getLogger(__name__)

OUTBOX_BYTES_MAX: Final = 256 * 1024
"""Made but not written; then pods are not read from."""
REPLIES_BYTES_MAX: Final = 128 * 1024
"""Beyond that, of answers to what the client sent; then it is not read from. Data that it does not take is no reason."""
PAIR_TIMEOUT_S: Final = 30.0
"""Between the two streams of a connection. The kubelet's figure."""
STALLED_PING_S: Final = 15.0
"""While nothing is read from the client, it is asked this often whether it is there: its end could not be seen."""
FRAME_BYTES_MAX: Final = 32 * 1024
"""Of data that we send. kubectl takes frames from the wire that its local program does not, fifty a connection or so."""
UNCONFIRMED_PING_S: Final = 1.0
"""While we have sent as far ahead as we may, the client is asked again this often: kubectl may hold an answer back."""
FLUSH_S: Final = 2.0
"""For the peer to take the last frames."""

Dial = Callable[[int], Awaitable[socket]]
"""Connects to a port of the pod. Raises NotForwarded."""


@dataclass(slots=True)
class _Pair:
    request_id: str
    port: int
    streams: dict[str, int] = field(default_factory=dict)
    """Stream ids by type."""
    timer: asyncio.TimerHandle | None = None


class _Stream:
    """The client's side of one connection, for `carry`."""

    half_closes = True

    def __init__(self, tunnel: Tunnel, data_id: int, error_id: int, inlet: Inlet) -> None:
        self._tunnel, self._data_id, self._error_id = tunnel, data_id, error_id
        self.receive = inlet.receive

    async def send(self, data: bytes) -> None:
        """Returns when more may be sent."""
        await self._tunnel.send(self._data_id, data)

    async def finish(self) -> None:
        """A half-close. Nothing can go wrong any more, and some clients wait to hear that before they close theirs."""
        self._tunnel.finish(self._data_id)
        self._tunnel.finish(self._error_id)


class Tunnel:
    """`run` once."""

    def __init__(self, wire: Wire, dial: Dial, subject: str) -> None:
        """`subject` names the pod in messages."""
        self._wire, self._dial, self._subject = wire, dial, subject
        self._spdy = Connection()
        self._pairs: dict[str, _Pair] = {}
        self._inlets: dict[int, Inlet] = {}
        self._forwards: dict[int, asyncio.Task[None]] = {}
        """By data stream."""
        self._full: set[int] = set()
        """Streams whose inlets are."""
        self._held = 0
        """Bytes in all inlets."""
        self._flowing = asyncio.Event()
        self._flowing.set()
        """Cleared while an inlet, or all of them together, are full."""
        self._to_write = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        """Cleared while the outbox is full."""
        self._calm = asyncio.Event()
        self._calm.set()
        """Cleared while there are too many answers to be written."""
        self._roomier = asyncio.Event()
        self._pace = Pace()
        self._confirmed = asyncio.Event()
        self._turn = asyncio.Lock()

    async def run(self) -> None:
        """Serve until the client leaves or breaks the protocol, or until cancelled. Nothing is left behind then."""
        parts = [asyncio.create_task(self._read()), asyncio.create_task(self._write())]
        try:
            await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            for part in parts:
                if part.done():
                    part.result()
        finally:
            for pair in self._pairs.values():
                if pair.timer is not None:
                    pair.timer.cancel()
            tasks = [*parts, *self._forwards.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._say_goodbye()

    async def _say_goodbye(self) -> None:
        self._spdy.go_away(GoAwayStatus.OK)
        try:
            async with asyncio.timeout(FLUSH_S):
                await self._wire.write(self._spdy.take())
        except (ConnectionError, TimeoutError):
            pass  # it left first, or it does not read
        await self._wire.close()

    # -- the wire -------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        while data := await self._wire.read():
            try:
                events = self._spdy.receive(data)
            except FrameError as error:
                log.warning("port-forward: the client does not speak SPDY/3.1", extra={"error": str(error)})
                return
            for event in events:
                self._on(event)
            self._flush()
            await self._calm.wait()
            await self._wait_for_inlets()

    async def _wait_for_inlets(self) -> None:
        while not self._flowing.is_set():
            try:
                async with asyncio.timeout(STALLED_PING_S):
                    await self._flowing.wait()
            except TimeoutError:
                self._spdy.ping()
                self._flush()

    async def _write(self) -> None:
        while True:
            await self._to_write.wait()
            self._to_write.clear()
            data = self._spdy.take()
            self._room.set()
            self._calm.set()
            try:
                await self._wire.write(data)
            except ConnectionError:
                return

    def _flush(self) -> None:
        if self._spdy.pending:
            self._to_write.set()
        if self._spdy.pending >= OUTBOX_BYTES_MAX:
            self._room.clear()
        if self._spdy.pending >= OUTBOX_BYTES_MAX + PIECE_BYTES_MAX + REPLIES_BYTES_MAX:
            self._calm.clear()

    # -- streams --------------------------------------------------------------------------------------------------

    async def send(self, stream_id: int, data: bytes) -> None:
        """Bytes of a stream; each stream gets one piece in at a time."""
        while data:
            async with self._turn:
                await self._room.wait()
                await self._wait_for_client()
                size = min(self._spdy.sendable(stream_id), FRAME_BYTES_MAX)
                if size:
                    self._spdy.send(stream_id, data[:size])
                    self._pace.send(size)
                    if self._pace.wants_ping:
                        self._ping()
                    self._flush()
            if not size:
                self._roomier.clear()
                await self._roomier.wait()
            data = data[size:]

    async def _wait_for_client(self) -> None:
        while not self._pace.may_send:
            self._confirmed.clear()
            try:
                async with asyncio.timeout(UNCONFIRMED_PING_S):
                    await self._confirmed.wait()
            except TimeoutError:
                self._ping()
                self._flush()

    def _ping(self) -> None:
        self._pace.mark(self._spdy.ping(), asyncio.get_running_loop().time())

    def finish(self, stream_id: int) -> None:
        """We have nothing more to send on the stream."""
        self._spdy.send(stream_id, b"", fin=True)
        self._flush()

    def _on(self, event: Event) -> None:
        match event:
            case Opened():
                self._on_opened(event)
            case DataReceived(stream_id, data, fin):
                self._on_data(stream_id, data, fin)
            case Reset(stream_id):
                self._on_reset(stream_id)
            case Roomier():
                self._roomier.set()
            case Ponged(ping_id):
                self._pace.confirm(ping_id, asyncio.get_running_loop().time())
                self._confirmed.set()

    def _on_reset(self, stream_id: int) -> None:
        if (task := self._forwards.get(stream_id)) is not None:
            task.cancel()
        for pair in [pair for pair in self._pairs.values() if stream_id in pair.streams.values()]:
            self._give_up(pair)

    def _on_data(self, stream_id: int, data: bytes, fin: bool) -> None:
        inlet = self._inlets.get(stream_id)
        if inlet is None:  # an error stream, on which clients have nothing to say but that they say nothing
            self._spdy.consumed(stream_id, len(data))
            return
        inlet.feed(data)
        self._held += len(data)
        if fin:
            inlet.end()
        if inlet.size > INLET_BYTES_MAX:
            self._full.add(stream_id)
        if self._full or self._held > INLETS_BYTES_MAX:
            self._flowing.clear()

    def _on_taken(self, stream_id: int, size: int) -> None:
        self._held -= size
        self._spdy.consumed(stream_id, size)
        self._flush()
        inlet = self._inlets.get(stream_id)
        if inlet is None or inlet.size <= INLET_BYTES_MAX:
            self._full.discard(stream_id)
        if not self._full and self._held <= INLETS_BYTES_MAX:
            self._flowing.set()

    # -- pairs ----------------------------------------------------------------------------------------------------

    def _on_opened(self, event: Opened) -> None:
        try:
            kind, port, request_id = _asked(event)
        except ValueError as error:
            log.info("port-forward: a stream is refused", extra={"error": str(error)})
            self._spdy.reset(event.stream_id, ResetStatus.REFUSED_STREAM)
            return
        self._spdy.reply(event.stream_id)
        pair = self._pairs.get(request_id)
        if pair is None:
            pair = self._pairs[request_id] = _Pair(request_id, port)
            pair.timer = asyncio.get_running_loop().call_later(PAIR_TIMEOUT_S, self._give_up, pair)
        if kind in pair.streams:
            log.info("port-forward: a stream is there twice", extra={"requestId": request_id, "type": kind})
            self._spdy.reset(event.stream_id, ResetStatus.STREAM_IN_USE)
            return
        pair.streams[kind] = event.stream_id
        if kind == "data":
            inlet = self._inlets[event.stream_id] = Inlet(lambda size: self._on_taken(event.stream_id, size))
            if event.fin:
                inlet.end()
        if len(pair.streams) == 2:
            self._begin(pair)

    def _give_up(self, pair: _Pair) -> None:
        """The other stream does not come."""
        self._complete(pair)
        for stream_id in pair.streams.values():
            self._close_inlet(stream_id)
            self._spdy.reset(stream_id, ResetStatus.CANCEL)
        self._flush()

    def _complete(self, pair: _Pair) -> None:
        """It waits no longer."""
        assert pair.timer is not None, pair
        pair.timer.cancel()
        del self._pairs[pair.request_id]

    def _begin(self, pair: _Pair) -> None:
        self._complete(pair)
        data_id, error_id = pair.streams["data"], pair.streams["error"]
        task = asyncio.create_task(self._forward(pair.port, data_id, error_id))
        self._forwards[data_id] = task
        task.add_done_callback(lambda task: self._over(data_id, error_id, task))

    def _over(self, data_id: int, error_id: int, task: asyncio.Task[None]) -> None:
        # Here and not in the task, which may have been cancelled before it began. kubectl reads the error stream to its
        # end before it forgets the connection.
        self.finish(error_id)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("port-forward: a connection failed", exc_info=error)
        self._forwards.pop(data_id, None)
        self._close_inlet(data_id)

    def _close_inlet(self, stream_id: int) -> None:
        """Nobody takes any more what the client sends on the stream."""
        inlet = self._inlets.pop(stream_id, None)
        if inlet is not None:
            inlet.discard()

    async def _forward(self, port: int, data_id: int, error_id: int) -> None:
        try:
            pod = await self._dial(port)
            await carry(_Stream(self, data_id, error_id, self._inlets[data_id]), pod)
        except NotForwarded as error:
            message = f"error forwarding port {port} to pod {self._subject}: {error}"
            log.info("port-forward: a connection is refused", extra={"port": port, "error": str(error)})
            await self.send(error_id, message.encode())
            self.finish(data_id)
        except OSError:
            self._spdy.reset(data_id, ResetStatus.CANCEL)
            self._flush()


def _asked(event: Opened) -> tuple[str, int, str]:
    """Type, port and request id of a new stream. Raises ValueError."""
    headers = event.headers
    kind, port = headers.get("streamtype", ""), headers.get("port", "")
    if kind not in ("error", "data"):
        raise ValueError(f"invalid stream type {kind!r}")
    if not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise ValueError(f"invalid port {port!r}")
    # Clients of the first days sent no id; their data stream follows the error stream at once.
    assumed = event.stream_id if kind == "error" else event.stream_id - 2
    return kind, int(port), headers.get("requestid") or str(assumed)
