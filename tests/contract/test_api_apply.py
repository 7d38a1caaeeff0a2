"""Server-side apply over HTTP: who owns what, who is in whose way, and what goes when nobody wants it any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.apiserver import JSON_PATCH, Answer, Api, api_server, config_map, pod

APPLY = "application/apply-patch+yaml"
MAPS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with api_server(tmp_path) as running:
        yield running


async def apply(api: Api, path: str, config: Any, manager: str = "one", **query: str) -> Answer:
    given = "&".join(f"{name}={value}" for name, value in {"fieldManager": manager, **query}.items() if value)
    return await api.ask("PATCH", f"{path}?{given}", config, content_type=APPLY)


def settings(**data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data}


def deployment(**spec: Any) -> dict[str, Any]:
    container = {"name": "main", "image": "docker.io/library/busybox:1.36"}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}}
    whole = {"selector": {"matchLabels": {"app": "web"}}, "template": template, **spec}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": whole}


def owners(obj: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        f"{entry['manager']} {entry['operation']} {entry.get('subresource', '')}".strip(): entry["fieldsV1"]
        for entry in obj["metadata"].get("managedFields", [])
    }


async def test_applying_to_nothing_creates_and_owns_what_was_said(api: Api) -> None:
    created = (await apply(api, f"{MAPS}/a", settings(x="1"))).ok(201)
    assert created["data"] == {"x": "1"}
    assert owners(created) == {"one Apply": {"f:data": {"f:x": {}}}}
    assert created["metadata"]["managedFields"][0]["apiVersion"] == "v1"
    assert created["metadata"]["managedFields"][0]["fieldsType"] == "FieldsV1"


async def test_applying_the_same_again_changes_nothing(api: Api) -> None:
    first = (await apply(api, f"{DEPLOYMENTS}/web", deployment(replicas=2))).ok(201)
    again = (await apply(api, f"{DEPLOYMENTS}/web", deployment(replicas=2))).ok()
    assert again == first


async def test_a_body_of_yaml_is_as_good_as_json(api: Api) -> None:
    body = yaml.safe_dump(settings(x="1")).encode()
    assert (await apply(api, f"{MAPS}/a", body)).ok(201)["data"] == {"x": "1"}


async def test_what_is_no_longer_applied_goes(api: Api) -> None:
    (await apply(api, f"{MAPS}/a", settings(x="1", y="2"))).ok(201)
    assert (await apply(api, f"{MAPS}/a", settings(x="1"))).ok()["data"] == {"x": "1"}


async def test_what_another_applies_too_stays(api: Api) -> None:
    (await apply(api, f"{MAPS}/a", settings(x="1", y="2"))).ok(201)
    shared = (await apply(api, f"{MAPS}/a", settings(y="2"), "two")).ok()
    assert owners(shared)["two Apply"] == {"f:data": {"f:y": {}}}
    left = (await apply(api, f"{MAPS}/a", settings(x="1"))).ok()
    assert left["data"] == {"x": "1", "y": "2"}


async def test_a_conflict_names_the_owner_and_the_field(api: Api) -> None:
    (await apply(api, f"{MAPS}/a", settings(x="1"))).ok(201)
    answer = await apply(api, f"{MAPS}/a", settings(x="2"), "two")
    assert answer.refused(409, "Conflict") == 'Apply failed with 1 conflict: conflict with "one": .data.x'
    assert answer.body["details"]["causes"] == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "one"', "field": ".data.x"}
    ]


async def test_a_conflict_with_an_updater_names_its_version(api: Api) -> None:
    (await api.post(f"{DEPLOYMENTS}?fieldManager=kubectl-client-side-apply", deployment(replicas=1))).ok(201)
    answer = await apply(api, f"{DEPLOYMENTS}/web", deployment(replicas=3))
    assert answer.refused(409, "Conflict") == (
        'Apply failed with 1 conflict: conflict with "kubectl-client-side-apply" using apps/v1: .spec.replicas'
    )


async def test_several_conflicts_are_told_by_owner(api: Api) -> None:
    (await apply(api, f"{MAPS}/a", settings(x="1", y="1"))).ok(201)
    (await apply(api, f"{MAPS}/a", settings(z="1"), "two")).ok()
    message = (await apply(api, f"{MAPS}/a", settings(x="2", y="2", z="2"), "three")).refused(409, "Conflict")
    assert message == (
        'Apply failed with 3 conflicts: conflicts with "one":\n- .data.x\n- .data.y\nconflicts with "two":\n- .data.z'
    )


async def test_force_takes_the_field_over(api: Api) -> None:
    (await apply(api, f"{MAPS}/a", settings(x="1"))).ok(201)
    forced = (await apply(api, f"{MAPS}/a", settings(x="2"), "two", force="true")).ok()
    assert forced["data"] == {"x": "2"}
    assert owners(forced) == {"two Apply": {"f:data": {"f:x": {}}}}


async def test_an_update_takes_what_it_changes_from_appliers(api: Api) -> None:
    (await apply(api, f"{MAPS}/a", settings(x="1", y="1"))).ok(201)
    changed = (await api.patch(f"{MAPS}/a?fieldManager=hand", {"data": {"x": "2"}})).ok()
    assert owners(changed) == {"one Apply": {"f:data": {"f:y": {}}}, "hand Update": {"f:data": {"f:x": {}}}}


async def test_a_program_without_a_field_manager_is_known_by_its_user_agent(api: Api) -> None:
    created = (await api.post(MAPS, config_map("a", x="1"), headers={"User-Agent": "robot/1.0 (x)"})).ok(201)
    assert owners(created) == {"robot Update": {"f:data": {".": {}, "f:x": {}}}}


async def test_an_update_that_changes_nothing_keeps_version_and_owners(api: Api) -> None:
    created = (await api.post(f"{MAPS}?fieldManager=a", config_map("a", x="1"))).ok(201)
    assert (await api.put(f"{MAPS}/a?fieldManager=b", created)).ok() == created


async def test_applying_needs_a_field_manager(api: Api) -> None:
    message = (await apply(api, f"{MAPS}/a", settings(x="1"), "")).refused(422, "Invalid")
    assert message.endswith("fieldManager: Required value: is required for apply patch")


async def test_only_applying_can_be_forced(api: Api) -> None:
    (await api.post(MAPS, config_map("a", x="1"))).ok(201)
    message = (await api.patch(f"{MAPS}/a?force=true", {"data": {"x": "2"}})).refused(422, "Invalid")
    assert message.endswith("force: Forbidden: may not be specified for non-apply patch")


async def test_a_configuration_does_not_say_who_owns_what(api: Api) -> None:
    config = settings(x="1")
    config["metadata"]["managedFields"] = [{"manager": "x"}]
    assert (await apply(api, f"{MAPS}/a", config)).refused(400, "BadRequest") == "metadata.managedFields must be nil"


async def test_a_dry_run_stores_nothing(api: Api) -> None:
    (await apply(api, f"{MAPS}/a", settings(x="1"), dryRun="All")).ok(201)
    (await api.get(f"{MAPS}/a")).refused(404, "NotFound")
    first = (await apply(api, f"{MAPS}/a", settings(x="1"))).ok(201)
    assert (await apply(api, f"{MAPS}/a", settings(x="2"), dryRun="All")).ok()["data"] == {"x": "2"}
    assert (await api.get(f"{MAPS}/a")).ok() == first


async def test_items_of_a_list_have_owners_of_their_own(api: Api) -> None:
    (await apply(api, f"{DEPLOYMENTS}/web", deployment())).ok(201)
    side = {"name": "side", "image": "docker.io/library/busybox:1.35"}
    config = deployment()
    config["spec"] = {"template": {"spec": {"containers": [side]}}}
    both = (await apply(api, f"{DEPLOYMENTS}/web", config, "two")).ok()
    assert [item["name"] for item in both["spec"]["template"]["spec"]["containers"]] == ["main", "side"]
    config["spec"] = {}
    left = (await apply(api, f"{DEPLOYMENTS}/web", config, "two")).ok()
    assert [item["name"] for item in left["spec"]["template"]["spec"]["containers"]] == ["main"]


async def test_two_items_with_the_same_keys_are_refused(api: Api) -> None:
    config = deployment()
    config["spec"]["template"]["spec"]["containers"] *= 2
    message = (await apply(api, f"{DEPLOYMENTS}/web", config)).refused(400, "BadRequest")
    assert "duplicate entries" in message


async def test_status_is_applied_through_its_subresource_only(api: Api) -> None:
    config = {**deployment(), "status": {"replicas": 7}}
    created = (await apply(api, f"{DEPLOYMENTS}/web", config)).ok(201)
    assert created.get("status", {}).get("replicas") != 7
    stated = (await apply(api, f"{DEPLOYMENTS}/web/status", config, "two")).ok()
    assert stated["status"]["replicas"] == 7
    assert owners(stated)["two Apply status"] == {"f:status": {"f:replicas": {}}}


async def test_scale_is_applied_to_the_replicas_of_the_object(api: Api) -> None:
    (await apply(api, f"{DEPLOYMENTS}/web", deployment())).ok(201)
    scale = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web"}, "spec": {"replicas": 4}}
    assert (await apply(api, f"{DEPLOYMENTS}/web/scale", scale, "scaler")).ok()["spec"]["replicas"] == 4
    whole = (await api.get(f"{DEPLOYMENTS}/web")).ok()
    assert owners(whole)["scaler Apply scale"] == {"f:spec": {"f:replicas": {}}}
    message = (await apply(api, f"{DEPLOYMENTS}/web", deployment(replicas=1))).refused(409, "Conflict")
    assert message.endswith('conflict with "scaler" with subresource "scale": .spec.replicas')


async def test_scaling_takes_the_replicas(api: Api) -> None:
    (await apply(api, f"{DEPLOYMENTS}/web", deployment(replicas=1))).ok(201)
    (await api.patch(f"{DEPLOYMENTS}/web/scale?fieldManager=kubectl", {"spec": {"replicas": 5}})).ok()
    whole = (await api.get(f"{DEPLOYMENTS}/web")).ok()
    assert owners(whole)["kubectl Update scale"] == {"f:spec": {"f:replicas": {}}}
    assert "f:replicas" not in owners(whole)["one Apply"]["f:spec"]


async def test_a_written_status_has_its_own_entry(api: Api) -> None:
    created = (await api.post("/api/v1/namespaces/default/pods?fieldManager=me", pod("p"))).ok(201)
    assert "f:status" not in owners(created)["me Update"]
    change = {"status": {"phase": "Running"}}
    changed = (await api.patch("/api/v1/namespaces/default/pods/p/status?fieldManager=agent", change)).ok()
    assert owners(changed)["agent Update status"] == {"f:status": {"f:phase": {}}}


async def test_the_record_is_forgotten_on_wish_and_by_nothing_else(api: Api) -> None:
    (await apply(api, f"{MAPS}/a", settings(x="1"))).ok(201)
    kept = (await api.patch(f"{MAPS}/a", {"metadata": {"managedFields": []}})).ok()
    assert set(owners(kept)) == {"one Apply"}
    gone = (await api.patch(f"{MAPS}/a", {"metadata": {"managedFields": [{}]}})).ok()
    assert "managedFields" not in gone["metadata"]


async def test_a_patch_of_the_record_moves_ownership(api: Api) -> None:
    """What kubectl does before its first server-side apply to an object it applied from the client's side."""
    created = (await api.post(f"{MAPS}?fieldManager=kubectl-client-side-apply", config_map("a", x="1"))).ok(201)
    entry = {**created["metadata"]["managedFields"][0], "manager": "kubectl", "operation": "Apply"}
    version = created["metadata"]["resourceVersion"]
    patch = [
        {"op": "replace", "path": "/metadata/managedFields", "value": [entry]},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": version},
    ]
    moved = (await api.patch(f"{MAPS}/a", patch, JSON_PATCH)).ok()
    assert owners(moved) == {"kubectl Apply": {"f:data": {".": {}, "f:x": {}}}}
    assert (await apply(api, f"{MAPS}/a", settings(y="2"), "kubectl")).ok()["data"] == {"y": "2"}


