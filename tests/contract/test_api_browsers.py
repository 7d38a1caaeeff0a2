"""What a browser is told: whose pages may read answers, and that no answer is a page."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from stark.apiserver.settings import Settings
from tests.support.apiserver import Api, api_server

UI = "https://ui.example.org"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    settings = replace(Settings(tmp_path), cors_origins=(UI,), tls_min_version="VersionTLS13")
    async with api_server(tmp_path, settings=settings) as server:
        yield server


async def test_a_page_of_an_allowed_origin_may_ask_with_its_token_and_of_another_not(api: Api) -> None:
    asking = {"Origin": UI, "Access-Control-Request-Method": "PATCH"}
    nobody = api.as_nobody()
    told = await api.ask("OPTIONS", "/api/v1/pods", headers=asking, session=nobody)
    assert told.status == 204
    assert told.headers["Access-Control-Allow-Origin"] == UI
    assert "PATCH" in told.headers["Access-Control-Allow-Methods"]
    assert "Authorization" in told.headers["Access-Control-Allow-Headers"]
    assert "Access-Control-Allow-Credentials" not in told.headers
    evil = {**asking, "Origin": "https://evil.org"}
    refused = await api.ask("OPTIONS", "/api/v1/pods", headers=evil, session=nobody)
    assert refused.status == 401
    assert "Access-Control-Allow-Origin" not in refused.headers
    for origin, may in ((UI, True), ("https://evil.org", False)):
        answer = await api.get("/api/v1/pods", headers={"Origin": origin})
        answer.ok()
        assert (answer.headers.get("Access-Control-Allow-Origin") == origin) is may
        assert "Origin" in answer.headers["Vary"]
    assert "Access-Control-Allow-Origin" not in (await api.get("/api/v1/pods")).headers


@pytest.mark.parametrize("path", ["/version", "/api/v1/pods", "/nowhere", "/auth/setup/status", "/metrics"])
async def test_no_answer_is_a_page(api: Api, path: str) -> None:
    headers = (await api.get(path)).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert "private" in headers["Cache-Control"] or "no-store" in headers["Cache-Control"]


async def test_an_older_tls_than_the_least_is_not_spoken(api: Api) -> None:
    context = ssl.create_default_context(cadata=api.running.authority.certificate_pem.decode())
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.get(f"{api.running.url}/version")
