"""The channel protocol: what a message looks like in each of its variants, and what the end says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stark.agent.streams.channels import (
    CLOSE,
    ERROR,
    PROTOCOLS,
    RESIZE,
    STDIN,
    STDOUT,
    UNNAMED,
    Protocol,
    choose,
    exit_status,
    failure_status,
    terminal_size,
)

BY_NAME = {protocol.name: protocol for protocol in (*PROTOCOLS, UNNAMED)}
V5, V4 = BY_NAME["v5.channel.k8s.io"], BY_NAME["v4.channel.k8s.io"]
TEXT = BY_NAME["v4.base64.channel.k8s.io"]


@pytest.mark.parametrize(
    ("protocol", "channel", "data", "message"),
    [
        pytest.param(V5, STDOUT, b"hi", b"\x01hi", id="a byte before the data"),
        pytest.param(V5, STDOUT, b"", b"\x01", id="an empty message is a message"),
        pytest.param(V4, ERROR, b"{}", b"\x03{}", id="the end has a channel of its own"),
        pytest.param(TEXT, STDIN, b"\x00\xff", "0AP8=", id="a digit before base64"),
        pytest.param(TEXT, RESIZE, b"", "4", id="nothing in base64 is nothing"),
    ],
)
def test_a_message_is_a_channel_and_data(protocol: Protocol, channel: int, data: bytes, message: bytes | str) -> None:
    assert protocol.encode(channel, data) == message
    assert protocol.decode(message) == (channel, data)


@given(st.sampled_from(PROTOCOLS), st.integers(0, 4), st.binary(max_size=300))
def test_what_is_encoded_is_decoded(protocol: Protocol, channel: int, data: bytes) -> None:
    assert protocol.decode(protocol.encode(channel, data)) == (channel, data)


@given(st.sampled_from([*PROTOCOLS, UNNAMED]), st.one_of(st.binary(max_size=300), st.text(max_size=300)))
def test_whatever_a_client_sends_is_decoded_or_refused(protocol: Protocol, message: bytes | str) -> None:
    try:
        channel, data = protocol.decode(message)
    except ValueError:
        return
    assert 0 <= channel <= 255
    assert len(data) < len(message.encode() if isinstance(message, str) else message)


@given(st.binary(max_size=100))
def test_whatever_a_client_says_of_its_terminal_is_a_size_or_nothing(data: bytes) -> None:
    size = terminal_size(data)
    assert size is None or all(0 < one <= 0xFFFF for one in size)


@pytest.mark.parametrize(
    ("message", "size"),
    [
        (b'{"Width":120,"Height":44}', (120, 44)),
        (b'{"Width":0,"Height":44}', None),
        (b'{"Width":70000,"Height":44}', None),
        (b'{"Width":"x","Height":44}', None),
        (b"[1]", None),
        (b"", None),
    ],
)
def test_a_terminals_size_is_columns_and_rows(message: bytes, size: tuple[int, int] | None) -> None:
    assert terminal_size(message) == size


def test_only_v5_can_close_a_stream() -> None:
    assert V5.closes(*V5.decode(b"\xff\x00")) == STDIN
    assert V5.closes(CLOSE, b"") is None
    assert V5.closes(STDIN, b"\x00") is None
    assert V4.closes(*V4.decode(b"\xff\x00")) is None


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        pytest.param(["v5.channel.k8s.io", "v4.channel.k8s.io"], "v5.channel.k8s.io", id="the clients first choice"),
        pytest.param(["v9.channel.k8s.io", "v4.channel.k8s.io"], "v4.channel.k8s.io", id="the first that is known"),
        pytest.param(["v9.channel.k8s.io"], None, id="none"),
        pytest.param([], "", id="nothing offered is the oldest"),
        pytest.param([""], "", id="as is an empty name"),
    ],
)
def test_the_protocol_is_the_clients_choice(offered: list[str], chosen: str | None) -> None:
    found = choose(offered)
    assert (found.name if found else None) == chosen


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (exit_status(0), {"status": "Success"}),
        (
            exit_status(3),
            {
                "status": "Failure",
                "reason": "NonZeroExitCode",
                "details": {"causes": [{"reason": "ExitCode", "message": "3"}]},
            },
        ),
        (failure_status("no such program"), {"status": "Failure", "reason": "InternalError", "code": 500}),
    ],
)
def test_the_end_is_a_status(status: dict[str, Any], expected: dict[str, Any]) -> None:
    told = json.loads(V5.encode_end(status))
    assert {key: told[key] for key in expected} == expected


def test_before_v4_the_end_is_told_in_words_and_only_when_it_is_a_failure() -> None:
    old = BY_NAME["channel.k8s.io"]
    assert old.encode_end(exit_status(0)) == b""
    assert b"exit code 3" in old.encode_end(exit_status(3))
