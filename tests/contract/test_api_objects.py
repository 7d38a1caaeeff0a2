"""Objects over the wire: created, read, replaced, patched and deleted the way Kubernetes' clients expect it."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from tests.support.apiserver import JSON_PATCH, STRATEGIC_PATCH, Api, config_map, pod

PODS = "/api/v1/namespaces/default/pods"
MAPS = "/api/v1/namespaces/default/configmaps"


async def test_a_new_object_gets_what_only_the_server_gives(api: Api) -> None:
    made = (await api.post(MAPS, config_map("a", k="v"))).ok(201)
    meta = made["metadata"]
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", meta["uid"])
    assert int(meta["resourceVersion"]) > 1
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", meta["creationTimestamp"])
    assert (await api.get(f"{MAPS}/a")).ok() == made


async def test_a_name_can_be_taken_once(api: Api) -> None:
    (await api.post(MAPS, config_map("a"))).ok(201)
    assert (await api.post(MAPS, config_map("a"))).refused(409, "AlreadyExists") == 'configmaps "a" already exists'


async def test_a_missing_object_is_not_found_in_kubernetes_words(api: Api) -> None:
    answer = await api.get(f"{MAPS}/none")
    assert answer.refused(404, "NotFound") == 'configmaps "none" not found'
    assert answer.body["details"] == {"name": "none", "kind": "configmaps"}
    assert list(answer.body) == ["kind", "apiVersion", "metadata", "status", "message", "reason", "details", "code"]


async def test_generated_names_differ_and_are_legal(api: Api) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "job-"}}
    names = {(await api.post(MAPS, body)).ok(201)["metadata"]["name"] for _ in range(5)}
    assert len(names) == 5
    assert all(re.fullmatch(r"job-[bcdfghjklmnpqrstvwxz2456789]{5}", name) for name in names)


async def test_an_update_of_an_old_version_is_a_conflict(api: Api) -> None:
    old = (await api.post(MAPS, config_map("a", k="1"))).ok(201)
    (await api.put(f"{MAPS}/a", {**old, "data": {"k": "2"}})).ok()
    message = (await api.put(f"{MAPS}/a", {**old, "data": {"k": "3"}})).refused(409, "Conflict")
    assert message == (
        'Operation cannot be fulfilled on configmaps "a": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )
    assert (await api.get(f"{MAPS}/a")).ok()["data"] == {"k": "2"}


async def test_an_update_without_a_version_replaces_whatever_is_there(api: Api) -> None:
    (await api.post(MAPS, config_map("a", k="1"))).ok(201)
    replaced = (await api.put(f"{MAPS}/a", config_map("a", k="2"))).ok()
    assert replaced["data"] == {"k": "2"}
    assert replaced["metadata"]["uid"] == (await api.get(f"{MAPS}/a")).ok()["metadata"]["uid"]


async def test_an_update_that_changes_nothing_writes_nothing(api: Api) -> None:
    made = (await api.post(MAPS, config_map("a", k="1"))).ok(201)
    assert (await api.put(f"{MAPS}/a", made)).ok() == made
    reordered = {**made, "metadata": dict(reversed(made["metadata"].items()))}
    assert (await api.put(f"{MAPS}/a", reordered)).ok()["metadata"] == made["metadata"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"kind": "Pod"}, "cannot be handled as a ConfigMap", id="another kind"),
        pytest.param({"apiVersion": "v2"}, "does not match the expected API version (v1)", id="another version"),
        pytest.param({"metadata": {"name": "b"}}, "does not match the name on the URL (a)", id="another name"),
        pytest.param({"metadata": {"namespace": "x"}}, "does not match the namespace sent", id="another namespace"),
    ],
)
async def test_a_body_about_something_else_is_a_bad_request(api: Api, change: dict[str, Any], message: str) -> None:
    (await api.post(MAPS, config_map("a"))).ok(201)
    assert message in (await api.put(f"{MAPS}/a", {**config_map("a"), **change})).refused(400, "BadRequest")


async def test_generation_counts_changes_of_the_spec_only(api: Api) -> None:
    made = (await api.post("/apis/apps/v1/namespaces/default/deployments", deployment("web"))).ok(201)
    path = "/apis/apps/v1/namespaces/default/deployments/web"
    assert made["metadata"]["generation"] == 1
    assert (await api.patch(path, {"metadata": {"labels": {"a": "b"}}})).ok()["metadata"]["generation"] == 1
    assert (await api.patch(path, {"spec": {"replicas": 3}})).ok()["metadata"]["generation"] == 2
    status = {"status": {"observedGeneration": 2, "replicas": 3}, "spec": {"replicas": 9}}
    after = (await api.patch(f"{path}/status", status)).ok()
    assert (after["metadata"]["generation"], after["spec"]["replicas"]) == (2, 3)
    assert after["status"]["replicas"] == 3


async def test_status_is_not_written_through_the_object(api: Api) -> None:
    path = "/apis/apps/v1/namespaces/default/deployments"
    made = (await api.post(path, {**deployment("web"), "status": {"replicas": 7}})).ok(201)
    assert not made.get("status", {}).get("replicas")
    (await api.patch(f"{path}/web/status", {"status": {"replicas": 2}})).ok()
    after = (await api.put(f"{path}/web", {**deployment("web"), "status": {"replicas": 7}})).ok()
    assert after["status"]["replicas"] == 2


async def test_every_kind_of_patch_works_where_it_should(api: Api) -> None:
    (await api.post(PODS, pod("a"))).ok(201)
    path = f"{PODS}/a"
    operations = [{"op": "add", "path": "/metadata/labels", "value": {"x": "1"}}]
    assert (await api.patch(path, operations, JSON_PATCH)).ok()["metadata"]["labels"] == {"x": "1"}
    assert (await api.patch(path, {"metadata": {"labels": {"y": "2"}}})).ok()["metadata"]["labels"] == {
        "x": "1",
        "y": "2",
    }
    strategic = {"spec": {"containers": [{"name": "main", "image": "docker.io/library/busybox:2"}]}}
    containers = (await api.patch(path, strategic, STRATEGIC_PATCH)).ok()["spec"]["containers"]
    assert [(c["name"], c["image"]) for c in containers] == [("main", "docker.io/library/busybox:2")]
    (await api.patch(path, strategic, "application/unknown")).refused(415, "UnsupportedMediaType")
    wrong = [{"op": "test", "path": "/metadata/name", "value": "z"}]
    (await api.patch(path, wrong, JSON_PATCH)).refused(422, "Invalid")
    assert "decoding patch" in (await api.patch(path, b"[", JSON_PATCH)).refused(400, "BadRequest")


async def test_patches_at_the_same_time_are_all_applied(api: Api) -> None:
    (await api.post(MAPS, config_map("a"))).ok(201)
    patches = (api.patch(f"{MAPS}/a", {"data": {f"k{number}": "v"}}) for number in range(10))
    assert {answer.status for answer in await asyncio.gather(*patches)} == {200}
    assert len((await api.get(f"{MAPS}/a")).ok()["data"]) == 10


async def test_updates_at_the_same_time_have_one_winner(api: Api) -> None:
    made = (await api.post(MAPS, config_map("a"))).ok(201)
    updates = (api.put(f"{MAPS}/a", {**made, "data": {"winner": str(number)}}) for number in range(10))
    statuses = sorted(answer.status for answer in await asyncio.gather(*updates))
    assert statuses == [200, *[409] * 9]


async def test_a_deletion_is_answered_with_what_was_deleted(api: Api) -> None:
    made = (await api.post(MAPS, config_map("a"))).ok(201)
    gone = (await api.delete(f"{MAPS}/a")).ok()
    assert (gone["kind"], gone["status"], gone["details"]["uid"]) == ("Status", "Success", made["metadata"]["uid"])
    (await api.get(f"{MAPS}/a")).refused(404, "NotFound")
    (await api.delete(f"{MAPS}/a")).refused(404, "NotFound")


async def test_a_deletion_of_another_object_is_a_conflict(api: Api) -> None:
    made = (await api.post(MAPS, config_map("a"))).ok(201)
    message = (await api.delete(f"{MAPS}/a", {"preconditions": {"uid": "other"}})).refused(409, "Conflict")
    assert "UID in precondition: other" in message
    (await api.delete(f"{MAPS}/a", {"preconditions": {"resourceVersion": "1"}})).refused(409, "Conflict")
    (await api.delete(f"{MAPS}/a", {"preconditions": {"uid": made["metadata"]["uid"]}})).ok()


async def test_finalizers_keep_an_object_until_the_last_is_gone(api: Api) -> None:
    body = config_map("a")
    body["metadata"]["finalizers"] = ["example.com/one", "example.com/two"]
    (await api.post(MAPS, body)).ok(201)
    going = (await api.delete(f"{MAPS}/a")).ok()
    assert going["metadata"]["deletionTimestamp"]
    more = {"metadata": {"finalizers": ["example.com/one", "example.com/three"]}}
    assert "no new finalizers" in (await api.patch(f"{MAPS}/a", more)).refused(422, "Invalid")
    (await api.patch(f"{MAPS}/a", {"metadata": {"finalizers": ["example.com/one"]}})).ok()
    last = (await api.patch(f"{MAPS}/a", {"metadata": {"finalizers": []}})).ok()
    assert last["metadata"]["name"] == "a"
    (await api.get(f"{MAPS}/a")).refused(404, "NotFound")


@pytest.mark.parametrize(
    ("policy", "finalizer"), [("Foreground", "foregroundDeletion"), ("Orphan", "orphan"), ("Background", "")]
)
async def test_a_propagation_policy_is_left_to_the_garbage_collector(api: Api, policy: str, finalizer: str) -> None:
    path = "/apis/apps/v1/namespaces/default/deployments"
    (await api.post(path, deployment("web"))).ok(201)
    (await api.delete(f"{path}/web", {"propagationPolicy": policy})).ok()
    answer = await api.get(f"{path}/web")
    if finalizer:
        assert answer.ok()["metadata"]["finalizers"] == [finalizer]
    else:
        answer.refused(404, "NotFound")


async def test_a_bound_pod_goes_gracefully_and_its_agent_ends_it(api: Api) -> None:
    (await api.post(PODS, pod("a"))).ok(201)
    (await api.post(f"{PODS}/a/binding", binding("a", "n1"))).ok(201)
    going = (await api.delete(f"{PODS}/a")).ok()
    assert going["metadata"]["deletionGracePeriodSeconds"] == 30
    sooner = (await api.delete(f"{PODS}/a", {"gracePeriodSeconds": 5})).ok()
    assert sooner["metadata"]["deletionGracePeriodSeconds"] == 5
    later = (await api.delete(f"{PODS}/a", {"gracePeriodSeconds": 60})).ok()
    assert later["metadata"]["deletionGracePeriodSeconds"] == 5
    final = {"gracePeriodSeconds": 0, "preconditions": {"uid": going["metadata"]["uid"]}}
    (await api.delete(f"{PODS}/a", final)).ok()
    (await api.get(f"{PODS}/a")).refused(404, "NotFound")


async def test_an_unbound_pod_goes_at_once(api: Api) -> None:
    (await api.post(PODS, pod("a"))).ok(201)
    assert (await api.delete(f"{PODS}/a")).ok()["kind"] == "Pod"
    (await api.get(f"{PODS}/a")).refused(404, "NotFound")


async def test_a_pod_is_bound_once(api: Api) -> None:
    (await api.post(PODS, pod("a"))).ok(201)
    rivals = (api.post(f"{PODS}/a/binding", binding("a", f"n{number}")) for number in range(5))
    statuses = sorted(answer.status for answer in await asyncio.gather(*rivals))
    assert statuses == [201, 409, 409, 409, 409]
    bound = (await api.get(f"{PODS}/a")).ok()
    assert bound["spec"]["nodeName"].startswith("n")
    condition = next(item for item in bound["status"]["conditions"] if item["type"] == "PodScheduled")
    assert condition["status"] == "True"
    assert bound["metadata"]["annotations"]["example.com/score"] == "7"


async def test_a_pods_spec_stays_as_it_is(api: Api) -> None:
    (await api.post(PODS, pod("a"))).ok(201)
    (await api.patch(f"{PODS}/a", {"spec": {"restartPolicy": "Never"}})).refused(422, "Invalid")


async def test_scale_reads_and_writes_the_replicas(api: Api) -> None:
    path = "/apis/apps/v1/namespaces/default/deployments"
    (await api.post(path, deployment("web"))).ok(201)
    scale = (await api.get(f"{path}/web/scale")).ok()
    assert (scale["kind"], scale["spec"], scale["status"]["selector"]) == ("Scale", {"replicas": 1}, "app=web")
    scale["spec"]["replicas"] = 4
    assert (await api.put(f"{path}/web/scale", scale)).ok()["spec"] == {"replicas": 4}
    scale["spec"]["replicas"] = 5
    (await api.put(f"{path}/web/scale", scale)).refused(409, "Conflict")
    (await api.patch(f"{path}/web/scale", {"spec": {"replicas": -1}})).refused(422, "Invalid")
    (await api.patch(f"{path}/web/scale", {"spec": {"replicas": 6}})).ok()
    after = (await api.get(f"{path}/web")).ok()
    assert (after["spec"]["replicas"], after["metadata"]["generation"]) == (6, 3)


async def test_a_dry_run_answers_as_if_and_stores_nothing(api: Api) -> None:
    (await api.post(f"{MAPS}?dryRun=All", config_map("a"))).ok(201)
    (await api.get(f"{MAPS}/a")).refused(404, "NotFound")
    (await api.post(MAPS, config_map("a", k="1"))).ok(201)
    (await api.post(f"{MAPS}?dryRun=All", config_map("a"))).refused(409, "AlreadyExists")
    assert (await api.put(f"{MAPS}/a?dryRun=All", config_map("a", k="2"))).ok()["data"] == {"k": "2"}
    (await api.delete(f"{MAPS}/a?dryRun=All")).ok()
    assert (await api.get(f"{MAPS}/a")).ok()["data"] == {"k": "1"}
    (await api.post(f"{MAPS}?dryRun=Some", config_map("b"))).refused(422, "Invalid")


async def test_unknown_fields_are_told_or_refused_as_the_client_wishes(api: Api) -> None:
    body = {**config_map("a"), "datta": {"k": "v"}}
    warned = await api.post(f"{MAPS}?fieldValidation=Warn", body)
    assert "datta" not in warned.ok(201)
    assert "unknown field" in warned.headers["Warning"]
    silent = await api.post(f"{MAPS}?fieldValidation=Ignore", {**body, "metadata": {"name": "b"}})
    silent.ok(201)
    assert "Warning" not in silent.headers
    strict = await api.post(f"{MAPS}?fieldValidation=Strict", {**body, "metadata": {"name": "c"}})
    assert 'strict decoding error: unknown field "datta"' in strict.refused(400, "BadRequest")
    doubled = b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"d"},"data":{"k":"1","k":"2"}}'
    strict = await api.ask("POST", f"{MAPS}?fieldValidation=Strict", doubled)
    assert 'duplicate field "data.k"' in strict.refused(400, "BadRequest")


async def test_yaml_is_read_and_written(api: Api) -> None:
    text = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {day: 2020-01-01}\n"
    (await api.ask("POST", MAPS, text, content_type="application/yaml")).ok(201)
    shown = await api.get(f"{MAPS}/a", headers={"Accept": "application/yaml"})
    assert "day: '2020-01-01'" in shown.ok()
    bomb = b"a: &a [1,1]\nb: [*a,*a]\n"
    (await api.ask("POST", MAPS, bomb, content_type="application/yaml")).refused(400, "BadRequest")


async def test_pretty_is_indented(api: Api) -> None:
    (await api.post(MAPS, config_map("a"))).ok(201)
    async with api.session.get(f"{api.running.url}{MAPS}/a?pretty=true") as response:
        assert (await response.text()).startswith('{\n  "apiVersion"')


async def test_names_follow_the_rules_of_their_kind(api: Api) -> None:
    message = (await api.post(MAPS, config_map("Not_Legal"))).refused(422, "Invalid")
    assert message.startswith('ConfigMap "Not_Legal" is invalid: metadata.name: Invalid value: "Not_Legal"')
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a.b"}}
    (await api.post("/api/v1/namespaces", namespace)).refused(422, "Invalid")
    (await api.post(MAPS, {"apiVersion": "v1", "kind": "ConfigMap"})).refused(422, "Invalid")


async def test_a_missing_namespace_is_told(api: Api) -> None:
    message = (await api.post("/api/v1/namespaces/nowhere/configmaps", config_map("a"))).refused(404, "NotFound")
    assert message == 'namespaces "nowhere" not found'


async def test_a_namespace_lasts_until_it_is_finalized(api: Api) -> None:
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "room"}}
    made = (await api.post("/api/v1/namespaces", body)).ok(201)
    assert made["spec"]["finalizers"] == ["kubernetes"]
    going = (await api.delete("/api/v1/namespaces/room")).ok()
    assert going["status"]["phase"] == "Terminating"
    (await api.post("/api/v1/namespaces/room/configmaps", config_map("a"))).refused(403, "Forbidden")
    going["spec"]["finalizers"] = []
    (await api.put("/api/v1/namespaces/room/finalize", going)).ok()
    (await api.get("/api/v1/namespaces/room")).refused(404, "NotFound")


async def test_a_collection_is_deleted_by_selector(api: Api) -> None:
    for name, color in (("a", "red"), ("b", "blue"), ("c", "red")):
        (await api.post(MAPS, config_map(name, {"color": color}))).ok(201)
    deleted = (await api.delete(f"{MAPS}?labelSelector=color%3Dred")).ok()
    assert [item["metadata"]["name"] for item in deleted["items"]] == ["a", "c"]
    left = (await api.get(MAPS)).ok()["items"]
    assert [item["metadata"]["name"] for item in left] == ["b"]


async def test_events_vanish_by_themselves(api: Api) -> None:
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "e", "namespace": "default"},
        "involvedObject": {"kind": "Pod", "name": "a", "namespace": "default"},
    }
    (await api.post("/api/v1/namespaces/default/events", event)).ok(201)
    item, _ = await api.store.get(b"/registry/core/events/default/e")
    assert item is not None
    assert item.lease != 0
    item, _ = await api.store.get(b"/registry/core/namespaces/default")
    assert item is not None
    assert item.lease == 0


async def test_what_is_too_large_is_refused(api: Api) -> None:
    (await api.post(MAPS, config_map("a", k="x" * 4_000_000))).refused(413, "RequestEntityTooLarge")
    (await api.get(f"{MAPS}/a")).refused(404, "NotFound")


def deployment(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": pod(name)["spec"]},
        },
    }


def binding(name: str, node: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": name, "annotations": {"example.com/score": "7"}},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node},
    }


async def test_base64_may_have_line_breaks_and_is_answered_in_one_line(api: Api) -> None:
    encoded = "aGVs\nbG8gYWdh\r\naW4="
    for path, body in (
        ("secrets", {"kind": "Secret", "data": {"a": encoded}}),
        ("configmaps", {"kind": "ConfigMap", "binaryData": {"a": encoded}}),
    ):
        where = f"/api/v1/namespaces/default/{path}"
        made = (await api.post(where, {"apiVersion": "v1", "metadata": {"name": "broken"}, **body})).ok(201)
        assert (made.get("data") or made["binaryData"])["a"] == "aGVsbG8gYWdhaW4="


async def test_a_built_in_kind_has_a_status_from_the_beginning(api: Api) -> None:
    spec: dict[str, Any] = {"ports": [{"port": 80}], "selector": {"app": "web"}}
    body = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": spec,
        "status": {"conditions": []},
    }
    made = (await api.post("/api/v1/namespaces/default/services", body)).ok(201)
    assert made["status"] == {"loadBalancer": {}}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": pod("web")["spec"]}
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}
    made = (await api.post("/apis/apps/v1/namespaces/default/deployments", body)).ok(201)
    assert made["status"] == {}
    made = (await api.post("/apis/apps/v1/namespaces/default/replicasets", {**body, "kind": "ReplicaSet"})).ok(201)
    assert made["status"] == {"replicas": 0}


async def test_a_spec_that_nobody_gave_is_there_and_empty(api: Api) -> None:
    made = (await api.post("/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n9"}})).ok(201)
    assert made["spec"] == {}
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"}}
    assert (await api.post("/apis/coordination.k8s.io/v1/namespaces/default/leases", lease)).ok(201)["spec"] == {}


async def test_a_pod_knows_its_quality_of_service_and_keeps_it(api: Api) -> None:
    path = "/api/v1/namespaces/default/pods"
    made = (await api.post(path, pod("quality"))).ok(201)
    assert (made["status"]["phase"], made["status"]["qosClass"]) == ("Pending", "BestEffort")
    written = {**made, "status": {"phase": "Running"}}
    after = (await api.put(f"{path}/quality/status", written)).ok()
    assert after["status"] == {"qosClass": "BestEffort", "phase": "Running"}
    limited = pod("limited")
    limited["spec"]["containers"][0]["resources"] = {"limits": {"cpu": "1", "memory": "1Gi"}}
    assert (await api.post(path, limited)).ok(201)["status"]["qosClass"] == "Guaranteed"
