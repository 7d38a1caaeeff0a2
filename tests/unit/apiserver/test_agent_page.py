"""The page for browsers: its files and their policies, the tokens by which it is a node, and the logs it brings."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from stark.apiserver.agentpage.logshelf import RETENTION_S, Line, LogShelf
from stark.apiserver.agentpage.page import AgentPage
from stark.apiserver.auth.identities import NODES, OWNER_EXTRA
from stark.apiserver.auth.node_tokens import BOUND_S, UNBOUND_S, NodeTokens
from stark.apiserver.auth.sessions.tokens import SigningKeys
from stark.apiserver.errors import NotFound
from stark.apiserver.request import Peer, Query, Request, Response


class NoBody:
    """Nothing was sent."""

    async def read(self, limit: int) -> bytes:
        return b""

    async def chunks(self) -> AsyncIterator[bytes]:
        yield b""


def asked(path: str, method: str = "GET", **headers: str) -> Request:
    return Request(method, path, Query(""), headers, NoBody(), Peer("127.0.0.1"))


async def answer(page: AgentPage, request: Request) -> Response:
    found = await page.get(request, ())
    assert isinstance(found, Response)
    return found


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html>")
    (tmp_path / "sandbox.html").write_text("<!doctype html>")
    (tmp_path / "assets" / "index-abc.js").write_text("1")
    return tmp_path


async def test_without_its_files_the_page_says_how_to_build_them(tmp_path: Path) -> None:
    found = await answer(AgentPage(tmp_path), asked("/agent/"))
    assert found.status == 503
    assert isinstance(found.body, bytes)
    assert b"make browser" in found.body


async def test_the_page_is_asked_for_again_and_its_assets_are_not(dist: Path) -> None:
    page = AgentPage(dist)
    index = await answer(page, asked("/agent/"))
    assert index.headers["Cache-Control"] == "no-cache"
    again = Request("GET", "/agent/", Query(""), {"if-none-match": index.headers["ETag"]}, asked("/").body, Peer(""))
    assert (await answer(page, again)).status == 304
    asset = await answer(page, asked("/agent/assets/index-abc.js"))
    assert "immutable" in asset.headers["Cache-Control"]
    with pytest.raises(NotFound):
        await answer(page, asked("/agent/assets/../index.html"))
    assert (await answer(page, asked("/agent"))).status == 308


async def test_the_page_runs_its_own_code_only_and_packs_have_an_origin_of_their_own(dist: Path) -> None:
    page = AgentPage(dist)
    policy = (await answer(page, asked("/agent/"))).headers["Content-Security-Policy"]
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    sandbox = (await answer(page, asked("/agent/sandbox.html"))).headers["Content-Security-Policy"]
    assert sandbox.startswith("sandbox allow-scripts;")
    assert "allow-same-origin" not in sandbox


class Nodes:
    """The Nodes there are."""

    def __init__(self) -> None:
        self.known: dict[str, Mapping[str, Any]] = {}

    def add(self, name: str, uid: str, installation: str) -> None:
        annotations = {"stark.dev/incarnation": "1", "stark.dev/agent": f"{installation}.00000000"}
        self.known[name] = {"metadata": {"name": name, "uid": uid, "annotations": annotations}}

    async def get(self, group: str, plural: str, namespace: str, name: str) -> Mapping[str, Any] | None:
        return self.known.get(name)

    async def list(self, group: str, plural: str, namespace: str = "") -> list[Mapping[str, Any]]:
        return list(self.known.values())


async def test_a_node_token_speaks_for_one_node_and_ends_with_it(tmp_path: Path) -> None:
    nodes, keys = Nodes(), SigningKeys.open(tmp_path)
    tokens = NodeTokens(keys, nodes)
    first = await tokens.issue("tab", "ada@example.com", "", "a" * 16)
    user = await tokens.user_of(first.token)
    assert user is not None
    assert (user.name, user.groups) == ("system:node:tab", (NODES,))
    assert user.extra[OWNER_EXTRA] == ("ada@example.com",)
    nodes.add("tab", "uid-1", "a" * 16)
    assert await tokens.user_of(first.token) is not None
    bound = await tokens.issue("tab", "ada@example.com", "", "a" * 16)
    assert (first.bound, bound.bound) == (False, True)
    assert bound.expires_s - first.expires_s >= BOUND_S - UNBOUND_S
    nodes.add("tab", "uid-2", "b" * 16)
    assert await tokens.user_of(first.token) is None, "another has made the node"
    assert await tokens.user_of(bound.token) is None, "that Node is gone"


async def test_a_token_of_a_session_is_no_node_token(tmp_path: Path) -> None:
    keys = SigningKeys.open(tmp_path)
    access = keys.access_token("uid", "sid", "ada@example.com", now_s=1_000, expires_s=2_000)
    assert await NodeTokens(keys, Nodes()).user_of(access) is None
    made = await NodeTokens(keys, Nodes()).issue("tab", "ada@example.com", "", "a" * 16)
    assert keys.read_access(made.token) is None


async def test_a_node_token_ends_with_its_time(tmp_path: Path) -> None:
    keys, nodes = SigningKeys.open(tmp_path), Nodes()
    made = await NodeTokens(keys, nodes).issue("tab", "", "", "a" * 16)
    later = NodeTokens(keys, nodes, clock=lambda: made.expires_s)
    assert await later.user_of(made.token) is None


def lines(first: int, last: int) -> list[Line]:
    return [Line(number, "2026-01-01T00:00:00.000Z", f"line {number}") for number in range(first, last + 1)]


def test_a_push_that_is_repeated_adds_nothing(tmp_path: Path) -> None:
    shelf = LogShelf(tmp_path)
    shelf.append("uid", "main", 0, lines(1, 3), ended=False)
    assert shelf.append("uid", "main", 0, lines(2, 5), ended=False) == 5
    found, ended = shelf.read("uid", "main", 0)
    assert [line.text for line in found] == [f"line {number}" for number in range(1, 6)]
    assert not ended
    shelf.append("uid", "main", 0, [], ended=True)
    assert shelf.read("uid", "main", 0, after=5) == ([], True)


def test_a_log_is_bounded_and_keeps_what_came_last(tmp_path: Path) -> None:
    shelf = LogShelf(tmp_path)
    for begin in range(1, 250):
        long = [Line(begin, "2026-01-01T00:00:00Z", "x" * 15_000)]
        shelf.append("uid", "main", 0, long, ended=False)
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.log*")) < 3 * 1024 * 1024
    assert shelf.read("uid", "main", 0)[0][-1].number == 249


def test_the_run_before_is_kept_and_those_before_that_are_not(tmp_path: Path) -> None:
    shelf = LogShelf(tmp_path)
    for attempt in range(12):
        shelf.append("uid", "main", attempt, lines(1, 1), ended=True)
    assert shelf.attempts("uid", "main") == [10, 11]


def test_logs_of_deleted_pods_stay_for_a_day(tmp_path: Path) -> None:
    shelf = LogShelf(tmp_path)
    for uid in ("alive", "gone"):
        shelf.append(uid, "main", 0, lines(1, 1), ended=True)
    now = (tmp_path / "gone" / "main" / "0.log").stat().st_mtime
    assert shelf.sweep({"alive"}, now + RETENTION_S - 60) == []
    assert shelf.sweep({"alive"}, now + RETENTION_S + 60) == ["gone"]
    assert shelf.attempts("alive", "main") == [0]
