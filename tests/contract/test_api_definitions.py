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


async def served(api: Api, path: str) -> None:
    async with asyncio.timeout(5):
        while True:
            if (await api.get(path)).status == 200:
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


async def conditions(api: Api, name: str, *types: str) -> dict[str, dict[str, Any]]:
    """The definition's conditions, once it has all of these."""
    async with asyncio.timeout(5):
        while True:
            found = (await api.get(f"{CRDS}/{name}")).ok()
            known = {c["type"]: c for c in found["status"].get("conditions", [])}
            if set(types) <= known.keys():
                return known
            await asyncio.sleep(0.02)


def named(plural: str, kind: str, **names: Any) -> dict[str, Any]:
    body = definition(names={"plural": plural, "kind": kind, **names})
    body["metadata"] = {"name": f"{plural}.example.com"}
    return body


async def test_a_name_of_a_builtin_kind_is_not_accepted(api: Api) -> None:
    taken = definition(group="stark.dev", names={"plural": "packs", "kind": "Pack"})
    taken["metadata"]["name"] = "packs.stark.dev"
    (await api.post(CRDS, taken)).ok(201)
    found = await conditions(api, "packs.stark.dev", "NamesAccepted", "Established")
    assert (found["NamesAccepted"]["status"], found["Established"]["status"]) == ("False", "False")
    assert (await api.get("/apis/stark.dev/v1/packs")).ok()["kind"] == "PackList"
    (await api.get("/apis/stark.dev/v2/packs")).refused(404, "NotFound")


@pytest.mark.parametrize(
    ("body", "reason", "message"),
    [
        pytest.param(
            named("gears", "Widget", listKind="GearList"), "KindConflict", '"Widget" is already in use', id="the kind"
        ),
        pytest.param(
            named("gears", "Gear", listKind="WidgetList"), "ListKindConflict", '"WidgetList" is', id="the list's kind"
        ),
        pytest.param(
            named("gears", "Gear", singular="widget"), "SingularConflict", '"widget" is already in use', id="singular"
        ),
        pytest.param(
            named("gears", "Gear", shortNames=["g", "wd"]), "ShortNamesConflict", '"wd" is already', id="a short name"
        ),
        pytest.param(
            named("wd", "Gear"), "PluralConflict", '"wd" is already in use', id="a plural that is a short name"
        ),
    ],
)
async def test_a_definition_whose_names_are_taken_waits_until_they_are_free(
    api: Api, body: dict[str, Any], reason: str, message: str
) -> None:
    (await api.post(CRDS, named("widgets", "Widget", shortNames=["wd"]))).ok(201)
    await established(api)
    name, plural = body["metadata"]["name"], body["spec"]["names"]["plural"]
    (await api.post(CRDS, body)).ok(201)
    found = await conditions(api, name, "NamesAccepted", "Established")
    assert (found["NamesAccepted"]["status"], found["NamesAccepted"]["reason"]) == ("False", reason)
    assert message in found["NamesAccepted"]["message"]
    assert found["Established"] | {"lastTransitionTime": ""} == {
        "type": "Established",
        "status": "False",
        "reason": "NotAccepted",
        "message": "not all names are accepted",
        "lastTransitionTime": "",
    }
    path = f"/apis/example.com/v1/namespaces/default/{plural}"
    (await api.get(path)).refused(404, "NotFound")
    (await api.delete(f"{CRDS}/widgets.example.com")).ok()
    await served(api, path)
    assert (await conditions(api, name, "NamesAccepted"))["NamesAccepted"]["status"] == "True"


async def test_who_came_first_keeps_its_names_when_the_other_asks_for_them(api: Api) -> None:
    (await api.post(CRDS, named("widgets", "Widget"))).ok(201)
    await established(api)
    (await api.post(CRDS, named("axles", "Axle"))).ok(201)
    found = await conditions(api, "axles.example.com", "Established")
    assert found["Established"]["status"] == "True"
    (await api.patch(f"{CRDS}/axles.example.com", {"spec": {"names": {"shortNames": ["widget", "ax"]}}})).ok()
    async with asyncio.timeout(5):
        while found["NamesAccepted"]["status"] == "True":
            found = await conditions(api, "axles.example.com", "NamesAccepted")
    assert found["NamesAccepted"]["reason"] == "ShortNamesConflict"
    assert found["Established"]["status"] == "True", "it stays served, under the names it had"
    (await api.get("/apis/example.com/v1/namespaces/default/axles")).ok()
    accepted = (await api.get(f"{CRDS}/axles.example.com")).ok()["status"]["acceptedNames"]
    assert "shortNames" not in accepted


