"""Port-forward at the agent: which ports, and what becomes of connections, however client, pod or program behave."""

from __future__ import annotations

import asyncio
import base64
import socket
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from stark.agent.portforward import service, tunnel
from stark.agent.portforward.carrying import INLET_BYTES_MAX, INLETS_BYTES_MAX
from stark.agent.portforward.pacing import AHEAD_BYTES_FIRST, AHEAD_BYTES_MAX, AHEAD_BYTES_MIN, Pace
from stark.agent.portforward.targets import NotForwarded, Target
from stark.agent.spdy.frames import Data, Ping, RstStream, SynStream
from stark.crds.meta import decode
from stark.crds.pods import Pod
from tests.support.agents import until
from tests.support.forwarding import (
    RANDOM,
    TUNNEL,
    UID,
    Forwarding,
    SpdyClient,
    base64_message,
    count,
    download,
    echo,
    forwarding,
)

TOO_MUCH = 64 << 20
"""More than the kernel's buffers and ours hold."""
BINARY = "v4.channel.k8s.io"


@pytest.fixture
async def agent() -> AsyncIterator[Forwarding]:
    async with forwarding() as running:
        yield running


@pytest.fixture(params=["tunnel", "raw"])
async def client(request: pytest.FixtureRequest, agent: Forwarding) -> SpdyClient:
    """SPDY over WebSocket, and without."""
    opened: SpdyClient = await getattr(agent, request.param)()
    return opened


# -- which ports --------------------------------------------------------------------------------------------------

CONTAINERS: list[dict[str, Any]] = [
    {
        "name": "web",
        "image": "pack.stark/web:1.0.0",
        "ports": [
            {"name": "http", "containerPort": 80},
            {"containerPort": 9090},
            {"name": "dns", "containerPort": 53, "protocol": "UDP"},
            {"name": "dns-tcp", "containerPort": 53},
            {"name": "log", "containerPort": 514, "protocol": "UDP"},
        ],
    },
    {"name": "side", "image": "pack.stark/side:1.0.0", "ports": [{"containerPort": 7000, "hostPort": 7000}]},
]
GIVEN = {"http": 20001, "9090": 20002, "dns": 20003, "dns-tcp": 20004, "log": 20005, "7000": 7000}


def target(containers: list[dict[str, Any]], running: str = "web side") -> Target:
    body = {"metadata": {"name": "web", "uid": "u"}, "spec": {"containers": containers}}
    return Target(decode(body, Pod), GIVEN, frozenset(running.split()))


@pytest.mark.parametrize(
    ("port", "node_port"),
    [
        pytest.param(80, 20001, id="a named port"),
        pytest.param(9090, 20002, id="a port without a name"),
        pytest.param(7000, 7000, id="a hostPort"),
        pytest.param(20002, 20002, id="the node's port that the pod was given"),
        pytest.param(53, 20004, id="the TCP one of two with one number"),
    ],
)
def test_a_declared_port_is_the_nodes_port_that_it_was_given(port: int, node_port: int) -> None:
    assert target(CONTAINERS).node_port(port) == node_port


@pytest.mark.parametrize(
    ("port", "running", "message"),
    [
        pytest.param(22, "web side", "does not declare port 22: its ports are 80 (http), 9090", id="of the host"),
        pytest.param(514, "web side", "port 514 is declared for UDP, and only TCP can be forwarded", id="of UDP"),
        pytest.param(
            7000, "web", 'container "side", which declares port 7000, is not running', id="of a stopped container"
        ),
    ],
)
def test_other_ports_are_refused(port: int, running: str, message: str) -> None:
    with pytest.raises(NotForwarded) as refused:
        target(CONTAINERS, running).node_port(port)
    assert message in str(refused.value)


def test_a_pod_without_ports_says_so() -> None:
    with pytest.raises(NotForwarded, match="it declares none"):
        target([{"name": "web", "image": "pack.stark/web:1.0.0"}]).node_port(80)


# -- SPDY -----------------------------------------------------------------------------------------------------------


