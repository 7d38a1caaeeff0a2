"""The gRPC probe against a real gRPC server, and against peers that are none."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from stark.agent.grpc_health import NotHealthy, check_health
from stark.agent.probes import Prober
from stark.agent.supervisor.link import ExecResult
from stark.crds.pods import Container, GRPCAction, Probe

LONG = "x" * 300
ANSWERS = {b"": b"\x08\x01", b"\n\x03bad": b"\x08\x02", b"\n\xac\x02" + LONG.encode(): b"\x08\x01", b"\n\x05quiet": b""}
"""Request -> response, both as protobuf has them."""


def _check(request: bytes, context: Any) -> bytes:
    if request not in ANSWERS:
        context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
    return ANSWERS[request]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    server = grpc.server(ThreadPoolExecutor(1))
    handlers = {"Check": grpc.unary_unary_rpc_method_handler(_check)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.health.v1.Health", handlers),))
    bound = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield bound
    server.stop(None).wait()


@pytest.mark.parametrize("service", ["", LONG], ids=["the whole program", "a service with a long name"])
async def test_what_is_served_is_healthy(port: int, service: str) -> None:
    await asyncio.wait_for(check_health("127.0.0.1", port, service), 5)


@pytest.mark.parametrize(
    ("service", "why"),
    [
        pytest.param("bad", 'service unhealthy (responded with "NOT_SERVING")', id="it says that it is not"),
        pytest.param("quiet", 'service unhealthy (responded with "UNKNOWN")', id="it says nothing"),
        pytest.param("absent", "it has no health status for that service", id="it does not know the service"),
    ],
)
async def test_what_is_not_served_is_not_healthy(port: int, service: str, why: str) -> None:
    with pytest.raises(NotHealthy) as caught:
        await asyncio.wait_for(check_health("127.0.0.1", port, service), 5)
    assert why in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        pytest.param(b"", "without an answer", id="nothing"),
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n\r\n" + b"x" * 70_000, "no health status", id="another protocol"),
        pytest.param(bytes.fromhex("0000040300000000010000000b"), "broken off", id="a reset"),
        pytest.param(
            bytes.fromhex("000007000100000001 01 00000002 0801"), "no health status", id="a compressed message"
        ),
        pytest.param(bytes.fromhex("000008000100000001 00 00000003 080100"), "no health status", id="another message"),
        pytest.param(bytes.fromhex("000000000900000001"), "no health status for", id="padding without a length"),
    ],
)
async def test_a_peer_that_answers_otherwise_is_not_healthy(answer: bytes, why: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        with pytest.raises((NotHealthy, ConnectionError), match=why if answer else None):
            await check_health("127.0.0.1", server.sockets[0].getsockname()[1], "")


async def test_a_probe_finds_the_port_and_tells_why_it_failed(port: int) -> None:
    async def unused(argv: list[str], timeout_s: float) -> ExecResult:
        raise AssertionError(argv)

    container = Container(name="main", ports=[{"containerPort": 50051}])
    async with Prober("127.0.0.1") as prober:
        for service, expected in (("", True), ("bad", False)):
            probe = Probe(grpc=GRPCAction(port=50051, service=service))
            ok, _ = await prober.run(probe, container, {"50051": port}, unused)
            assert ok is expected
        ok, message = await prober.run(Probe(grpc=GRPCAction(port=1)), container, {}, unused)
        assert (ok, "failed to connect" in message) == (False, True)
