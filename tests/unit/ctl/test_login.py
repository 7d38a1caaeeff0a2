"""Renewing a login without a server: what another command has done is taken over, and a good token is used to its end."""

from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from stark.ctl.errors import CommandError, Unreachable
from stark.ctl.finding import kept_login
from stark.ctl.home import Credentials, Home
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


def test_an_answer_without_tokens_is_no_login() -> None:
    with pytest.raises(CommandError, match="is it a Stark API server"):
        credentials_of({"data": {"user": {"id": "7"}}}, "https://h")