async def test_nothing_is_recorded_for_leases_and_events(api: Api) -> None:
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"}, "spec": {}}
    leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
    assert "managedFields" not in (await api.post(leases, lease)).ok(201)["metadata"]
    lease["spec"] = {"holderIdentity": "me"}
    assert (await apply(api, f"{leases}/l", lease)).ok()["spec"] == {"holderIdentity": "me"}


async def test_unknown_fields_of_a_configuration_are_refused_when_asked(api: Api) -> None:
    config = deployment(nonsense=1)
    message = (await apply(api, f"{DEPLOYMENTS}/web", config, fieldValidation="Strict")).refused(400, "BadRequest")
    assert 'unknown field "spec.nonsense"' in message
    created = (await apply(api, f"{DEPLOYMENTS}/web", config)).ok(201)
    assert "f:nonsense" not in owners(created)["one Apply"]["f:spec"]


async def test_custom_objects_are_applied_by_their_schema(api: Api) -> None:
    items = {
        "type": "array",
        "items": {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}},
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["id"],
    }
    spec = {"type": "object", "properties": {"items": items}}
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "rooms.example.com"},
        "spec": {
            "group": "example.com",
            "names": {"kind": "Room", "plural": "rooms", "singular": "room", "listKind": "RoomList"},
            "scope": "Cluster",
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    (await apply(api, f"{definitions}/rooms.example.com", definition)).ok(201)
    path = "/apis/example.com/v1/rooms/a"
    for _ in range(100):
        if (await api.get("/apis/example.com/v1/rooms")).status == 200:
            break
        await asyncio.sleep(0.02)

    def room(*names: str) -> dict[str, Any]:
        wanted = {"items": [{"id": name} for name in names]}
        return {"apiVersion": "example.com/v1", "kind": "Room", "metadata": {"name": "a"}, "spec": wanted}

    (await apply(api, path, room("x"))).ok(201)
    both = (await apply(api, path, room("y"), "two")).ok()
    assert both["spec"] == {"items": [{"id": "x"}, {"id": "y"}]}
    assert owners(both)["two Apply"] == {"f:spec": {"f:items": {'k:{"id":"y"}': {".": {}, "f:id": {}}}}}
    assert (await apply(api, path, room())).ok()["spec"] == {"items": [{"id": "y"}]}
