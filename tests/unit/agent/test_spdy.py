"""SPDY/3.1 by hand-made bytes, and the rules of a connection."""

from __future__ import annotations

import struct
import zlib

import pytest

from stark.agent.spdy import (
    Connection,
    DataReceived,
    FrameError,
    GoAwayStatus,
    GoneAway,
    Opened,
    Ponged,
    Reset,
    ResetStatus,
    Roomier,
)
from stark.agent.spdy.connection import WINDOW_BYTES
from stark.agent.spdy.frames import (
    CONTROL_BYTES_MAX,
    Data,
    Frame,
    FrameReader,
    FrameWriter,
    GoAway,
    Headers,
    Ping,
    RstStream,
    SettingsFrame,
    SynReply,
    SynStream,
    WindowUpdate,
)
from stark.agent.spdy.headers import (
    DICTIONARY,
    HEADERS_BYTES_MAX,
    HEADERS_MAX,
    BadHeaders,
    Compressor,
    Decompressor,
    packed,
)

HEADERS = {"streamtype": "data", "port": "80", "requestid": "0"}
BLOCK = (
    b"\0\0\0\x03"
    b"\0\0\0\x0astreamtype\0\0\0\x04data"
    b"\0\0\0\x04port\0\0\0\x0280"
    b"\0\0\0\x09requestid\0\0\0\x010"
)  # fmt: skip


def go_block(*blocks: bytes) -> list[bytes]:
    """Blocks as Go's zlib.Writer makes them: best compression, a 32 KiB window, a sync flush after each."""
    stream = zlib.compressobj(9, zdict=DICTIONARY)
    return [stream.compress(block) + stream.flush(zlib.Z_SYNC_FLUSH) for block in blocks]


class Client:
    """The other side of a Connection, as moby/spdystream behaves: odd streams, no windows."""

    def __init__(self, streams_max: int = 100) -> None:
        self.connection = Connection(streams_max)
        self._writer, self._reader = FrameWriter(), FrameReader()

    def say(self, *frames: Frame) -> list[object]:
        """Send frames, and what the server's side made of them."""
        return list(self.connection.receive(b"".join(map(self._writer.encode, frames))))

    def hear(self) -> list[Frame]:
        """The frames that the server's side sends."""
        return self._reader.feed(self.connection.take())


@pytest.mark.parametrize(
    ("data", "frame"),
    [
        pytest.param("00000005 01000003 616263", Data(5, b"abc", True), id="DATA with FIN"),
        pytest.param("80030003 00000008 00000007 00000005", RstStream(7, 5), id="RST_STREAM, CANCEL"),
        pytest.param("80030006 00000004 00000001", Ping(1), id="PING"),
        pytest.param("80030007 00000008 00000009 00000001", GoAway(9, 1), id="GOAWAY, PROTOCOL_ERROR"),
        pytest.param("80030009 00000008 00000000 00008000", WindowUpdate(0, 32768), id="WINDOW_UPDATE"),
        pytest.param("80030004 0000000c 00000001 00000007 00010000", SettingsFrame({7: 65536}), id="SETTINGS"),
    ],
)
def test_frames_have_the_bytes_of_the_draft(data: str, frame: Frame) -> None:
    assert FrameWriter().encode(frame) == bytes.fromhex(data)
    assert FrameReader().feed(bytes.fromhex(data)) == [frame]


def test_the_dictionary_is_the_drafts() -> None:
    assert len(DICTIONARY) == 1423
    assert zlib.adler32(DICTIONARY) == 0xE3C6A7C2


def test_a_stream_is_opened_as_go_does_it() -> None:
    first, second = go_block(BLOCK, BLOCK)
    assert first[:6] == bytes.fromhex("78f9e3c6a7c2")  # zlib's head and the dictionary's name
    reader = FrameReader()
    for stream_id, block in ((1, first), (3, second)):
        body = struct.pack(">IIBB", stream_id, 0, 0, 0) + block
        frame = b"\x80\x03\0\x01" + struct.pack(">I", len(body)) + body
        assert reader.feed(frame) == [SynStream(stream_id, HEADERS)]


