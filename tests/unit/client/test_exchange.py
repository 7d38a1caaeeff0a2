"""Whole answers, however they are framed; connections that are kept while that is right; and no answer for another's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from stark.client.exchange import Pool, TooLarge, Uncertain, Unconnected

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


class Origin:
    """Answers each request on a connection with the next of some bytes; None closes instead."""

    def __init__(self, answers: list[bytes | None]) -> None:
        self.answers, self.connections, self.requests = answers, 0, list[bytes]()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while self.answers:
                self.requests.append(await reader.readuntil(b"\r\n\r\n"))
                answer = self.answers.pop(0)
                if answer is None:
                    break
                writer.write(answer)
        except asyncio.IncompleteReadError:
            pass
        writer.close()


@asynccontextmanager
async def pool(*answers: bytes | None) -> AsyncIterator[tuple[Pool, Origin]]:
    origin = Origin(list(answers))
    server = await asyncio.start_server(origin.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    kept = Pool(f"http://127.0.0.1:{port}/under", None, None, "tests", 4, 5.0)
    async with server:
        yield kept, origin
        await kept.close()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(ANSWER, id="by its length"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nh\r\n1\r\ni\r\n0\r\n\r\n", id="in chunks"
        ),
        pytest.param(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ANSWER, id="after an announcement"),
    ],
)
async def test_a_framed_answer_leaves_the_connection_for_the_next_request(answer: bytes) -> None:
    async with pool(answer, ANSWER) as (kept, origin):
        for _ in range(2):
            found = await kept.ask("GET", "/a", [("Accept", "x")], None, 100)
            assert (found.status, found.body) == (200, b"hi")
        assert origin.connections == 1
        assert origin.requests[0].startswith(b"GET /under/a HTTP/1.1\r\nHost: 127.0.0.1")


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\nhi", id="that ends with the connection"),
        pytest.param(ANSWER.replace(b"OK", b"OK\r\nConnection: close"), id="that says it is the last"),
    ],
)
async def test_after_an_answer_of_its_own_end_there_is_a_new_connection(answer: bytes) -> None:
    async with pool(answer) as (kept, origin):
        assert (await kept.ask("GET", "/a", [], None, 100)).body == b"hi"
        origin.answers[:] = [ANSWER]
        await asyncio.sleep(0)
        assert (await kept.ask("GET", "/a", [], None, 100)).body == b"hi"
        assert origin.connections == 2


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        pytest.param(None, Uncertain, id="none"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi", Uncertain, id="half of one"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\nhi", TooLarge, id="one announced as too large"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n80\r\n" + b"x" * 128,
            TooLarge,
            id="one that grows too large",
        ),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", Uncertain, id="another protocol"),
    ],
)
async def test_what_is_no_whole_answer_is_said_to_be_none(answer: bytes | None, error: type[Exception]) -> None:
    async with pool(answer) as (kept, _):
        with pytest.raises(error):
            await kept.ask("POST", "/a", [], b"", 100)


async def test_whoever_stops_waiting_leaves_no_answer_for_the_next() -> None:
    async with pool(b"", ANSWER) as (kept, origin):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await kept.ask("GET", "/late", [], None, 100)
        assert (await kept.ask("GET", "/next", [], None, 100)).body == b"hi"
        assert origin.connections == 2


async def test_where_nobody_listens_nothing_was_sent() -> None:
    async with pool() as (kept, _):
        pass
    with pytest.raises(Unconnected, match="cannot connect to 127"):
        await kept.ask("GET", "/a", [], None, 100)


@pytest.mark.parametrize("sign", ["\r\n", "\n", "\r", "\0"])
async def test_a_header_has_no_line_ends(sign: str) -> None:
    kept = Pool("http://127.0.0.1:1", None, None, "tests", 1, 1.0)
    with pytest.raises(ValueError, match="line ends"):
        await kept.ask("GET", "/", [("Impersonate-User", f"a{sign}X: y")], None, 1)