async def test_while_a_definition_goes_nothing_is_created_and_its_watches_end_with_it(api: Api) -> None:
    (await api.post(CRDS, definition())).ok(201)
    await established(api)
    held = widget("held")
    held["metadata"]["finalizers"] = ["example.com/hold"]
    (await api.post(WIDGETS, held)).ok(201)
    async with api.watch(WIDGETS) as watch:
        assert (await watch.next())[0] == "ADDED"
        gone_soon = (await api.delete(f"{CRDS}/widgets.example.com")).ok()
        pending = {c["type"]: c["reason"] for c in gone_soon["status"]["conditions"]}
        assert pending["Terminating"] == "InstanceDeletionPending"
        assert (await watch.next())[1]["metadata"]["deletionTimestamp"]
        found = await conditions(api, "widgets.example.com", "Terminating")
        assert found["Terminating"]["message"] == "CustomResource deletion is in progress"
        message = (await api.post(WIDGETS, widget("late"))).refused(405, "MethodNotAllowed")
        assert message == "create not allowed while custom resource definition is terminating"
        (await api.patch(f"{WIDGETS}/held", {"metadata": {"finalizers": []}})).ok()
        assert (await watch.next())[0] == "DELETED"
        with pytest.raises(EOFError):
            await watch.next()
    await gone(api, f"{CRDS}/widgets.example.com")
    groups = (await api.get("/apis")).ok()["groups"]
    assert "example.com" not in [group["name"] for group in groups]
    assert "apis/example.com/v1" not in (await api.get("/openapi/v3")).ok()["paths"]
    (await api.post(CRDS, definition())).ok(201)
    await established(api)
    assert (await api.get(WIDGETS)).ok()["items"] == [], "the next of that name begins empty"


async def test_a_definition_that_was_going_when_the_server_stopped_takes_its_objects_with_it(tmp_path: Path) -> None:
    store = await open_store(Settings(tmp_path, store="memory"))
    async with api_server(tmp_path, opened=store) as api:
        (await api.post(CRDS, definition())).ok(201)
        await established(api)
        held = widget("held")
        held["metadata"]["finalizers"] = ["example.com/hold"]
        (await api.post(WIDGETS, held)).ok(201)
        (await api.delete(f"{CRDS}/widgets.example.com")).ok()
    async with api_server(tmp_path, opened=store) as api:
        await served(api, WIDGETS)
        (await api.patch(f"{WIDGETS}/held", {"metadata": {"finalizers": []}})).ok()
        await gone(api, f"{CRDS}/widgets.example.com")
        page = await store.range(b"/registry/example.com/", b"/registry/example.com0")
        assert not page.items
    await store.close()


async def test_a_stored_version_stays_until_it_is_taken_off_the_list(api: Api) -> None:
    (await api.post(CRDS, definition())).ok(201)
    await established(api)
    path = f"{CRDS}/widgets.example.com"
    (first, second) = (await api.get(path)).ok()["spec"]["versions"]
    moved = [{**first, "storage": False}, {**second, "storage": True}]
    changed = (await api.patch(path, {"spec": {"versions": moved}})).ok()
    assert changed["status"]["storedVersions"] == ["v1", "v2"]
    message = (await api.patch(path, {"spec": {"versions": moved[1:]}})).refused(422, "Invalid")
    assert 'status.storedVersions[0]: Invalid value: "v1": must appear in spec.versions' in message
    message = (await api.patch(f"{path}/status", {"status": {"storedVersions": ["v1"]}})).refused(422, "Invalid")
    assert "must have the storage version v2" in message
    (await api.patch(f"{path}/status", {"status": {"storedVersions": ["v2"]}})).ok()
    (await api.patch(path, {"spec": {"versions": moved[1:]}})).ok()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"scope": "Cluster"}, 'spec.scope: Invalid value: "Cluster": field is immutable', id="scope"),
        pytest.param({"names": {"kind": "Other"}}, "spec.names.kind", id="kind"),
        pytest.param({"names": {"plural": "others"}}, "spec.names.plural", id="plural"),
        pytest.param({"group": "other.com"}, "spec.group", id="group"),
    ],
)
async def test_what_is_in_keys_and_urls_cannot_change(api: Api, change: dict[str, Any], message: str) -> None:
    (await api.post(CRDS, definition())).ok(201)
    await established(api)
    told = (await api.patch(f"{CRDS}/widgets.example.com", {"spec": change})).refused(422, "Invalid")
    assert message in told
    assert "field is immutable" in told


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"group": "other.com"}, "must be spec.names.plural", id="name and group differ"),
        pytest.param({"versions": []}, "exactly one version marked as storage", id="no versions"),
        pytest.param({"group": "example"}, "should be a domain with at least one dot", id="a group without a dot"),
        pytest.param(
            {"names": {"plural": "widgets", "kind": "9W"}}, "may have mixed case, but should", id="a bad kind"
        ),
        pytest.param(
            {"names": {"plural": "widgets", "kind": "W", "listKind": "W"}}, "kind and listKind may not", id="list kind"
        ),
        pytest.param({"conversion": {"strategy": "Webhook"}}, "required when strategy is set to Web", id="no webhook"),
        pytest.param(
            {"conversion": {"strategy": "None", "webhook": {"conversionReviewVersions": ["v1"]}}},
            "should not be set when strategy is not set to Webhook",
            id="a webhook for nothing",
        ),
        pytest.param(
            {
                "conversion": {
                    "strategy": "Webhook",
                    "webhook": {"clientConfig": {"url": "https://a/"}, "conversionReviewVersions": ["v1beta1"]},
                }
            },
            "must include at least one of v1",
            id="a webhook that only speaks v1beta1",
        ),
        pytest.param({"preserveUnknownFields": True}, "cannot set to true", id="unknown fields"),
    ],
)
async def test_a_definition_that_makes_no_sense_is_refused(api: Api, change: dict[str, Any], message: str) -> None:
    assert message in (await api.post(CRDS, definition(**change))).refused(422, "Invalid")


async def test_a_schema_that_is_not_structural_is_refused(api: Api) -> None:
    body = definition()
    body["spec"]["versions"][0]["schema"] = {"openAPIV3Schema": {"properties": {"spec": {}}}}
    (await api.post(CRDS, body)).refused(422, "Invalid")
