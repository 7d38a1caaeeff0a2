"""Asking agents what is used: shared, bounded, and never held up by those that do not answer."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from stark.apiserver.auth.pki import Authority, agent_client_context
from stark.apiserver.proxy.usage import AgentUsage, UsageSettings
from stark.apiserver.usage.figures import Usage, go_duration, parse_summary
from tests.support.server_side import Objects
from tests.support.usage import Said, agent_saying, node_context


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.open(tmp_path_factory.mktemp("pki"))


@pytest.fixture
async def said(authority: Authority, tmp_path: Path) -> AsyncIterator[Said]:
    async with agent_saying(authority, tmp_path, "n1") as said:
        yield said


@pytest.fixture
def objects(said: Said) -> Objects:
    objects = Objects()
    objects.add("", "nodes", said.object())
    return objects


def asking(authority: Authority, objects: Objects, **settings: Any) -> AgentUsage:
    return AgentUsage(objects, agent_client_context(authority), UsageSettings(**settings))


async def test_an_answer_is_good_for_a_while(authority: Authority, objects: Objects, said: Said) -> None:
    usage = asking(authority, objects, kept_s=0.2)
    for _ in range(3):
        assert (await usage.of(["n1"]))["n1"].node == Usage(250_000_000, 1 << 30)
    assert said.asked == 1
    await asyncio.sleep(0.3)
    assert "n1" in await usage.of(["n1"])
    assert said.asked == 2
    await usage.close()


async def test_an_asker_that_leaves_does_not_take_the_others_answer_along(
    authority: Authority, objects: Objects, said: Said
) -> None:
    usage = asking(authority, objects)
    first = asyncio.create_task(usage.of(["n1"]))
    await asyncio.sleep(0)
    first.cancel()
    assert "n1" in await usage.of(["n1"])
    assert said.asked == 1
    await usage.close()


async def test_silent_and_dead_agents_cost_only_their_own_figures(
    authority: Authority, objects: Objects, said: Said
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, socket.create_server(("127.0.0.1", 0)) as gone:
        dead = gone.getsockname()[1]
        gone.close()
        for name, port in (("silent", silent.getsockname()[1]), ("dead", dead)):
            objects.add("", "nodes", Said(name=name, port=port).object())
        usage = asking(authority, objects, answer_s=0.3)
        assert list(await usage.of(["silent", "dead", "n1", "unknown"])) == ["n1"]
        await usage.close()


async def test_a_list_does_not_wait_for_the_slowest(authority: Authority, objects: Objects, said: Said) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        objects.add("", "nodes", Said(name="silent", port=silent.getsockname()[1]).object())
        usage = asking(authority, objects, answer_s=60, all_s=0.3)
        assert list(await usage.of(["silent", "n1"])) == ["n1"]
        await usage.close()


async def test_a_lost_node_is_not_even_asked(authority: Authority, objects: Objects, said: Said) -> None:
    objects.add("", "nodes", said.object(conditions=[{"type": "Ready", "status": "Unknown"}]))
    usage = asking(authority, objects)
    assert await usage.of(["n1"]) == {}
    assert said.asked == 0
    await usage.close()


async def test_who_took_over_an_address_does_not_speak_for_the_node(
    authority: Authority, objects: Objects, tmp_path: Path
) -> None:
    async with agent_saying(authority, tmp_path, "n2", certified="thief") as thief:
        objects.add("", "nodes", thief.object())
        usage = asking(authority, objects)
        assert await usage.of(["n2"]) == {}
        assert thief.asked == 0
        await usage.close()


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b'{"windowSeconds":1,"time":"x","node":{},"pods":[]}', id="a time that is none"),
        pytest.param(b'{"windowSeconds":1,"time":"2026-01-01T00:00:00Z","node":{},"pods":[]}', id="no figures"),
        pytest.param(b'{"nodeName":"n1","pods":[]}', id="no whole window yet"),
        pytest.param(b" " * (8 << 20) + b"  {}", id="more than is read"),
    ],
)
async def test_an_answer_that_is_no_summary_is_as_good_as_none(
    authority: Authority, objects: Objects, said: Said, raw: bytes
) -> None:
    said.raw = raw
    usage = asking(authority, objects)
    assert await usage.of(["n1"]) == {}
    assert said.asked == 1
    await usage.close()


async def test_an_agent_cannot_send_the_question_elsewhere(
    authority: Authority, objects: Objects, said: Said, tmp_path: Path
) -> None:
    elsewhere = asyncio.Event()

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        elsewhere.set()
        writer.close()

    async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        to = f"http://127.0.0.1:{other.sockets[0].getsockname()[1]}/"
        writer.write(f"HTTP/1.1 307 Temporary Redirect\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(hear, "127.0.0.1", 0) as other:
        context = node_context(authority, tmp_path / "redirecting", "n1")
        async with await asyncio.start_server(redirect, "127.0.0.1", 0, ssl=context) as server:
            said.port = server.sockets[0].getsockname()[1]
            objects.add("", "nodes", said.object())
            usage = asking(authority, objects)
            assert await usage.of(["n1"]) == {}
            await usage.close()
    assert not elsewhere.is_set()


async def test_only_so_many_are_asked_at_once(authority: Authority, objects: Objects) -> None:
    most = now = 0

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal most, now
        now += 1
        most = max(most, now)
        await reader.read()
        now -= 1
        writer.close()

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    async with server:
        names = [f"s{number}" for number in range(12)]
        for name in names:
            objects.add("", "nodes", Said(name=name, port=server.sockets[0].getsockname()[1]).object())
        usage = asking(authority, objects, at_once=3, answer_s=0.1)
        assert await usage.of(names) == {}
        assert 1 <= most <= 3
        await usage.close()


def test_a_summary_is_read_with_its_time_and_window() -> None:
    figures = parse_summary(Said(pods={"a": []}).answer())
    assert figures is not None
    assert (figures.timestamp, figures.window) == ("2026-01-02T03:04:05Z", "10.003s")
    assert figures.pods == {("default", "a"): []}


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [("0.2", "0.2s"), ("10", "10s"), ("10.003", "10.003s"), ("60", "1m0s"), ("90.5", "1m30.5s"), ("7260", "2h1m0s")],
)
def test_a_window_is_written_as_go_writes_it(seconds: str, shown: str) -> None:
    assert go_duration(Decimal(seconds)) == shown


@pytest.mark.parametrize(
    ("usage", "cpu", "memory"),
    [
        (Usage(0, 0), "0", "0"),
        (Usage(999_151, 7_925_760), "999151n", "7740Ki"),
        (Usage(250_000_000, 1 << 30), "250m", "1Gi"),
    ],
)
def test_usage_is_written_as_upstream_writes_it(usage: Usage, cpu: str, memory: str) -> None:
    assert usage.to_wire() == {"cpu": cpu, "memory": memory}
