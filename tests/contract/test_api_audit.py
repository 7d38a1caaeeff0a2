"""The audit log of a server that serves: every way a request can end is there, secrets are not, and no record is lost."""

from __future__ import annotations

import asyncio
import base64
import json
import resource
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from stark.apiserver.audit.settings import AuditSettings
from stark.apiserver.settings import Settings
from stark.crds.audit.files import file_name, lines_from, numbers_in
from stark.crds.audit.reading import read_all
from stark.crds.audit.selecting import Selection
from stark.crds.audit.verifying import verify
from tests.support.apiserver import Api, api_server, config_map

MAPS = "/api/v1/namespaces/default/configmaps"
SECRETS = "/api/v1/namespaces/default/secrets"
PLANTED = "planted-secret"
T = TypeVar("T")


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with api_server(tmp_path) as server:
        yield server


def recorded(api: Api, **wanted: str) -> list[dict[str, Any]]:
    """What is in the files now."""
    return list(read_all(api.settings.data_dir / "audit", Selection(**wanted)))


async def told(api: Api, **wanted: str) -> list[dict[str, Any]]:
    """What `/audit/logs` tells, once everything has been written, the oldest first."""
    (await api.get("/audit/logs/verify")).ok()
    query = "&".join(f"{key}={value}" for key, value in wanted.items())
    return list(reversed((await api.get(f"/audit/logs?limit=500&{query}")).ok()["data"]["logs"]))


async def until(ask: Callable[[], Awaitable[T]], holds: Callable[[T], bool]) -> T:
    """What is told as soon as it is as it should be."""
    async with asyncio.timeout(10):
        while True:
            found = await ask()
            if holds(found):
                return found
            await asyncio.sleep(0.01)


async def test_a_write_is_recorded_before_it_is_answered(api: Api) -> None:
    for number in range(20):
        (await api.post(MAPS, config_map(f"m{number}"))).ok(201)
        (event,) = recorded(api, verb="create", resource="configmaps", name=f"m{number}")
        assert event["responseStatus"]["code"] == 201
        assert event["objectRef"]["uid"]


async def test_every_way_a_request_can_end_is_recorded(api: Api) -> None:
    nobody, node = api.as_nobody(), api.as_identity("node:n1")
    forged = {"Authorization": "Bearer forged"}
    (await api.get(MAPS, session=nobody, headers=forged)).refused(401, "Unauthorized")
    (await api.get(SECRETS, session=node)).refused(403, "Forbidden")
    (await api.get(f"{MAPS}/missing")).refused(404, "NotFound")
    answer = await api.get("/version", headers={"Audit-ID": "chosen"})
    assert answer.headers["Audit-ID"] == "chosen"
    async with api.watch(f"{MAPS}?resourceVersion=0"):
        pass
    await until(lambda: told(api, verb="watch"), lambda events: len(events) == 2)
    (unknown,) = await told(api, outcome="denied", resource="configmaps")
    assert (unknown["user"], unknown["responseStatus"]["code"]) == ({}, 401)
    assert "forged" not in json.dumps(unknown)
    (denied,) = await told(api, user="system:node:n1")
    notes = denied["annotations"]
    assert (notes["authorization.k8s.io/decision"], denied["responseStatus"]["reason"]) == ("forbid", "Forbidden")
    (missing,) = await told(api, name="missing")
    assert 'configmaps "missing" not found' in missing["responseStatus"]["message"]
    assert missing["annotations"]["authorization.k8s.io/decision"] == "allow"
    (version,) = [each for each in await told(api) if each["requestURI"] == "/version"]
    assert version["auditID"] == "chosen"
    stages = [(each["stage"], each["auditID"]) for each in await told(api, verb="watch")]
    assert [stage for stage, _ in stages] == ["ResponseStarted", "ResponseComplete"]
    assert len({audit_id for _, audit_id in stages}) == 1


async def test_who_acts_as_another_is_recorded_with_both_names(api: Api) -> None:
    other = {"Impersonate-User": "jane"}
    (await api.get(MAPS, headers=other)).refused(403, "Forbidden")
    (event,) = await told(api, user="jane")
    assert (event["user"]["username"], event["impersonatedUser"]["username"]) == ("admin", "jane")
    node = api.as_identity("node:n1")
    (await api.get("/version", headers=other, session=node)).refused(403, "Forbidden")
    (refused,) = await told(api, user="system:node:n1")
    assert "impersonatedUser" not in refused


async def test_a_client_that_leaves_before_the_answer_is_recorded(api: Api) -> None:
    context = api.session.connector._ssl  # type: ignore[union-attr]
    assert isinstance(context, ssl.SSLContext)
    _, writer = await asyncio.open_connection("127.0.0.1", api.running.port, ssl=context)
    writer.write(f"POST {MAPS} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nAudit-ID: gone\r\n\r\n".encode())
    await writer.drain()
    writer.transport.abort()
    (event,) = await until(lambda: told(api, verb="create"), lambda events: len(events) == 1)
    assert (event["auditID"], event["responseStatus"]["code"] in (400, 499)) == ("gone", True)


