"""Pod logs: which container, which agent, over real TLS, and what happens when either side goes away."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from stark.apiserver.auth.files import write_whole
from stark.apiserver.auth.identities import node_identity
from stark.apiserver.auth.pki import Authority, agent_client_context
from stark.apiserver.errors import ApiError, BadRequest, Invalid, NotFound, ServiceUnavailable
from stark.apiserver.proxy.agents import ProxySettings, agent_of, choose_container
from stark.apiserver.proxy.logs import PodLogs
from stark.apiserver.proxy.options import parse_log_options
from stark.apiserver.request import Query
from tests.support.server_side import Objects, chunks_of, request

Object = dict[str, Any]


class Agent:
    """A node's agent: serves what the test wants, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str], str]] = []
        self.chunks = [b"one\n", b"two\n"]
        self.status = 200
        self.endless = False
        self.sent = 0
        self.left = asyncio.Event()

    async def answer(self, asked: web.Request) -> web.StreamResponse:
        assert asked.transport is not None
        subject = dict(pair for part in asked.transport.get_extra_info("peercert")["subject"] for pair in part)
        self.asked.append((asked.path, dict(asked.query), subject["commonName"]))
        if self.status != 200:
            return web.Response(status=self.status, text="the agent says no")
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(asked)
        try:
            for chunk in self.chunks:
                await response.write(chunk)
            while self.endless:
                await response.write(b"x" * 65536)
                self.sent += 65536
        except (ConnectionError, asyncio.CancelledError):
            self.left.set()
            raise
        return response


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.open(tmp_path_factory.mktemp("pki"))


def server_context(authority: Authority, folder: Path, node: str) -> ssl.SSLContext:
    credential = authority.issue(node_identity(node))
    write_whole(folder / "tls.crt", credential.certificate_pem)
    write_whole(folder / "tls.key", credential.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=authority.certificate_pem.decode())
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    return context


def node(name: str, port: int) -> Object:
    status = {
        "addresses": [{"type": "Hostname", "address": name}, {"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
    }
    return {"metadata": {"name": name}, "status": status}


def pod(name: str = "web", *containers: str, node_name: str = "n1", **status: Any) -> Object:
    names = containers or ("c",)
    statuses = [{"name": c, "state": {"running": {}}} for c in names]
    return {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"nodeName": node_name, "containers": [{"name": c} for c in names]},
        "status": {"phase": "Running", "containerStatuses": statuses, **status},
    }


@pytest.fixture
async def agent(authority: Authority, tmp_path: Path) -> AsyncIterator[tuple[Agent, int]]:
    agent = Agent()
    app = web.Application()
    app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", agent.answer)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(runner, listener, ssl_context=server_context(authority, tmp_path, "n1")).start()
    yield agent, listener.getsockname()[1]
    agent.endless = False
    await runner.cleanup()


@pytest.fixture
async def objects(agent: tuple[Agent, int]) -> Objects:
    objects = Objects()
    objects.add("", "nodes", node("n1", agent[1]))
    objects.add("", "nodes", node("n2", agent[1]))
    objects.add("", "pods", pod())
    return objects


@pytest.fixture
async def logs(authority: Authority, objects: Objects) -> AsyncIterator[PodLogs]:
    logs = PodLogs(objects, agent_client_context(authority), ProxySettings(connect_s=2, answer_s=2))
    yield logs
    await logs.close()


async def read(logs: PodLogs, query: str = "", name: str = "web") -> bytes:
    stream = await logs.get_log(request(query=query), "default", name)
    assert (stream.status, stream.content_type) == (200, "text/plain")
    return b"".join([chunk async for chunk in chunks_of(stream)])


async def refusal(logs: PodLogs, query: str = "", name: str = "web") -> ApiError:
    with pytest.raises(ApiError) as caught:
        await read(logs, query, name)
    return caught.value


async def test_a_log_comes_from_the_pods_own_agent(logs: PodLogs, agent: tuple[Agent, int]) -> None:
    assert (
        await read(logs, "follow=true&tailLines=5&timestamps&sinceSeconds=9&limitBytes=100&previous=false")
        == b"one\ntwo\n"
    )
    expected = {"follow": "true", "tailLines": "5", "timestamps": "true", "sinceSeconds": "9", "limitBytes": "100"}
    assert agent[0].asked == [("/containerLogs/default/web/c", expected, "system:apiserver")]


async def test_another_nodes_agent_is_not_believed(logs: PodLogs, objects: Objects, agent: tuple[Agent, int]) -> None:
    objects.add("", "pods", pod(node_name="n2"))
    error = await refusal(logs)
    assert isinstance(error, ServiceUnavailable)
    assert 'node "n2" at 127.0.0.1' in error.message
    assert "certificate" in error.message
    assert agent[0].asked == []


async def test_an_agent_of_another_cluster_is_not_believed(objects: Objects, tmp_path: Path) -> None:
    foreign = await asyncio.to_thread(Authority.open, tmp_path / "other")
    logs = PodLogs(objects, agent_client_context(foreign))
    assert isinstance(await refusal(logs), ServiceUnavailable)
    await logs.close()


async def test_an_agent_that_is_gone_is_named(logs: PodLogs, objects: Objects) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    objects.add("", "nodes", node("n1", port))
    error = await refusal(logs)
    assert (error.code, f'node "n1" at 127.0.0.1:{port}' in error.message) == (503, True)


async def test_an_agent_that_accepts_and_says_nothing_is_given_up(authority: Authority, objects: Objects) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        objects.add("", "nodes", node("n1", silent.getsockname()[1]))
        logs = PodLogs(objects, agent_client_context(authority), ProxySettings(connect_s=0.2, answer_s=0.2))
        error = await refusal(logs)
        await logs.close()
    assert error.code == 503


@pytest.mark.parametrize(("status", "code"), [(404, 404), (400, 400), (503, 503), (403, 500), (500, 500), (302, 500)])
async def test_what_an_agent_refuses_is_passed_on(
    logs: PodLogs, agent: tuple[Agent, int], status: int, code: int
) -> None:
    agent[0].status = status
    error = await refusal(logs)
    assert (error.code, "the agent says no" in error.message) == (code, True)


async def test_a_client_that_leaves_ends_the_agents_work(logs: PodLogs, agent: tuple[Agent, int]) -> None:
    agent[0].endless = True
    stream = await logs.get_log(request(query="follow=true"), "default", "web")
    assert await anext(chunks_of(stream))
    await chunks_of(stream).aclose()
    await asyncio.wait_for(agent[0].left.wait(), 5)


async def test_a_client_that_never_read_ends_the_agents_work_too(logs: PodLogs, agent: tuple[Agent, int]) -> None:
    agent[0].endless = True
    stream = await logs.get_log(request(query="follow=true"), "default", "web")
    await chunks_of(stream).aclose()
    await asyncio.wait_for(agent[0].left.wait(), 5)


async def test_a_slow_client_slows_the_agent_down(logs: PodLogs, agent: tuple[Agent, int]) -> None:
    agent[0].endless = True
    stream = await logs.get_log(request(query="follow=true"), "default", "web")
    await anext(chunks_of(stream))
    seen = -1
    while agent[0].sent != seen:  # until the agent stands still, since nobody reads
        seen = agent[0].sent
        await asyncio.sleep(0.3)
    assert seen < 16 * 1024 * 1024  # socket buffers, not ours
    await chunks_of(stream).aclose()


async def test_an_agent_lost_in_the_middle_is_not_the_end_of_the_log(
    logs: PodLogs, objects: Objects, authority: Authority, tmp_path: Path
) -> None:
    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\none\n\r\n")
        await writer.drain()
        writer.transport.abort()

    server = await asyncio.start_server(half, "127.0.0.1", 0, ssl=server_context(authority, tmp_path, "n1"))
    async with server:
        objects.add("", "nodes", node("n1", server.sockets[0].getsockname()[1]))
        with pytest.raises(ServiceUnavailable, match=r"lost in the middle|cannot be reached"):
            await read(logs)


async def test_a_pod_that_is_not_there_has_no_log(logs: PodLogs) -> None:
    error = await refusal(logs, name="none")
    assert isinstance(error, NotFound)
    assert error.message == 'pods "none" not found'


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (pod(node_name=""), 'container "c" in pod "web" is waiting to start: ContainerCreating'),
        (
            pod(phase="Pending", containerStatuses=[]),
            'container "c" in pod "web" is waiting to start: ContainerCreating',
        ),
        (
            pod(containerStatuses=[{"name": "c", "state": {"waiting": {"reason": "PackNotFound"}}}]),
            'container "c" in pod "web" is waiting to start: PackNotFound',
        ),
        (pod("web", "a", "b"), "a container name must be specified for pod web, choose one of: [a b]"),
    ],
)
async def test_a_container_that_cannot_have_a_log_is_a_bad_request(
    logs: PodLogs, objects: Objects, given: Object, message: str
) -> None:
    objects.add("", "pods", given)
    error = await refusal(logs)
    assert isinstance(error, BadRequest)
    assert error.message == message


