"""Connections handed through to an agent: what is passed on, byte for byte, and how they end."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import select
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from stark.apiserver.auth.identities import node_identity
from stark.apiserver.auth.pki import agent_client_context
from stark.apiserver.http import takeover
from stark.apiserver.proxy import relay
from stark.apiserver.proxy.agents import Agent as AgentAddress
from stark.apiserver.proxy.agents import ProxySettings
from stark.apiserver.proxy.relay import Relays
from tests.support.apiserver import Api, api_server, pod
from tests.support.server_side import request

MIB = 1 << 20
PODS = "/api/v1/namespaces/default/pods"
EXEC = f"{PODS}/web/exec?command=cat&command=a+b&stdin=true&stdout=1&container=main"
UPGRADE = (
    "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: aGVsbG8=\r\n"
)


async def eventually(check: Callable[[], Awaitable[bool]]) -> None:
    deadline = asyncio.get_running_loop().time() + 10
    while not await check():
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.02)


async def held_up(writer: asyncio.StreamWriter, limit: int) -> int:
    """Write until the other end takes no more: how much it took, 0 when it took everything."""
    for written in range(0, limit, 65536):
        writer.write(bytes(65536))
        try:
            await asyncio.wait_for(writer.drain(), 0.4)
        except TimeoutError:
            return written
    return 0


@dataclass
class Agent:
    """Answers an upgrade with `answer`, and then echoes until either side ends."""

    answer: bytes = (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: yes\r\nSec-WebSocket-Protocol: v5.channel.k8s.io\r\nX-Private: no\r\n\r\n"
    )
    head: str = ""
    identity: str = ""
    echoes: bool = True
    reads: bool = True
    port: int = 0
    left: asyncio.Event = field(default_factory=asyncio.Event)
    writer: asyncio.StreamWriter | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        subject = dict(pair for part in writer.get_extra_info("peercert")["subject"] for pair in part)
        self.identity = subject["commonName"]
        self.head = (await reader.readuntil(b"\r\n\r\n")).decode()
        writer.write(self.answer)
        if not self.reads:
            return
        try:
            while data := await reader.read(65536):
                if self.echoes:
                    writer.write(data)
                    await writer.drain()
        except ConnectionError:
            pass
        self.left.set()
        writer.close()


@dataclass
class Client:
    """A raw connection to the API server."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, path: str, headers: str = UPGRADE, early: bytes = b"") -> str:
        """Send an upgrade; the head of the answer."""
        head = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer secret\r\n{headers}\r\n"
        self.writer.write(head.encode() + early)
        return (await self.reader.readuntil(b"\r\n\r\n")).decode()

    async def rest(self) -> bytes:
        """Everything until the end."""
        async with asyncio.timeout(10):
            return await self.reader.read()


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with api_server(tmp_path) as api:
        tokens(tmp_path)
        yield api


def tokens(tmp_path: Path) -> None:
    """Who may come in."""
    file = tmp_path / "pki" / "tokens.csv"
    file.touch(0o600)
    file.write_text('secret,somebody,1,"system:masters"\nplain,alice,2,""\n')


@pytest.fixture
async def agent(api: Api, tmp_path: Path) -> AsyncIterator[Agent]:
    async with agent_of(api, tmp_path) as agent:
        yield agent


