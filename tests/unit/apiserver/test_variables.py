"""The environment variables of the original server: what they are defaults of, and what is said of the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from stark.apiserver.__main__ import main
from stark.apiserver.variables import IDLE, Defaults, defaults, idle


def test_without_them_the_server_listens_for_this_machine_alone() -> None:
    assert defaults({}) == Defaults("127.0.0.1:6443", "", "info", None)


def test_each_is_the_default_of_a_flag() -> None:
    environment = {
        "HOST": "::",
        "PORT": "443",
        "CORS_ORIGINS": "https://localhost:*",
        "LOG_LEVEL": "WARN",
        "SSL_CERT": "/c.pem",
        "SSL_KEY": "/k.pem",
    }
    expected = Defaults("[::]:443", "https://localhost:*", "warn", (Path("/c.pem"), Path("/k.pem")))
    assert defaults(environment) == expected


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"PORT": "https"}, "$PORT"),
        ({"PORT": "65536"}, "$PORT"),
        ({"LOG_LEVEL": "loud"}, "$LOG_LEVEL"),
        ({"SSL_CERT": "/c.pem"}, "$SSL_KEY"),
        ({"SSL_KEY": "/k.pem"}, "$SSL_CERT"),
    ],
)
def test_one_that_will_not_do_ends_the_start_with_its_name(
    environment: dict[str, str],
    named: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert main(["--data-dir", str(tmp_path)]) == 2
    assert named in capsys.readouterr().err


def test_of_those_that_mean_nothing_that_is_said() -> None:
    assert list(idle({})) == []
    told = list(idle({**dict.fromkeys(IDLE, "x"), "PORT": "1"}))
    assert len(told) == len(IDLE)
    assert all(name in sentence for name, sentence in zip(IDLE, told, strict=True))