async def test_bytes_go_both_ways_and_each_half_ends_by_itself(agent: Forwarding, client: SpdyClient) -> None:
    await agent.pod.listen(80, count)
    data_id, error_id = await client.connect(80)
    for _ in range(100):
        await client.say(Data(data_id, RANDOM[:30_000]))
    await client.say(Data(data_id, b"", True))
    assert await client.answer(data_id) == b"3000000 bytes"
    assert await client.answer(error_id) == b""


async def test_a_download_is_complete_although_the_client_says_nothing(agent: Forwarding, client: SpdyClient) -> None:
    await agent.pod.listen(80, download(RANDOM))
    data_id, error_id = await client.connect(80)
    assert await client.answer(data_id) == RANDOM
    assert await client.answer(error_id) == b""


async def test_many_connections_at_once_do_not_mix(agent: Forwarding, client: SpdyClient) -> None:
    await agent.pod.listen(80, echo)
    opened = [await client.connect(80) for _ in range(60)]
    for data_id, _ in opened:
        await client.say(Data(data_id, f"I am {data_id} ".encode() * 1000, True))
    for data_id, error_id in opened:
        assert await client.answer(data_id) == f"I am {data_id} ".encode() * 1000
        assert await client.answer(error_id) == b""


async def test_a_program_that_does_not_answer_holds_up_nobody_else(agent: Forwarding, client: SpdyClient) -> None:
    async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)

    await agent.pod.listen(80, silent)
    await agent.pod.listen(81, echo)
    hanging, _ = await client.connect(80)
    await client.say(Data(hanging, RANDOM[:500_000]))
    data_id, _ = await client.connect(81)
    await client.say(Data(data_id, b"hello", True))
    assert await client.answer(data_id) == b"hello"
    assert hanging not in client.ended


