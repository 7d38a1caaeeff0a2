"""WebSocket messages of the command line: what RFC 6455 says of frames, and nothing taken that it forbids."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stark.ctl.http1 import ProtocolError
from stark.ctl.websocket import BINARY, CLOSE, CONTINUATION, PING, TEXT, Messages, accept_of, frame, masked

LIMIT = 1000


def sent(opcode: int, payload: bytes, *, final: bool = True) -> bytes:
    """A frame as servers send it: not masked."""
    size = len(payload)
    length = bytes((size,)) if size < 126 else b"\x7e" + size.to_bytes(2, "big")
    return bytes((opcode | (0x80 if final else 0),)) + length + payload


def test_the_server_proves_itself_as_in_the_rfc() -> None:
    assert accept_of("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize(("size", "head"), [(125, 2), (126, 4), (65535, 4), (65536, 10)])
def test_what_is_sent_is_masked_and_says_its_length_in_the_shortest_way(size: int, head: int) -> None:
    payload = bytes(range(256)) * (size // 256 + 1)
    whole = frame(BINARY, payload[:size])
    assert len(whole) == head + 4 + size
    assert (whole[0], whole[1] & 0x80) == (0x82, 0x80)
    assert masked(whole[head + 4 :], whole[head : head + 4]) == payload[:size]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (frame(BINARY, b"x"), "masked"),
        (b"\xc2\x00", "extension"),
        (b"\x83\x00", "unknown kind"),
        (sent(PING, b"", final=False), "control frame"),
        (b"\x89\x7e\x00\x7e", "control frame"),
        (sent(CONTINUATION, b"x"), "out of order"),
        (sent(BINARY, b"x", final=False) + sent(TEXT, b"y"), "out of order"),
        (b"\x82\x7f" + (1 << 40).to_bytes(8, "big"), "more than 1000 bytes"),
        (sent(BINARY, bytes(600), final=False) + sent(CONTINUATION, bytes(600)), "more than 1000 bytes"),
    ],
)
def test_what_a_server_must_not_send_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(ProtocolError, match=why):
        list(Messages(LIMIT).feed(data))


@given(st.lists(st.lists(st.binary(max_size=150), min_size=1, max_size=4), max_size=5), st.integers(1, 400))
def test_messages_arrive_whole_however_they_are_cut(messages: list[list[bytes]], step: int) -> None:
    stream = b""
    for pieces in messages:
        for index, piece in enumerate(pieces):
            stream += sent(CONTINUATION if index else BINARY, piece, final=index == len(pieces) - 1)
            stream += sent(PING, b"p") if index < len(pieces) - 1 else b""
    reader = Messages(LIMIT)
    found = [one for at in range(0, len(stream), step) for one in reader.feed(stream[at : at + step])]
    assert [payload for opcode, payload in found if opcode == BINARY] == [b"".join(pieces) for pieces in messages]
    assert sum(opcode == PING for opcode, _ in found) == sum(len(pieces) - 1 for pieces in messages)


def test_a_close_has_its_reason() -> None:
    assert list(Messages().feed(sent(CLOSE, b"\x03\xe8bye"))) == [(CLOSE, b"\x03\xe8bye")]
