"""What the REST API of the originals has is on its page, and whose a path is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stark.apiserver.facade.facade import Facade
from stark.apiserver.facade.inner import Inner
from stark.apiserver.facade.rest import rest_routes

PAGE = Path(__file__).parents[3] / "docs" / "rest.md"


def test_every_route_is_on_the_page_with_its_methods_and_no_other_is() -> None:
    told = set()
    for paths, methods in re.findall(r"^\| (`/api/[^|]*) \| ([A-Z, ]+) \|", PAGE.read_text(), re.MULTILINE):
        for path in re.findall(r"`([^`]+)`", paths):
            told |= {(method, re.sub(r"\{[a-z]+\}", "*", path)) for method in methods.split(", ")}
    routes = {(route.method, route.path) for route in rest_routes(Inner())}
    assert told - {("GET", "/api/config"), ("PUT", "/api/config")} == routes


@pytest.mark.parametrize(
    ("path", "ours"),
    [
        ("/api/pods", True),
        ("/api/pods/x/rollback", True),
        ("/api/nothing", True),
        ("/api", False),
        ("/api/", False),
        ("/api/v1", False),
        ("/api/v1/pods", False),
        ("/api/v2beta1/pods", False),
        ("/apis/stark.dev/v1/packs", False),
        ("/auth/login", True),
        ("/authority", False),
    ],
)
def test_below_api_everything_is_the_facades_but_versions(path: str, ours: bool) -> None:
    assert Facade.owns(path) is ours