async def test_a_client_that_takes_a_download_slowly_is_not_sent_far_ahead(agent: Forwarding) -> None:
    async def flood(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(1_000):
            writer.write(bytes(32 * 1024))
            await writer.drain()

    await agent.pod.listen(80, flood)
    client = await agent.raw()
    receive, read = client._wire.receive, 0

    async def receive_slowly() -> bytes:
        nonlocal read
        await asyncio.sleep(0.1)
        data = await receive()
        read += len(data)
        return data

    client._wire.receive = receive_slowly  # type: ignore[method-assign]
    await client.connect(80)
    await client.until(lambda: read > 1_500_000)
    await agent.pod.listen(81, echo)
    other, _ = await client.connect(81)
    await client.say(Data(other, b"hello", True))
    before = read
    assert await client.answer(other) == b"hello"
    assert read - before < 2 * AHEAD_BYTES_FIRST, "another connection waits for little"


def test_the_pace_follows_how_promptly_pings_are_answered() -> None:
    pace = Pace()
    pace.send(AHEAD_BYTES_FIRST // 4)
    assert (pace.may_send, pace.wants_ping) == (True, True)
    pace.mark(2, now=10.0)
    assert not pace.wants_ping
    pace.send(AHEAD_BYTES_FIRST)
    assert not pace.may_send
    pace.mark(4, now=10.1)
    pace.confirm(4, now=10.2)
    assert (pace.may_send, pace.ahead_max) == (True, 2 * AHEAD_BYTES_FIRST)
    pace.confirm(2, now=99.0)
    pace.confirm(8, now=99.0)
    assert pace.ahead_max == 2 * AHEAD_BYTES_FIRST, "overtaken and made-up answers change nothing"
    for number in range(20):
        pace.mark(number, now=20.0)
        pace.confirm(number, now=21.0)
    assert pace.ahead_max == AHEAD_BYTES_MIN
    for number in range(20):
        pace.mark(number, now=20.0)
        pace.confirm(number, now=20.0)
    assert pace.ahead_max == AHEAD_BYTES_MAX


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1"])
async def test_a_program_may_listen_on_any_local_address(agent: Forwarding, host: str) -> None:
    try:
        await agent.pod.listen(80, echo, host)
    except OSError:
        pytest.skip(f"this machine has no {host}")
    client = await agent.tunnel()
    data_id, _ = await client.connect(80)
    await client.say(Data(data_id, b"hello", True))
    assert await client.answer(data_id) == b"hello"


async def test_an_undeclared_port_is_refused_in_the_kubelets_words(agent: Forwarding, client: SpdyClient) -> None:
    await agent.pod.listen(80, echo)
    data_id, error_id = await client.connect(22)
    assert await client.answer(data_id) == b""
    assert (await client.answer(error_id)).decode() == (
        f"error forwarding port 22 to pod web, uid {UID}: the pod does not declare port 22: its ports are 80"
    )


async def test_a_port_nobody_listens_on_is_refused_and_the_forward_goes_on(
    agent: Forwarding, client: SpdyClient
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        free = taken.getsockname()[1]
        agent.pod.declare(80, free)
        await agent.pod.listen(81, echo)
        _, error_id = await client.connect(80)
        assert (
            (await client.answer(error_id))
            .decode()
            .endswith(f": failed to connect to port {free} of the node: connection refused")
        )
    data_id, _ = await client.connect(81)
    await client.say(Data(data_id, b"hello", True))
    assert await client.answer(data_id) == b"hello"


async def test_a_program_that_breaks_off_resets_its_stream_and_says_nothing_on_the_error_stream(
    agent: Forwarding, client: SpdyClient
) -> None:
    async def abort(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    await agent.pod.listen(80, abort)
    data_id, error_id = await client.connect(80)
    await client.say(Data(data_id, b"x"))
    assert await client.answer(error_id) == b""
    await client.until(lambda: isinstance(client.ended.get(data_id), RstStream))


async def test_an_answer_is_complete_although_the_program_stopped_reading(
    agent: Forwarding, client: SpdyClient
) -> None:
    async def impatient(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(10)
        writer.write(b"too much")
        await writer.drain()

    await agent.pod.listen(80, impatient)
    data_id, error_id = await client.connect(80)
    await client.say(Data(data_id, b"0123456789"))
    assert await client.answer(data_id) == b"too much"
    for _ in range(5):  # into a socket that has been closed: the second write meets a reset
        await client.say(Data(data_id, RANDOM[:10_000]))
    await client.say(Data(data_id, b"", True))
    assert await client.answer(error_id) == b""


async def test_a_stream_that_the_client_gives_up_ends_its_connection(agent: Forwarding, client: SpdyClient) -> None:
    await agent.pod.listen(80, echo)
    data_id, error_id = await client.connect(80)
    await client.say(Data(data_id, b"hello"))
    await client.until(lambda: client.has(data_id, b"hello"))
    assert agent.pod.open == 1
    await client.say(RstStream(data_id, 5))
    assert await client.answer(error_id) == b""
    await agent.pod.over()


async def test_a_stream_that_is_given_up_at_once_ends_its_connection_too(agent: Forwarding, client: SpdyClient) -> None:
    await agent.pod.listen(80, echo)
    headers = {"port": "80", "requestid": "7"}
    await client.say(
        SynStream(1, {**headers, "streamtype": "error"}),
        SynStream(3, {**headers, "streamtype": "data"}),
        RstStream(3, 5),
    )
    assert await client.answer(1) == b""
    await agent.pod.over()


async def test_half_a_pair_that_is_given_up_takes_the_other_half_with_it(agent: Forwarding, client: SpdyClient) -> None:
    headers = {"port": "80", "requestid": "7"}
    await client.say(SynStream(1, {**headers, "streamtype": "data"}), RstStream(1, 5))
    await client.say(SynStream(3, {**headers, "streamtype": "error"}), SynStream(5, {**headers, "streamtype": "data"}))
    assert b"does not declare" in await client.answer(3)
    assert await client.answer(5) == b""


async def test_what_a_program_does_not_take_is_bounded_and_arrives_in_the_end(
    agent: Forwarding, client: SpdyClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tunnel, "STALLED_PING_S", 0.05)
    go_on = asyncio.Event()
    size = TOO_MUCH

    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go_on.wait()
        await count(reader, writer)

    await agent.pod.listen(80, late)
    data_id, _ = await client.connect(80)

    async def upload() -> None:
        for _ in range(size // 65536):
            await client.say(Data(data_id, bytes(65536)))
        await client.say(Data(data_id, b"", True))

    uploading = asyncio.create_task(upload())
    await client.until(lambda: client.pings >= 3)  # nothing is read from us any more: are we there?
    assert not uploading.done()
    go_on.set()
    assert await client.answer(data_id) == f"{size} bytes".encode()
    await uploading


async def test_what_all_programs_together_do_not_take_is_bounded(
    agent: Forwarding, client: SpdyClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tunnel, "STALLED_PING_S", 0.05)
    # Streams of which the other half does not come: nobody takes anything, and no kernel has buffers for them.
    streams = [await client.stream("data", 80, str(number)) for number in range(12)]
    piece = INLET_BYTES_MAX - 1000
    assert piece * len(streams) > INLETS_BYTES_MAX > piece * 8
    for stream_id in streams[:8]:
        await client.say(Data(stream_id, bytes(piece)))
    await client.say(Ping(1))
    await client.until(lambda: client.pings == 1)
    for stream_id in streams[8:]:
        await client.say(Data(stream_id, bytes(piece)))
    await client.until(lambda: client.pings >= 3)
    client.abort()
    await agent.over()


async def test_a_client_that_does_not_read_stops_its_programs_and_not_its_own_requests(
    agent: Forwarding,
) -> None:
    written = 0
    big = bytes(64 * 1024)

    async def flood(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        while True:
            writer.write(big)
            await writer.drain()
            written += len(big)

    taken = asyncio.Event()

    async def take(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(2_000_000)
        taken.set()

    await agent.pod.listen(80, flood)
    await agent.pod.listen(81, take)
    client = await agent.raw()
    client_reads = asyncio.Event()
    receive = client._wire.receive

    async def receive_later() -> bytes:
        await client_reads.wait()
        return await receive()

    client._wire.receive = receive_later  # type: ignore[method-assign]
    await client.connect(80)
    data_id, _ = await client.connect(81)
    before = -1
    while before != written:
        before = written
        await asyncio.sleep(0.2)
    assert written < 40_000_000, "bounded by our buffers and the kernel's"
    for _ in range(20):
        await client.say(Data(data_id, bytes(100_000)))
    await asyncio.wait_for(taken.wait(), 20)


@pytest.mark.parametrize(
    ("kind", "port"),
    [("both", "80"), ("", "80"), ("data", "http"), ("data", "0"), ("error", "65536"), ("data", "")],
)
async def test_a_stream_that_is_not_one_of_ours_is_refused(
    agent: Forwarding, client: SpdyClient, kind: str, port: str
) -> None:
    stream_id = await client.stream(kind, port, "7")
    await client.until(lambda: client.ended.get(stream_id) == RstStream(stream_id, 3))


async def test_a_second_stream_of_a_kind_is_refused_and_half_a_pair_is_given_up(
    agent: Forwarding, client: SpdyClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tunnel, "PAIR_TIMEOUT_S", 0.2)
    first = await client.stream("error", 80, "7")
    second = await client.stream("error", 80, "7")
    await client.until(lambda: client.ended.get(second) == RstStream(second, 8))
    await client.until(lambda: client.ended.get(first) == RstStream(first, 5))


async def test_the_end_of_the_pod_is_the_end_of_the_forward(agent: Forwarding, client: SpdyClient) -> None:
    await agent.pod.listen(80, echo)
    data_id, _ = await client.connect(80)
    await client.say(Data(data_id, b"hello"))
    await client.until(lambda: client.has(data_id, b"hello"))
    agent.forwards.end("another")
    agent.forwards.end(UID)
    await client.until(lambda: client.is_over)
    assert agent.forwards._ends == {}


async def test_a_connection_is_refused_once_the_pod_is_gone(agent: Forwarding, client: SpdyClient) -> None:
    agent.pod.is_here = False
    _, error_id = await client.connect(80)
    assert (await client.answer(error_id)).endswith(b"the pod is gone")


async def test_garbage_ends_the_forward(agent: Forwarding, client: SpdyClient) -> None:
    await client._wire.send(b"\x80\x02 no such version")
    await client.until(lambda: client.is_over)


@pytest.mark.parametrize("size", [pytest.param(5, id="idle"), pytest.param(TOO_MUCH, id="while it is held up")])
async def test_a_client_that_dies_leaves_nothing(agent: Forwarding, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(tunnel, "STALLED_PING_S", 0.05)
    connected, is_over = asyncio.Event(), asyncio.Event()

    async def takes_nothing(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        connected.set()
        await is_over.wait()

    await agent.pod.listen(80, takes_nothing)
    client = await agent.raw()
    data_id, _ = await client.connect(80)

    async def upload() -> None:
        for at in range(0, size, 65536):
            await client.say(Data(data_id, bytes(min(65536, size - at))))

    uploading = asyncio.create_task(upload())
    await asyncio.wait_for(connected.wait(), 10)
    await client.until(lambda: client.pings >= (3 if size > 5 else 0))
    client.abort()
    await until("the forward is over", lambda: not agent.forwards.open)
    await asyncio.gather(uploading, return_exceptions=True)
    is_over.set()


# -- channels -------------------------------------------------------------------------------------------------------


async def messages(socket: aiohttp.ClientWebSocketResponse) -> dict[int, list[bytes]]:
    """Everything that comes until the server closes, by channel."""
    found: dict[int, list[bytes]] = {}
    async for message in socket:
        data = message.data
        if isinstance(data, str):
            data = bytes((int(data[0]),)) + base64.b64decode(data[1:])
        found.setdefault(data[0], []).append(data[1:])
    return found


@pytest.mark.parametrize(
    "protocols",
    [pytest.param(("v5.channel.k8s.io", BINARY), id="v4, named"), pytest.param((), id="v4, not named")],
)
async def test_channels_carry_a_connection_a_port_and_close_after_the_last(
    agent: Forwarding, protocols: tuple[str, ...]
) -> None:
    await agent.pod.listen(80, download(RANDOM))
    await agent.pod.listen(81, download(b"small"))
    session = await agent.session()
    socket = await session.ws_connect(agent.url("&ports=80,22&ports=81"), protocols=protocols)
    assert socket.protocol == (BINARY if protocols else None)
    found = await messages(socket)
    assert [found[channel][0] for channel in range(6)] == [
        b"\x50\0",
        b"\x50\0",
        b"\x16\0",
        b"\x16\0",
        b"\x51\0",
        b"\x51\0",
    ]
    assert b"".join(found[0][1:]) == RANDOM
    assert found[3][1].startswith(b"error forwarding port 22 to pod web, uid uid-web: the pod does not declare port 22")
    assert found[4][1:] == [b"small"]
    assert found[1][1:] == found[2][1:] == found[5][1:] == []


async def test_channels_take_what_the_client_sends_and_end_with_it(agent: Forwarding) -> None:
    await agent.pod.listen(80, echo)
    session = await agent.session()
    socket = await session.ws_connect(agent.url("&ports=80"), protocols=(BINARY,))
    for message in (b"", b"\x01error channels are ours", b"\x09nobody's", b"\x00hello"):
        await socket.send_bytes(message)
    assert [await socket.receive_bytes() for _ in range(3)] == [b"\0\x50\0", b"\x01\x50\0", b"\0hello"]
    assert agent.pod.open == 1
    await socket.close()
    await agent.over()


async def test_channels_hold_back_a_client_whose_program_takes_nothing(agent: Forwarding) -> None:
    go_on = asyncio.Event()

    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go_on.wait()
        writer.write(str(len(await reader.readexactly(TOO_MUCH))).encode())

    await agent.pod.listen(80, late)
    session = await agent.session()
    socket = await session.ws_connect(agent.url("&ports=80"))

    async def upload() -> None:
        for _ in range(TOO_MUCH // 65536):
            await socket.send_bytes(b"\0" + bytes(65536))

    uploading = asyncio.create_task(upload())
    await asyncio.sleep(0.3)
    assert not uploading.done()
    go_on.set()
    found = await messages(socket)
    assert found[0][1:] == [str(TOO_MUCH).encode()]
    await uploading


async def test_a_channel_is_over_when_its_pod_has_said_everything(agent: Forwarding) -> None:
    is_over = asyncio.Event()

    async def says_but_does_not_listen(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"bye")
        writer.write_eof()
        await is_over.wait()

    await agent.pod.listen(80, says_but_does_not_listen)
    session = await agent.session()
    socket = await session.ws_connect(agent.url("&ports=80"))
    await socket.send_bytes(b"\0" + bytes(100_000))
    assert (await messages(socket))[0][1:] == [b"bye"]
    is_over.set()


async def test_channels_may_be_text(agent: Forwarding) -> None:
    await agent.pod.listen(80, echo)
    session = await agent.session()
    socket = await session.ws_connect(agent.url("&ports=80"), protocols=("v4.base64.channel.k8s.io",))
    await socket.send_str("0not base64!")
    await socket.send_str(base64_message(0, b"hello"))
    assert [await socket.receive_str() for _ in range(3)] == [
        base64_message(0, b"\x50\0"),
        base64_message(1, b"\x50\0"),
        base64_message(0, b"hello"),
    ]
    await socket.close()


# -- the request ----------------------------------------------------------------------------------------------------

WEBSOCKET = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg==",
}
SPDY = {"Connection": "Upgrade", "Upgrade": "SPDY/3.1"}


@pytest.mark.parametrize(
    ("query", "headers", "status", "text"),
    [
        pytest.param("", {}, 400, "Upgrade request required", id="no upgrade"),
        pytest.param("", {**SPDY, "Upgrade": "h2c"}, 400, "Upgrade request required", id="another upgrade"),
        pytest.param("", SPDY, 400, "unable to negotiate protocol", id="SPDY without a protocol"),
        pytest.param("", WEBSOCKET, 400, 'query parameter "ports" is required', id="channels without ports"),
        pytest.param("&ports=http", WEBSOCKET, 400, "unable to parse 'http' as a port", id="a port by name"),
        pytest.param("&ports=0", WEBSOCKET, 400, "unable to parse '0' as a port", id="port 0"),
        pytest.param("&ports=" + "1," * 64 + "1", WEBSOCKET, 400, "65 ports", id="too many ports"),
        pytest.param(
            "&ports=80",
            {**WEBSOCKET, "Sec-WebSocket-Protocol": "v9.channel.k8s.io"},
            400,
            f"server accepts [{TUNNEL}, v4.channel.k8s.io",
            id="an unknown subprotocol",
        ),
    ],
)
async def test_a_request_that_is_not_a_port_forward_is_refused(
    agent: Forwarding, query: str, headers: dict[str, str], status: int, text: str
) -> None:
    session = await agent.session()
    async with session.get(agent.url(query), headers=headers) as answer:
        assert (answer.status, text in await answer.text()) == (status, True)


async def test_a_pod_that_is_not_here_is_not_found(agent: Forwarding) -> None:
    session = await agent.session()
    async with session.get(f"http://127.0.0.1:{agent.port}/portForward/default/web?uid=old", headers=SPDY) as answer:
        assert (answer.status, await answer.text()) == (404, 'pod "web" is not on this node\n')


async def test_clients_beyond_the_bound_are_refused(agent: Forwarding, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "FORWARDS_MAX", 1)
    await agent.tunnel()
    session = await agent.session()
    async with session.get(agent.url(), headers=SPDY) as answer:
        assert answer.status == 503
