"""Encryption of a running server: nothing readable on disk, keys that change under load, and what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from stark.apiserver.encryption.configuration import (
    Configuration,
    Key,
    Rule,
    read_configuration,
    write_configuration,
)
from stark.apiserver.encryption.envelope import parse
from stark.apiserver.encryption.store import EncryptingStore
from tests.support.apiserver import Api, api_server

PLANTED = "planted-" + "Zx81Qv" * 4
SECRETS = "/api/v1/namespaces/default/secrets"


def secret(name: str, value: str = PLANTED) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"password": value}}


@pytest.fixture(params=["sqlite"])
async def api(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Api]:
    async with api_server(tmp_path, store=request.param) as server:
        yield server


async def keys_of(api: Api, **options: Any) -> dict[str, Any]:
    status = (await api.get("/encryption", **options)).ok()["data"]["encryption"]
    assert isinstance(status, dict)
    return status


async def settled(api: Api) -> dict[str, Any]:
    async with asyncio.timeout(10):
        while True:
            status = await keys_of(api)
            if status["reencryption"]["state"] == "done":
                return status
            await asyncio.sleep(0.02)


async def test_keys_rotate_under_load_and_the_old_one_can_go(api: Api) -> None:
    for n in range(30):
        (await api.post(SECRETS, secret(f"s{n}"))).ok(201)
    old = (await settled(api))["keys"][0]["name"]
    (await api.delete(f"/encryption/keys/{old}")).ok(409)

    async def change(n: int) -> None:
        for m in range(5):
            body = {"stringData": {"password": f"{PLANTED}{m}"}}
            (await api.patch(f"{SECRETS}/s{n}", body)).ok()

    changes = [asyncio.create_task(change(n)) for n in range(30)]
    rotated = await api.post("/encryption/rotate", {})
    await asyncio.gather(*changes)
    new = rotated.ok(202)["data"]["encryption"]["keys"][0]["name"]
    status = await settled(api)
    assert [(key["name"], key["values"]) for key in status["keys"]] == [(new, 30), (old, 0)]
    assert (status["valuesInClear"], status["valuesToRewrite"]) == (0, 0)

    (await api.delete(f"/encryption/keys/{old}")).ok()
    (await api.delete(f"/encryption/keys/{old}")).ok(404)
    path = api.settings.data_dir / "pki" / "encryption.yaml"
    assert read_configuration(path).key_names() == [new]
    assert path.stat().st_mode & 0o777 == 0o600
    found = (await api.get(SECRETS)).ok()["items"]
    assert len(found) == 30

    assert isinstance(api.store, EncryptingStore)
    stored = (await api.store.beneath.range(b"/registry/core/secrets/", b"/registry/core/secrets0")).items
    assert {parse(kv.key, kv.value).key_name for kv in stored} == {new}


async def test_what_was_written_in_clear_is_sealed_by_the_next_server(tmp_path: Path) -> None:
    path = tmp_path / "pki" / "encryption.yaml"
    clear = Configuration((Rule(("secrets",), (Key("a", b"a" * 32),), writes_clear=True),))
    path.parent.mkdir()
    write_configuration(path, clear)
    async with api_server(tmp_path, store="sqlite") as api:
        (await api.post(SECRETS, secret("early"))).ok(201)
        assert (await settled(api))["valuesInClear"] == 1
    write_configuration(path, Configuration((Rule(("secrets",), (Key("a", b"a" * 32),)),)))
    async with api_server(tmp_path, store="sqlite") as api:
        status = await settled(api)
        assert (status["keys"], status["valuesInClear"]) == ([{"name": "a", "values": 1}], 0)
        assert (await api.get(f"{SECRETS}/early")).ok()["data"]["password"]


async def test_only_administrators_hear_of_keys(api: Api) -> None:
    for who in ("node:n1", "controllers"):
        session = api.as_identity(who)
        for method, path in (("GET", ""), ("POST", "/rotate"), ("POST", "/reencrypt"), ("DELETE", "/keys/x")):
            answer = await api.ask(method, f"/encryption{path}", session=session)
            assert answer.status == 403, (who, method, path, answer.body)
    (await api.get("/encryption", session=api.as_nobody())).ok(401)
    assert "secret" not in str(await keys_of(api)).replace("secrets", "")


async def test_a_file_that_cannot_be_written_is_told_and_nothing_changes(api: Api) -> None:
    before = await settled(api)
    path = api.settings.data_dir / "pki" / "encryption.yaml"
    kept = path.read_bytes()
    path.unlink()
    answer = await api.post("/encryption/rotate", {})
    assert answer.status == 409
    assert "is gone: put it back" in answer.body["error"]["message"]
    path.write_bytes(kept)
    path.chmod(0o600)
    assert (await keys_of(api))["keys"] == before["keys"]
