"""What carries out a hook: every handler against something real on a loopback port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from stark.agent.probes import Prober
from stark.agent.supervisor.link import ExecResult, SupervisorError
from stark.crds.meta import decode
from stark.crds.pods import Pod

CONTAINER = {"name": "main", "image": "x", "ports": [{"name": "http", "containerPort": 80}]}


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readline()
    writer.write(b"HTTP/1.1 500 Oh dear\r\nContent-Length: 0\r\n\r\n")
    await writer.drain()
    writer.close()


@pytest.fixture
async def port() -> AsyncIterator[int]:
    server = await asyncio.start_server(_answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def run(argv: list[str], timeout_s: float) -> ExecResult:
    if argv == ["gone"]:
        raise SupervisorError("the container is not running")
    return ExecResult(0 if argv == ["true"] else 1, "said no", argv == ["slow"])


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        pytest.param({"exec": {"command": ["true"]}}, (True, "said no"), id="a command that succeeds"),
        pytest.param({"exec": {"command": ["false"]}}, (False, "said no"), id="a command that fails"),
        pytest.param({"exec": {"command": ["slow"]}}, (False, "timed out"), id="a command that takes too long"),
        pytest.param({"exec": {"command": ["gone"]}}, (False, "not running"), id="no container"),
        pytest.param({"httpGet": {"port": "http"}}, (True, ""), id="any answer"),
        pytest.param({"httpGet": {"port": 1}}, (False, "Get"), id="no answer"),
        pytest.param({"httpGet": {"port": "absent"}}, (False, "no port absent"), id="no such port"),
        pytest.param({"tcpSocket": {"port": 80}}, (True, ""), id="a connection"),
        pytest.param({"tcpSocket": {"port": 1}}, (False, "dial"), id="no connection"),
        pytest.param({"sleep": {"seconds": 0}}, (True, ""), id="a pause"),
        pytest.param({"sleep": {"seconds": 60}}, (True, ""), id="a pause that is cut short"),
    ],
)
async def test_a_hook_succeeds_with(port: int, handler: dict[str, Any], expected: tuple[bool, str]) -> None:
    lifecycle = {"preStop": handler}
    pod = decode({"metadata": {"name": "p"}, "spec": {"containers": [{**CONTAINER, "lifecycle": lifecycle}]}}, Pod)
    container = pod.spec.containers[0]
    assert container.lifecycle is not None
    assert container.lifecycle.pre_stop is not None
    async with Prober("127.0.0.1") as prober:
        ok, message = await prober.carry_out(container.lifecycle.pre_stop, container, {"http": port}, run, 0.5)
    assert ok == expected[0]
    assert expected[1] in message
