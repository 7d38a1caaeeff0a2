"""The server as such: who gets in, what it says about itself, and what happens when its store is away."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from stark.apiserver.app import serving
from stark.apiserver.cache import watchers
from stark.apiserver.settings import HttpSettings, LimitSettings, Settings
from stark.apiserver.store.memory import MemoryStore
from stark.apiserver.store.protocol import Put
from tests.support.apiserver import Api, api_server, config_map
from tests.support.away import Door

MAPS = "/api/v1/namespaces/default/configmaps"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with api_server(tmp_path) as server:
        yield server


async def eventually(check: Any, timeout_s: float = 5.0) -> None:
    async with asyncio.timeout(timeout_s):
        while True:
            if await check():
                return
            await asyncio.sleep(0.02)


async def test_nobody_gets_in_without_credentials_but_probes_do(api: Api) -> None:
    nobody = api.as_nobody()
    (await api.get(MAPS, session=nobody)).refused(401, "Unauthorized")
    (await api.get(MAPS, session=nobody, headers={"Authorization": "Bearer wrong"})).refused(401, "Unauthorized")
    assert (await api.get("/readyz", session=nobody)).ok() == "ok"
    assert (await api.get("/version", session=nobody)).ok()["gitVersion"].startswith("v1.33")


async def test_a_token_lets_its_user_in(api: Api, tmp_path: Path) -> None:
    tokens = tmp_path / "pki" / "tokens.csv"
    tokens.write_text('secret,somebody,1,"system:masters"\n')
    tokens.chmod(0o600)
    answer = await api.get(MAPS, session=api.as_nobody(), headers={"Authorization": "Bearer secret"})
    assert answer.ok()["items"] == []


async def test_who_may_not_is_told_so(api: Api) -> None:
    agent = api.as_identity("node:n1")
    message = (await api.get("/api/v1/secrets", session=agent)).refused(403, "Forbidden")
    assert 'User "system:node:n1" cannot list resource "secrets"' in message


async def test_health_is_also_told_as_json_to_everybody(api: Api) -> None:
    for path, word in (("/health", "healthy"), ("/ready", "ready"), ("/live", "alive")):
        told = (await api.get(path, session=api.as_nobody())).ok()
        assert told["status"] == word
        assert told["uptime"] >= 0
        assert set(told["checks"].values()) == {"ok"}
        assert {"timestamp", "version"} <= told.keys()


async def test_health_is_told_check_by_check(api: Api) -> None:
    verbose = (await api.get("/readyz?verbose")).ok()
    assert verbose.splitlines()[0] == "[+]ping ok"
    assert verbose.splitlines()[-1] == "readyz check passed"
    assert (await api.get("/livez/ping")).ok() == "ok"
    (await api.get("/readyz/nonsense")).refused(404, "NotFound")


async def test_metrics_are_told_under_their_usual_names(api: Api) -> None:
    (await api.post(MAPS, config_map("a"))).ok(201)
    (await api.get("/apis/made.up/v1/things")).refused(404, "NotFound")
    async with api.watch(MAPS) as watch:
        await watch.next()
        text = (await api.get("/metrics")).ok()
    assert (
        'apiserver_request_total{code="201",group="",resource="configmaps",scope="namespace",subresource="",'
        'verb="create",version="v1"} 1.0'
    ) in text
    assert 'apiserver_request_duration_seconds_bucket{group="",le="0.001",resource="configmaps"' in text
    assert 'apiserver_longrunning_requests{group="",resource="configmaps"' in text
    assert 'apiserver_storage_objects{resource="configmaps.core"} 1.0' in text
    assert "made.up" not in text


async def test_ids_come_back_as_they_were_sent(api: Api) -> None:
    sent = {"Audit-ID": "a-1", "X-Correlation-ID": "c-1"}
    answer = await api.get(MAPS, headers=sent)
    assert (answer.headers["Audit-Id"], answer.headers["X-Correlation-Id"]) == ("a-1", "c-1")
    assert len((await api.get(MAPS)).headers["Audit-Id"]) == 36


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v1/nonsense", 404),
        ("GET", "/apis/none.example.com/v1/things", 404),
        ("GET", "/nonsense", 404),
        ("GET", "/api/v1/namespaces/default/nodes", 404),
        ("GET", "/api/v1/pods/a", 404),
        ("POST", "/api/v1/configmaps", 404),
        ("GET", "/api/v1/namespaces/default/configmaps/a/status", 404),
        ("POST", "/api/v1/namespaces/default/configmaps/a", 405),
        ("POST", "/version", 405),
        ("GET", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", 405),
    ],
)
async def test_what_is_not_there_is_refused(api: Api, method: str, path: str, status: int) -> None:
    answer = await api.ask(method, path, {} if method == "POST" else None)
    assert (answer.status, answer.body["kind"]) == (status, "Status"), answer.body


async def test_questions_are_answered_and_not_stored(api: Api) -> None:
    review = {"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}}
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    assert (await api.post(path, review)).ok(201)["status"]["allowed"] is True


async def test_open_watches_are_limited(tmp_path: Path) -> None:
    settings = Settings(tmp_path, limits=LimitSettings(watches_max=2))
    async with api_server(tmp_path, settings=settings) as api, contextlib.AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(api.watch(MAPS))
        refused = await api.get(f"{MAPS}?watch=1")
        refused.refused(429, "TooManyRequests")
        assert refused.headers["Retry-After"] == "1"
        await stack.aclose()

        async def is_free() -> bool:
            async with api.session.get(f"{api.running.url}{MAPS}?watch=1&timeoutSeconds=1") as response:
                return response.status == 200

        await eventually(is_free)


async def test_a_reader_that_does_not_read_is_cut_off_and_nobody_else_notices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchers, "WATCH_BACKLOG_BYTES_MAX", 2_000_000)
    async with api_server(tmp_path) as api:
        reader, writer = await raw_connection(api)
        writer.write(
            f"GET {MAPS}?watch=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{authorization(tmp_path)}\r\n".encode()
        )
        assert b" 200 " in await reader.readline()
        async with api.watch(MAPS) as eager:
            seen = asyncio.create_task(eager.names(60))
            for number in range(60):
                (await api.post(MAPS, config_map(f"m{number}", k="x" * 500_000))).ok(201)
            assert len(await seen) == 60
        async with asyncio.timeout(10):
            received = await reader.read(-1)
        assert received.count(b'"type":"ADDED"') < 60
        # What it got has no gap, and at its end is said why there is no more.
        assert b'"type":"ERROR"' in received.splitlines()[-4]
        assert b"too slow" in received.splitlines()[-4]
        writer.close()


async def test_a_client_that_leaves_takes_its_watch_with_it(api: Api) -> None:
    async with api.watch(MAPS):
        assert sum(cache.watchers.count for cache in api.running.feed.caches() if cache.prefix.plural == "configmaps")

    async def is_gone() -> bool:
        return not any(c.watchers.count for c in api.running.feed.caches() if c.prefix.plural == "configmaps")

    await eventually(is_gone)


def authorization(directory: Path) -> str:
    """A header that lets a raw connection in."""
    (directory / "pki" / "tokens.csv").write_text('secret,somebody,1,"system:masters"\n')
    return "Authorization: Bearer secret\r\n"


async def raw_connection(api: Api) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    context = ssl.create_default_context(cadata=api.running.authority.certificate_pem.decode())
    return await asyncio.open_connection("127.0.0.1", api.running.port, ssl=context, server_hostname="localhost")


@pytest.mark.parametrize("sent", [b"", b"GET /version HTTP/1.1\r\nHost: x\r\nX-Slow: "], ids=["nothing", "half"])
async def test_headers_that_do_not_come_end_the_connection(tmp_path: Path, sent: bytes) -> None:
    settings = Settings(tmp_path, http=HttpSettings(header_timeout_s=0.3))
    async with api_server(tmp_path, settings=settings) as api:
        reader, writer = await raw_connection(api)
        writer.write(sent)
        async with asyncio.timeout(3):
            assert await reader.read() == b""
        writer.close()
        assert (await api.get("/readyz")).ok() == "ok"


async def test_a_body_that_does_not_come_is_a_timeout(tmp_path: Path) -> None:
    settings = Settings(tmp_path, http=HttpSettings(body_timeout_s=0.3))
    async with api_server(tmp_path, settings=settings) as api:
        reader, writer = await raw_connection(api)
        head = f"POST {MAPS} HTTP/1.1\r\nHost: x\r\n{authorization(tmp_path)}Content-Length: 100\r\n\r\n"
        writer.write(head.encode() + b'{"half":')
        async with asyncio.timeout(5):
            assert b" 504 " in await reader.readline()
        writer.close()


async def test_headers_that_are_too_large_are_refused(api: Api) -> None:
    reader, writer = await raw_connection(api)
    writer.write(b"GET /version HTTP/1.1\r\nHost: x\r\nX-Large: " + b"x" * 40_000 + b"\r\n\r\n")
    async with asyncio.timeout(5):
        assert b" 431 " in await reader.readline()
    writer.close()


async def test_an_address_in_use_is_told(api: Api, tmp_path: Path) -> None:
    settings = replace(api.settings, data_dir=tmp_path / "other", port=api.running.port)
    with pytest.raises(OSError, match="in use"):
        async with serving(settings, MemoryStore()):
            pass


async def test_while_the_store_is_away_old_news_is_served_and_it_comes_back(tmp_path: Path) -> None:
    door = Door(MemoryStore())
    async with api_server(tmp_path, opened=door) as api:
        (await api.post(MAPS, config_map("a"))).ok(201)
        async with api.watch(MAPS) as watch:
            assert await watch.names(1) == [("ADDED", "a")]
            door.shut()
            assert len((await api.get(f"{MAPS}?resourceVersion=0")).ok()["items"]) == 1
            (await api.get(f"{MAPS}/a?resourceVersion=0")).ok()
            for answer in (await api.get(MAPS), await api.get(f"{MAPS}/a"), await api.post(MAPS, config_map("b"))):
                message = answer.refused(503, "ServiceUnavailable")
                assert message.startswith("the store does not answer: no route to the store")
                assert answer.headers["Retry-After"] == "1"
            assert (await api.get("/readyz")).status == 500
            assert (await api.get("/livez")).ok() == "ok"
            await door.store.txn([], [])
            door.open()

            async def is_ready() -> bool:
                return (await api.get("/readyz")).status == 200

            await eventually(is_ready)
            (await api.post(MAPS, config_map("b"))).ok(201)
            # The watch that was open all the time goes on where it was, without a gap.
            assert await watch.names(1) == [("ADDED", "b")]
        assert api.running.feed.relists == 0
    await door.close()


async def test_when_history_was_lost_meanwhile_watchers_are_told_to_list_again(tmp_path: Path) -> None:
    door = Door(MemoryStore())
    async with api_server(tmp_path, opened=door) as api:
        (await api.post(MAPS, config_map("a"))).ok(201)
        item, _ = await door.store.get(b"/registry/core/configmaps/default/a")
        assert item is not None
        async with api.watch(MAPS) as watch:
            await watch.next()
            door.shut()
            await asyncio.sleep(0.05)
            for name in (b"b", b"c"):
                value = item.value.replace(b'"name":"a"', b'"name":"' + name + b'"')
                result = await door.store.txn([], [Put(b"/registry/core/configmaps/default/" + name, value)])
            await door.store.compact(result.revision)
            door.open()
            kind, status = await watch.next()
            assert (kind, status["code"]) == ("ERROR", 410)

        async def has_both() -> bool:
            answer = await api.get(MAPS)
            return answer.status == 200 and len(answer.body["items"]) == 3

        await eventually(has_both)
        assert api.running.feed.relists == 1
    await door.close()


async def test_a_request_is_logged_with_the_id_that_its_client_gave_it(tmp_path: Path) -> None:
    with capture_logs() as logged:
        async with api_server(tmp_path, access_log="all") as api:
            for given in ("order-7", "x" * 200, ""):
                await api.ask("GET", "/version", headers={"X-Correlation-ID": given} if given else {})
    found = [each for each in logged if each["event"] == "request" and each["path"] == "/version"]
    assert [each.get("correlation_id") for each in found] == ["order-7", None, None]
