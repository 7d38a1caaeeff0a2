"""Renewing a login without a server: what another command has done is taken over, and a good token is used to its end."""

from __future__ import annotations

import socket
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from stark.client.config import ClientConfig
from stark.ctl.errors import CommandError, Unreachable
from stark.ctl.finding import kept_login
from stark.ctl.home import Credentials, Home
from stark.ctl.http import Api
from stark.ctl.login import LoggedIn, credentials_of


@pytest.fixture
def nobody_there() -> str:
    """A server's address at which nothing answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


def credentials(server: str, seconds_left: int, token: str = "access") -> Credentials:
    expires = (datetime.now(UTC) + timedelta(seconds=seconds_left)).isoformat()
    return Credentials(server, token, f"refresh-{token}", expires, "7", "ada@example.com")


def login(home: Home, held: Credentials) -> LoggedIn:
    home.save_credentials(held)
    found = kept_login(home)
    assert found is not None
    return found


def test_a_token_is_used_to_its_end_when_nobody_can_renew_it(tmp_path: Path, nobody_there: str) -> None:
    home = Home(tmp_path)
    assert login(home, credentials(nobody_there, 3600)).token() == "access"
    assert login(home, credentials(nobody_there, 20)).token() == "access"
    with pytest.raises(Unreachable):
        login(home, credentials(nobody_there, -1)).token()
    with pytest.raises(Unreachable):
        login(home, credentials(nobody_there, 0)._replace(expires_at="soon")).token()


@pytest.mark.parametrize("seconds_left", [3600, -1])
def test_what_another_command_has_renewed_is_taken_over(tmp_path: Path, nobody_there: str, seconds_left: int) -> None:
    home = Home(tmp_path)
    mine = login(home, credentials(nobody_there, seconds_left))
    home.save_credentials(credentials(nobody_there, 3600, "newer"))
    assert mine.renew() is True
    assert mine.token() == "newer"


def test_a_login_that_somebody_ended_meanwhile_is_over(tmp_path: Path, nobody_there: str) -> None:
    home = Home(tmp_path)
    mine = login(home, credentials(nobody_there, -1))
    home.save_credentials(credentials(nobody_there, 3600, "bob")._replace(user_id="8"))
    with pytest.raises(CommandError, match=r"the login of ada@example\.com was ended meanwhile"):
        mine.token()
    home.forget_credentials()
    with pytest.raises(CommandError, match="was ended meanwhile"):
        mine.renew()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n<html/>\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"[" * 100_000,
    ],
    ids=["a redirect", "a page", "a list", "too deep"],
)
def test_what_is_no_api_server_is_told_and_never_taken_for_success(tmp_path: Path, answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            for _ in range(2):
                connection, _ = server.accept()
                with connection:
                    connection.recv(65_536)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        api = Api(ClientConfig(server=url))
        with closing(api), pytest.raises(Unreachable, match="is there a Stark API server"):
            api.request("DELETE", "/api/v1/namespaces/default/pods/a")
        assert login(Home(tmp_path), credentials(url, 20)).token() == "access", "still good, and not renewed"
        thread.join()


@pytest.mark.parametrize("server", ["https://h:99999", "https://[::1", "ftp://h", "https://"])
def test_what_is_no_servers_address_is_said_plainly(server: str) -> None:
    with pytest.raises(CommandError, match="is not a URL like"):
        Api(ClientConfig(server=server))


def test_an_answer_without_tokens_is_no_login() -> None:
    with pytest.raises(CommandError, match="is it a Stark API server"):
        credentials_of({"data": {"user": {"id": "7"}}}, "https://h")
