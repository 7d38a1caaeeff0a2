"""One kind in several versions: each reader gets its own, whatever is stored, with or without a webhook that converts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.support.apiserver import Api, api_server
from tests.support.webhooks import WebhookServer, configuration, path_of, webhook, webhook_server

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
V1, V2 = (f"/apis/example.com/{version}/namespaces/default/gadgets" for version in ("v1", "v2"))
Object = dict[str, Any]


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with api_server(tmp_path) as server:
        yield server


@pytest.fixture
async def hooks(tmp_path: Path) -> AsyncIterator[WebhookServer]:
    async with webhook_server(tmp_path) as server:
        server.on("/convert", convert)
        yield server


def changed(obj: Object, wanted: str) -> Object:
    """v1 has `hostPort: host:port`, v2 has `host` and `port`: the example of Kubernetes' documentation."""
    spec = dict(obj.get("spec") or {})
    if wanted.endswith("/v2") and "hostPort" in spec:
        host, _, port = spec.pop("hostPort").partition(":")
        spec |= {"host": host, "port": port}
    elif wanted.endswith("/v1") and "host" in spec:
        spec["hostPort"] = f"{spec.pop('host')}:{spec.pop('port')}"
    return {**obj, "apiVersion": wanted, "spec": spec}


async def convert(request: web.Request, review: Object) -> web.Response:
    asked = review["request"]
    return answer(review, [changed(obj, asked["desiredAPIVersion"]) for obj in asked["objects"]])


def answer(review: Object, objects: Any, **result: Any) -> web.Response:
    response = {
        "uid": review["request"]["uid"],
        "convertedObjects": objects,
        "result": {"status": "Success", **result},
    }
    return web.json_response({"apiVersion": review["apiVersion"], "kind": review["kind"], "response": response})


def schema(**properties: Any) -> Object:
    return {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}}}


TEXT = {"type": "string"}


def definition(conversion: Object | None = None, storage: str = "v1") -> Object:
    first = {
        "name": "v1",
        "served": True,
        "schema": schema(hostPort=TEXT, size={"type": "integer"}),
        "additionalPrinterColumns": [{"name": "At", "type": "string", "jsonPath": ".spec.hostPort"}],
    }
    second = {
        "name": "v2",
        "served": True,
        "schema": schema(host=TEXT, port=TEXT, size={"type": "integer", "default": 3}),
        "additionalPrinterColumns": [{"name": "Host", "type": "string", "jsonPath": ".spec.host"}],
    }
    versions = [{**version, "storage": version["name"] == storage} for version in (first, second)]
    spec = {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"plural": "gadgets", "kind": "Gadget"},
        "versions": versions,
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "gadgets.example.com"},
        "spec": {**spec, "conversion": conversion} if conversion else spec,
    }


def by_webhook(hooks: WebhookServer) -> Object:
    config = {"clientConfig": hooks.client_config("/convert"), "conversionReviewVersions": ["v1"]}
    return {"strategy": "Webhook", "webhook": config}


async def answered(api: Api, path: str, status: int) -> None:
    """Wait until a GET is answered so."""
    async with asyncio.timeout(5):
        while True:
            if (await api.get(path)).status == status:
                return
            await asyncio.sleep(0.02)


async def define(api: Api, body: Object) -> None:
    (await api.post(CRDS, body)).ok(201)
    await answered(api, V1, 200)


def gadget(name: str, version: str = "v1", **spec: Any) -> Object:
    return {"apiVersion": f"example.com/{version}", "kind": "Gadget", "metadata": {"name": name}, "spec": spec}


async def stored(api: Api, name: str) -> Object:
    found, _ = await api.store.get(f"/registry/example.com/gadgets/default/{name}".encode())
    assert found is not None
    obj: Object = json.loads(found.value)
    return obj


