"""The HTTP server: what it takes, what it refuses, and that nobody makes it wait, grow, or take one request for another."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stark.apiserver.errors import Timeout
from stark.apiserver.http.answers import AuditIds
from stark.apiserver.http.bodies import BODY_BUFFER_MAX
from stark.apiserver.http.connection import Connection
from stark.apiserver.http.reading import CHUNK_WASTE_MAX, PIPELINED_MAX
from stark.apiserver.request import ByteStream, Frames, Pushed, Request, Response, Sink, Stream, Upgrade
from tests.support.http_server import Place, http_server

GET = b"GET /a?b=c HTTP/1.1\r\nHost: x\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    async with http_server() as running:
        yield running


async def test_a_request_arrives_as_it_was_sent(place: Place) -> None:
    answer = await place.ask(POST + b"X-One: 1\r\nx-one: 2 \r\nContent-Length: 4\r\n\r\nbody")
    assert answer.status == 200
    assert (answer.told["method"], answer.told["path"], answer.told["body"]) == ("POST", "/", "body")
    headers = {**answer.told["headers"]}
    assert len(headers.pop("audit-id")) == 36, "who handles it knows what the answer will be called"
    assert headers == {"host": "x", "x-one": "1, 2", "content-length": "4"}
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-cache, private"
    assert "gmt" in answer.headers["date"]
    assert "connection" not in answer.headers


async def test_it_does_not_matter_how_the_bytes_are_cut(place: Place) -> None:
    request = CHUNKED + b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nX-Trailer: t\r\n\r\n" + GET + b"Connection: close\r\n\r\n"
    whole = [await place.ask(request)]
    for at in range(1, len(request), 3):
        wire = await place.wire()
        await wire.send(request[:at])
        await asyncio.sleep(0)
        await wire.send(request[at:])
        first, second = await wire.answer(), await wire.answer()
        assert first.told["body"] == "abcde" == whole[0].told["body"]
        assert (second.told["path"], second.told["query"]) == ("/a", "b=c")
        assert await wire.rest() == b""


@pytest.mark.parametrize(
    ("sent", "path", "query"),
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "/", "", id="origin form"),
        pytest.param(b"GET http://else/b?c HTTP/1.1\r\nHost: x\r\n\r\n", "/b", "c", id="absolute form"),
        pytest.param(
            b"GET HTTPS://else?c=/d HTTP/1.1\r\nHost: x\r\n\r\n", "/", "c=/d", id="absolute form without path"
        ),
        pytest.param(b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "/", "", id="asterisk form"),
        pytest.param(b"\r\n\r\nGET /a HTTP/1.1\r\nHost: x\r\n\r\n", "/a", "", id="empty lines before it"),
        pytest.param(b"GET /%C3%A9%2f?%41 HTTP/1.1\r\nHost: x\r\n\r\n", "/é/", "%41", id="percent encoding, once"),
        pytest.param(b"GET /a HTTP/1.1\r\nhOST:x\r\nX:\r\n\r\n", "/a", "", id="no space and no value"),
        pytest.param(b"GET //a/../b HTTP/1.1\r\nHost: x\r\n\r\n", "//a/../b", "", id="a path is not made nicer"),
    ],
)
async def test_every_form_of_target_is_read(place: Place, sent: bytes, path: str, query: str) -> None:
    told = (await place.ask(sent)).told
    assert (told["path"], told["query"]) == (path, query)


@pytest.mark.parametrize(
    ("value", "read"),
    [(b"\xc3\xa9", "é"), (b"\xff", "ÿ"), (b"  a\t b \t", "a\t b"), (b'"q, r"', '"q, r"')],
)
async def test_header_values_are_text_whatever_their_bytes(place: Place, value: bytes, read: str) -> None:
    assert (await place.ask(GET + b"X-Value:" + value + b"\r\n\r\n")).told["headers"]["x-value"] == read


AMBIGUOUS = {
    "two lengths": (400, POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc"),
    "the same length twice": (400, POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc"),
    "a list of lengths": (400, POST + b"Content-Length: 3, 3\r\n\r\nabc"),
    "a length with a sign": (400, POST + b"Content-Length: +3\r\n\r\nabc"),
    "a negative length": (400, POST + b"Content-Length: -3\r\n\r\nabc"),
    "a length in hex": (400, POST + b"Content-Length: 0x3\r\n\r\nabc"),
    "a length with an underscore": (400, POST + b"Content-Length: 1_0\r\n\r\nabcdefghij"),
    "an empty length": (400, POST + b"Content-Length: \r\n\r\nabc"),
    "a length in other digits": (400, POST + "Content-Length: \u0663\r\n\r\nabc".encode()),
    "a length too large to count": (400, POST + b"Content-Length: 99999999999999999999999\r\n\r\nabc"),
    "a length, then chunks": (400, POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "chunks, then a length": (400, POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n"),
    "a coding that looks like chunked": (501, POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    "a coding behind a control character": (400, POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n"),
    "a coding after chunked": (400, POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
    "a coding twice": (400, POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "identity": (501, POST + b"Transfer-Encoding: identity\r\n\r\nabc"),
    "an empty coding": (400, POST + b"Transfer-Encoding: \r\n\r\nabc"),
    "a coding before chunked": (501, POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    "chunks in HTTP/1.0": (400, b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "a folded line": (400, GET + b"X: a\r\n b\r\n\r\n"),
    "a folded first line": (400, b"GET / HTTP/1.1\r\n Host: x\r\n\r\n"),
    "a space before the colon": (400, POST + b"Content-Length : 3\r\n\r\nabc"),
    "a tab before the colon": (400, POST + b"Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n"),
    "no colon": (400, GET + b"X\r\n\r\n"),
    "no name": (400, GET + b": a\r\n\r\n"),
    "a name with a sign": (400, GET + b"X(y: a\r\n\r\n"),
    "a name that is not ASCII": (400, GET + b"X\xff: a\r\n\r\n"),
    "a null in a value": (400, GET + b"X: a\0b\r\n\r\n"),
    "a bare CR in a value": (400, GET + b"X: a\rb\r\n\r\n"),
    "bare LF": (400, b"GET / HTTP/1.1\nHost: x\n\n"),
    "a bare LF between headers": (400, GET + b"X: y\nZ: w\r\n\r\n"),
    "a bare LF at the end": (400, GET + b"X: y\r\n\n"),
    "no host": (400, b"GET / HTTP/1.1\r\n\r\n"),
    "two hosts": (400, b"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n"),
    "a target that is a name": (400, b"GET a HTTP/1.1\r\nHost: x\r\n\r\n"),
    "a target of another scheme": (400, b"GET ftp://a/b HTTP/1.1\r\nHost: x\r\n\r\n"),
    "a fragment": (400, b"GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n"),
    "a star that is no OPTIONS": (400, b"GET * HTTP/1.1\r\nHost: x\r\n\r\n"),
    "a target that is not ASCII": (400, b"GET /\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n"),
    "a space in the target": (400, b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n"),
    "a control character in the target": (400, b"GET /a\x01b HTTP/1.1\r\nHost: x\r\n\r\n"),
    "a tunnel": (405, b"CONNECT a:1 HTTP/1.1\r\nHost: x\r\n\r\n"),
    "HTTP/0.9": (505, b"GET /\r\n\r\n"),
    "HTTP/2": (400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "HTTP/1.2": (400, b"GET / HTTP/1.2\r\nHost: x\r\n\r\n"),
    "a version with more digits": (400, b"GET / HTTP/1.11\r\nHost: x\r\n\r\n"),
    "a method in lower case": (400, b"get / HTTP/1.1\r\nHost: x\r\n\r\n"),
    "a made-up method": (400, b"FOO / HTTP/1.1\r\nHost: x\r\n\r\n"),
    "no request at all": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    "an expectation nobody knows": (417, GET + b"Expect: money\r\n\r\n"),
    "another protocol and a body": (
        400, POST + b"Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 27\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
    ),
    "another protocol and a body in HTTP/1.0": (
        400, b"POST / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: a\r\nContent-Length: 18\r\n\r\nGET / HTTP/1.0\r\n\r\n",
    ),
    "too large a line": (431, b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"),
    "too large a value": (431, GET + b"X: " + b"a" * 40_000 + b"\r\n\r\n"),
    "too large a name": (431, GET + b"X" * 40_000 + b": a\r\n\r\n"),
    "headers that do not end": (431, GET + b"X: a\r\n" * 100 + b"Y: " + b"y" * 40_000),
    "too many headers": (431, GET + b"X: a\r\n" * 200 + b"\r\n"),
    "empty lines without end": (431, b"\r\n" * 20_000),
}  # fmt: skip


@pytest.mark.parametrize("name", AMBIGUOUS)
async def test_what_could_be_read_in_two_ways_is_not_read_at_all(place: Place, name: str) -> None:
    status, sent = AMBIGUOUS[name]
    # What follows looks like a request to a reader who ends the first one elsewhere.
    received = await place.all_of(sent + b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 %d " % status)
    assert received.count(b"Content-Length:") == 1
    assert b"\r\nConnection: close\r\n" in received
    assert not place.handle.asked
    assert (await place.ask(GET + b"\r\n")).status == 200


BAD_CHUNKS = {
    "a size that is no number": b"zz\r\nabc\r\n0\r\n\r\n",
    "a size with a prefix": b"0x3\r\nabc\r\n0\r\n\r\n",
    "a size with a sign": b"+3\r\nabc\r\n0\r\n\r\n",
    "a size and a space": b"3 \r\nabc\r\n0\r\n\r\n",
    "a size too large to count": b"fffffffffffffffff\r\nabc\r\n0\r\n\r\n",
    "data longer than its size": b"3\r\nabcd\r\n0\r\n\r\n",
    "bare LF after the size": b"3\nabc\r\n0\r\n\r\n",
    "bare LF after the data": b"3\r\nabc\n0\r\n\r\n",
    "bare LF in an extension": b"3;a\nabc\r\n0\r\n\r\n",
    "a bare CR in an extension": b"3;a\rb\r\nabc\r\n0\r\n\r\n",
    "an extension without end": b"3;" + b"a" * (CHUNK_WASTE_MAX + 1),
    "many extensions": b"1;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\nx\r\n" * 2_000 + b"0\r\n\r\n",
    "trailers without end": b"0\r\n" + b"X: a\r\n" * CHUNK_WASTE_MAX,
    "a length in a trailer": b"3\r\nabc\r\n0\r\nContent-Length: 40\r\n\r\n",
    "a folded trailer": b"0\r\nX: a\r\n b\r\n\r\n",
}


@pytest.mark.parametrize("name", BAD_CHUNKS)
async def test_chunks_that_are_none_end_the_request_and_the_connection(place: Place, name: str) -> None:
    received = await place.all_of(CHUNKED + BAD_CHUNKS[name] + b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 400 ")
    assert b"\r\nConnection: close\r\n" in received
    assert [request.path for request in place.handle.asked] == ["/"]
    assert (await place.ask(GET + b"\r\n")).status == 200


async def test_extensions_and_trailers_within_reason_are_passed_over(place: Place) -> None:
    many = b"1;a=b\r\nx\r\n" * 3_000 + b"0\r\nHost: other\r\nX-Trailer: 7\r\n\r\n"
    answer = await place.ask(CHUNKED + many)
    assert answer.told["body"] == "x" * 3_000
    assert answer.told["headers"].keys() == {"host", "transfer-encoding", "audit-id"}
    assert answer.told["headers"]["host"] == "x"


async def test_requests_are_answered_in_their_order(place: Place) -> None:
    wire = await place.wire()
    await wire.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(1_000)))
    assert [(await wire.answer()).told["path"] for _ in range(1_000)] == [f"/{number}" for number in range(1_000)]


async def test_one_request_at_a_time_and_few_are_read_ahead() -> None:
    under_way = most = 0
    go_on = asyncio.Event()

    async def slow(request: Request) -> Response:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await go_on.wait()
        under_way -= 1
        return Response()

    async with http_server(slow) as place:
        wire = await place.wire()
        await wire.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 200)
        for _ in range(20):
            await asyncio.sleep(0.005)
        (connection,) = place.server._connections
        assert under_way == 1
        assert len(connection.reader.items) <= PIPELINED_MAX
        go_on.set()
        for _ in range(200):
            assert (await wire.answer()).status == 200
        assert most == 1


async def test_nobody_stops_reading_from_a_sender_by_pipelining_past_what_is_held() -> None:
    go_on = asyncio.Event()

    async def slow(request: Request) -> Response:
        await go_on.wait()
        return Response()

    async with http_server(slow) as place:
        wire = await place.wire()
        wire.writer.transport.set_write_buffer_limits(0)
        flood = GET + b"\r\n"
        sending = asyncio.create_task(wire.send(flood * 1_000_000))
        await asyncio.sleep(0.2)
        assert not sending.done()
        (connection,) = place.server._connections
        assert len(connection.reader.held) < 1_000_000
        sending.cancel()
        go_on.set()


async def test_a_good_request_before_a_bad_one_is_answered(place: Place) -> None:
    received = await place.all_of(GET + b"\r\n" + b"nonsense\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 200 ")
    assert received.count(b"HTTP/1.1 400 ") == 1


@pytest.mark.parametrize(
    ("lines", "stays"),
    [
        pytest.param(b"HTTP/1.1\r\nHost: x\r\n", True, id="HTTP/1.1"),
        pytest.param(b"HTTP/1.1\r\nHost: x\r\nConnection: close\r\n", False, id="HTTP/1.1 close"),
        pytest.param(b"HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Close\r\n", False, id="close in a list"),
        pytest.param(b"HTTP/1.0\r\n", False, id="HTTP/1.0"),
        pytest.param(b"HTTP/1.0\r\nConnection: keep-alive\r\n", True, id="HTTP/1.0 keep-alive"),
    ],
)
async def test_a_connection_stays_as_long_as_both_want(place: Place, lines: bytes, stays: bool) -> None:
    wire = await place.wire()
    await wire.send(b"GET / " + lines + b"\r\n")
    answer = await wire.answer()
    assert (answer.headers.get("connection") == "close") is not stays
    if stays:
        await wire.send(b"GET / " + lines + b"\r\n")
        assert (await wire.answer()).status == 200
    else:
        assert await wire.rest() == b""


async def test_permission_to_send_is_given_when_somebody_reads(place: Place) -> None:
    wire = await place.wire()
    await wire.send(POST + b"Content-Length: 3\r\nExpect: 100-Continue\r\n\r\n")
    assert (await wire.answer()).status == 100
    await wire.send(b"abc" + GET + b"\r\n")
    assert (await wire.answer()).told["body"] == "abc"
    assert (await wire.answer()).told["path"] == "/a"


async def test_permission_to_send_is_not_given_for_what_is_refused() -> None:
    async def refuse(request: Request) -> Response:
        return Response(403)

    async with http_server(refuse) as place:
        received = await place.all_of(POST + b"Content-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        assert received.startswith(b"HTTP/1.1 403 ")
        assert b"\r\nConnection: close\r\n" in received


@pytest.mark.parametrize("framing", [b"Content-Length: %d\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n%x\r\n"])
async def test_an_early_answer_arrives_while_the_body_is_still_under_way(framing: bytes) -> None:
    async def refuse(request: Request) -> Response:
        return Response(413, b"too large")

    size = 50_000_000
    async with http_server(refuse) as place:
        wire = await place.wire()
        sending = asyncio.create_task(wire.send(POST + framing % size + b"x" * size))
        answer = await wire.answer()
        assert (answer.status, answer.body) == (413, b"too large")
        with contextlib.suppress(ConnectionError):
            await asyncio.wait_for(sending, 5)


async def test_after_an_early_answer_a_small_rest_is_passed_over() -> None:
    async def refuse(request: Request) -> Response:
        return Response(403)

    async with http_server(refuse) as place:
        wire = await place.wire()
        await wire.send(POST + b"Content-Length: 100000\r\n\r\n")
        assert (await wire.answer()).status == 403
        await wire.send(b"x" * 100_000 + GET + b"\r\n")
        assert (await wire.answer()).status == 403


async def test_an_upload_is_not_read_faster_than_it_is_used() -> None:
    go_on = asyncio.Event()

    async def upload(request: Request) -> Response:
        await go_on.wait()
        return Response(body=b"%d" % sum([len(piece) async for piece in request.body.chunks()]))

    size = 30_000_000
    async with http_server(upload) as place:
        wire = await place.wire()
        sending = asyncio.create_task(wire.send(POST + b"Content-Length: %d\r\n\r\n" % size + b"x" * size))
        await asyncio.sleep(0.2)
        (connection,) = place.server._connections
        assert connection.reader.arriving is not None
        assert BODY_BUFFER_MAX < connection.reader.arriving.size < 4 * BODY_BUFFER_MAX
        go_on.set()
        assert (await wire.answer()).body == b"%d" % size
        await sending


async def test_a_body_larger_than_the_handler_takes_is_refused_at_once_or_when_it_gets_there(place: Place) -> None:
    assert (await place.ask(POST + b"Content-Length: 2000000\r\n\r\n")).status == 413
    wire = await place.wire()
    with contextlib.suppress(ConnectionError):
        await wire.send(CHUNKED + b"200000\r\n" + b"x" * 0x200000 + b"\r\n0\r\n\r\n")
    assert (await wire.answer()).status == 413


async def test_an_upload_that_stalls_is_given_up() -> None:
    async with http_server(body_timeout_s=0.2) as place:
        assert (await place.ask(POST + b"Content-Length: 3\r\n\r\na")).status == 504
        assert (await place.ask(CHUNKED + b"3\r\nab")).status == 504


async def test_a_streamed_upload_that_stalls_is_given_up() -> None:
    ended = asyncio.Event()

    async def upload(request: Request) -> Response:
        try:
            async for _ in request.body.chunks():
                pass
        except Timeout:
            ended.set()
        return Response(504)

    async with http_server(upload, body_timeout_s=0.2) as place:
        assert (await place.ask(POST + b"Content-Length: 3\r\n\r\na")).status == 504
        assert ended.is_set()


@pytest.mark.parametrize("sent", [b"", b"GET / HT", GET + b"X: y", GET], ids=["nothing", "line", "header", "headers"])
async def test_a_head_that_does_not_come_ends_the_connection(sent: bytes) -> None:
    async with http_server(header_timeout_s=0.2) as place:
        assert await place.all_of(sent) == b""


async def test_a_head_that_comes_in_drops_ends_the_connection() -> None:
    async with http_server(header_timeout_s=0.3) as place:
        wire = await place.wire()
        ended = asyncio.create_task(wire.rest())
        await wire.send(GET + b"X: ")
        while not ended.done():
            with contextlib.suppress(ConnectionError):
                await wire.send(b"x")
            await asyncio.sleep(0.02)
        assert await ended == b""


async def test_the_next_head_has_its_own_time_and_an_idle_connection_another() -> None:
    async with http_server(header_timeout_s=0.2, keepalive_timeout_s=0.8) as place:
        idle, slow = await place.wire(), await place.wire()
        for wire in (idle, slow):
            await wire.send(GET + b"\r\n")
            assert (await wire.answer()).status == 200
        await slow.send(b"GET ")
        assert await slow.rest() == b""
        await asyncio.sleep(0.1)
        await idle.send(GET + b"\r\n")
        assert (await idle.answer()).status == 200
        assert await idle.rest() == b""


async def test_a_client_that_does_not_read_is_given_up() -> None:
    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 100_000
        finally:
            closed.set()

    async def handle(request: Request) -> Response | Stream:
        return Stream(endless()) if request.path == "/stream" else Response(body=[b"x" * 1_000_000] * 100)

    closed = asyncio.Event()
    async with http_server(handle, write_timeout_s=0.3) as place:
        for path in (b"/stream", b"/pieces"):
            wire = await place.wire()
            await wire.send(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            await place.emptied()
            wire.close()
        assert closed.is_set()
        assert not place.server._tasks


async def test_who_leaves_ends_the_handler_at_once() -> None:
    ended = asyncio.Event()
    begun = asyncio.Event()

    async def handle(request: Request) -> Response:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()
        return Response()

    async with http_server(handle) as place:
        for sent in (GET + b"\r\n", POST + b"Content-Length: 9\r\n\r\nabc"):
            wire = await place.wire()
            await wire.send(sent)
            await begun.wait()
            wire.close()
            async with asyncio.timeout(5):
                await ended.wait()
            begun.clear()
            ended.clear()


async def test_who_leaves_ends_the_stream_and_it_is_closed() -> None:
    ended = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            yield b"one"
            await asyncio.sleep(60)
        finally:
            ended.set()

    async def handle(request: Request) -> Stream:
        return Stream(endless())

    async with http_server(handle) as place:
        wire = await place.wire()
        await wire.send(GET + b"\r\n")
        await wire.reader.readuntil(b"one")
        wire.close()
        async with asyncio.timeout(5):
            await ended.wait()


async def _three() -> AsyncIterator[bytes]:
    for piece in (b"one", b"", b"two", b"three"):
        yield piece


async def test_streams_are_chunked_where_the_client_knows_chunks() -> None:
    async def handle(request: Request) -> Stream:
        return Stream(_three(), headers={"Content-Length": "11"} if request.query.flag("sized") else {})

    async with http_server(handle) as place:
        plain = await place.ask(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (plain.headers["transfer-encoding"], plain.body) == ("chunked", b"onetwothree")
        old = await place.ask(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert ("transfer-encoding" in old.headers, old.headers["connection"], old.body) == (
            False,
            "close",
            b"onetwothree",
        )
        sized = await place.ask(b"GET /?sized HTTP/1.1\r\nHost: x\r\n\r\n")
        assert ("transfer-encoding" in sized.headers, sized.body) == (False, b"onetwothree")
        assert (await place.ask(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", "HEAD")).headers[
            "transfer-encoding"
        ] == "chunked"


class Bulletin(Pushed):
    """Pushes when it is told to; what cannot be written waits."""

    def __init__(self) -> None:
        self.sink: Sink | None = None
        self.waiting: list[Frames] = []
        self.comes = asyncio.Event()
        self.closed = 0

    def attach(self, sink: Sink) -> None:
        self.sink = sink
        self.comes.set()

    def push(self, data: bytes) -> None:
        self.waiting.append(Frames(data))
        self.flow()

    def flow(self) -> None:
        while self.sink is not None and self.sink.is_ready and self.waiting:
            self.sink.send(self.waiting.pop(0))

    def close(self) -> None:
        self.sink = None
        self.closed += 1

    async def __call__(self, request: Request) -> Stream:
        return Stream(self, on_close=[self.close])

    async def attached(self) -> Sink:
        async with asyncio.timeout(5):
            await self.comes.wait()
        self.comes.clear()
        assert self.sink is not None
        return self.sink


async def test_what_is_pushed_is_written_at_once_and_the_connection_goes_on_after_it() -> None:
    bulletin = Bulletin()
    async with http_server(bulletin) as place:
        wire = await place.wire()
        for _ in range(2):
            await wire.send(GET + b"\r\n")
            assert b"chunked" in await wire.reader.readuntil(b"\r\n\r\n")
            sink = await bulletin.attached()
            for data in (b"one", b"two"):
                bulletin.push(data)
                assert await anext(wire.chunks()) == data
            sink.end()
            assert [chunk async for chunk in wire.chunks()] == []
        assert bulletin.closed == 2


async def test_what_is_pushed_to_an_old_client_ends_with_the_connection() -> None:
    bulletin = Bulletin()
    async with http_server(bulletin) as place:
        wire = await place.wire()
        await wire.send(b"GET / HTTP/1.0\r\n\r\n")
        sink = await bulletin.attached()
        bulletin.push(b"one")
        sink.end()
        assert (await wire.answer()).body == b"one"


async def test_nothing_is_pushed_to_a_client_that_does_not_read_until_it_does() -> None:
    bulletin = Bulletin()
    async with http_server(bulletin) as place:
        wire = await place.wire()
        await wire.send(GET + b"\r\n")
        sink = await bulletin.attached()
        for _ in range(300):
            bulletin.push(b"x" * 100_000)
        assert not sink.is_ready
        assert bulletin.waiting
        await wire.reader.readuntil(b"\r\n\r\n")
        received = 0
        chunks = wire.chunks()
        while received < 30_000_000:
            received += len(await anext(chunks))
        assert not bulletin.waiting


async def test_who_leaves_is_pushed_to_no_more() -> None:
    bulletin = Bulletin()
    async with http_server(bulletin) as place:
        wire = await place.wire()
        await wire.send(GET + b"\r\n")
        sink = await bulletin.attached()
        wire.writer.transport.abort()
        await place.emptied()
        assert (bulletin.sink, bulletin.closed) == (None, 1)
        sink.send(Frames(b"too late"))


@pytest.mark.parametrize(
    ("answer", "length"),
    [
        pytest.param(Response(body=b"four"), "4", id="bytes"),
        pytest.param(Response(body=[b"fo", b"ur"]), "4", id="pieces"),
        pytest.param(Response(headers={"Content-Length": "9"}), "9", id="a length given"),
        pytest.param(Response(304), None, id="not modified"),
        pytest.param(Response(204), None, id="no content"),
    ],
)
async def test_head_is_answered_with_the_head_alone(answer: Response, length: str | None) -> None:
    async def handle(request: Request) -> Response:
        return answer

    async with http_server(handle) as place:
        wire = await place.wire()
        await wire.send(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n" * 2)
        for _ in range(2):
            assert (await wire.answer("HEAD")).headers.get("content-length") == length


async def test_an_answer_cannot_be_split_by_what_is_in_its_headers() -> None:
    async def handle(request: Request) -> Response:
        return Response(headers={"Warning": "a\r\nSet-Cookie: b", "X-é": "ü"})

    async with http_server(handle) as place:
        answer = await place.ask(GET + b"Audit-ID: a\xc2\x85b\r\n\r\n")
        assert answer.headers["warning"] == "a  set-cookie: b"
        assert "set-cookie" not in answer.headers
        assert len(answer.headers["audit-id"]) == 36


def test_audit_ids_look_like_uuids_and_do_not_repeat() -> None:
    import uuid

    ids, others = AuditIds(), AuditIds()
    made = [each.new() for each in (ids, others) for _ in range(1_000)]
    assert len(set(made)) == 2_000
    assert {uuid.UUID(one).version for one in made} == {4}


async def test_a_handler_that_breaks_ends_only_its_connection() -> None:
    async def handle(request: Request) -> Response:
        if request.path == "/broken":
            raise RuntimeError("broken")
        return Response()

    async with http_server(handle) as place:
        assert await place.all_of(b"GET /broken HTTP/1.1\r\nHost: x\r\n\r\n") == b""
        assert (await place.ask(GET + b"\r\n")).status == 200


async def test_a_handler_that_ends_as_cancelled_leaves_nobody_waiting() -> None:
    async def handle(request: Request) -> Response:
        other = asyncio.create_task(asyncio.sleep(60))
        other.cancel()
        await other
        return Response()

    async with http_server(handle) as place:
        assert await place.all_of(GET + b"\r\n") == b""


async def test_an_early_answer_is_completed_though_the_body_does_not_end() -> None:
    async def refuse(request: Request) -> Response:
        return Response(403, [b"x" * 100_000] * 100)

    async with http_server(refuse) as place:
        wire = await place.wire()
        await wire.send(CHUNKED)
        await wire.reader.readuntil(b"\r\n\r\n")
        for _ in range(20):
            await wire.send(b"10000\r\n" + b"y" * 0x10000 + b"\r\n")
        assert len(await wire.reader.readexactly(10_000_000)) == 10_000_000
        assert await wire.rest() == b""


async def test_another_protocol_begins_whatever_the_client_calls_its_request() -> None:
    async def relay(client: ByteStream) -> None:
        await client.write(await client.read())
        await client.close()

    async def handle(request: Request) -> Upgrade:
        return Upgrade("test", relay, {"Warning": "a\r\nb: c"})

    async with http_server(handle) as place:
        wire = await place.wire()
        await wire.send(GET + "Audit-ID: \u4e2d\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\nping".encode())
        head = await wire.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"\r\nWarning: a  b: c\r\n" in head
        assert "\r\nAudit-Id: \u4e2d\r\n".encode() in head
        assert await wire.rest() == b"ping"


class Door(asyncio.Transport):
    """Remembers that it was closed."""

    closed = False

    def abort(self) -> None:
        self.closed = True


async def test_a_connection_too_many_is_not_served_what_came_with_its_handshake() -> None:
    async with http_server(connections_max=0) as place:
        connection, door = Connection(place.server), Door()
        connection.connection_made(door)
        connection.data_received(GET + b"\r\n")
        assert door.closed
        assert not place.server._tasks


async def test_an_unreadable_query_is_told(place: Place) -> None:
    query = b"&".join([b"a=b"] * 300)
    assert (await place.ask(b"GET /?" + query + b" HTTP/1.1\r\nHost: x\r\n\r\n")).status == 400


async def test_an_offer_of_another_protocol_may_be_left_alone(place: Place) -> None:
    wire = await place.wire()
    await wire.send(GET + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n" + GET + b"\r\n")
    for _ in range(2):
        assert (await wire.answer()).told["path"] == "/a"
    await wire.send(b"GET /z HTTP/1.0\r\nConnection: Upgrade, Keep-Alive\r\nUpgrade: h2c\r\n\r\n" + GET + b"\r\n")
    assert (await wire.answer()).told["path"] == "/z"
    assert (await wire.answer()).told["path"] == "/a"


async def test_no_more_connections_than_allowed() -> None:
    async with http_server(connections_max=2) as place:
        wires = [await place.wire() for _ in range(2)]
        for wire in wires:
            await wire.send(GET + b"\r\n")
            assert (await wire.answer()).status == 200
        assert await (await place.wire()).rest() == b""
        wires[0].close()
        await asyncio.sleep(0.05)
        assert (await place.ask(GET + b"\r\n")).status == 200


async def test_at_the_end_idle_connections_go_and_requests_complete() -> None:
    begun = asyncio.Event()

    async def handle(request: Request) -> Response:
        begun.set()
        await asyncio.sleep(0.2)
        return Response(body=b"done")

    async with http_server(handle) as place:
        idle, busy = await place.wire(), await place.wire()
        await busy.send(GET + b"\r\n")
        await begun.wait()
        closing = asyncio.create_task(place.server.close(5.0))
        assert await idle.rest() == b""
        answer = await busy.answer()
        assert (answer.body, answer.headers["connection"]) == (b"done", "close")
        busy.close()
        await closing
        with pytest.raises(OSError):
            await place.wire()


async def test_at_the_end_what_takes_too_long_is_cancelled() -> None:
    cancelled = asyncio.Event()
    begun = asyncio.Event()

    async def handle(request: Request) -> Response:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()
        return Response()

    async with http_server(handle) as place:
        wire = await place.wire()
        await wire.send(GET + b"\r\n")
        await begun.wait()
        await place.server.close(0.1)
        assert cancelled.is_set()
        assert await wire.rest() == b""


# Whatever is sent: the server lives, the connection ends within its bounds, and the next one works.

PARTS = st.sampled_from(
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", POST, CHUNKED, b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"\r\n",
        b"\r\n\r\n", b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n", b"0\r\n\r\n", b"hello",
        b"Expect: 100-continue\r\n",
        b"Connection: close\r\n", b"Connection: Upgrade\r\nUpgrade: x\r\n", b"HEAD / HTTP/1.0\r\n", b": ", b"\x00", b"\n",
        b"HTTP/1.1", b"PUT ", b" ", b"ffffffff\r\n",
    ]
)  # fmt: skip
SENT = st.lists(st.one_of(PARTS, PARTS, PARTS, st.binary(max_size=20)), min_size=1, max_size=12).map(b"".join)


@pytest.fixture(scope="module")
def fuzzed() -> Iterator[tuple[asyncio.Runner, Place]]:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        stack = contextlib.AsyncExitStack()
        short: Any = {
            "header_timeout_s": 0.05,
            "keepalive_timeout_s": 0.05,
            "body_timeout_s": 0.05,
            "write_timeout_s": 0.5,
        }
        place = runner.run(stack.enter_async_context(http_server(**short)))
        yield runner, place
        runner.run(stack.aclose())


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(SENT, min_size=4, max_size=8))
def test_no_bytes_whatever_break_the_server_or_keep_a_connection(
    fuzzed: tuple[asyncio.Runner, Place], sent: list[bytes]
) -> None:
    runner, place = fuzzed

    async def each(data: bytes) -> None:
        received = await place.all_of(data)
        assert received == b"" or received.startswith(b"HTTP/1.1 ")
        assert b"HTTP/1.1 500 " not in received

    async def run() -> None:
        await asyncio.gather(*(each(data) for data in sent))
        assert (await place.ask(GET + b"\r\n")).told["path"] == "/a"
        place.leave()
        place._wires.clear()
        await place.emptied()

    runner.run(run())
    assert not place.server._tasks
    place.handle.asked.clear()
