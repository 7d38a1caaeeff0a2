"""Exec over SPDY: streams for channels, what ends what, and clients that do not keep to it."""

from __future__ import annotations

import asyncio
import json

import pytest

from stark.agent.spdy.frames import Data, Frame, FrameReader, FrameWriter, RstStream, SynReply, SynStream
from stark.agent.streams import spdy
from stark.agent.streams.channels import CLOSE, ERROR, RESIZE, STDIN, STDOUT, exit_status
from stark.agent.streams.spdy import V4, SpdyConnection, choose_version, switching

IDS = {"error": 1, "stdin": 3, "stdout": 5, "resize": 7}
ALL = frozenset(IDS)


class Client:
    """The other end: what it sends is queued, what it is sent is read frame by frame."""

    def __init__(self) -> None:
        self._writer, self._reader = FrameWriter(), FrameReader()
        self._queue: asyncio.Queue[bytes] = asyncio.Queue()
        self.frames: list[Frame] = []
        self.is_closed = False

    def say(self, *frames: Frame) -> None:
        """Send these frames at once."""
        self._queue.put_nowait(b"".join(self._writer.encode(frame) for frame in frames))

    def leave(self) -> None:
        """End the connection."""
        self._queue.put_nowait(b"")

    def open(self, *names: str) -> None:
        """Open streams."""
        self.say(*(SynStream(IDS[name], {"streamtype": name}) for name in names))

    async def read(self) -> bytes:
        """The wire's."""
        return await self._queue.get()

    async def write(self, data: bytes) -> None:
        """The wire's."""
        self.frames += self._reader.feed(data)

    async def close(self) -> None:
        """The wire's."""
        self.is_closed = True


async def opened(client: Client, *, has_status: bool = True) -> SpdyConnection:
    connection = SpdyConnection(client, has_status=has_status)
    client.open("error", "stdin")
    client.open("stdout", "resize")
    await connection.opened(ALL)
    return connection


async def test_it_begins_when_every_stream_is_there_and_accepted() -> None:
    client = Client()
    await opened(client)
    assert [frame.stream_id for frame in client.frames if isinstance(frame, SynReply)] == [1, 3, 5, 7]


async def test_channels_are_streams_both_ways() -> None:
    client = Client()
    connection = await opened(client)
    client.say(Data(3, b"typed", False), Data(7, b'{"Width":80,', False), Data(7, b'"Height":24}\n', False))
    assert await connection.receive() == (STDIN, b"typed")
    assert await connection.receive() == (RESIZE, b'{"Width":80,"Height":24}')
    await connection.send(STDOUT, b"x" * 100_000)
    assert b"".join(frame.data for frame in client.frames if isinstance(frame, Data)) == b"x" * 100_000


@pytest.mark.parametrize("data", [b"last", b""], ids=["with the last bytes", "by itself"])
async def test_the_end_of_a_stream_is_the_end_of_input(data: bytes) -> None:
    client = Client()
    connection = await opened(client)
    client.say(Data(3, data, True))
    if data:
        assert await connection.receive() == (STDIN, data)
    message = await connection.receive()
    assert message == (CLOSE, b"\x00")
    assert connection.closes(*message) == STDIN


@pytest.mark.parametrize("has_status", [True, False])
async def test_the_end_is_told_and_then_every_stream_ends(has_status: bool) -> None:
    client = Client()
    connection = await opened(client, has_status=has_status)
    client.leave()
    await connection.end(exit_status(3))
    data = [frame for frame in client.frames if isinstance(frame, Data)]
    text = b"".join(frame.data for frame in data if frame.stream_id == IDS["error"]).decode()
    assert (json.loads(text)["reason"] == "NonZeroExitCode") if has_status else text.endswith("exit code 3")
    assert {frame.stream_id for frame in data if frame.fin} == {IDS["error"], IDS["stdout"]}
    assert client.is_closed


async def test_streams_that_nobody_expects_are_refused() -> None:
    client = Client()
    connection = await opened(client)
    client.say(SynStream(9, {"streamtype": "stdin"}), SynStream(11, {"streamtype": "other"}))
    client.leave()
    assert await connection.receive() is None
    assert [frame.stream_id for frame in client.frames if isinstance(frame, RstStream)] == [9, 11]


async def test_what_is_not_spdy_ends_the_connection() -> None:
    client = Client()
    connection = await opened(client)
    client._queue.put_nowait(b"\xff" * 64)
    assert await connection.receive() is None


@pytest.mark.parametrize("leaves", [True, False])
async def test_a_client_that_does_not_open_its_streams_is_not_waited_for(
    leaves: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spdy, "OPEN_TIMEOUT_S", 0.05)
    client = Client()
    client.open("error")
    if leaves:
        client.leave()
    with pytest.raises(ConnectionResetError):
        await SpdyConnection(client, has_status=True).opened(ALL)
    assert client.is_closed


async def test_what_has_no_stream_is_not_sent() -> None:
    client = Client()
    connection = SpdyConnection(client, has_status=True)
    client.open("error")
    await connection.opened(frozenset({"error"}))
    await connection.send(STDOUT, b"nobody asked")
    assert not [frame for frame in client.frames if isinstance(frame, Data)]
    assert connection.closes(ERROR, b"") is None


def test_the_version_is_the_clients_choice() -> None:
    assert choose_version(["v9.channel.k8s.io", V4, "v3.channel.k8s.io"]) == V4
    assert f"X-Stream-Protocol-Version: {V4}\r\n\r\n".encode() in switching(V4)
    with pytest.raises(ValueError, match="unable to negotiate protocol"):
        choose_version(["channel.k8s.io"])
