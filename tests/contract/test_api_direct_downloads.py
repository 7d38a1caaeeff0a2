"""Downloads straight from the object storage: by everybody who asks for them, and through the server when they fail."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from stark.agent.fetching import Fetcher, StorageFailed
from stark.apiserver.settings import Settings
from stark.client.api import Client
from stark.client.config import load_kubeconfig
from stark.client.errors import Elsewhere
from tests.support.agents import until
from tests.support.apiserver import Api, api_server
from tests.support.ctl import Ctl
from tests.support.object_storage import ObjectStorage

SCRIPT = b"module.exports.default = () => {}\n" * 1000
DIGEST = hashlib.sha256(SCRIPT).hexdigest()
PATH = f"/apis/stark.dev/v1/packs/hello.1.0.0/bundles/{DIGEST}"


class Nosy:
    """A storage that writes down what it is told, and gives what it likes."""

    def __init__(self) -> None:
        self.told: list[dict[str, str]] = []
        self.answer: Any = None
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.told.append(dict(request.headers))
        answer: web.StreamResponse = await self.answer(request)
        return answer


@asynccontextmanager
async def nosy_storage() -> AsyncIterator[Nosy]:
    nosy, application = Nosy(), web.Application()
    application.router.add_get("/{path:.*}", nosy.handle)
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        nosy.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield nosy
    finally:
        await runner.cleanup()


@asynccontextmanager
async def server_with_pack(tmp_path: Path, settings: Settings) -> AsyncIterator[tuple[Api, Ctl]]:
    async with api_server(tmp_path / "data", settings=settings) as api:
        ctl, bundle = Ctl(api, tmp_path / "home"), tmp_path / "bundle.js"
        bundle.write_bytes(SCRIPT)
        (await ctl.admin("pack", "register", str(bundle), "-n", "hello", "-V", "1.0.0", "-r", "node")).ok()
        yield api, ctl


async def downloaded(ctl: Ctl, out: Path) -> str:
    """Fetch it with starkctl; what it said."""
    ran = await ctl.admin("pack", "download", "hello:1.0.0", "--out", str(out))
    ran.ok()
    assert contents(out) == [SCRIPT]
    return ran.err


def contents(*paths: Path) -> list[bytes]:
    """What is in the files, which are gone then."""
    found = [path.read_bytes() for path in paths]
    for path in paths:
        path.unlink()
    return found


async def ask(api: Api, path: str, **headers: str) -> tuple[int, bytes, Mapping[str, str]]:
    """A GET that goes nowhere else."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with api.session.get(api.running.url + path, headers=named, allow_redirects=False) as answer:
        return answer.status, await answer.read(), answer.headers


def gets_by_signed_address(storage: ObjectStorage) -> int:
    return sum("GET" in line and DIGEST in line and "X-Amz-Signature" in line for line in storage.requests())


async def test_whoever_asks_for_it_gets_a_bundle_from_the_storage(storage: ObjectStorage, tmp_path: Path) -> None:
    settings = Settings(tmp_path, blobs=storage.place("packs"))
    async with server_with_pack(tmp_path, settings) as (api, ctl):
        assert (await ask(api, PATH))[:2] == (200, SCRIPT)
        status, body, headers = await ask(api, f"{PATH}?direct=true")
        assert (status, body, headers["cache-control"]) == (307, b"", "no-store")
        assert "X-Amz-Expires=300" in headers["location"]
        async with aiohttp.ClientSession() as anybody:
            async with anybody.get(URL(headers["location"], encoded=True)) as answer:
                assert await answer.read() == SCRIPT
        assert (await ask(api, f"{PATH}?direct=true", If_None_Match=f'"sha256:{DIGEST}"'))[0] == 304
        assert (await ask(api, f"{PATH.replace(DIGEST, '0' * 64)}?direct=true"))[0] == 404

        before = gets_by_signed_address(storage)
        assert "object storage" not in await downloaded(ctl, tmp_path / "out")
        await until("the storage says so", lambda: gets_by_signed_address(storage) == before + 1)
        async with Client(load_kubeconfig(ctl.kubeconfig())) as client:
            fetcher = Fetcher(client, direct=True)
            async with fetcher.open("hello.1.0.0", DIGEST, direct=True) as arriving:
                assert arriving.is_direct
                assert b"".join([chunk async for chunk in arriving.chunks]) == SCRIPT
            await until("the storage says so", lambda: gets_by_signed_address(storage) == before + 2)
            async with Fetcher(client, direct=False).open("hello.1.0.0", DIGEST, direct=True) as arriving:
                assert not arriving.is_direct
                assert b"".join([chunk async for chunk in arriving.chunks]) == SCRIPT
        assert gets_by_signed_address(storage) == before + 2


async def test_a_server_without_a_storage_gives_the_bundle_itself(tmp_path: Path) -> None:
    async with server_with_pack(tmp_path, Settings(tmp_path)) as (api, ctl):
        assert (await ask(api, f"{PATH}?direct=true"))[:2] == (200, SCRIPT)
        assert "object storage" not in await downloaded(ctl, tmp_path / "out")


async def refuses(_: web.Request) -> web.StreamResponse:
    return web.Response(status=403, text="no")


async def forges(_: web.Request) -> web.StreamResponse:
    return web.Response(body=SCRIPT[:-1] + b"!")


async def sends_on(_: web.Request) -> web.StreamResponse:
    raise web.HTTPFound("/elsewhere")


async def breaks_off(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse(headers={"Content-Length": str(len(SCRIPT))})
    await answer.prepare(request)
    await answer.write(SCRIPT[:100])
    assert request.transport is not None
    request.transport.close()
    return answer


async def says_nothing(_: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError("never")


async def test_a_storage_that_fails_learns_nothing_and_the_server_gives_the_bundle(
    storage: ObjectStorage, tmp_path: Path
) -> None:
    async with nosy_storage() as nosy:
        settings = Settings(tmp_path, blobs=storage.place("fails", download=nosy.url))
        async with server_with_pack(tmp_path, settings) as (_, ctl):
            for nosy.answer in (refuses, forges, sends_on, breaks_off):
                said = await downloaded(ctl, tmp_path / "out")
                assert "downloading from the server" in said
                assert "X-Amz-" not in said
            async with Client(load_kubeconfig(ctl.kubeconfig())) as client:
                now_s = 0.0
                fetcher = Fetcher(client, direct=True, now=lambda: now_s)
                for nosy.answer in (refuses, sends_on, breaks_off):
                    now_s += 1000
                    with pytest.raises(StorageFailed) as caught:
                        async with fetcher.open("hello.1.0.0", DIGEST, direct=True) as arriving:
                            assert [chunk async for chunk in arriving.chunks]
                    assert "X-Amz-" not in str(caught.value)
                nosy.answer = says_nothing
                with pytest.raises(Elsewhere):
                    async with client.download(PATH, direct=True, idle_s=20, idle_elsewhere_s=0.05) as answer:
                        assert [chunk async for chunk in answer.chunks()]
                async with fetcher.open("hello.1.0.0", DIGEST, direct=True) as arriving:
                    assert not arriving.is_direct, "for a while it is left alone"
                    assert b"".join([chunk async for chunk in arriving.chunks]) == SCRIPT
    assert len(nosy.told) == 8
    for headers in nosy.told:
        assert {name.lower() for name in headers} <= {"host", "accept", "accept-encoding", "user-agent"}