@pytest.mark.parametrize(
    "state", [{"state": {"terminated": {}}}, {"state": {"waiting": {}}, "lastState": {"terminated": {}}}]
)
async def test_a_container_that_ran_has_a_log(logs: PodLogs, objects: Objects, state: Object) -> None:
    objects.add("", "pods", pod(containerStatuses=[{"name": "c", **state}]))
    assert await read(logs) == b"one\ntwo\n"


def test_the_container_is_the_named_the_annotated_or_the_only_one() -> None:
    two = pod("web", "a", "b")
    assert choose_container(two, "b") == "b"
    two["metadata"]["annotations"] = {"kubectl.kubernetes.io/default-container": "b"}
    assert choose_container(two, "") == "b"
    assert choose_container(pod(), "") == "c"
    with pytest.raises(BadRequest, match="container z is not valid for pod web"):
        choose_container(two, "z")


def test_an_agent_is_reached_by_its_address_before_its_name() -> None:
    assert str(agent_of(node("n1", 7))) == 'node "n1" at 127.0.0.1:7'
    with pytest.raises(ServiceUnavailable, match="has not reported"):
        agent_of({"metadata": {"name": "n1"}, "status": {}})


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("tailLines=-1", "tailLines"),
        ("limitBytes=0", "limitBytes"),
        ("sinceSeconds=0", "sinceSeconds"),
        ("sinceSeconds=5&sinceTime=2026-01-01T00:00:00Z", ""),
    ],
)
def test_numbers_out_of_range_are_invalid(query: str, field: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_log_options(Query(query))
    assert [cause.field for cause in caught.value.causes] == [field]


@pytest.mark.parametrize(
    "query", ["tailLines=x", "tailLines=" + "9" * 30, "sinceTime=today", "sinceTime=2026-01-01T00:00:00"]
)
def test_what_is_no_number_or_time_is_a_bad_request(query: str) -> None:
    with pytest.raises(BadRequest):
        parse_log_options(Query(query))


def test_a_time_is_passed_on_with_its_offset() -> None:
    options = parse_log_options(Query("sinceTime=2026-01-01T00:00:00%2B02:00"))
    assert options.to_query() == {"sinceTime": "2026-01-01T00:00:00+02:00"}
