"""A listener that does not read: it holds up the container's output for a while, and then it is dropped. No processes."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator
from typing import Any

import pytest

from stark.agent.supervisor.sessions import SESSIONS_MAX, STALL_MAX_S, Sessions

CLIENT = 9_999
MORE_THAN_A_PIPE = 1 << 20


class Shim:
    """What a supervisor does for its sessions."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, dict[str, Any]]] = []
        self.sessions = Sessions(select.poll(), self._send, self.drop, lambda _launch, _then: None)

    def _send(self, client: int, event: dict[str, Any], _fds: list[int] | None = None) -> None:
        self.sent.append((client, event))

    def drop(self, client: int) -> None:
        """The connection ends."""
        self.sessions.hung_up(client)

    def listen(self, client: int = CLIENT) -> int:
        """Somebody attaches; their end of the output."""
        reader, writer = os.pipe()
        command = {"cmd": "attach", "streams": ["stdout"]}
        self.sessions.listen(client, {"name": "main"}, command, [writer], None)
        return reader


@pytest.fixture
def shim() -> Iterator[Shim]:
    made = Shim()
    yield made
    made.drop(CLIENT)


def test_who_does_not_read_holds_up_the_output_and_goes_on_when_they_do(shim: Shim) -> None:
    reader = shim.listen()
    data = os.urandom(MORE_THAN_A_PIPE)
    shim.sessions.feed("main", "stdout", data)
    assert shim.sessions.holds_up("main")
    seen = b""
    while shim.sessions.holds_up("main"):
        seen += os.read(reader, 1 << 16)
        (fd,) = [fd for fd in range(1_024) if shim.sessions.owns(fd)]
        assert shim.sessions.ready(fd, select.POLLOUT) == "main"
    while len(seen) < len(data):
        seen += os.read(reader, 1 << 16)
    assert seen == data
    assert shim.sessions.deadlines() == []
    os.close(reader)


def test_who_goes_on_not_reading_is_dropped(shim: Shim) -> None:
    reader = shim.listen()
    shim.sessions.feed("main", "stdout", bytes(MORE_THAN_A_PIPE))
    (deadline,) = shim.sessions.deadlines()
    shim.sessions.expire(deadline - 1)
    assert shim.sessions.busy
    shim.sessions.expire(deadline)
    assert not shim.sessions.busy
    assert not shim.sessions.holds_up("main")
    assert deadline <= time.monotonic() + STALL_MAX_S
    os.close(reader)


def test_the_end_is_told_after_the_last_of_the_output(shim: Shim) -> None:
    reader = shim.listen()
    shim.sessions.feed("main", "stdout", bytes(MORE_THAN_A_PIPE))
    shim.sessions.container_ended("main", 4)
    assert [event["ev"] for _, event in shim.sent] == ["running"]
    left = MORE_THAN_A_PIPE
    while shim.sessions.busy:
        left -= len(os.read(reader, 1 << 16))
        (fd,) = [fd for fd in range(1_024) if shim.sessions.owns(fd)]
        shim.sessions.ready(fd, select.POLLOUT)
    assert shim.sent[-1] == (CLIENT, {"ev": "ended", "code": 4})
    while data := os.read(reader, 1 << 16):
        left -= len(data)
    assert left == 0
    os.close(reader)


def test_a_reader_that_is_gone_is_dropped_at_the_next_output(shim: Shim) -> None:
    os.close(shim.listen())
    shim.sessions.feed("main", "stdout", b"x")
    assert not shim.sessions.busy


def test_sessions_are_limited(shim: Shim) -> None:
    readers = [shim.listen(CLIENT + number) for number in range(SESSIONS_MAX + 1)]
    assert shim.sent[-1] == (CLIENT + SESSIONS_MAX, {"ev": "failed", "message": "too many sessions"})
    for number, reader in enumerate(readers):
        shim.drop(CLIENT + number)
        assert os.read(reader, 1) == b""
        os.close(reader)
