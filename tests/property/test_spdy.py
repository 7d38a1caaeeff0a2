"""SPDY/3.1 against arbitrary frames, arbitrary cuts and arbitrary bytes."""

from __future__ import annotations

import contextlib
import itertools
import os

from hypothesis import given, settings
from hypothesis import strategies as st

from stark.agent.spdy import Connection, FrameError
from stark.agent.spdy.frames import (
    CONTROL_BYTES_MAX,
    HEAD_BYTES,
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

STREAM_IDS = st.integers(1, 0x7FFF_FFFF)
WORDS = st.integers(0, 0xFFFF_FFFF)
BLOCKS = st.dictionaries(
    st.text("abcdefghijklmnopqrstuvwxyz-:", min_size=1, max_size=20),
    st.text(st.characters(max_codepoint=255), max_size=50),
    max_size=8,
)
FRAMES: st.SearchStrategy[Frame] = st.one_of(
    st.builds(
        SynStream, STREAM_IDS, BLOCKS, st.booleans(), st.booleans(), st.integers(0, 0x7FFF_FFFF), st.integers(0, 7)
    ),
    st.builds(SynReply, STREAM_IDS, BLOCKS, st.booleans()),
    st.builds(Headers, STREAM_IDS, BLOCKS, st.booleans()),
    st.builds(RstStream, STREAM_IDS, WORDS),
    st.builds(SettingsFrame, st.dictionaries(st.integers(0, 0xFF_FFFF), WORDS, max_size=8)),
    st.builds(Ping, WORDS),
    st.builds(GoAway, st.integers(0, 0x7FFF_FFFF), WORDS),
    st.builds(WindowUpdate, st.integers(0, 0x7FFF_FFFF), st.integers(1, 0x7FFF_FFFF)),
    st.builds(Data, STREAM_IDS, st.binary(max_size=200), st.booleans()),
)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """The data cut at these places."""
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(places)]


def joined(frames: list[Frame]) -> list[Frame]:
    """Pieces of one DATA frame as one; a piece without `fin` may be the whole of it, so those of a stream are merged."""
    whole: list[Frame] = []
    for frame in frames:
        last = whole[-1] if whole else None
        if isinstance(frame, Data) and isinstance(last, Data) and last.stream_id == frame.stream_id and not last.fin:
            whole[-1] = Data(last.stream_id, last.data + frame.data, frame.fin)
        else:
            whole.append(frame)
    return whole


@given(st.lists(FRAMES, max_size=12), st.lists(st.integers(min_value=0), max_size=12))
@settings(max_examples=150, deadline=None)
def test_frames_come_out_as_they_went_in_however_the_bytes_are_cut(frames: list[Frame], cuts: list[int]) -> None:
    writer, reader = FrameWriter(), FrameReader()
    data = b"".join(writer.encode(frame) for frame in frames)
    received = [frame for piece in pieces(data, cuts) for frame in reader.feed(piece)]
    assert joined(received) == joined(frames)
    assert reader.held == 0


GARBAGE = st.one_of(
    st.binary(max_size=400),
    # Heads that are right, so that what follows is looked at.
    st.builds(
        lambda kind, flags, body: b"\x80\x03\x00" + bytes((kind, flags)) + len(body).to_bytes(3, "big") + body,
        st.integers(0, 12),
        st.integers(0, 255),
        st.binary(max_size=60),
    ),
)


@given(st.lists(st.one_of(GARBAGE, st.lists(FRAMES, max_size=4)), max_size=10))
@settings(max_examples=200, deadline=None)
def test_garbage_is_an_error_or_nothing_and_never_grows(parts: list[bytes | list[Frame]]) -> None:
    connection, writer = Connection(streams_max=8), FrameWriter()
    with contextlib.suppress(FrameError):
        for part in parts:
            data = part if isinstance(part, bytes) else b"".join(map(writer.encode, part))
            connection.receive(data)
            assert len(connection._streams) <= 8
            assert connection._reader.held <= HEAD_BYTES + CONTROL_BYTES_MAX
            # What is answered stays in proportion to what was said: a reset or a ping for a frame.
            assert len(connection.take()) <= 4 * len(data) + 64
    connection.take()


def test_what_is_held_is_bounded_whatever_the_frames_promise() -> None:
    reader = FrameReader()
    reader.feed(b"\x00\x00\x00\x01\x00\xff\xff\xff")  # 16 MiB of DATA
    for _ in range(64):
        assert [len(frame.data) for frame in reader.feed(os.urandom(65536)) if isinstance(frame, Data)] == [65536]
        assert reader.held == 0
