"""starkctl reads what RFC 9112 allows and nothing else, and says so when a message ends early."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from stark.ctl.http1 import Connection, ConnectionClosed, ProtocolError


@contextlib.contextmanager
def answering(*pieces: bytes) -> Iterator[tuple[Connection, list[bytes]]]:
    """A server that reads one request and sends the pieces, and a connection to it."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            peer, _ = server.accept()
            with peer:
                heard.append(peer.recv(65_536))
                for piece in pieces:
                    peer.sendall(piece)

        thread = threading.Thread(target=serve)
        thread.start()
        connection = Connection("127.0.0.1", server.getsockname()[1], context=None, server_name="", timeout_s=10)
        try:
            yield connection, heard
        finally:
            connection.close()
            thread.join(10)


@pytest.mark.parametrize(
    ("pieces", "body"),
    [
        pytest.param(
            (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", b"lo"), b"hello", id="a sized body in two pieces"
        ),
        pytest.param(
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n", b"2;x=y\r\nlo\r\n0\r\nT: t\r\n\r\n"),
            b"hello",
            id="chunks",
        ),
        pytest.param((b"HTTP/1.1 200 OK\r\n\r\nhel", b"lo"), b"hello", id="a body until the end"),
        pytest.param(
            (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",), b"", id="an interim answer first"
        ),
    ],
)
def test_bodies_are_read_to_their_end(pieces: tuple[bytes, ...], body: bytes) -> None:
    with answering(*pieces) as (connection, _):
        connection.request("GET", "/", [], None)
        assert connection.response().body.read() == body


def test_lines_of_a_watch_arrive_as_they_are_sent() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with answering(head + b'5\r\n{"a":\r\n', b"4\r\n1}\n{\r\n", b"2\r\n}\n\r\n0\r\n\r\n") as (connection, _):
        connection.request("GET", "/", [], None)
        response = connection.response()
        assert [response.body.readline(), response.body.readline(), response.body.readline()] == [
            b'{"a":1}\n',
            b"{}\n",
            b"",
        ]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", id="a body that ends early"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", id="a chunk that ends early"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", id="a chunk without a length"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n", id="a chunk longer than it says"
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", id="a negative length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", id="a header without a colon"),
        pytest.param(b"SSH-2.0-OpenSSH\r\n", id="another protocol"),
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 300, id="headers without end"),
    ],
)
def test_what_is_not_http_is_refused(answer: bytes) -> None:
    with answering(answer) as (connection, _):
        connection.request("GET", "/", [], None)
        with pytest.raises(ProtocolError):
            connection.response().body.read()


def test_a_connection_closed_before_any_answer_is_told_apart() -> None:
    with answering() as (connection, _):
        connection.request("GET", "/", [], None)
        with pytest.raises(ConnectionClosed):
            connection.response()


def test_a_request_says_its_host_and_length_and_cannot_smuggle_a_line() -> None:
    with answering(b"HTTP/1.1 204 No Content\r\n\r\n") as (connection, heard):
        with pytest.raises(ProtocolError):
            connection.request("GET", "/\r\nx: y", [], None)
        connection.request("POST", "/a?b", [("Accept", "*/*")], b"{}")
        assert connection.response().status == 204
    assert heard[0].startswith(b"POST /a?b HTTP/1.1\r\nHost: 127.0.0.1:")
    assert heard[0].endswith(b"Accept: */*\r\nContent-Length: 2\r\n\r\n{}")