def test_our_blocks_can_be_read_by_a_plain_zlib_stream() -> None:
    compressor, stream = Compressor(), zlib.decompressobj(zdict=DICTIONARY)
    assert [stream.decompress(compressor.compress(HEADERS)) for _ in range(3)] == [BLOCK] * 3
    assert stream.decompress(compressor.compress({})) == bytes(4)


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(packed({"a": "x" * HEADERS_BYTES_MAX}), id="is too long"),
        pytest.param(bytes(50_000_000), id="is a bomb"),
        pytest.param(packed({f"a{number}": "" for number in range(HEADERS_MAX + 1)}), id="has too many pairs"),
        pytest.param(packed({"Port": "80"}), id="has capitals"),
        pytest.param(packed({"": "80"}), id="has a pair without a name"),
        pytest.param(b"\0\0\0\x02" + packed({"a": "1"})[4:] * 2, id="has a name twice"),
        pytest.param(packed({"a": "1"}) + b"x", id="goes on after its end"),
        pytest.param(packed({"a": "1"})[:-1], id="ends early"),
        pytest.param(b"\0\0\0\x01\xff\xff\xff\xffa", id="promises four GiB"),
        pytest.param(b"\0\0", id="has no count"),
    ],
)
def test_a_header_block_is_refused_if_it(block: bytes) -> None:
    (data,) = go_block(block)
    with pytest.raises(BadHeaders):
        Decompressor().decompress(data)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(zlib.compress(BLOCK), id="without the dictionary and ended"),
        pytest.param(b"not zlib at all", id="that is no zlib stream"),
    ],
)
def test_a_compressed_block_is_refused(data: bytes) -> None:
    with pytest.raises(BadHeaders):
        Decompressor().decompress(data)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param("80020006 00000004 00000001", id="another version"),
        pytest.param(f"80030001 00{CONTROL_BYTES_MAX + 1:06x}", id="a control frame that is too long, unread"),
        pytest.param("00000000 00000001 61", id="data of stream 0"),
        pytest.param("80030003 00000008 00000000 00000005", id="a reset of stream 0"),
        pytest.param("80030006 00000005 00000001 00", id="a ping of five bytes"),
        pytest.param("80030001 00000009 00000001 00000000 00", id="a stream without a block"),
        pytest.param("80030004 0000000c 00000002 00000007 00010000", id="settings that are fewer than they say"),
        pytest.param("80030009 00000008 00000001 00000000", id="a window that grows by nothing"),
    ],
)
def test_what_ends_a_connection(data: str) -> None:
    connection = Connection()
    with pytest.raises(FrameError):
        connection.receive(bytes.fromhex(data.replace(" ", "")))
    connection.go_away(GoAwayStatus.OK)
    assert FrameReader().feed(connection.take()) == [GoAway(0, 1)], "the reason is given once"


def test_unknown_control_frames_are_passed_over() -> None:
    assert FrameReader().feed(bytes.fromhex("80030005 00000002 0102 8003000a 00000000 80030006 00000004 00000001")) == [
        Ping(1)
    ]


def test_streams_open_close_by_halves_and_are_forgotten() -> None:
    client = Client()
    assert client.say(SynStream(1, HEADERS)) == [Opened(1, HEADERS, False)]
    client.connection.reply(1)
    assert client.say(Data(1, b"a"), Data(1, b"b", True)) == [DataReceived(1, b"a", False), DataReceived(1, b"b", True)]
    client.connection.send(1, b"answer")
    client.connection.send(1, b"", fin=True)
    assert client.hear() == [SynReply(1, {}), Data(1, b"answer"), Data(1, b"", True)]
    client.connection.send(1, b"more")
    client.connection.reset(1, ResetStatus.CANCEL)
    assert client.hear() == []
    assert client.say(RstStream(1, 5)) == []


def test_headers_may_carry_the_end_and_a_stream_may_begin_with_it() -> None:
    client = Client()
    assert client.say(SynStream(1, {}, fin=True)) == [Opened(1, {}, True)]
    assert client.say(SynStream(3, {}), Headers(3, {"a": "b"}), Headers(3, {}, fin=True)) == [
        Opened(3, {}, False),
        DataReceived(3, b"", True),
    ]


