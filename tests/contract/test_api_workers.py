"""Several processes that are one server: whatever a client may rely on, it may rely on over any of its connections."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from stark.crds.audit.verifying import verify
from tests.support.several import PATIENCE_S, Client, Several, client, command, several, until_gone

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

MAPS = "/api/v1/namespaces/default/configmaps"
TRIES = 14
"""To log in: more than anybody gets."""
MANY = 24
"""Connections: that all meet the same of two workers happens once in eight million times."""


def config_map(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "b"}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Several]:
    with several(tmp_path_factory.mktemp("several")) as found:
        yield found


@pytest.fixture
async def admin(server: Several) -> AsyncIterator[Client]:
    async with client(server) as found:
        yield found


async def test_what_was_written_on_one_connection_is_there_on_every_other(admin: Client) -> None:
    for number in range(5):
        name = f"mine-{number}"
        assert (await admin.ask("POST", MAPS, config_map(name))).status == 201
        seen = await asyncio.gather(*(admin.ask("GET", f"{MAPS}/{name}") for _ in range(MANY)))
        assert [each.status for each in seen] == [200] * MANY
        listed = await asyncio.gather(*(admin.ask("GET", MAPS) for _ in range(MANY)))
        assert all(name in {item["metadata"]["name"] for item in each.body["items"]} for each in listed)
        assert (await admin.ask("DELETE", f"{MAPS}/{name}")).status == 200
        gone = await asyncio.gather(*(admin.ask("GET", f"{MAPS}/{name}") for _ in range(MANY)))
        assert [each.status for each in gone] == [404] * MANY


async def test_what_admission_and_rights_rest_on_holds_on_every_connection_at_once(admin: Client) -> None:
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "fresh"}}
    assert (await admin.ask("POST", "/api/v1/namespaces", space)).status == 201
    path = "/api/v1/namespaces/fresh/configmaps"
    made = await asyncio.gather(*(admin.ask("POST", path, config_map(f"in-{number}")) for number in range(MANY)))
    assert [each.status for each in made] == [201] * MANY
    as_eve = {"Impersonate-User": "eve"}
    assert (await admin.ask("GET", path, **as_eve)).status == 403
    group, roles = "rbac.authorization.k8s.io", "/apis/rbac.authorization.k8s.io/v1/namespaces/fresh"
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]
    role = {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": {"name": "reader"}, "rules": rules}
    assert (await admin.ask("POST", f"{roles}/roles", role)).status == 201
    binding = {
        "apiVersion": f"{group}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "eve"},
        "roleRef": {"apiGroup": group, "kind": "Role", "name": "reader"},
        "subjects": [{"apiGroup": group, "kind": "User", "name": "eve"}],
    }
    bindings = f"{roles}/rolebindings"
    assert (await admin.ask("POST", bindings, binding)).status == 201
    allowed = await asyncio.gather(*(admin.ask("GET", path, **as_eve) for _ in range(MANY)))
    assert [each.status for each in allowed] == [200] * MANY
    assert (await admin.ask("DELETE", f"{bindings}/eve")).status == 200
    refused = await asyncio.gather(*(admin.ask("GET", path, **as_eve) for _ in range(MANY)))
    assert [each.status for each in refused] == [403] * MANY


async def test_a_kind_that_was_just_defined_is_served_on_every_connection(admin: Client) -> None:
    names = {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"}
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema}
    spec = {"group": "example.com", "scope": "Cluster", "names": names, "versions": [version]}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": spec,
    }
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    assert (await admin.ask("POST", path, definition)).status == 201
    async with asyncio.timeout(PATIENCE_S):
        while True:
            found = (await admin.ask("GET", f"{path}/widgets.example.com")).body.get("status", {})
            if any((c["type"], c["status"]) == ("Established", "True") for c in found.get("conditions", ())):
                break
            await asyncio.sleep(0.02)
    served = await asyncio.gather(*(admin.ask("GET", "/apis/example.com/v1/widgets") for _ in range(MANY)))
    assert [each.status for each in served] == [200] * MANY
    assert (await admin.ask("DELETE", f"{path}/widgets.example.com")).status == 200


async def test_a_scrape_of_any_worker_shows_what_all_have_done(admin: Client) -> None:
    for number in range(MANY):
        assert (await admin.ask("POST", MAPS, config_map(f"counted-{number}"))).status == 201
    texts = [(await admin.ask("GET", "/metrics")).body for _ in range(4)]
    for text in texts:
        assert 'stark_worker_up{worker="0"} 1' in text
        assert 'stark_worker_up{worker="1"} 1' in text
        counts = [
            float(each.rsplit(" ", 1)[1])
            for each in text.splitlines()
            if each.startswith("apiserver_request_total{") and 'resource="configmaps"' in each and '"201"' in each
        ]
        assert len(counts) == 2
        assert sum(counts) >= MANY
        assert len(re.findall("^# TYPE apiserver_request_total ", text, re.MULTILINE)) == 1


async def test_whoever_guesses_has_no_more_tries_and_a_logout_holds_everywhere(server: Several, admin: Client) -> None:
    async with client(server, "") as nobody:
        ada = {"email": "ada@example.com", "password": "Correct horse 1 battery"}
        setup = await nobody.ask("POST", "/auth/setup", ada)
        assert setup.status == 201, setup.body
        token = setup.body["data"]["accessToken"]
        as_ada = {"Authorization": f"Bearer {token}"}
        seen = await asyncio.gather(*(nobody.ask("GET", "/auth/me", **as_ada) for _ in range(MANY)))
        assert {each.status for each in seen} == {200}, seen[0].body
        assert (await nobody.ask("POST", "/auth/logout", {}, **as_ada)).status == 200
        seen = await asyncio.gather(*(nobody.ask("GET", "/auth/me", **as_ada) for _ in range(MANY)))
        assert {each.status for each in seen} == {401}
        wrong = {**ada, "password": "Wrong horse 1 battery"}
        tried = await asyncio.gather(*(nobody.ask("POST", "/auth/login", wrong) for _ in range(TRIES)))
        assert [each.status for each in tried].count(401) == 10, "as many tries as one process gives"
        assert {each.status for each in tried} == {401, 429}


async def test_all_workers_write_one_audit_log(server: Several, admin: Client) -> None:
    names = [f"recorded-{number}" for number in range(MANY)]
    for name in names:
        assert (await admin.ask("POST", MAPS, config_map(name))).status == 201
    made = records(server.data_dir, "recorded-")
    assert sorted(made) == sorted(names), "each once, and on disk when the answer was given"
    verdict = verify(server.data_dir / "audit", expected=())
    assert verdict.is_whole, verdict


def records(data_dir: Path, prefix: str) -> list[str]:
    """The names of created objects that the audit log has."""
    lines = b"".join(path.read_bytes() for path in sorted((data_dir / "audit").glob("*.log"))).splitlines()
    events = [event for event in map(json.loads, lines) if event.get("verb") == "create"]
    found = [event.get("objectRef", {}).get("name", "") for event in events if event["responseStatus"]["code"] == 201]
    return [name for name in found if name.startswith(prefix)]


async def test_a_new_encryption_key_is_everybodys_and_done_means_that_all_is_under_it(admin: Client) -> None:
    secrets = "/api/v1/namespaces/default/secrets"
    for number in range(MANY):
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": f"s-{number}"}, "stringData": {"a": "b"}}
        assert (await admin.ask("POST", secrets, secret)).status == 201
    old = (await admin.ask("GET", "/encryption")).body["data"]["encryption"]["keys"][0]["name"]
    assert (await admin.ask("POST", "/encryption/rotate", {})).status == 202
    async with asyncio.timeout(PATIENCE_S):
        while True:
            answers = await asyncio.gather(*(admin.ask("GET", "/encryption") for _ in range(6)))
            told = [each.body["data"]["encryption"] for each in answers]
            for each in told:
                assert each["reencryption"]["state"] != "done" or not each["valuesToRewrite"]
                assert each["keys"][0]["name"] != old, "one of them still writes with the old key"
            if all(each["reencryption"]["state"] == "done" for each in told):
                break
            await asyncio.sleep(0.02)
    seen = await asyncio.gather(*(admin.ask("GET", f"{secrets}/s-{number}") for number in range(MANY)))
    assert [each.body["data"] for each in seen] == [{"a": "Yg=="}] * MANY
    async with asyncio.timeout(PATIENCE_S):
        # Not before all have had the time to see the file.
        while (await admin.ask("DELETE", f"/encryption/keys/{old}")).status != 200:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.2)
    listed = await asyncio.gather(*(admin.ask("GET", secrets) for _ in range(MANY)))
    assert [len(each.body["items"]) for each in listed] == [MANY] * MANY


# Deaths


async def test_a_signal_to_all_processes_at_once_leaves_nothing_unrecorded(tmp_path: Path) -> None:
    with several(tmp_path) as server:
        async with client(server) as admin:
            made, enough = list[str](), asyncio.Event()
            writing = [asyncio.create_task(write(admin, number, made, [], enough)) for number in range(6)]
            await until(partial(has_more, made, 50))
            # As a terminal's Ctrl-C and service managers do: the keeper first, which is the worst case.
            for each in (server.child("keeper"), *server.children(), psutil.Process(server.process.pid)):
                each.terminate()
            await asyncio.gather(*writing, return_exceptions=True)
        assert server.process.wait(PATIENCE_S) == 0
    assert "ends incomplete" not in (tmp_path / "log").read_text()
    assert set(made) <= set(records(tmp_path, "w-"))
    assert verify(tmp_path / "audit", expected=()).is_whole


async def test_kill_9_of_the_keeper_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    with several(tmp_path) as server:
        async with client(server) as admin:
            made, refusals, enough = list[str](), list[int](), asyncio.Event()
            writing = [asyncio.create_task(write(admin, number, made, refusals, enough)) for number in range(6)]
            for _ in range(3):
                before = len(made)
                await until(partial(has_more, made, before + 20))
                server.child("keeper").kill()
            await until(partial(has_more, made, len(made) + 20))
            enough.set()
            await asyncio.gather(*writing)
            there = {item["metadata"]["name"] for item in (await admin.ask("GET", MAPS)).body["items"]}
            assert set(made) <= there, "an acknowledged write is gone"
        assert set(made) <= set(records(tmp_path, "w-")), "what was acknowledged is in the audit log"
        assert verify(tmp_path / "audit", expected=()).is_whole


async def until(holds: Callable[[], bool]) -> None:
    """Wait for what must come true."""
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110 - it comes true in another process
            await asyncio.sleep(0.02)


def has_more(made: list[str], count: int) -> bool:
    return len(made) >= count


async def write(admin: Client, writer: int, made: list[str], refusals: list[int], enough: asyncio.Event) -> None:
    """Objects, one after the other; what is refused for a while is asked for again, as clients do."""
    number = 0
    while not enough.is_set():
        number += 1
        name = f"w-{writer}-{number}"
        answer = await admin.ask("POST", MAPS, config_map(name))
        if answer.status == 201:
            made.append(name)
            continue
        assert answer.status in (500, 503, 504), answer.body
        if answer.status == 503:
            assert "Retry-After" in answer.headers, answer.body
        refusals.append(answer.status)
        await asyncio.sleep(0.02)


async def test_kill_9_of_a_worker_leaves_the_others_and_it_comes_back(tmp_path: Path) -> None:
    with several(tmp_path) as server:
        async with client(server) as admin:
            for name in ("worker-0", "worker-1"):
                before = server.child(name).pid
                server.child(name).kill()
                await until(partial(is_back, server, name, before))
                while not await up_all(admin):  # noqa: ASYNC110 - it comes true in another process
                    await asyncio.sleep(0.05)
                assert (await admin.ask("POST", MAPS, config_map(f"after-{name}"))).status == 201


def is_back(server: Several, name: str, before: int) -> bool:
    try:
        return server.child(name).pid != before
    except StopIteration:
        return False


async def up_all(admin: Client) -> bool:
    """Whether both workers can be asked."""
    try:
        text = str((await admin.ask("GET", "/metrics")).body)
    except aiohttp.ClientError:
        return False
    return all(f'stark_worker_up{{worker="{number}"}} 1' in text for number in (0, 1))


def test_kill_9_of_the_supervisor_leaves_no_process(tmp_path: Path) -> None:
    with several(tmp_path) as server:
        assert len(server.children()) == 3
        server.process.kill()
        server.process.wait()
        until_gone(tmp_path)
    with several(tmp_path) as server:
        assert len(server.children()) == 3


def test_a_second_server_for_the_data_directory_or_the_port_is_refused_with_a_reason(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    with several(first) as server:
        done = refused(command(second, "--workers", "2", "--listen", server.url.removeprefix("https://")))
        assert "is in use by another program" in done
        done = refused(command(first, "--workers", "2"))
        assert "in use by another process" in done
        assert psutil.pid_exists(server.process.pid)
        assert len(server.children()) == 3


def refused(words: list[str]) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr


def test_two_signals_end_it_at_once(tmp_path: Path) -> None:
    with several(tmp_path) as server:
        server.process.terminate()
        time.sleep(0.05)
        server.process.terminate()
        assert server.process.wait(PATIENCE_S) == 0
