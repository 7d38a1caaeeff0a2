"""The originals' REST API over a real server: ids, pages, units, states and codes of five kinds."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from stark.apiserver.facade import deployments, namespaces, nodes, packs, pods
from stark.apiserver.settings import RateSettings
from tests.support.people import People, data, people_at_a_server, refusal

TEXT = "exports.default = () => 'hello';\n"
pytestmark = pytest.mark.asyncio(loop_scope="module")
MANY = RateSettings(person_per_s=100_000.0, person_burst=100_000.0)
NOBODY_ID = "00000000-0000-4000-8000-000000000000"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def people(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[People]:
    async with people_at_a_server(Path(tmp_path_factory.mktemp("rest")), rates=MANY) as found:
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def admin(people: People) -> str:
    return str((await people.setup())["accessToken"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pack(people: People, admin: str) -> dict[str, Any]:
    for version in ("1.0.0", "1.10.0", "1.9.0"):
        made = await register(people, admin, "hello", version)
    return made


async def register(people: People, token: str, name: str, version: str, **fields: Any) -> dict[str, Any]:
    body = {"name": name, "version": version, "runtimeTag": "node", "bundleContent": TEXT, **fields}
    found: dict[str, Any] = data(await people.post("/api/packs", body, token=token), 201)["pack"]
    return found


async def test_a_pack_is_registered_with_its_bundle_and_listed_by_version(
    people: People, admin: str, pack: dict[str, Any]
) -> None:
    digest = hashlib.sha256(TEXT.encode()).hexdigest()
    assert pack["bundles"] == [{"architecture": "any", "sha256": digest, "size": len(TEXT)}]
    assert (pack["status"], pack["visibility"], pack["runtimeTag"]) == ("available", "private", "node")
    versions = data(await people.get("/api/packs/hello/versions", token=admin))["versions"]
    assert [each["version"] for each in versions] == ["1.10.0", "1.9.0", "1.0.0"]
    assert data(await people.get("/api/packs/hello", token=admin))["pack"]["version"] == "1.10.0"
    assert data(await people.get(f"/api/packs/{pack['id']}", token=admin))["pack"] == pack
    again = {"name": "hello", "version": "1.9.0", "runtimeTag": "node", "bundleContent": TEXT}
    refusal(await people.post("/api/packs", again, token=admin), 409, "CONFLICT")
    listed = data(await people.get("/api/packs?runtimeTag=node&search=HEL&pageSize=2&page=2", token=admin))
    assert (len(listed["packs"]), listed["total"], listed["page"], listed["pageSize"]) == (1, 3, 2, 2)


async def test_what_of_a_pack_may_change_changes_and_an_unused_version_is_deleted(people: People, admin: str) -> None:
    made = await register(people, admin, "passing", "1.0.0", bundleEncoding="base64", bundleContent=_base64(b"\0\xff"))
    path = f"/api/packs/{made['id']}"
    changed = data(await people.ask("PATCH", path, {"visibility": "public", "description": "d"}, token=admin))["pack"]
    assert (changed["visibility"], changed["description"]) == ("public", "d")
    refusal(await people.ask("PATCH", path, {"version": "2.0.0"}, token=admin), 400, "VALIDATION_ERROR")
    assert data(await people.ask("DELETE", path, token=admin))["deleted"]
    refusal(await people.get(path, token=admin), 404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"runtimeTag": "node", "bundleContent": TEXT}, "version"),
        ({"version": "one", "runtimeTag": "node", "bundleContent": TEXT}, "version"),
        ({"version": "1.0.0", "runtimeTag": "cobol", "bundleContent": TEXT}, "runtime"),
        ({"version": "1.0.0", "runtimeTag": "node"}, "bundleContent"),
        ({"version": "1.0.0", "runtimeTag": "node", "bundleContent": TEXT, "sha256": "0" * 64}, "sha256"),
        ({"version": "1.0.0", "runtimeTag": "node", "bundleContent": "!", "bundleEncoding": "base64"}, "bundleContent"),
        ({"version": "1.0.0", "runtimeTag": "node", "bundleContent": TEXT, "colour": "red"}, "colour"),
    ],
)
async def test_a_registration_that_will_not_do_names_the_field_and_leaves_nothing(
    people: People, admin: str, body: dict[str, Any], field: str
) -> None:
    told = refusal(await people.post("/api/packs", {"name": "odd", **body}, token=admin), 400, "VALIDATION_ERROR")
    assert field in told["details"], told
    refusal(await people.get("/api/packs/odd/versions", token=admin), 404, "NOT_FOUND")


async def test_a_bundle_of_megabytes_may_be_in_the_body_and_one_beyond_the_limit_is_refused(
    people: People, admin: str
) -> None:
    body = {"name": "large", "runtimeTag": "python", "bundleContent": "x" * (8 << 20)}
    made = data(await people.post("/api/packs", {**body, "version": "1.0.0"}, token=admin), 201)["pack"]
    assert (made["status"], made["bundles"][0]["size"]) == ("available", 8 << 20)
    too_large = {**body, "version": "2.0.0", "bundleContent": "x" * (11 << 20)}
    refusal(await people.post("/api/packs", too_large, token=admin), 413, "PAYLOAD_TOO_LARGE")


async def test_a_larger_bundle_is_sent_to_where_the_answer_says(people: People, admin: str) -> None:
    digest = hashlib.sha256(b"later").hexdigest()
    body = {"name": "later", "version": "1.0.0", "runtimeTag": "python", "sha256": digest, "size": 5}
    made = data(await people.post("/api/packs", body, token=admin), 201)
    assert made["pack"]["status"] == "pending"
    (await people.api.put(made["uploadUrl"], b"later", content_type="application/octet-stream")).ok()
    assert data(await people.get("/api/packs/later", token=admin))["pack"]["status"] == "available"


async def test_a_pod_is_made_from_a_pack_shown_in_the_originals_words_and_stopped(
    people: People, admin: str, pack: dict[str, Any]
) -> None:
    body = {
        "packName": "hello",
        "packVersion": "1.9.0",
        "labels": {"team": "blue"},
        "priority": 700,
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "dedicated", "operator": "Exists", "effect": "NoSchedule"}],
        "resourceRequests": {"cpu": 750},
    }
    pod = data(await people.post("/api/pods", body, token=admin), 201)["pod"]
    assert (pod["status"], pod["packId"], pod["packVersion"], pod["priority"]) == ("pending", pack["id"], "1.9.0", 700)
    assert pod["resourceRequests"] == {"cpu": 750, "memory": 128}
    assert pod["resourceLimits"] == {"cpu": 750, "memory": 512}
    assert (pod["namespace"], pod["nodeId"], pod["labels"]["team"]) == ("default", None, "blue")
    path = f"/api/pods/{pod['id']}"
    assert data(await people.get(path, token=admin))["pod"]["name"] == pod["name"]
    assert data(await people.get(f"{path}/status", token=admin))["status"]["status"] == "pending"
    history = data(await people.get(f"{path}/history", token=admin))["history"]
    assert history[0]["action"] == "created"
    refusal(await people.post(f"{path}/rollback", {"targetVersion": "1.0.0"}, token=admin), 400, "INVALID_STATE")
    assert data(await people.ask("DELETE", f"{path}?force=true", token=admin))["deleted"]
    refusal(await people.get(path, token=admin), 404, "NOT_FOUND")


async def test_several_pods_are_made_all_or_none(people: People, admin: str, pack: dict[str, Any]) -> None:
    space = data(
        await people.post("/api/namespaces", {"name": "few", "resourceQuota": {"hard": {"pods": 2}}}, token=admin), 201
    )["namespace"]
    assert space["resourceQuota"] == {"hard": {"pods": 2}}
    # What the quota controller does, which is not here: it counts what is there.
    counted = {"status": {"hard": {"pods": "2"}, "used": {"pods": "0"}}}
    (await people.api.patch("/api/v1/namespaces/few/resourcequotas/namespace-quota/status", counted)).ok()
    body = {"packId": pack["id"], "namespace": "few"}
    refusal(await people.post("/api/pods", {**body, "count": 3}, token=admin), 403, "FORBIDDEN")
    assert data(await people.get("/api/pods?namespace=few", token=admin))["total"] == 0
    (await people.api.patch("/api/v1/namespaces/few/resourcequotas/namespace-quota/status", counted)).ok()
    made = data(await people.post("/api/pods", {**body, "count": 2}, token=admin), 201)
    assert len(made["pods"]) == 2
    listed = data(await people.get(f"/api/pods?namespace=few&status=pending&packId={pack['id']}", token=admin))
    assert {each["id"] for each in listed["pods"]} == {each["id"] for each in made["pods"]}
    assert data(await people.get("/api/pods?namespace=few&status=running", token=admin))["total"] == 0
    quota = data(await people.get("/api/namespaces/few/quota", token=admin))["quota"]
    assert quota == {"hard": {"pods": 2}, "used": {"pods": 2}}


async def test_a_running_pod_goes_to_another_version_and_refusals_have_their_words(
    people: People, admin: str, pack: dict[str, Any]
) -> None:
    pod = data(await people.post("/api/pods", {"packId": pack["id"]}, token=admin), 201)["pod"]
    assert (pod["priority"], pod["createdBy"]) == (100, "ada@example.com")
    node = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "hand", "labels": {"stark.dev/runtime-node": "20"}},
    }
    (await people.api.post("/api/v1/nodes", node)).ok(201)
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod["name"]}, "target": {"name": "hand"}}
    (await people.api.post(f"/api/v1/namespaces/default/pods/{pod['name']}/binding", binding)).ok(201)
    path = f"/api/pods/{pod['id']}/rollback"
    refusal(await people.post(path, {"targetVersion": "1.9.0"}, token=admin), 400, "SAME_VERSION")
    refusal(await people.post(path, {"targetVersion": "7.0.0"}, token=admin), 404, "VERSION_NOT_FOUND")
    refusal(await people.post(path, {}, token=admin), 400, "VALIDATION_ERROR")
    done = data(await people.post(path, {"targetVersion": "1.0.0", "reason": "slow"}, token=admin))
    assert (done["previousVersion"], done["newVersion"], done["pod"]["packVersion"]) == ("1.9.0", "1.0.0", "1.0.0")
    back = data(await people.post(path, {}, token=admin))
    assert (back["previousVersion"], back["newVersion"]) == ("1.0.0", "1.9.0")
    shown = data(await people.get("/api/nodes/name/hand", token=admin))["node"]
    assert shown["allocated"] == {"cpu": 100, "memory": 128, "pods": 1}
    by_node = data(await people.get(f"/api/pods?nodeId={shown['id']}", token=admin))["pods"]
    assert [each["nodeId"] for each in by_node] == [shown["id"]]


async def test_nodes_are_filtered_changed_and_removed(people: People, admin: str) -> None:
    taint = {"key": "dedicated", "value": "gpu", "effect": "NoSchedule"}
    body = {"name": "made-1", "labels": {"env": "production", "tier": "front"}, "taints": [taint]}
    node = data(await people.post("/api/nodes", body, token=admin), 201)["node"]
    assert (node["taints"], node["unschedulable"], node["status"]) == ([taint], False, "unhealthy")
    path = f"/api/nodes/{node['id']}"
    change = {"labels": {"env": "staging", "tier": None}, "taints": [], "unschedulable": True}
    changed = data(await people.ask("PATCH", path, change, token=admin))["node"]
    assert (changed["labels"], changed["taints"], changed["unschedulable"]) == ({"env": "staging"}, [], True)
    found = data(await people.get("/api/nodes?labelSelector=env%3Dstaging&status=unhealthy&search=ADE", token=admin))
    assert [each["id"] for each in found["nodes"]] == [node["id"]]
    refusal(await people.get("/api/nodes?status=splendid", token=admin), 400, "VALIDATION_ERROR")
    assert data(await people.ask("DELETE", path, token=admin))["nodeId"] == node["id"]
    refusal(await people.get(path, token=admin), 404, "NOT_FOUND")


async def test_a_namespace_has_a_quota_in_the_originals_units(people: People, admin: str) -> None:
    hard = {"pods": 10, "cpu": 2500, "memory": 512}
    body = {"name": "team-a", "labels": {"team": "a"}, "resourceQuota": {"hard": hard}}
    space = data(await people.post("/api/namespaces", body, token=admin), 201)["namespace"]
    assert (space["phase"], space["resourceQuota"]) == ("active", {"hard": hard})
    quota = (await people.api.get("/api/v1/namespaces/team-a/resourcequotas/namespace-quota")).ok()["spec"]["hard"]
    assert quota == {"pods": "10", "requests.cpu": "2500m", "requests.memory": "512Mi"}
    path = f"/api/namespaces/{space['id']}"
    changed = data(await people.ask("PUT", path, {"labels": {}, "resourceQuota": {"hard": {"pods": 3}}}, token=admin))
    assert changed["namespace"]["resourceQuota"] == {"hard": {"pods": 3}}
    assert "team" not in changed["namespace"]["labels"]
    assert data(await people.ask("DELETE", "/api/namespaces/team-a", token=admin))["namespaceId"] == space["id"]
    for reserved in ("default", "9lives"):
        told = await people.post("/api/namespaces", {"name": reserved}, token=admin)
        assert told.status in (400, 409), told
    refusal(await people.ask("DELETE", "/api/namespaces/default", token=admin), 403, "FORBIDDEN")


async def test_a_deployment_is_scaled_to_every_node_and_back_paused_and_given_another_version(
    people: People, admin: str, pack: dict[str, Any]
) -> None:
    body = {"name": "web", "packName": "hello", "packVersion": "1.9.0", "replicas": 3, "podLabels": {"tier": "front"}}
    made = data(await people.post("/api/deployments", body, token=admin), 201)["deployment"]
    assert (made["replicas"], made["mode"], made["packVersion"]) == (3, "replicas", "1.9.0")
    assert made["podLabels"] == {"app": "web", "tier": "front"}
    refusal(await people.post("/api/deployments", body, token=admin), 409, "CONFLICT")
    path = f"/api/deployments/{made['id']}"
    everywhere = data(await people.post(f"{path}/scale", {"replicas": 0}, token=admin))["deployment"]
    assert (everywhere["replicas"], everywhere["mode"]) == (0, "daemonset")
    five = data(await people.post(f"{path}/scale", {"replicas": 5}, token=admin))["deployment"]
    assert (five["replicas"], five["mode"]) == (5, "replicas")
    change = {"status": "paused", "packVersion": "1.0.0", "followLatest": True, "labels": {"x": "y"}}
    changed = data(await people.ask("PATCH", path, change, token=admin))["deployment"]
    assert (changed["status"], changed["packVersion"], changed["followLatest"]) == ("paused", "1.0.0", True)
    again = data(await people.ask("PATCH", path, {"status": "active", "followLatest": False}, token=admin))[
        "deployment"
    ]
    assert (again["status"], again["followLatest"], again["labels"]["x"]) == ("scaling", False, "y")
    refusal(await people.ask("PATCH", path, {"packVersion": "9.9.9"}, token=admin), 404, "VERSION_NOT_FOUND")
    by_name = data(await people.get("/api/deployments/name/web?namespace=default", token=admin))["deployment"]
    assert by_name["id"] == made["id"]
    assert data(await people.get("/api/deployments?status=scaling&packName=hello", token=admin))["total"] == 1
    assert data(await people.ask("DELETE", path, token=admin))["deleted"]


async def test_everybody_sees_and_reaches_only_what_the_roles_let_them(
    people: People, admin: str, pack: dict[str, Any]
) -> None:
    user = (await people.add("uma@example.com", "user"))["accessToken"]
    viewer = (await people.add("vera@example.com", "viewer"))["accessToken"]
    assert data(await people.get("/api/packs", token=user))["total"] == 0, "all there are belong to the administrator"
    refusal(await people.get(f"/api/packs/{pack['id']}", token=user), 404, "NOT_FOUND")
    refusal(await people.ask("DELETE", f"/api/packs/{pack['id']}", token=user), 404, "NOT_FOUND")
    own = await register(people, user, "hers", "1.0.0")
    assert own["ownerId"] == "uma@example.com"
    assert [each["id"] for each in data(await people.get("/api/packs", token=user))["packs"]] == [own["id"]]
    refusal(await people.post("/api/namespaces", {"name": "hers"}, token=viewer), 403, "FORBIDDEN")
    refusal(await people.post("/api/packs", {**_pack(), "name": "v"}, token=viewer), 403, "FORBIDDEN")
    refusal(await people.get("/api/pods"), 401, "AUTHENTICATION_REQUIRED")
    refusal(await people.get("/api/pods", token="nonsense"), 401, "UNAUTHORIZED")


async def test_what_is_not_there_is_told_in_the_envelope_and_the_other_api_stays(people: People, admin: str) -> None:
    refusal(await people.get("/api/teapots", token=admin), 404, "NOT_FOUND")
    refusal(await people.get(f"/api/pods/{NOBODY_ID}", token=admin), 404, "NOT_FOUND")
    refusal(await people.ask("PUT", "/api/pods", {}, token=admin), 405, "METHOD_NOT_ALLOWED")
    for query, field in (("page=0", "page"), ("pageSize=101", "pageSize"), ("colour=red", "colour")):
        told = refusal(await people.get(f"/api/pods?{query}", token=admin), 400, "VALIDATION_ERROR")
        assert field in told["details"]
    refusal(await people.get("/api/pods?namespace=a/secrets", token=admin), 400, "VALIDATION_ERROR")
    missing = (await people.get("/api/v1/namespaces/default/pods/none", token=admin)).ok(404)
    assert missing["kind"] == "Status"
    assert (await people.get("/api", token=admin)).ok()["kind"] == "APIVersions"


LONG = "x" * 70_000
ODD: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    10**30,
    1.5,
    "",
    LONG,
    "a/../b",
    "\udcff",
    "\x00",
    [],
    [None],
    [{}],
    {},
    {"a": None},
    {"hard": 1},
)
"""Values for fields of every type."""


def odd_bodies(known: Mapping[str, type], given: Mapping[str, Any]) -> Iterator[Any]:
    """Bodies with one field that is not what it should be, beside good ones; and what is no object at all."""
    yield from ([], "text", None, 1)
    for name in (*known, "unknown"):
        for value in ODD:
            yield {**given, name: value}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "path", "known", "given"),
    [
        (
            "POST",
            "/api/packs",
            packs.NEW,
            {"name": "f", "version": "1.0.0", "runtimeTag": "node", "bundleContent": "x"},
        ),
        ("PATCH", "/api/packs/hello", packs.CHANGEABLE, {}),
        ("POST", "/api/pods", pods.NEW, {"packName": "hello"}),
        ("POST", "/api/nodes", nodes.NEW, {"name": "odd"}),
        ("PATCH", "/api/nodes/hand", nodes.CHANGEABLE, {}),
        ("POST", "/api/namespaces", namespaces.NEW, {"name": "odd"}),
        ("PUT", "/api/namespaces/odd", namespaces.NEW, {}),
        ("POST", "/api/deployments", deployments.NEW, {"name": "odd", "packName": "hello"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_no_value_of_any_field_is_an_error_of_ours(
    people: People,
    admin: str,
    pack: dict[str, Any],
    method: str,
    path: str,
    known: Mapping[str, type],
    given: Mapping[str, Any],
) -> None:
    for body in odd_bodies(known, given):
        answer = await people.ask(method, path, body, token=admin)
        assert answer.status < 500, (body, answer.body)
        assert answer.body["success"] is (answer.status < 400), (body, answer.body)


@pytest.mark.parametrize("word", ["a%2Fb", "%00", "x" * 300, "%ff", "%25", "*", "a b", "\u00e9"])
async def test_no_id_leads_elsewhere(people: People, admin: str, word: str) -> None:
    for kind in ("packs", "pods", "nodes", "namespaces", "deployments"):
        for method in ("GET", "DELETE"):
            answer = await people.ask(method, f"/api/{kind}/{word}", token=admin)
            assert answer.status in (400, 404, 405), (kind, word, answer.status)


async def test_the_audit_log_names_the_objects_that_were_reached(people: People, admin: str) -> None:
    await register(people, admin, "noted", "1.0.0")
    events = data(await people.get("/audit/logs?limit=50", token=admin))["logs"]
    assert any(each.get("objectRef", {}).get("name") == "noted.1.0.0" and each["verb"] == "create" for each in events)


def _pack() -> dict[str, str]:
    return {"name": "p", "version": "1.0.0", "runtimeTag": "node", "bundleContent": TEXT}


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
