"""What the ports on the command line of port-forward mean."""

from __future__ import annotations

from typing import Any

import pytest

from stark.ctl.errors import CommandError, UsageError
from stark.ctl.forwarding import parse_port, remote_port

POD: dict[str, Any] = {
    "metadata": {"name": "web"},
    "spec": {"containers": [{"name": "a"}, {"name": "b", "ports": [{"name": "http", "containerPort": 8080}]}]},
}
SERVICE: dict[str, Any] = {
    "metadata": {"name": "web"},
    "spec": {"ports": [{"name": "front", "port": 80, "targetPort": "http"}, {"port": 81}]},
}


@pytest.mark.parametrize(
    ("text", "meant"),
    [("80", (None, "80")), ("8080:80", (8080, "80")), (":80", (0, "80")), ("1:http", (1, "http")), ("0:80", (0, "80"))],
)
def test_ports_are_read(text: str, meant: tuple[int | None, str]) -> None:
    assert parse_port(text) == meant


@pytest.mark.parametrize("text", ["", ":", "80:", "0", "65536", "65536:80", "x:80", "1:2:3", "-1:80"])
def test_other_words_are_no_ports(text: str) -> None:
    with pytest.raises(UsageError, match="is not a port"):
        parse_port(text)


@pytest.mark.parametrize(
    ("name", "service", "port"),
    [("80", None, 80), ("http", None, 8080), ("80", SERVICE, 8080), ("front", SERVICE, 8080), ("81", SERVICE, 81)],
)
def test_names_and_ports_of_services_mean_ports_of_the_pod(name: str, service: dict[str, Any], port: int) -> None:
    assert remote_port(name, POD, service) == port


@pytest.mark.parametrize(("name", "service"), [("other", None), ("8080", SERVICE)])
def test_a_port_that_is_not_there_is_refused(name: str, service: dict[str, Any]) -> None:
    with pytest.raises(CommandError, match="does not have a"):
        remote_port(name, POD, service)