@asynccontextmanager
async def agent_of(api: Api, tmp_path: Path) -> AsyncIterator[Agent]:
    """The agent of node n1, to which the pod `web` is bound. Node n2 says that its agent is there, too."""
    agent = Agent()
    credential = api.running.authority.issue(node_identity("n1"))
    (tmp_path / "n1.pem").write_bytes(credential.certificate_pem + credential.key_pem)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=api.running.authority.certificate_pem.decode())
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(tmp_path / "n1.pem")
    server = await asyncio.start_server(agent.serve, "127.0.0.1", 0, ssl=context)
    agent.port = server.sockets[0].getsockname()[1]
    for name in ("n1", "n2"):
        (await api.post("/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})).ok(201)
        status = {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": agent.port}},
        }
        (await api.patch(f"/api/v1/nodes/{name}/status", {"status": status})).ok()
    (await api.post(PODS, pod("web", nodeName="n1"))).ok(201)
    yield agent
    server.close()
    if agent.writer is not None:
        agent.writer.close()


@asynccontextmanager
async def connected(api: Api) -> AsyncIterator[Client]:
    context = ssl.create_default_context(cadata=api.running.authority.certificate_pem.decode())
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", api.running.port, ssl=context, server_hostname="localhost"
    )
    try:
        yield Client(reader, writer)
    finally:
        writer.transport.abort()


async def test_an_upgrade_goes_to_the_pods_agent_and_its_answer_comes_back(api: Api, agent: Agent) -> None:
    offered = "v5.channel.k8s.io, base64url.bearer.authorization.k8s.io.c2VjcmV0"
    async with connected(api) as client:
        head = await client.send(EXEC, f"{UPGRADE}Sec-WebSocket-Protocol: {offered}\r\nCookie: a=b\r\n")
    assert head.startswith("HTTP/1.1 101 Switching Protocols\r\n")
    lines = {line.partition(":")[0].lower(): line.partition(": ")[2] for line in head.split("\r\n")[1:-2]}
    assert lines.pop("audit-id") == lines.pop("x-correlation-id")
    assert lines == {
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-accept": "yes",
        "sec-websocket-protocol": "v5.channel.k8s.io",
    }
    assert agent.identity == "system:apiserver"
    target, *sent = agent.head.split("\r\n")
    uid = (await api.get(f"{PODS}/web")).ok()["metadata"]["uid"]
    assert target == f"GET /exec/default/web/main?uid={uid}&command=cat&command=a+b&stdin=true&stdout=true HTTP/1.1"
    # Neither the user's credentials nor anything else that is not the protocol's reaches the agent.
    assert sorted(line.lower() for line in sent if line) == [
        "connection: upgrade",
        "content-length: 0",
        "host: n1",
        "sec-websocket-key: agvsbg8=",
        "sec-websocket-protocol: v5.channel.k8s.io",
        "sec-websocket-version: 13",
        "upgrade: websocket",
    ]


SPDY = "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: portforward.k8s.io\r\n"


async def test_a_port_forward_goes_to_the_pods_agent_whatever_its_protocol(api: Api, agent: Agent) -> None:
    uid = (await api.get(f"{PODS}/web")).ok()["metadata"]["uid"]
    agent.answer = f"HTTP/1.1 101 Switching Protocols\r\n{SPDY}\r\n".encode()
    async with connected(api) as client:
        head = await client.send(f"{PODS}/web/portforward", SPDY)
        assert {"Upgrade: SPDY/3.1", "X-Stream-Protocol-Version: portforward.k8s.io"} <= set(head.split("\r\n"))
    assert agent.head.startswith(f"GET /portForward/default/web?uid={uid} HTTP/1.1\r\n")
    assert "x-stream-protocol-version: portforward.k8s.io\r\n" in agent.head
    async with connected(api) as client:
        assert " 101 " in await client.send(f"{PODS}/web/portforward?ports=80,81&ports=9090&namespace=x")
    assert agent.head.startswith(f"GET /portForward/default/web?uid={uid}&ports=80&ports=81&ports=9090 HTTP/1.1\r\n")


async def test_bytes_arrive_as_they_were_sent_also_those_sent_too_early(api: Api, agent: Agent) -> None:
    data = os.urandom(8 * MIB)
    async with connected(api) as client:
        assert " 101 " in await client.send(EXEC, early=data[:100])

        async def feed() -> None:
            for at in range(100, len(data), 300_000):
                client.writer.write(data[at : at + 300_000])
                await client.writer.drain()

        feeding = asyncio.create_task(feed())
        async with asyncio.timeout(20):
            received = await client.reader.readexactly(len(data))
        await feeding
    assert hashlib.sha256(received).digest() == hashlib.sha256(data).digest()


async def test_a_client_that_leaves_takes_the_agents_connection_with_it(api: Api, agent: Agent) -> None:
    async with connected(api) as client:
        assert " 101 " in await client.send(EXEC)
    async with asyncio.timeout(5):
        await agent.left.wait()

    async def is_counted_out() -> bool:
        lines = str((await api.get("/metrics")).body).splitlines()
        exec_lines = [line for line in lines if "apiserver_longrunning_requests{" in line and "exec" in line]
        return [line.rsplit(" ")[-1] for line in exec_lines] == ["0.0"]

    await eventually(is_counted_out)


async def test_what_an_agent_said_last_is_delivered_before_the_end(api: Api, agent: Agent) -> None:
    agent.echoes = False
    async with connected(api) as client:
        assert " 101 " in await client.send(EXEC)
        assert agent.writer is not None
        agent.writer.write(b"x" * 3 * MIB)
        agent.writer.close()
        assert await client.rest() == b"x" * 3 * MIB


async def test_a_reader_that_stands_still_holds_the_writer_up(api: Api, agent: Agent) -> None:
    agent.echoes = False
    async with connected(api) as client:
        assert " 101 " in await client.send(EXEC)
        client.reader._transport.pause_reading()  # type: ignore[attr-defined]  # the client reads nothing
        assert agent.writer is not None
        written = await held_up(agent.writer, 64 * MIB)
        # What kernels hold for a connection, and no more.
        assert 0 < written < 32 * MIB


async def test_a_client_that_leaves_is_missed_even_when_nobody_reads_what_it_sent(
    api: Api, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(takeover, "HANGUP_CHECK_S", 0.1)
    monkeypatch.setattr(relay, "LAST_BYTES_S", 0.1)
    monkeypatch.setattr(relay, "CLOSE_TIMEOUT_S", 0.1)
    agent.reads = False
    async with connected(api) as client:
        assert " 101 " in await client.send(EXEC)
        assert await held_up(client.writer, 64 * MIB)
    # The agent reads nothing: only the connection's own state tells it. What it says, e.g. a ping, finds nobody there.
    assert agent.writer is not None
    sock = agent.writer.get_extra_info("socket")

    async def is_cut() -> bool:
        assert agent.writer is not None
        agent.writer.write(b"are you there?")
        poll = select.poll()
        poll.register(sock.fileno(), select.POLLRDHUP)
        return bool(poll.poll(0))

    await eventually(is_cut)


async def test_a_server_that_stops_ends_its_relays(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(api_server(tmp_path))
        tokens(tmp_path)
        agent = await stack.enter_async_context(agent_of(api, tmp_path))
        async with connected(api) as client:
            assert " 101 " in await client.send(EXEC)
            closing = asyncio.create_task(stack.aclose())
            assert await client.rest() == b""
            async with asyncio.timeout(5):
                await agent.left.wait()
                await closing


@pytest.mark.parametrize(
    ("path", "headers", "status", "message"),
    [
        pytest.param(EXEC, "", 400, "Upgrade request required", id="what is no upgrade"),
        pytest.param(EXEC.replace("web", "nobody"), UPGRADE, 404, 'pods "nobody" not found', id="a pod that is not"),
        pytest.param(EXEC.replace("main", "x"), UPGRADE, 400, "container x is not valid for pod web", id="a container"),
        pytest.param(f"{PODS}/web/exec?stdout=1", UPGRADE, 400, "at least one command", id="no command"),
        pytest.param(
            f"{PODS}/web/exec?command=ls", UPGRADE, 400, "at least 1 of stdin, stdout, stderr", id="no stream"
        ),
        pytest.param(f"{PODS}/loose/attach?stdout=1", UPGRADE, 400, "does not have a host assigned", id="no node"),
        pytest.param(f"{PODS}/web/portforward", "", 400, "Upgrade request required", id="a forward that is no upgrade"),
        pytest.param(f"{PODS}/web/portforward?ports=http", UPGRADE, 400, 'got "http"', id="a port by name"),
        pytest.param(
            f"{PODS}/loose/portforward", SPDY, 400, "does not have a host assigned", id="a forward to no node"
        ),
        pytest.param(f"{PODS}/else/attach?stdout=1", UPGRADE, 503, "certificate that is not this node's", id="n2"),
    ],
)
async def test_what_cannot_be_connected_is_refused(
    api: Api, agent: Agent, path: str, headers: str, status: int, message: str
) -> None:
    (await api.post(PODS, pod("loose"))).ok(201)
    (await api.post(PODS, pod("else", nodeName="n2"))).ok(201)
    async with connected(api) as client:
        head = await client.send(path, headers)
        assert f" {status} " in head.partition("\r\n")[0]
        size = int(next(line for line in head.split("\r\n") if line.startswith("Content-Length")).partition(": ")[2])
        body = json.loads(await client.reader.readexactly(size))
    assert (body["kind"], body["code"]) == ("Status", status)
    assert message in body["message"]
    assert not agent.head


async def test_what_an_agent_refuses_is_a_status(api: Api, agent: Agent) -> None:
    agent.answer = b'HTTP/1.1 500 Oh\r\nContent-Length: 27\r\n\r\ncontainer not found ("main")'[:-1]
    answer = await api.get(EXEC, headers={"Connection": "Upgrade", "Upgrade": "websocket"})
    assert answer.refused(500, "InternalError") == 'container not found ("main"'


async def test_who_may_not_is_not_connected(api: Api, agent: Agent) -> None:
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Authorization": "Bearer plain"}
    for method, verb in (("GET", "get"), ("POST", "create")):
        answer = await api.ask(method, EXEC, headers=upgrade, session=api.as_nobody())
        message = answer.refused(403, "Forbidden")
        assert f'User "alice" cannot {verb} resource "pods/exec" in API group "" in the namespace "default"' in message
    assert not agent.head


async def test_a_relay_on_which_nothing_is_said_ends(api: Api, agent: Agent, tmp_path: Path) -> None:
    relays = Relays(agent_client_context(api.running.authority), ProxySettings(idle_s=0.3))
    assert agent.port
    headers = {"connection": "Upgrade", "upgrade": "websocket"}
    upgrade = await relays.open(AgentAddress("n1", "127.0.0.1", agent.port), "/exec/x", request("GET", headers=headers))
    client = Silent()
    async with asyncio.timeout(5):
        await upgrade.relay(client)
        await agent.left.wait()
    assert client.is_closed


class Silent:
    """A client that says nothing."""

    is_closed = False

    async def read(self) -> bytes:
        await asyncio.Event().wait()
        return b""

    async def write(self, data: bytes) -> None:
        raise AssertionError(data)

    async def lost(self) -> None:
        await asyncio.Event().wait()

    async def close(self) -> None:
        self.is_closed = True


async def test_a_policy_can_forbid_a_command(api: Api, agent: Agent) -> None:
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods/exec"], "operations": ["CONNECT"]}
    spec = {
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [
            {"expression": "object.command[0] != 'rm' && object.container == 'main'", "message": "not here"}
        ],
    }
    group = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": "p"}}
    root = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolic"
    (await api.post(f"{root}ies", {**group, "kind": "ValidatingAdmissionPolicy", "spec": spec})).ok(201)
    bound = {"policyName": "p", "validationActions": ["Deny"]}
    (await api.post(f"{root}ybindings", {**group, "kind": "ValidatingAdmissionPolicyBinding", "spec": bound})).ok(201)
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket"}

    async def is_in_force() -> bool:
        answer = await api.get(EXEC.replace("command=cat", "command=rm"), headers=upgrade)
        return answer.status == 422 and "not here" in answer.body["message"]

    agent.answer = b"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n"
    await eventually(is_in_force)
    agent.head = ""
    await api.get(EXEC, headers=upgrade)
    assert "command=cat" in agent.head