def test_a_reset_ends_both_directions_and_what_was_on_its_way_is_dropped() -> None:
    client = Client()
    client.say(SynStream(1, {}), SynStream(3, {}))
    assert client.say(RstStream(1, 5), Data(1, b"late", True)) == [Reset(1, 5)]
    client.connection.reset(3, ResetStatus.REFUSED_STREAM)
    assert client.say(Data(3, b"late")) == []
    assert client.hear() == [RstStream(3, 3)]


def test_streams_beyond_the_bound_are_refused_until_one_is_over() -> None:
    client = Client(streams_max=1)
    assert client.say(SynStream(1, {}), SynStream(3, {})) == [Opened(1, {}, False)]
    assert client.hear() == [RstStream(3, 3)]
    assert client.say(RstStream(1, 5), SynStream(5, {})) == [Reset(1, 5), Opened(5, {}, False)]


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param([SynStream(2, {})], id="an even stream"),
        pytest.param([SynStream(3, {}), SynStream(3, {})], id="a stream twice"),
        pytest.param([SynStream(3, {}), SynStream(1, {})], id="streams that go backwards"),
        pytest.param([Data(1, b"x")], id="data of a stream that never was"),
        pytest.param([SynStream(1, {}), WindowUpdate(1, 0x7FFF_FFFF)], id="a window beyond 31 bits"),
        pytest.param([SettingsFrame({7: 0x8000_0000})], id="an initial window beyond 31 bits"),
    ],
)
def test_a_client_may_not_send(frames: list[Frame]) -> None:
    client = Client()
    with pytest.raises(FrameError):
        client.say(*frames)
    assert isinstance(client.hear()[-1], GoAway)


def test_pings_are_answered_and_answers_are_not() -> None:
    client = Client()
    client.say(Ping(7))
    assert [client.connection.ping(), client.connection.ping()] == [2, 4]
    assert client.hear() == [Ping(7), Ping(2), Ping(4)]
    assert client.say(Ping(2), GoAway(0, 0)) == [Ponged(2), GoneAway(0)]
    assert client.hear() == []


def test_a_peer_without_windows_may_be_sent_anything() -> None:
    client = Client()
    client.say(SynStream(1, {}))
    client.connection.send(1, bytes(1_000_000))
    assert client.connection.sendable(1) > 1_000_000


def test_the_windows_of_a_peer_that_has_them_are_respected() -> None:
    client = Client()
    client.say(SynStream(1, {}), SynStream(3, {}))
    client.connection.send(1, bytes(WINDOW_BYTES))
    assert client.say(WindowUpdate(1, 100)) == [Roomier()]
    assert client.connection.sendable(1) == 0, "the connection's window is used up"
    assert client.say(WindowUpdate(0, 1000)) == [Roomier()]
    assert (client.connection.sendable(1), client.connection.sendable(3)) == (100, 1000)
    assert client.say(SettingsFrame({7: WINDOW_BYTES + 50})) == [Roomier()]
    assert client.connection.sendable(1) == 150
    assert client.say(SettingsFrame({4: 100}), WindowUpdate(99, 10)) == []


def test_what_was_consumed_is_granted_again_in_few_frames() -> None:
    client = Client()
    client.say(SynStream(1, {}), Data(1, bytes(WINDOW_BYTES)))
    client.connection.consumed(1, 1000)
    assert client.hear() == []
    client.connection.consumed(1, WINDOW_BYTES // 2)
    assert client.hear() == [WindowUpdate(0, WINDOW_BYTES // 2 + 1000), WindowUpdate(1, WINDOW_BYTES // 2 + 1000)]


def test_what_comes_for_a_stream_that_is_over_still_counts_for_the_connection() -> None:
    client = Client()
    client.say(SynStream(1, {}), RstStream(1, 5), Data(1, bytes(WINDOW_BYTES)))
    assert client.hear() == [WindowUpdate(0, WINDOW_BYTES)]
