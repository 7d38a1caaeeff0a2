"""What the client sends, which errors it gives, and when it asks again, against a scripted server."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from aiohttp import web

from stark.client import errors
from stark.client.api import Client, PatchType
from stark.client.config import ClientConfig
from stark.client.kinds import metadata_only, unstructured
from stark.client.transport import RETRIES_MAX
from stark.crds.config import ConfigMap
from stark.crds.meta import ObjectMeta, ResourceDef
from stark.crds.nodes import Node
from tests.support.scripted_api import ScriptedApi, config_map, scripted_api


@pytest.fixture
async def server() -> AsyncIterator[ScriptedApi]:
    async with scripted_api() as api:
        yield api


@pytest.fixture
async def client(server: ScriptedApi) -> AsyncIterator[Client]:
    async with Client(server.config, user_agent="tests", field_manager="me") as api:
        yield api


def status(code: int, reason: str, headers: dict[str, str] | None = None, **details: Any) -> web.Response:
    body = {"kind": "Status", "status": "Failure", "message": f"{reason}!", "reason": reason, "code": code}
    return web.json_response({**body, "details": details}, status=code, headers=headers)


class Recording:
    """Answers everything with one object and keeps what was asked."""

    def __init__(self, server: ScriptedApi) -> None:
        self.seen: list[tuple[str, str, str, Any]] = []
        server.handler = self.answer

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        sent = orjson.loads(body) if body else None
        self.seen.append((request.method, request.raw_path, request.headers.get("Content-Type", ""), sent))
        return web.json_response(config_map("a", 7))


async def test_each_call_is_the_request_that_kubernetes_expects(server: ScriptedApi, client: Client) -> None:
    seen = Recording(server).seen
    obj = ConfigMap(metadata=ObjectMeta(name="a", namespace="ns"), data={"k": "v"})
    sent = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "ns"}, "data": {"k": "v"}}
    root, manager = "/api/v1/namespaces/ns/configmaps", "?fieldManager=me"
    assert (await client.create(obj)).metadata.resource_version == "7"
    assert seen.pop() == ("POST", root + manager, "application/json", sent)
    await client.update(obj, "status")
    assert seen.pop() == ("PUT", f"{root}/a/status{manager}", "application/json", sent)
    await client.patch(ConfigMap, "a", {"data": None}, "ns", dry_run=True)
    assert seen.pop() == ("PATCH", f"{root}/a{manager}&dryRun=All", PatchType.MERGE.value, {"data": None})
    await client.patch(ConfigMap, "a", sent, "ns", type=PatchType.APPLY, force=True, subresource="scale")
    assert seen.pop()[:3] == ("PATCH", f"{root}/a/scale{manager}&force=true", "application/apply-patch+yaml")
    await client.delete(ConfigMap, "a", "ns", grace_period_s=0, propagation="Orphan", uid="u", resource_version="3")
    assert seen.pop()[3] == {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "gracePeriodSeconds": 0,
        "propagationPolicy": "Orphan",
        "preconditions": {"uid": "u", "resourceVersion": "3"},
    }
    await client.bind("ns", "web-0", "node-1", uid="u")
    method, path, _, binding = seen.pop()
    assert (method, path) == ("POST", "/api/v1/namespaces/ns/pods/web-0/binding")
    assert binding["target"] == {"apiVersion": "v1", "kind": "Node", "name": "node-1"}
    await client.get(ConfigMap, "../secrets/x?", "ns")
    assert seen.pop()[1] == f"{root}/..%2Fsecrets%2Fx%3F", "a name cannot leave its path"


async def test_an_object_without_a_name_or_namespace_is_refused_before_anything_is_sent(
    server: ScriptedApi, client: Client
) -> None:
    for name, namespace in (("", "ns"), ("..", "ns"), ("a", None)):
        with pytest.raises(ValueError, match="to be addressed"):
            await client.delete(ConfigMap, name, namespace)
    assert server.requests == []


async def test_kinds_without_a_model_are_mappings_or_metadata(server: ScriptedApi, client: Client) -> None:
    Recording(server)
    widget = ResourceDef("example.com", "v1", "Widget", "widgets", namespaced=True)
    found = await client.get(unstructured(widget), "a", "ns")
    assert found["metadata"]["uid"] == "uid-a"
    made = await client.create(config_map("a", 0), kind=unstructured(widget))
    assert made["kind"] == "ConfigMap"
    assert (await client.get(metadata_only(widget), "a", "ns")).metadata.uid == "uid-a"
    with pytest.raises(TypeError, match="its kind"):
        await client.create(config_map("a", 0))


async def test_pages_are_followed_to_the_end(server: ScriptedApi, client: Client) -> None:
    server.objects = [config_map(f"n{i}", 1) for i in range(4_001)]
    everything = await client.list_all(ConfigMap)
    assert [obj.metadata.name for obj in everything.items] == [f"n{i}" for i in range(4_001)]
    page = await client.list(ConfigMap, "ns", limit=2, label_selector="a in (b,c)")
    assert (len(page.items), page.continue_, page.resource_version) == (2, "2", "1")
    assert server.lists[-1] == {"limit": "2", "labelSelector": "a in (b,c)"}


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (400, "BadRequest", errors.BadRequest),
        (401, "Unauthorized", errors.Unauthorized),
        (403, "Forbidden", errors.Forbidden),
        (404, "NotFound", errors.NotFound),
        (409, "AlreadyExists", errors.AlreadyExists),
        (409, "Conflict", errors.Conflict),
        (410, "Expired", errors.Gone),
        (415, "UnsupportedMediaType", errors.UnsupportedMediaType),
        (422, "Invalid", errors.Invalid),
        (500, "InternalError", errors.ServerError),
        (503, "ServiceUnavailable", errors.Unavailable),
        (504, "Timeout", errors.Timeout),
        (599, "SomethingNew", errors.ServerError),
    ],
)
async def test_a_status_becomes_its_class(
    server: ScriptedApi, client: Client, code: int, reason: str, kind: type[errors.ApiError]
) -> None:
    server.refusals = [
        status(code, reason, causes=[{"field": "spec.x", "message": "bad", "reason": "FieldValueInvalid"}])
    ]
    with pytest.raises(errors.ApiError, match=f"{reason}!") as caught:
        await client.get(ConfigMap, "a", "ns")
    assert type(caught.value) is kind
    assert (caught.value.status_code, caught.value.reason) == (code, reason)
    assert caught.value.causes == (errors.Cause("spec.x", "bad"),)
    assert len(server.requests) == 1, "asking again would not help"


async def test_an_answer_that_is_no_status_keeps_its_code_and_first_words(server: ScriptedApi, client: Client) -> None:
    server.refusals = [web.Response(status=502, text="<html>bad gateway</html>")]
    with pytest.raises(errors.ServerError, match="GET /api/v1/nodes/n: 502 Bad Gateway: <html>bad gateway"):
        await client.get(Node, "n")


async def test_a_server_that_says_when_to_come_back_is_asked_again_even_for_a_write(
    server: ScriptedApi, client: Client
) -> None:
    Recording(server)
    server.refusals = [
        status(429, "TooManyRequests", {"Retry-After": "0"}),
        status(503, "ServiceUnavailable", retryAfterSeconds=0),
    ]
    made = await client.create(ConfigMap(metadata=ObjectMeta(name="a", namespace="ns")))
    assert made.metadata.name == "a"
    assert len(server.requests) == 3


async def test_retries_are_bounded_and_a_long_wait_is_the_callers_decision(server: ScriptedApi, client: Client) -> None:
    server.refusals = [status(429, "TooManyRequests", {"Retry-After": "0"}) for _ in range(20)]
    with pytest.raises(errors.TooManyRequests):
        await client.get(Node, "n")
    assert len(server.requests) == RETRIES_MAX + 1
    server.refusals = [status(429, "TooManyRequests", {"Retry-After": "600"})]
    with pytest.raises(errors.TooManyRequests) as caught:
        await client.get(Node, "n")
    assert caught.value.retry_after_s == 600


@pytest.mark.parametrize(("method", "tries"), [("GET", 3), ("POST", 1)])
async def test_after_a_broken_connection_reads_are_repeated_and_writes_are_not(
    server: ScriptedApi, client: Client, method: str, tries: int
) -> None:
    attempts = 0

    async def break_twice(request: web.Request) -> web.Response:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            assert request.transport is not None
            request.transport.abort()
            await asyncio.sleep(0)
        return web.json_response(config_map("a", 1))

    server.handler = break_twice
    if method == "GET":
        assert (await client.get(ConfigMap, "a", "ns")).metadata.name == "a"
    else:
        with pytest.raises(errors.Unavailable):
            await client.create(ConfigMap(metadata=ObjectMeta(name="a", namespace="ns")))
    assert attempts == tries


async def test_what_never_left_this_machine_is_sent_when_the_server_comes_up() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
    async with Client(ClientConfig(server=f"http://127.0.0.1:{port}")) as api:
        creating = asyncio.create_task(api.create(ConfigMap(metadata=ObjectMeta(name="a", namespace="ns"))))
        await asyncio.sleep(0.05)

        async def answer(_request: web.BaseRequest) -> web.Response:
            return web.json_response(config_map("a", 1))

        runner = web.ServerRunner(web.Server(answer))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        try:
            assert (await creating).metadata.name == "a"
        finally:
            await runner.cleanup()


async def test_a_fence_is_asked_before_each_write_and_never_for_reads(server: ScriptedApi, client: Client) -> None:
    Recording(server)

    def closed() -> float:
        raise errors.Fenced("not leading")

    fenced = client.fenced(closed)
    assert (await fenced.get(ConfigMap, "a", "ns")).metadata.name == "a"
    obj = ConfigMap(metadata=ObjectMeta(name="a", namespace="ns"))
    for attempt in (
        fenced.create(obj),
        fenced.update(obj),
        fenced.patch(ConfigMap, "a", {}, "ns"),
        fenced.delete(ConfigMap, "a", "ns"),
        fenced.bind("ns", "p", "n"),
    ):
        with pytest.raises(errors.Fenced):
            await attempt
    assert len(server.requests) == 1
    assert (await client.create(obj)).metadata.name == "a", "the client itself is not fenced"


async def test_nobody_waits_longer_than_leadership_or_haste_allow(server: ScriptedApi, client: Client) -> None:
    async def hang(_request: web.Request) -> web.Response:
        await server.stopping.wait()
        return web.Response()

    server.handler = hang
    with pytest.raises(errors.Timeout):
        await client.fenced(lambda: 0.05).create(ConfigMap(metadata=ObjectMeta(name="a", namespace="ns")))
    for attempt in (
        client.hasty(0.05).get(ConfigMap, "a", "ns"),
        client.hasty(0.05).patch(ConfigMap, "a", {}, "ns"),
        client.hasty(0.05).list_all(ConfigMap, "ns"),
    ):
        with pytest.raises(errors.Timeout):
            await attempt


async def test_warnings_of_the_server_reach_the_caller(server: ScriptedApi) -> None:
    heard: list[str] = []
    server.refusals = [
        web.json_response(config_map("a", 1), headers={"Warning": '299 - "unknown field \\"spec.x\\""'}),
    ]
    async with Client(server.config, on_warning=heard.append) as api:
        await api.get(ConfigMap, "a", "ns")
    assert heard == ['unknown field "spec.x"']


async def test_raw_streams_both_ways(server: ScriptedApi, client: Client) -> None:
    async def echo(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        async for chunk in request.content.iter_any():
            await response.write(chunk)
        return response

    async def pieces() -> AsyncIterator[bytes]:
        for number in range(64):
            yield bytes([number]) * 65_536

    server.handler = echo
    size = 0
    async with client.raw("PUT", "/x", params={"a": "b c"}, body=pieces()) as response:
        assert response.status == 200
        async for chunk in response.chunks():
            size += len(chunk)
    assert size == 64 * 65_536
    assert server.requests[-1].raw_path == "/x?a=b+c"
    async with client.raw("PUT", "/x", body=b"12345") as response:
        with pytest.raises(errors.FrameTooLarge):
            await response.read(limit=4)


AGGREGATED = {
    "kind": "APIGroupDiscoveryList",
    "items": [
        {
            "metadata": {"name": "apps"},
            "versions": [
                {
                    "version": "v1",
                    "resources": [
                        {
                            "resource": "deployments",
                            "responseKind": {"group": "apps", "version": "v1", "kind": "Deployment"},
                            "scope": "Namespaced",
                            "singularResource": "deployment",
                            "verbs": ["list", "watch"],
                            "subresources": [{"subresource": "scale", "verbs": ["get"]}],
                        }
                    ],
                },
                {"version": "v1beta1", "resources": [{"resource": "deployments"}]},
            ],
        }
    ],
}


@pytest.mark.parametrize("aggregated", [True, False])
async def test_discovery_finds_every_resource_at_its_preferred_version(
    server: ScriptedApi, client: Client, aggregated: bool
) -> None:
    deployments = {"name": "deployments", "kind": "Deployment", "namespaced": True, "verbs": ["list", "watch"]}
    answers: dict[str, Any] = {
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/api/v1": {"resources": [{"name": "nodes", "kind": "Node", "namespaced": False, "verbs": ["get"]}]},
        "/apis": {"groups": [{"name": "apps", "preferredVersion": {"groupVersion": "apps/v1"}}]},
        "/apis/apps/v1": {"resources": [deployments, {"name": "deployments/scale", "kind": "Scale"}]},
    }
    if aggregated:
        answers["/apis"] = AGGREGATED

    async def answer(request: web.Request) -> web.Response:
        return web.json_response(answers[request.path])

    server.handler = answer
    found = {resource.plural: resource for resource in await client.discover()}
    assert set(found) == {"nodes", "deployments"}
    deployment = found["deployments"]
    assert (deployment.group, deployment.version, deployment.kind) == ("apps", "v1", "Deployment")
    assert (deployment.namespaced, deployment.subresources) == (True, ("scale",))
    assert deployment.extra["verbs"] == ("list", "watch")