async def test_without_a_webhook_another_version_is_the_same_fields_through_another_schema(api: Api) -> None:
    await define(api, definition())
    (await api.post(V1, gadget("a", hostPort="h:1"))).ok(201)
    shown = (await api.get(f"{V2}/a")).ok()
    assert (shown["apiVersion"], shown["spec"]) == ("example.com/v2", {"size": 3}), "pruned and defaulted as v2 says"
    assert (await api.get(f"{V1}/a")).ok()["spec"] == {"hostPort": "h:1"}
    assert (await api.get(V2)).ok()["items"][0]["spec"] == {"size": 3}


async def test_what_is_written_in_one_version_is_stored_in_another_and_read_in_each(
    api: Api, hooks: WebhookServer
) -> None:
    await define(api, definition(by_webhook(hooks)))
    made = (await api.post(V2, gadget("a", "v2", host="h", port="1"))).ok(201)
    assert (made["apiVersion"], made["spec"]) == ("example.com/v2", {"host": "h", "port": "1", "size": 3})
    kept = await stored(api, "a")
    assert (kept["apiVersion"], kept["spec"]) == ("example.com/v1", {"hostPort": "h:1", "size": 3})
    assert (await api.get(f"{V1}/a")).ok()["spec"] == {"hostPort": "h:1", "size": 3}
    patched = (await api.patch(f"{V2}/a", {"spec": {"port": "2"}})).ok()
    assert patched["spec"]["port"] == "2"
    assert patched["metadata"]["generation"] == 2
    assert (await stored(api, "a"))["spec"]["hostPort"] == "h:2"
    replaced = {**patched, "spec": {"host": "other", "port": "2"}}
    assert (await api.put(f"{V2}/a", replaced)).ok()["spec"] == {"host": "other", "port": "2", "size": 3}
    assert (await api.delete(f"{V2}/a")).ok()["details"]["name"] == "a"


async def test_a_list_is_one_question_and_what_was_converted_is_kept(api: Api, hooks: WebhookServer) -> None:
    await define(api, definition(by_webhook(hooks)))
    for number in range(5):
        (await api.post(V1, gadget(f"g{number}", hostPort=f"h:{number}"))).ok(201)
    assert hooks.reviews == [], "the version that is stored is nobody's business"
    listed = (await api.get(V2)).ok()
    assert [item["spec"]["port"] for item in listed["items"]] == ["0", "1", "2", "3", "4"]
    assert listed["apiVersion"] == "example.com/v2"
    assert len(hooks.asked("/convert")) == 1
    (await api.get(f"{V2}/g1")).ok()
    (await api.get(f"{V2}?limit=2")).ok()
    assert len(hooks.asked("/convert")) == 1
    (request,) = hooks.asked("/convert")
    assert request["desiredAPIVersion"] == "example.com/v2"
    assert len(request["objects"]) == 5
    accept = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    rows = (await api.get(V2, headers=accept)).ok()["rows"]
    assert rows[0]["cells"] == ["g0", "h"]


async def test_a_watch_is_in_the_version_of_its_reader(api: Api, hooks: WebhookServer) -> None:
    await define(api, definition(by_webhook(hooks)))
    (await api.post(V1, gadget("a", hostPort="h:1"))).ok(201)
    async with api.watch(f"{V2}?allowWatchBookmarks=true&timeoutSeconds=2") as watch:
        kind, obj = await watch.next()
        assert (kind, obj["apiVersion"], obj["spec"]["port"]) == ("ADDED", "example.com/v2", "1")
        (await api.patch(f"{V1}/a", {"spec": {"hostPort": "h:2"}})).ok()
        kind, obj = await watch.next()
        assert (kind, obj["spec"]["port"]) == ("MODIFIED", "2")
        (await api.delete(f"{V1}/a")).ok()
        kind, obj = await watch.next()
        assert (kind, obj["spec"]["port"]) == ("DELETED", "2")
        kind, obj = await watch.next()
        assert (kind, obj["apiVersion"]) == ("BOOKMARK", "example.com/v2")


