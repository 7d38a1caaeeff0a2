"""Webhooks over the API: what they are told, what they may change and refuse, and what happens when they fail."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from stark.apiserver.settings import HttpSettings, Settings
from stark.apiserver.store.protocol import Delete
from stark.apiserver.stores import open_store
from tests.support.apiserver import Api, api_server, config_map, pod
from tests.support.webhooks import WebhookServer, configuration, patch, path_of, rule, webhook, webhook_server

MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
Object = dict[str, Any]


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with api_server(tmp_path) as server:
        yield server


@pytest.fixture
async def hooks(tmp_path: Path) -> AsyncIterator[WebhookServer]:
    async with webhook_server(tmp_path, ["policy.default.svc"]) as server:
        yield server


async def configure(api: Api, kind: str, *webhooks: Object, name: str = "test") -> Object:
    """Create a configuration, and wait until the server has heard of it."""
    made: Object = (await api.post(path_of(kind), configuration(kind, name, *webhooks))).ok(201)
    await api.running.feed.reached(int(made["metadata"]["resourceVersion"]), 5)
    return made


def label(key: str, value: str) -> Object:
    return {"op": "add", "path": "/metadata/labels", "value": {key: value}}


async def test_a_configuration_is_completed_and_counted_in_generations(api: Api, hooks: WebhookServer) -> None:
    made = await configure(api, "Mutating", webhook(hooks, "/a"))
    (found,) = made["webhooks"]
    assert {key: found[key] for key in ("failurePolicy", "matchPolicy", "timeoutSeconds", "reinvocationPolicy")} == {
        "failurePolicy": "Fail",
        "matchPolicy": "Equivalent",
        "timeoutSeconds": 10,
        "reinvocationPolicy": "Never",
    }
    assert (found["namespaceSelector"], found["objectSelector"], found["rules"][0]["scope"]) == ({}, {}, "*")
    assert made["metadata"]["generation"] == 1
    changed = {**made, "webhooks": [{**found, "timeoutSeconds": 3}]}
    assert (await api.put(f"{path_of('Mutating')}/test", changed)).ok()["metadata"]["generation"] == 2


async def test_a_mutating_webhook_is_told_everything_and_its_patch_is_stored(api: Api, hooks: WebhookServer) -> None:
    hooks.answer("/label", **patch(label("seen", "yes")), warnings=["mind the gap"], auditAnnotations={"who": "me"})
    await configure(api, "Mutating", webhook(hooks, "/label"))
    answer = await api.post(f"{MAPS}?fieldManager=tester&fieldValidation=Strict", config_map("a", x="1"))
    made = answer.ok(201)
    assert made["metadata"]["labels"] == {"seen": "yes"}
    assert answer.headers["Warning"] == '299 - "mind the gap"'
    (manager,) = made["metadata"]["managedFields"]
    assert manager["manager"] == "tester"
    assert "f:seen" in manager["fieldsV1"]["f:metadata"]["f:labels"], "what a webhook changes is the requester's"
    (request,) = hooks.asked("/label")
    uid, told = request.pop("uid"), request.pop("object")
    assert len(uid) == 36
    assert told["data"] == {"x": "1"}
    assert request == {
        "kind": {"group": "", "version": "v1", "kind": "ConfigMap"},
        "resource": {"group": "", "version": "v1", "resource": "configmaps"},
        "requestKind": {"group": "", "version": "v1", "kind": "ConfigMap"},
        "requestResource": {"group": "", "version": "v1", "resource": "configmaps"},
        "name": "a",
        "namespace": "default",
        "operation": "CREATE",
        "userInfo": {"username": "admin", "groups": ["system:masters", "system:authenticated"]},
        "oldObject": None,
        "dryRun": False,
        "options": {
            "kind": "CreateOptions",
            "apiVersion": "meta.k8s.io/v1",
            "fieldManager": "tester",
            "fieldValidation": "Strict",
        },
    }
    assert hooks.timeouts == ["10s"]


async def test_a_validating_webhook_sees_the_object_as_it_will_be_stored(api: Api, hooks: WebhookServer) -> None:
    hooks.answer("/check", allowed=True)
    await configure(api, "Validating", webhook(hooks, "/check"))
    body = config_map("")
    body["metadata"] = {"generateName": "some-"}
    made = (await api.post(MAPS, body)).ok(201)
    (request,) = hooks.asked("/check")
    assert request["object"]["metadata"]["name"] == made["metadata"]["name"]
    assert request["object"]["metadata"]["uid"] == made["metadata"]["uid"]


@pytest.mark.parametrize(
    ("status", "code", "reason", "message"),
    [
        pytest.param(None, 400, None, "denied the request without explanation", id="no status"),
        pytest.param({"message": "no"}, 400, None, "denied the request: no", id="a message"),
        pytest.param({"reason": "Forbidden"}, 400, "Forbidden", "denied the request: Forbidden", id="a reason"),
        pytest.param({"code": 200, "message": "no"}, 400, None, "denied the request: no", id="a code of success"),
        pytest.param(
            {"code": 403, "reason": "Forbidden", "message": "no", "details": {"causes": [{"message": "c"}]}},
            403,
            "Forbidden",
            "denied the request: no",
            id="everything",
        ),
    ],
)
@pytest.mark.parametrize("kind", ["Mutating", "Validating"])
async def test_a_denial_is_answered_with_the_webhooks_own_status(
    api: Api, hooks: WebhookServer, kind: str, status: Object | None, code: int, reason: str | None, message: str
) -> None:
    hooks.answer("/deny", allowed=False, **({"status": status} if status else {}))
    await configure(api, kind, webhook(hooks, "/deny"))
    answer = await api.post(MAPS, config_map("a"))
    assert (answer.status, answer.body["code"], answer.body.get("reason")) == (code, code, reason)
    assert answer.body["message"] == f'admission webhook "deny.example.com" {message}'
    assert answer.body.get("details") == (status or {}).get("details")
    (await api.get(f"{MAPS}/a")).refused(404, "NotFound")


async def test_updates_deletions_and_collections_are_asked_about_object_by_object(
    api: Api, hooks: WebhookServer
) -> None:
    hooks.answer("/all", allowed=True)
    await configure(api, "Validating", webhook(hooks, "/all", rules=[rule(["*"], ["UPDATE", "DELETE"])]))
    for name in ("a", "b"):
        (await api.post(MAPS, config_map(name, {"app": "x"}, x="1"))).ok(201)
    (await api.patch(f"{MAPS}/a?fieldManager=m", {"data": {"x": "2"}})).ok()
    (await api.delete(f"{MAPS}/a", {"propagationPolicy": "Background"})).ok()
    (await api.delete(f"{MAPS}?labelSelector=app%3Dx")).ok()
    update, first, second = hooks.asked("/all")
    assert (update["operation"], update["object"]["data"], update["oldObject"]["data"]) == (
        "UPDATE",
        {"x": "2"},
        {"x": "1"},
    )
    assert update["options"] == {"kind": "UpdateOptions", "apiVersion": "meta.k8s.io/v1", "fieldManager": "m"}
    assert (first["operation"], first["name"], first["object"]) == ("DELETE", "a", None)
    assert first["oldObject"]["data"] == {"x": "2"}
    assert first["options"]["propagationPolicy"] == "Background"
    assert (second["name"], second["oldObject"]["metadata"]["name"]) == ("b", "b")


async def test_subresources_are_shown_in_their_own_form(api: Api, hooks: WebhookServer) -> None:
    hooks.answer("/subs", allowed=True)
    rules = [{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]}]
    template = {"metadata": {"labels": {"a": "b"}}, "spec": pod("x")["spec"]}
    spec = {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "template": template}
    rs = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "r"}, "spec": spec}
    sets = "/apis/apps/v1/namespaces/default/replicasets"
    (await api.post(sets, rs)).ok(201)
    (await api.post(PODS, pod("p"))).ok(201)
    await configure(api, "Validating", webhook(hooks, "/subs", rules=rules))
    (await api.patch(f"{sets}/r/scale", {"spec": {"replicas": 3}})).ok()
    (await api.patch(f"{PODS}/p/status", {"status": {"reason": "x"}})).ok()
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"}, "target": {"name": "node-1"}}
    (await api.post(f"{PODS}/p/binding", binding)).ok(201)
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
    (await api.post(f"{PODS}/p/eviction", eviction)).ok(201)
    scale, status, bound, evicted = hooks.asked("/subs")
    assert (scale["kind"]["kind"], scale["subResource"], scale["requestSubResource"]) == ("Scale", "scale", "scale")
    assert (scale["oldObject"]["spec"], scale["object"]["spec"]) == ({"replicas": 1}, {"replicas": 3})
    assert (status["kind"]["kind"], status["subResource"], status["operation"]) == ("Pod", "status", "UPDATE")
    assert (bound["kind"]["kind"], bound["operation"], bound["oldObject"]) == ("Binding", "CREATE", None)
    assert bound["object"]["target"]["name"] == "node-1"
    assert (evicted["kind"], evicted["operation"]) == (
        {"group": "policy", "version": "v1", "kind": "Eviction"},
        "CREATE",
    )


async def test_a_webhook_may_change_a_scale(api: Api, hooks: WebhookServer) -> None:
    hooks.answer("/cap", **patch({"op": "replace", "path": "/spec/replicas", "value": 2}))
    spec = {
        "replicas": 1,
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": pod("x")["spec"]},
    }
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec}
    path = "/apis/apps/v1/namespaces/default/deployments"
    (await api.post(path, body)).ok(201)
    rules = [{"operations": ["UPDATE"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["*/scale"]}]
    await configure(api, "Mutating", webhook(hooks, "/cap", rules=rules))
    assert (await api.patch(f"{path}/d/scale", {"spec": {"replicas": 9}})).ok()["spec"]["replicas"] == 2
    assert (await api.get(f"{path}/d")).ok()["spec"]["replicas"] == 2


async def test_what_a_webhook_writes_is_pruned_defaulted_and_validated(api: Api, hooks: WebhookServer) -> None:
    container = {"name": "side", "image": "docker.io/library/busybox:1", "bogus": 1}
    operations = [
        {"op": "add", "path": "/spec/containers/-", "value": container},
        {"op": "add", "path": "/status", "value": {"phase": "Running"}},
    ]
    hooks.answer("/inject", **patch(*operations))
    await configure(api, "Mutating", webhook(hooks, "/inject", rules=[rule(["pods"])]))
    answer = await api.post(PODS, pod("a"))
    made = answer.ok(201)
    side = made["spec"]["containers"][1]
    assert "bogus" not in side
    assert side["imagePullPolicy"] == "IfNotPresent", "the built-in plugins have seen it"
    assert made["status"]["phase"] == "Pending", "status is not written through the pod"
    assert "Warning" not in answer.headers, "the client wrote no unknown field"
    hooks.answer("/inject", **patch({"op": "replace", "path": "/spec/containers", "value": "none"}))
    (await api.post(PODS, pod("b"))).refused(422, "Invalid")
    hooks.answer("/inject", **patch({"op": "replace", "path": "/metadata/namespace", "value": "kube-system"}))
    assert "namespace" in (await api.post(PODS, pod("c"))).refused(400, "BadRequest")


async def test_a_patch_that_cannot_be_applied_ends_the_write_whatever_the_failure_policy(
    api: Api, hooks: WebhookServer
) -> None:
    hooks.answer("/bad", **patch({"op": "remove", "path": "/no/such"}))
    await configure(api, "Mutating", webhook(hooks, "/bad", failurePolicy="Ignore"))
    message = (await api.post(MAPS, config_map("a"))).refused(500, "InternalError")
    assert message.startswith("Internal error occurred: ")
    hooks.answer("/bad", **patch({"op": "add", "path": "/x", "value": 1}))
    made = await configure(api, "Mutating", webhook(hooks, "/bad", rules=[rule(operations=["DELETE"])]), name="second")
    (await api.delete(f"{path_of('Mutating')}/test")).ok()
    assert made
    (await api.post(MAPS, config_map("a"))).ok(201)
    message = (await api.delete(f"{MAPS}/a")).refused(500, "InternalError")
    assert "attempted to modify the object, which is not supported for this operation" in message


async def test_webhooks_are_asked_in_the_order_of_names_and_again_when_one_changed_the_object(
    api: Api, hooks: WebhookServer
) -> None:
    def adding(step: str) -> Any:
        async def handler(request: web.Request, review: Object) -> Object:
            data = review["request"]["object"].get("data") or {}
            if step in data:
                return {"allowed": True}
            return patch({"op": "add", "path": "/data", "value": {**data, step: str(len(data))}})

        return handler

    for step in ("one", "two", "three"):
        hooks.on(f"/{step}", adding(step))
    await configure(api, "Mutating", webhook(hooks, "/three", reinvocationPolicy="IfNeeded"), name="b")
    first = webhook(hooks, "/one", reinvocationPolicy="IfNeeded")
    await configure(api, "Mutating", first, webhook(hooks, "/two"), name="a")
    made = (await api.post(MAPS, config_map("x"))).ok(201)
    assert made["data"] == {"one": "0", "two": "1", "three": "2"}
    # One is asked again because two and three changed the object after it; two does not want to; three was the last.
    assert [path for path, _ in hooks.reviews] == ["/one", "/two", "/three", "/one"]


async def test_a_dry_run_asks_and_says_so(api: Api, hooks: WebhookServer) -> None:
    hooks.answer("/dry", allowed=True)
    await configure(api, "Validating", webhook(hooks, "/dry", sideEffects="NoneOnDryRun"))
    (await api.post(f"{MAPS}?dryRun=All", config_map("a"))).ok(201)
    (request,) = hooks.asked("/dry")
    assert request["dryRun"] is True
    assert request["options"]["dryRun"] == ["All"]


async def test_namespaces_and_labels_select(api: Api, hooks: WebhookServer) -> None:
    hooks.answer("/ns", allowed=True)
    (await api.post("/api/v1/namespaces", {"metadata": {"name": "watched", "labels": {"watch": "yes"}}})).ok(201)
    selecting = {"namespaceSelector": {"matchLabels": {"watch": "yes"}}, "objectSelector": {"matchLabels": {"a": "b"}}}
    rules = [rule(["configmaps", "namespaces"], ["*"])]
    await configure(api, "Validating", webhook(hooks, "/ns", rules=rules, **selecting))
    (await api.post(MAPS, config_map("a", {"a": "b"}))).ok(201)
    (await api.post("/api/v1/namespaces/watched/configmaps", config_map("b"))).ok(201)
    assert hooks.reviews == []
    (await api.post("/api/v1/namespaces/watched/configmaps", config_map("c", {"a": "b"}))).ok(201)
    (await api.patch("/api/v1/namespaces/watched/configmaps/c", {"metadata": {"labels": {"a": None}}})).ok()
    labels = {"watch": "yes", "a": "b"}
    (await api.post("/api/v1/namespaces", {"metadata": {"name": "other", "labels": labels}})).ok(201)
    asked = [(one["operation"], one["name"], one["namespace"]) for one in hooks.asked("/ns")]
    assert asked == [
        ("CREATE", "c", "watched"),
        ("UPDATE", "c", "watched"),
        ("CREATE", "other", "other"),
    ]


async def test_nobody_is_asked_about_the_configurations_themselves(api: Api, hooks: WebhookServer) -> None:
    rules = [{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]}]
    closed = {"clientConfig": {"url": "https://127.0.0.1:1/"}, "timeoutSeconds": 1}
    await configure(api, "Validating", webhook(hooks, "/x", rules=rules, **closed))
    await configure(api, "Mutating", webhook(hooks, "/x", rules=rules, **closed))
    (await api.post(MAPS, config_map("a"))).refused(500, "InternalError")
    for kind in ("Validating", "Mutating"):
        (await api.delete(f"{path_of(kind)}/test")).ok()
    await asyncio.sleep(0.1)
    (await api.post(MAPS, config_map("a"))).ok(201)


def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


async def test_a_dead_webhook_stops_writes_or_not_as_its_failure_policy_says(api: Api, hooks: WebhookServer) -> None:
    url = f"https://127.0.0.1:{closed_port()}/dead"
    made = await configure(api, "Validating", webhook(hooks, "/dead", clientConfig={"url": url}))
    message = (await api.post(MAPS, config_map("a"))).refused(500, "InternalError")
    assert message.startswith(
        'Internal error occurred: failed calling webhook "dead.example.com": failed to call webhook: '
        f'Post "{url}?timeout=10s": dial tcp 127.0.0.1:'
    )
    assert message.endswith("connect: connection refused")
    ignoring = {**made, "webhooks": [{**made["webhooks"][0], "failurePolicy": "Ignore"}]}
    changed = (await api.put(f"{path_of('Validating')}/test", ignoring)).ok()
    await api.running.feed.reached(int(changed["metadata"]["resourceVersion"]), 5)
    (await api.post(MAPS, config_map("a"))).ok(201)
    text = (await api.get("/metrics")).body
    assert 'apiserver_admission_webhook_fail_open_count{name="dead.example.com",type="validating"} 1.0' in text
    assert (
        'apiserver_admission_webhook_rejection_count{error_type="calling_webhook_error",name="dead.example.com",'
        'operation="CREATE",rejection_code="0",type="validating"} 1.0' in text
    )


async def drip(request: web.Request, review: Object) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" ")
        await asyncio.sleep(0.05)


async def huge(request: web.Request, review: Object) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(200):
        await response.write(b" " * (64 << 10))
    return response


async def wrong_uid(request: web.Request, review: Object) -> Object:
    return {"uid": "other", "allowed": True}


async def other_version(request: web.Request, review: Object) -> web.Response:
    response = {"uid": review["request"]["uid"], "allowed": True}
    body = {"apiVersion": "admission.k8s.io/v1beta1", "kind": "AdmissionReview", "response": response}
    return web.json_response(body)


def raw(body: bytes, status: int = 200, **headers: str) -> Any:
    async def handler(request: web.Request, review: Object) -> web.Response:
        return web.Response(body=body, status=status, headers=headers)

    return handler


def response(**fields: Any) -> Any:
    async def handler(request: web.Request, review: Object) -> Object:
        return fields

    return handler


WRONG = "received invalid webhook response: "


@pytest.mark.parametrize(
    ("handler", "told"),
    [
        pytest.param(raw(b"<html>"), "couldn't get version/kind; json parse error", id="no JSON"),
        pytest.param(raw(b"[]"), "the answer is not an object", id="no object"),
        pytest.param(raw(b"{}"), WRONG + "webhook response was absent", id="no response"),
        pytest.param(raw(b'{"response":3}'), WRONG + "response: expected an object, got 3", id="no response object"),
        pytest.param(wrong_uid, WRONG + "expected response.uid=", id="another request's uid"),
        pytest.param(other_version, "expected webhook response of admission.k8s.io/v1, Kind=Ad", id="another version"),
        pytest.param(response(allowed="yes"), WRONG + "response.allowed: expected", id="allowed is no boolean"),
        pytest.param(response(allowed=True, warnings=[1]), WRONG + "response.warnings", id="warnings are no texts"),
        pytest.param(
            response(allowed=True, patch="e30="), "returned response.patch but not response.patchType", id="no type"
        ),
        pytest.param(
            response(allowed=True, patchType="JSONPatch"), "response.patchType but not response.patch", id="no patch"
        ),
        pytest.param(
            response(allowed=True, patchType="Merge", patch="e30="), 'invalid response.patchType of "Merge"', id="type"
        ),
        pytest.param(
            response(allowed=True, patchType="JSONPatch", patch="?"), "response.patch is no JSON", id="no base64"
        ),
        pytest.param(
            response(allowed=True, patchType="JSONPatch", patch=base64.b64encode(b"{}").decode()),
            "response.patch: expected a list",
            id="no list",
        ),
        pytest.param(huge, "the answer is larger than", id="a huge body"),
        pytest.param(raw(b"boom", 500), 'an error on the server ("boom") has prevented the request', id="an error"),
        pytest.param(raw(b"", 404), "the server could not find the requested resource", id="not found"),
        pytest.param(
            raw(b"", 302, Location="https://127.0.0.1:1/"), "responded with the status code 302", id="a redirect"
        ),
        pytest.param(drip, "context deadline exceeded", id="a body that drips"),
    ],
)
async def test_a_bad_answer_is_a_failed_call(api: Api, hooks: WebhookServer, handler: Any, told: str) -> None:
    hooks.on("/bad", handler)
    await configure(api, "Mutating", webhook(hooks, "/bad", timeoutSeconds=1))
    message = (await api.post(MAPS, config_map("a"))).refused(500, "InternalError")
    assert message.startswith('Internal error occurred: failed calling webhook "bad.example.com": ')
    assert told in message


async def test_a_certificate_of_somebody_else_is_not_believed(api: Api, hooks: WebhookServer) -> None:
    config = {"url": f"https://127.0.0.1:{hooks.port}/x"}
    await configure(api, "Validating", webhook(hooks, "/x", clientConfig=config))
    message = (await api.post(MAPS, config_map("a"))).refused(500, "InternalError")
    assert "tls: failed to verify certificate" in message
    assert hooks.reviews == []


async def test_a_webhook_behind_a_service_is_found_by_its_endpoints(api: Api, hooks: WebhookServer) -> None:
    hooks.answer("/check", allowed=False)
    config = {
        "service": {"namespace": "default", "name": "policy", "path": "/check"},
        "caBundle": hooks.certificates.ca_bundle,
    }
    await configure(api, "Validating", webhook(hooks, "/check", clientConfig=config))
    post = 'Post "https://policy.default.svc:443/check?timeout=10s": '
    message = (await api.post(MAPS, config_map("a"))).refused(500, "InternalError")
    assert message.endswith(f'{post}service "policy" not found')
    service = {"metadata": {"name": "policy"}, "spec": {"clusterIP": "None", "ports": [{"name": "h", "port": 443}]}}
    (await api.post("/api/v1/namespaces/default/services", service)).ok(201)
    message = (await api.post(MAPS, config_map("a"))).refused(500, "InternalError")
    assert message.endswith(f'{post}no endpoints available for service "policy"')
    piece = {
        "metadata": {"name": "policy-1", "labels": {"kubernetes.io/service-name": "policy"}},
        "addressType": "IPv4",
        "endpoints": [
            {"addresses": ["127.0.0.2"], "conditions": {"ready": False}},
            {"addresses": ["127.0.0.1"], "conditions": {"ready": True}},
        ],
        "ports": [{"name": "h", "port": hooks.port}],
    }
    (await api.post("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", piece)).ok(201)
    answer = await api.post(MAPS, config_map("a"))
    assert answer.body["message"] == 'admission webhook "check.example.com" denied the request without explanation'


async def test_connections_are_kept_and_webhooks_that_judge_are_asked_at_once(api: Api, hooks: WebhookServer) -> None:
    waiting = asyncio.Barrier(2)

    async def meet(request: web.Request, review: Object) -> Object:
        async with waiting:
            return {"allowed": True}

    for path in ("/a", "/b"):
        hooks.on(path, meet)
    await configure(api, "Validating", webhook(hooks, "/a"), webhook(hooks, "/b"))
    for number in range(5):
        (await api.post(MAPS, config_map(f"m{number}"))).ok(201)
    assert len(hooks.reviews) == 10
    assert len(hooks.connections) == 2


async def test_a_patch_that_lost_a_race_is_asked_about_again(api: Api, hooks: WebhookServer) -> None:
    (await api.post(MAPS, config_map("a", x="1"))).ok(201)
    raced = False

    async def race(request: web.Request, review: Object) -> Object:
        nonlocal raced
        if not raced:
            raced = True
            (await api.patch(f"{MAPS}/a", {"data": {"other": "1"}})).ok()
        return {"allowed": True}

    hooks.on("/race", race)
    selector = {"matchLabels": {"raced": "yes"}}
    update = [rule(operations=["UPDATE"])]
    await configure(api, "Validating", webhook(hooks, "/race", rules=update, objectSelector=selector))
    changed = (await api.patch(f"{MAPS}/a", {"metadata": {"labels": {"raced": "yes"}}})).ok()
    assert changed["data"] == {"x": "1", "other": "1"}
    first, second = hooks.asked("/race")
    assert "other" not in first["object"]["data"]
    assert second["object"]["data"]["other"] == "1"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"name": "short"}, "should be a domain with at least three segments", id="a short name"),
        pytest.param({"timeoutSeconds": 31}, "the timeout value must be between 1 and 30 seconds", id="too patient"),
        pytest.param({"clientConfig": {}}, "exactly one of url or service is required", id="nowhere"),
        pytest.param({"clientConfig": {"url": "http://a/"}}, "'https' is the only allowed URL scheme", id="plain http"),
        pytest.param({"clientConfig": {"url": "https:///x"}}, "host must be specified", id="no host"),
        pytest.param({"clientConfig": {"url": "https://u:p@a/"}}, "user information is not permitted", id="a user"),
        pytest.param({"clientConfig": {"url": "https://a/?x=1"}}, "query parameters are not permitted", id="a query"),
        pytest.param({"clientConfig": {"url": "https://a/#x"}}, "fragments are not permitted", id="a fragment"),
        pytest.param(
            {"clientConfig": {"service": {"name": "a", "namespace": "b", "path": "x"}}}, "must start with a '/'", id="p"
        ),
        pytest.param({"admissionReviewVersions": ["v1beta1"]}, "must include at least one of v1", id="only v1beta1"),
        pytest.param({"admissionReviewVersions": []}, "must specify one of v1", id="no review version"),
        pytest.param({"sideEffects": "Some"}, 'Unsupported value: "Some"', id="side effects"),
        pytest.param({"rules": [rule(["*/*", "pods"])]}, "if '*/*' is present", id="everything and more"),
        pytest.param({"rules": [rule(["pods/*", "pods/status"])]}, "if 'pods/*' is present", id="all subresources"),
        pytest.param({"rules": [rule(["*", "pods"])]}, "if '*' is present, must not specify other", id="all resources"),
        pytest.param({"rules": [rule(operations=["*", "CREATE"])]}, "must not specify other operations", id="all ops"),
        pytest.param({"rules": [rule(operations=[])]}, "webhooks[0].rules[0].operations: Required", id="no operation"),
        pytest.param({"failurePolicy": "Maybe"}, 'Unsupported value: "Maybe"', id="a failure policy of its own"),
        pytest.param({"objectSelector": {"matchLabels": {"a b": "c"}}}, "webhooks[0].objectSelector", id="a selector"),
    ],
)
async def test_a_configuration_that_makes_no_sense_is_refused(
    api: Api, hooks: WebhookServer, change: Object, message: str
) -> None:
    body = configuration("Validating", "test", {**webhook(hooks, "/x"), **change})
    assert message in (await api.post(path_of("Validating"), body)).refused(422, "Invalid")


async def test_the_metadata_of_the_review_is_json_even_for_an_applied_object(api: Api, hooks: WebhookServer) -> None:
    hooks.answer("/apply", **patch(label("seen", "yes")))
    await configure(api, "Mutating", webhook(hooks, "/apply", rules=[rule(operations=["CREATE", "UPDATE"])]))
    body = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "s"}, "data": {"a": "1"}}).encode()
    path = f"{MAPS}/s?fieldManager=me"
    made = (await api.ask("PATCH", path, body, content_type="application/apply-patch+yaml")).ok(201)
    assert made["metadata"]["labels"] == {"seen": "yes"}
    again = (await api.ask("PATCH", path, body, content_type="application/apply-patch+yaml")).ok()
    assert again["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"], "nothing changed"


def condition(expression: str, name: str = "c") -> Object:
    return {"name": name, "expression": expression}


@pytest.mark.parametrize(
    ("expressions", "policy", "outcome"),
    [
        pytest.param(["object.metadata.name == 'a'"], "Fail", "asked", id="true"),
        pytest.param(["object.metadata.name == 'b'"], "Fail", "skipped", id="false"),
        pytest.param(["request.operation == 'CREATE'", "oldObject == null"], "Fail", "asked", id="all true"),
        pytest.param(["request.userInfo.username == 'admin'"], "Fail", "asked", id="who asks"),
        pytest.param(["object.no.such == 1"], "Fail", "refused", id="an error"),
        pytest.param(["object.no.such == 1"], "Ignore", "skipped", id="an error that is ignored"),
        pytest.param(["object.no.such == 1", "false"], "Fail", "skipped", id="an error, and one says no"),
    ],
)
async def test_match_conditions_decide_who_is_asked(
    api: Api, hooks: WebhookServer, expressions: list[str], policy: str, outcome: str
) -> None:
    hooks.answer("/cel", allowed=True)
    conditions = [condition(text, f"c{number}") for number, text in enumerate(expressions)]
    hook = webhook(hooks, "/cel", matchConditions=conditions, failurePolicy=policy)
    await configure(api, "Validating", hook)
    answer = await api.post(MAPS, config_map("a"))
    if outcome == "refused":
        message = answer.refused(403, "Forbidden")
        assert message == (
            "configmaps \"a\" is forbidden: expression 'object.no.such == 1' resulted in error: no such key: no"
        )
    else:
        answer.ok(201)
    assert bool(hooks.reviews) == (outcome == "asked")


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        pytest.param([condition("object.")], "webhooks[0].matchConditions[0].expression: Invalid", id="no CEL"),
        pytest.param([condition("'text'")], "must evaluate to a bool", id="no boolean"),
        pytest.param([condition("request.nothing == 1")], "undefined field 'nothing'", id="no such field"),
        pytest.param([condition(" ")], "webhooks[0].matchConditions[0].expression: Required", id="nothing"),
        pytest.param([condition("true"), condition("true")], "Duplicate value", id="one name twice"),
        pytest.param([condition("true", "a b")], "webhooks[0].matchConditions[0].name: Invalid", id="no name"),
    ],
)
async def test_match_conditions_that_make_no_sense_are_refused(
    api: Api, hooks: WebhookServer, conditions: list[Object], message: str
) -> None:
    body = configuration("Mutating", "test", webhook(hooks, "/x", matchConditions=conditions))
    assert message in (await api.post(path_of("Mutating"), body)).refused(422, "Invalid")


async def test_a_server_starts_although_a_dead_webhook_covers_everything(tmp_path: Path, hooks: WebhookServer) -> None:
    store = await open_store(Settings(tmp_path, store="memory"))
    rules = [{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]}]
    dead = webhook(hooks, "/x", rules=rules, clientConfig={"url": f"https://127.0.0.1:{closed_port()}/"})
    async with api_server(tmp_path, opened=store) as api:
        await configure(api, "Validating", dead)
        await configure(api, "Mutating", dead)
    # The bootstrap objects are written anew: what the server writes by itself is nobody else's business.
    page = await store.range(b"/registry/core/namespaces/", b"/registry/core/namespaces0")
    for item in page.items:
        await store.txn([], [Delete(item.key)])
    async with api_server(tmp_path, opened=store) as api:
        (await api.get("/api/v1/namespaces/default")).ok()
        (await api.post(MAPS, config_map("a"))).refused(500, "InternalError")
        (await api.delete(f"{path_of('Validating')}/test")).ok()
    await store.close()


async def test_an_exec_is_a_connection_that_a_webhook_may_refuse(api: Api, hooks: WebhookServer) -> None:
    hooks.answer("/exec", allowed=False, status={"message": "no shells", "code": 403})
    await configure(api, "Validating", webhook(hooks, "/exec", rules=[rule(["pods/exec"], ["CONNECT"])]))
    (await api.post(PODS, pod("p"))).ok(201)
    answer = await api.post(f"{PODS}/p/exec?command=ls&stdout=true&container=main", None)
    assert (answer.status, answer.body["message"]) == (
        403,
        'admission webhook "exec.example.com" denied the request: no shells',
    )
    (request,) = hooks.asked("/exec")
    assert (request["operation"], request["kind"]["kind"], request["subResource"]) == (
        "CONNECT",
        "PodExecOptions",
        "exec",
    )
    assert (request["object"]["command"], request["name"], request["oldObject"]) == (["ls"], "p", None)


async def test_a_request_has_an_end_although_its_webhook_has_more_time(tmp_path: Path, hooks: WebhookServer) -> None:
    asked = asyncio.Event()

    async def hang(request: web.Request, review: Object) -> Object:
        asked.set()
        await asyncio.sleep(30)
        return {"allowed": True}

    hooks.on("/hang", hang)
    settings = Settings(tmp_path, http=HttpSettings(request_timeout_s=0.5))
    async with api_server(tmp_path, settings=settings) as api:
        await configure(api, "Mutating", webhook(hooks, "/hang", timeoutSeconds=30))
        (await api.post(MAPS, config_map("a"))).refused(504, "Timeout")
        assert asked.is_set()
        (await api.get(f"{MAPS}/a")).refused(404, "NotFound")


async def test_a_kept_connection_that_the_webhook_closed_costs_no_write(api: Api, hooks: WebhookServer) -> None:
    async def close_after(request: web.Request, review: Object) -> Object:
        transport = request.transport
        assert transport is not None
        asyncio.get_running_loop().call_later(0.05, transport.abort)
        return {"allowed": True}

    hooks.on("/close", close_after)
    await configure(api, "Validating", webhook(hooks, "/close"))
    for number in range(3):
        (await api.post(MAPS, config_map(f"m{number}"))).ok(201)
        await asyncio.sleep(0.06)
    assert len(hooks.reviews) == 3