async def test_the_log_is_for_administrators_and_comes_in_pages(api: Api) -> None:
    for session in (api.as_identity("node:n1"), api.as_identity("controllers")):
        for path in ("/audit/logs", "/audit/logs/verify", "/audit/logs/settings"):
            assert (await api.get(path, session=session)).status == 403
    assert (await api.get("/audit/logs", session=api.as_nobody())).status == 401
    for wrong in ("limit=0", "limit=501", "limit=x", "continue=-1", "outcome=good", "since=never"):
        answer = await api.get(f"/audit/logs?{wrong}")
        assert (answer.status, answer.body["error"]["code"]) == (400, "VALIDATION_ERROR"), wrong
        assert wrong.split("=")[0] in answer.body["error"]["details"]
    whole = [each["auditID"] for each in await told(api)]
    paged: list[str] = []
    token = ""
    while True:
        data = (await api.get(f"/audit/logs?limit=3&until=2999-01-01&continue={token}")).ok()["data"]
        paged += [each["auditID"] for each in data["logs"]]
        token = data.get("continue", "")
        if not token:
            break
    assert paged[-len(whole) :] == whole[::-1]
    verdict = (await api.get("/audit/logs/verify")).ok()["data"]
    assert (verdict["whole"], verdict["problems"]) == (True, [])
    assert (await api.get("/audit/logs/settings")).ok()["data"]["sync"] == "writes"


EVERYTHING = """\
apiVersion: audit.k8s.io/v1
kind: Policy
rules:
- level: RequestResponse
"""


async def test_at_the_highest_level_objects_are_recorded_and_secrets_are_not(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(EVERYTHING)
    settings = replace(Settings(tmp_path), audit=AuditSettings(policy_file=policy, sync="always"))
    async with api_server(tmp_path, settings=settings) as api:
        (await api.post(MAPS, config_map("seen", colour="green"))).ok(201)
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"password": PLANTED}}
        (await api.post(SECRETS, secret)).ok(201)
        (await api.patch(f"{SECRETS}/s", {"stringData": {"other": PLANTED}})).ok()
        (await api.post(SECRETS, {**secret, "data": {"bad": PLANTED}})).refused(422, "Invalid")
        (await api.get(SECRETS)).ok()
        review = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "metadata": {},
            "spec": {"token": PLANTED},
        }
        await api.post("/apis/authentication.k8s.io/v1/tokenreviews", review)
        await api.post("/auth/login", {"email": "a@b.c", "password": PLANTED})
        await api.get("/version", session=api.as_nobody(), headers={"Authorization": f"Bearer {PLANTED}"})
        await api.get(f"/version?access_token={PLANTED}")
        begun, ended = recorded(api, verb="create", resource="configmaps")
    assert (begun["stage"], ended["stage"]) == ("RequestReceived", "ResponseComplete")
    assert ended["requestObject"]["data"] == ended["responseObject"]["data"] == {"colour": "green"}
    log = tmp_path / "audit"
    text = b"".join(line.text for number in numbers_in(log) for line in lines_from(log / file_name(number)))
    assert b"green" in text
    assert PLANTED.encode() not in text
    assert base64.b64encode(PLANTED.encode()) not in text
    assert verify(log).is_whole


@pytest.fixture
def narrow() -> Iterator[Callable[[int], None]]:
    """Files may not grow past a size: as real a failure to write as a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size if size else hard, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_what_cannot_be_recorded_is_not_done_and_what_was_done_is_recorded_later(
    tmp_path: Path, narrow: Callable[[int], None]
) -> None:
    settings = replace(Settings(tmp_path), audit=AuditSettings(reserve_bytes=0, queue_records_max=30))
    async with api_server(tmp_path, settings=settings) as api:
        (await api.post(MAPS, config_map("before"))).ok(201)
        log = tmp_path / "audit" / file_name(1)
        narrow(log.stat().st_size + 100)
        first = asyncio.create_task(api.post(MAPS, config_map("during")))
        await until(lambda: api.get("/metrics"), lambda answer: "stark_audit_hampered 1.0" in answer.body)
        refused = await api.post(MAPS, config_map("refused"))
        assert refused.status in (503, 507), refused.body
        assert "cannot be recorded" in refused.body["message"]
        assert (await api.get("/readyz")).status == 200
        (await api.get(f"{MAPS}/during")).ok()
        assert not first.done()
        statuses = [(await api.get(f"{MAPS}/during")).status for _ in range(40)]
        assert statuses[0] == 200
        assert statuses[-1] in (503, 507)
        narrow(0)
        (await first).ok(201)
        await until(lambda: api.post(MAPS, config_map("after")), lambda answer: answer.status == 201)
        events = await told(api, resource="configmaps")
    done = [
        each["objectRef"].get("name")
        for each in events
        if each["verb"] == "create" and each["responseStatus"]["code"] == 201
    ]
    assert done == ["before", "during", "after"]
    assert len(
        [each for each in events if each["verb"] == "get" and each["responseStatus"]["code"] == 200]
    ) == 1 + statuses.count(200)
    verdict = verify(tmp_path / "audit")
    assert verdict.is_whole, verdict.problems
    assert "requests were refused unrecorded" in str(verdict.notices)


async def test_a_server_stops_although_its_log_cannot_be_written(tmp_path: Path, narrow: Callable[[int], None]) -> None:
    settings = replace(Settings(tmp_path), audit=AuditSettings(reserve_bytes=0), shutdown_timeout_s=0.1)
    async with api_server(tmp_path, settings=settings) as api:
        (await api.post(MAPS, config_map("before"))).ok(201)
        log = tmp_path / "audit" / file_name(1)
        narrow(log.stat().st_size + 100)
        waiting = asyncio.create_task(api.post(MAPS, config_map("during")))
        await until(lambda: api.get("/metrics"), lambda answer: "stark_audit_hampered 1.0" in answer.body)
    assert (await asyncio.gather(waiting, return_exceptions=True))[0]
    narrow(0)
    assert verify(tmp_path / "audit").is_whole