async def test_what_left_a_selection_is_not_taken_for_what_it_became(api: Api, hooks: WebhookServer) -> None:
    await define(api, definition(by_webhook(hooks)))
    body = gadget("a", hostPort="h:1")
    body["metadata"]["labels"] = {"on": "yes"}
    (await api.post(V1, body)).ok(201)
    async with api.watch(f"{V2}?labelSelector=on%3Dyes") as watch:
        assert (await watch.next())[0] == "ADDED"
        change = {"metadata": {"labels": {"on": "no"}}, "spec": {"hostPort": "h:2"}}
        revision = (await api.patch(f"{V1}/a", change)).ok()["metadata"]["resourceVersion"]
        kind, left = await watch.next()
        assert (kind, left["metadata"]["resourceVersion"], left["spec"]["port"]) == ("DELETED", revision, "1")
    became = (await api.get(f"{V2}/a")).ok()
    assert (became["metadata"]["resourceVersion"], became["spec"]["port"]) == (revision, "2")
    assert became["metadata"]["labels"] == {"on": "no"}


async def test_an_applied_configuration_is_owned_in_its_own_version(api: Api, hooks: WebhookServer) -> None:
    await define(api, definition(by_webhook(hooks)))
    body = json.dumps(gadget("a", "v2", host="h", port="1")).encode()
    path = f"{V2}/a?fieldManager=me"
    made = (await api.ask("PATCH", path, body, content_type="application/apply-patch+yaml")).ok(201)
    assert made["spec"]["host"] == "h"
    again = (await api.ask("PATCH", path, body, content_type="application/apply-patch+yaml")).ok()
    assert again["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
    assert (await stored(api, "a"))["spec"]["hostPort"] == "h:1"


async def test_each_version_has_its_own_openapi(api: Api, hooks: WebhookServer) -> None:
    await define(api, definition(by_webhook(hooks)))
    for version, field in (("v1", "hostPort"), ("v2", "host")):
        text = json.dumps((await api.get(f"/openapi/v3/apis/example.com/{version}")).ok())
        assert f'"{field}"' in text


async def test_a_storage_version_that_is_not_served_is_still_where_objects_are_stored(
    api: Api, hooks: WebhookServer
) -> None:
    body = definition(by_webhook(hooks), storage="v2")
    body["spec"]["versions"][1]["served"] = False
    await define(api, body)
    (await api.post(V1, gadget("a", hostPort="h:1"))).ok(201)
    assert (await stored(api, "a"))["spec"] == {"host": "h", "port": "1", "size": 3}
    assert (await api.get(f"{V1}/a")).ok()["spec"] == {"hostPort": "h:1", "size": 3}
    (await api.get(V2)).refused(404, "NotFound")


async def test_labels_and_annotations_are_all_of_the_metadata_that_conversion_changes(
    api: Api, hooks: WebhookServer
) -> None:
    async def relabel(request: web.Request, review: Object) -> web.Response:
        objects = [changed(obj, review["request"]["desiredAPIVersion"]) for obj in review["request"]["objects"]]
        for obj in objects:
            obj["metadata"] = {**obj["metadata"], "labels": {"new": "yes"}, "finalizers": ["a/b"], "generation": 99}
        return answer(review, objects)

    hooks.on("/convert", relabel)
    await define(api, definition(by_webhook(hooks)))
    made = (await api.post(V1, gadget("a", hostPort="h:1"))).ok(201)
    shown = (await api.get(f"{V2}/a")).ok()["metadata"]
    assert shown == {**made["metadata"], "labels": {"new": "yes"}}


def returning(change: Any, **result: Any) -> Any:
    async def handler(request: web.Request, review: Object) -> web.Response:
        objects = [changed(obj, review["request"]["desiredAPIVersion"]) for obj in review["request"]["objects"]]
        return answer(review, change(objects), **result)

    return handler


def renamed(objects: list[Object]) -> list[Object]:
    return [{**obj, "metadata": {**obj["metadata"], "name": "other"}} for obj in objects]


async def garbage(request: web.Request, review: Object) -> web.Response:
    return web.Response(text="<html>")


async def older(request: web.Request, review: Object) -> web.Response:
    return web.json_response({"apiVersion": "apiextensions.k8s.io/v1beta1", "kind": "ConversionReview", "response": {}})


@pytest.mark.parametrize(
    ("handler", "told"),
    [
        pytest.param(garbage, "failed: couldn't get version/kind; json parse error", id="garbage"),
        pytest.param(older, "failed: expected webhook response of apiextensions.k8s.io/v1, Kind=Conv", id="v1beta1"),
        pytest.param(returning(list, status="Failed", message="no way"), "failed: no way", id="a refusal"),
        pytest.param(returning(list, status="Failed"), "failed: response.result.status was 'Failed'", id="no reason"),
        pytest.param(returning(lambda found: []), "returned 0 objects, expected 1", id="too few"),
        pytest.param(
            returning(lambda found: [{**found[0], "apiVersion": "example.com/v3"}]),
            "invalid groupVersion (expected example.com/v2, received example.com/v3)",
            id="another version",
        ),
        pytest.param(returning(lambda found: [{**found[0], "kind": "X"}]), "must have the same kind", id="a kind"),
        pytest.param(returning(renamed), "must have the same name: a != other", id="another name"),
        pytest.param(returning(lambda found: [3]), "it is not an object", id="no object"),
    ],
)
async def test_a_failed_conversion_is_told_and_the_stored_version_stays_readable(
    api: Api, hooks: WebhookServer, handler: Any, told: str
) -> None:
    hooks.on("/convert", handler)
    await define(api, definition(by_webhook(hooks)))
    (await api.post(V1, gadget("a", hostPort="h:1"))).ok(201)
    message = (await api.get(f"{V2}/a")).refused(500, "InternalError")
    assert message.startswith("conversion webhook for example.com/v1, Kind=Gadget ")
    assert told in message
    (await api.get(V2)).refused(500, "InternalError")
    async with api.watch(V2) as watch:
        kind, status = await watch.next()
        assert (kind, status["code"]) == ("ERROR", 500)
    (await api.get(f"{V1}/a")).ok()
    (await api.delete(f"{V1}/a")).ok()


async def test_a_kind_that_cannot_be_converted_can_still_be_deleted_with_its_definition(
    api: Api, hooks: WebhookServer
) -> None:
    hooks.on("/convert", garbage)
    await define(api, definition(by_webhook(hooks)))
    (await api.post(V1, gadget("a", hostPort="h:1"))).ok(201)
    (await api.delete(f"{CRDS}/gadgets.example.com")).ok()
    await answered(api, f"{CRDS}/gadgets.example.com", 404)


async def test_a_webhook_of_admission_sees_the_version_its_rule_names(api: Api, hooks: WebhookServer) -> None:
    await define(api, definition(by_webhook(hooks)))
    hooks.answer("/seen", allowed=True)
    rules = [{"operations": ["CREATE"], "apiGroups": ["example.com"], "apiVersions": ["v2"], "resources": ["gadgets"]}]
    exact = {**webhook(hooks, "/exact", rules=rules), "matchPolicy": "Exact"}
    body = configuration("Validating", "test", webhook(hooks, "/seen", rules=rules), exact)
    made = (await api.post(path_of("Validating"), body)).ok(201)
    await api.running.feed.reached(int(made["metadata"]["resourceVersion"]), 5)
    (await api.post(V1, gadget("a", hostPort="h:1"))).ok(201)
    (request,) = hooks.asked("/seen")
    assert (request["kind"]["version"], request["requestKind"]["version"]) == ("v2", "v1")
    assert (request["resource"]["version"], request["requestResource"]["version"]) == ("v2", "v1")
    assert request["object"]["spec"]["host"] == "h"
    assert hooks.asked("/exact") == []
