"""Encryption of a running server: nothing readable on disk, keys that change under load, and what is refused."""

from __future__ import annotations

import asyncio
import base64
import os
import time
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
from tests.support.apiserver import Api, api_server, config_map

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

    path = api.settings.data_dir / "pki" / "encryption.yaml"
    young = (await api.delete(f"/encryption/keys/{old}")).ok(409)["error"]["message"]
    assert "other servers may not have seen it: try again" in young
    os.utime(path, (time.time() - 60,) * 2)
    (await api.delete(f"/encryption/keys/{old}")).ok()
    (await api.delete(f"/encryption/keys/{old}")).ok(404)
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


ENCODED = base64.b64encode(PLANTED.encode()).decode()


def shows(text: object) -> bool:
    """Whether the planted value is in it, in clear or as objects carry it."""
    raw = text if isinstance(text, bytes) else str(text).encode()
    return PLANTED.encode() in raw or ENCODED[:-4].encode() in raw


def contents(directory: Path) -> dict[Path, bytes]:
    """Every file below it."""
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        pytest.param("application/json", {**secret("x"), "data": {"k": PLANTED + "!"}}, id="bad base64"),
        pytest.param("application/json", {**secret("x"), "data": PLANTED}, id="a text for an object"),
        pytest.param(
            "application/json", {**secret("x"), "stringData": {"k": {"k": PLANTED}}}, id="an object for a text"
        ),
        pytest.param("application/json", {**secret("x"), "stringData": [PLANTED]}, id="a list for an object"),
        pytest.param("application/json", {**secret("x"), "immutable": PLANTED}, id="a text for a truth"),
        pytest.param("application/json", {**secret("x"), "data": {"not a key": ENCODED}}, id="a bad key"),
        pytest.param("application/json", b'{"data": {"k": "%b" oops' % ENCODED.encode(), id="no JSON"),
        pytest.param("application/yaml", b"data: {k: '%b" % ENCODED.encode(), id="no YAML"),
        pytest.param("application/yaml", b"data:\n  k: %b\n  k: again\n" % ENCODED.encode(), id="a key twice"),
    ],
)
async def test_a_refusal_does_not_repeat_what_is_secret(
    api: Api, content_type: str, body: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    answer = await api.post(f"{SECRETS}?fieldValidation=Strict", body, content_type=content_type)
    assert answer.status in (400, 422), (answer.status, answer.body)
    assert not shows(answer.body)
    assert not shows("".join(capfd.readouterr()))


async def test_a_failed_patch_does_not_repeat_what_is_secret(api: Api) -> None:
    (await api.post(SECRETS, secret("x"))).ok(201)
    path = f"{SECRETS}/x"
    tests = [{"op": "test", "path": "/data/password", "value": ENCODED + "AAAA"}]
    missing = [{"op": "replace", "path": "/data/none/deep", "value": ENCODED}]
    for body in (tests, missing, [{"op": "add", "path": "/data", "value": ENCODED}]):
        answer = await api.patch(path, body, "application/json-patch+json")
        assert answer.status in (400, 409, 422), (answer.status, answer.body)
        assert not shows(answer.body)
    (await api.patch(path, {"immutable": True})).ok()
    answer = await api.patch(path, {"stringData": {"password": PLANTED + "2"}})
    assert answer.status == 422
    assert not shows(answer.body)


async def test_a_planted_secret_is_in_no_file_and_in_no_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async with api_server(tmp_path, store="sqlite") as api:
        (await api.post(SECRETS, secret("planted"))).ok(201)
        (await api.post(SECRETS, secret("planted"))).refused(409, "AlreadyExists")
        for n in range(3):
            (await api.patch(f"{SECRETS}/planted", {"stringData": {f"k{n}": PLANTED}})).ok()
        (await api.post("/encryption/rotate", {})).ok(202)
        await settled(api)
        table = await api.get(SECRETS, headers={"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"})
        assert not any(shows(cell) for row in table.ok()["rows"] for cell in row["cells"])
        beside = config_map("beside", text="no secret, and so found by the search")
        (await api.post("/api/v1/namespaces/default/configmaps", beside)).ok(201)
        while_open = contents(tmp_path)
        assert any(b"so found by the search" in content for content in while_open.values())
        assert any(path.name.endswith("-wal") and content for path, content in while_open.items())
        (await api.delete(f"{SECRETS}/planted")).ok()
    afterwards = contents(tmp_path)
    assert [path for found in (while_open, afterwards) for path, content in found.items() if shows(content)] == []
    assert not shows("".join(capfd.readouterr()))
