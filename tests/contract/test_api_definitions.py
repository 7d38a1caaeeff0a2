"""Users' kinds: served as soon as they are defined, by their own rules, and gone with their objects."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from stark.apiserver.settings import Settings
from stark.apiserver.stores import open_store
from tests.support.apiserver import STRATEGIC_PATCH, Answer, Api, api_server

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
WIDGETS = "/apis/example.com/v1/namespaces/default/widgets"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with api_server(tmp_path) as server:
        yield server


def definition(**spec: Any) -> dict[str, Any]:
    properties = {
        "spec": {
            "type": "object",
            "properties": {
                "replicas": {"type": "integer", "default": 2, "minimum": 0},
                "color": {"type": "string"},
            },
        },
        "status": {"type": "object", "properties": {"replicas": {"type": "integer"}}},
    }
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": properties}},
        "subresources": {
            "status": {},
            "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"},
        },
        "selectableFields": [{"jsonPath": ".spec.color"}],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [version, {**version, "name": "v2", "storage": False}],
            **spec,
        },
    }


def widget(name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec}


async def established(api: Api) -> None:
    async with asyncio.timeout(5):
        while True:
            found = await api.get(f"{CRDS}/widgets.example.com")
            conditions = {c["type"]: c["status"] for c in found.body.get("status", {}).get("conditions", [])}
            if conditions.get("Established") == "True":
                return
            await asyncio.sleep(0.02)


async def gone(api: Api, path: str) -> Answer:
    async with asyncio.timeout(5):
        while True:
            answer = await api.get(path)
            if answer.status == 404:
                return answer
            await asyncio.sleep(0.02)


async def test_a_defined_kind_is_served_with_defaults_pruning_and_validation(api: Api) -> None:
    (await api.post(CRDS, definition())).ok(201)
    await established(api)
    made = (await api.post(WIDGETS, widget("a", color="red", unknown=1))).ok(201)
    assert made["spec"] == {"color": "red", "replicas": 2}
    assert made["metadata"]["generation"] == 1
    message = (await api.post(WIDGETS, widget("b", replicas="three"))).refused(422, "Invalid")
    assert message.startswith('Widget.example.com "b" is invalid: spec.replicas: Invalid value: "string"')
    found = (await api.get("/apis/example.com/v1")).ok()
    assert "widgets/status" in [item["name"] for item in found["resources"]]


async def test_status_scale_and_selectable_fields_work_for_users_kinds(api: Api) -> None:
    (await api.post(CRDS, definition())).ok(201)
    await established(api)
    for name, color in (("a", "red"), ("b", "blue")):
        (await api.post(WIDGETS, widget(name, color=color))).ok(201)
    (await api.patch(f"{WIDGETS}/a/status", {"status": {"replicas": 1}})).ok()
    scale = (await api.get(f"{WIDGETS}/a/scale")).ok()
    assert (scale["spec"], scale["status"]) == ({"replicas": 2}, {"replicas": 1})
    (await api.patch(f"{WIDGETS}/a/scale", {"spec": {"replicas": 5}})).ok()
    assert (await api.get(f"{WIDGETS}/a")).ok()["spec"]["replicas"] == 5
    listed = (await api.get(f"{WIDGETS}?fieldSelector=spec.color%3Dblue")).ok()
    assert [item["metadata"]["name"] for item in listed["items"]] == ["b"]


async def test_users_kinds_take_no_strategic_patch_and_need_a_version_to_be_replaced(api: Api) -> None:
    (await api.post(CRDS, definition())).ok(201)
    await established(api)
    made = (await api.post(WIDGETS, widget("a"))).ok(201)
    (await api.patch(f"{WIDGETS}/a", {}, STRATEGIC_PATCH)).refused(415, "UnsupportedMediaType")
    message = (await api.put(f"{WIDGETS}/a", widget("a", color="red"))).refused(422, "Invalid")
    assert "metadata.resourceVersion: Invalid value: 0x0: must be specified for an update" in message
    (await api.put(f"{WIDGETS}/a", {**made, "spec": {"color": "red"}})).ok()


async def test_every_served_version_shows_the_same_objects(api: Api) -> None:
    (await api.post(CRDS, definition())).ok(201)
    await established(api)
    (await api.post(WIDGETS, widget("a", color="red"))).ok(201)
    other = WIDGETS.replace("/v1/", "/v2/")
    shown = (await api.get(f"{other}/a")).ok()
    assert (shown["apiVersion"], shown["spec"]["color"]) == ("example.com/v2", "red")
    listed = (await api.get(other)).ok()
    assert listed["items"][0]["apiVersion"] == "example.com/v2"
    (await api.put(f"{other}/a", {**shown, "spec": {"color": "blue"}})).ok()
    assert (await api.get(f"{WIDGETS}/a")).ok()["spec"]["color"] == "blue"
    stored, _ = await api.store.get(b"/registry/example.com/widgets/default/a")
    assert stored is not None
    assert b'"apiVersion":"example.com/v1"' in stored.value


async def test_a_deleted_definition_takes_its_objects_with_it(api: Api) -> None:
    (await api.post(CRDS, definition())).ok(201)
    await established(api)
    (await api.post(WIDGETS, widget("a"))).ok(201)
    held = widget("held")
    held["metadata"]["finalizers"] = ["example.com/hold"]
    (await api.post(WIDGETS, held)).ok(201)
    (await api.delete(f"{CRDS}/widgets.example.com")).ok()
    await gone(api, f"{WIDGETS}/a")
    assert (await api.get(f"{CRDS}/widgets.example.com")).ok()["metadata"]["deletionTimestamp"]
    (await api.patch(f"{WIDGETS}/held", {"metadata": {"finalizers": []}})).ok()
    await gone(api, f"{CRDS}/widgets.example.com")
    await gone(api, WIDGETS)
    page = await api.store.range(b"/registry/example.com/", b"/registry/example.com0")
    assert not page.items


async def test_definitions_are_served_again_after_a_restart(tmp_path: Path) -> None:
    store = await open_store(Settings(tmp_path, store="memory"))
    async with api_server(tmp_path, opened=store) as api:
        (await api.post(CRDS, definition())).ok(201)
        await established(api)
        (await api.post(WIDGETS, widget("a"))).ok(201)
    async with api_server(tmp_path, opened=store) as api:
        (await api.get(f"{WIDGETS}/a")).ok()
    await store.close()


async def test_a_name_that_is_taken_is_not_accepted(api: Api) -> None:
    taken = definition(group="apps", names={"plural": "deployments", "kind": "Deployment"})
    taken["metadata"]["name"] = "deployments.apps"
    (await api.post(CRDS, taken)).ok(201)
    async with asyncio.timeout(5):
        while True:
            found = (await api.get(f"{CRDS}/deployments.apps")).ok()
            conditions = {c["type"]: c["reason"] for c in found["status"].get("conditions", [])}
            if conditions:
                break
            await asyncio.sleep(0.02)
    assert conditions["NamesAccepted"] == "NameConflict"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"group": "other.com"}, "must be spec.names.plural", id="name and group differ"),
        pytest.param({"versions": []}, "exactly one version marked as storage", id="no versions"),
    ],
)
async def test_a_definition_that_makes_no_sense_is_refused(api: Api, change: dict[str, Any], message: str) -> None:
    assert message in (await api.post(CRDS, definition(**change))).refused(422, "Invalid")


async def test_a_schema_that_is_not_structural_is_refused(api: Api) -> None:
    body = definition()
    body["spec"]["versions"][0]["schema"] = {"openAPIV3Schema": {"properties": {"spec": {}}}}
    (await api.post(CRDS, body)).refused(422, "Invalid")
