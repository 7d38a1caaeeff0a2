"""Protobuf bodies over the wire: every place that takes a body takes them, with the rules and words that JSON gets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.apiserver import Answer, Api, api_server, pod
from tests.support.protobuf_writer import body, f

CORE = "/api/v1/namespaces/default"
PODS = f"{CORE}/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
CONTAINER = f(1, "main") + f(2, "docker.io/library/busybox:1")


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with api_server(tmp_path) as server:
        yield server


async def send(api: Api, path: str, data: bytes, method: str = "POST") -> Answer:
    """As client-go does: protobuf first among what it takes."""
    accept = {"Accept": f"{MEDIA_TYPE},application/json"}
    return await api.ask(method, path, data, content_type=MEDIA_TYPE, headers=accept)


def named(name: str) -> bytes:
    """Metadata as Go writes it, with all that is empty."""
    return f(1, f(1, name) + f(2, "") + f(3, "") + f(4, "") + f(5, "") + f(6, "") + f(7, 0) + f(8, b""))


def pod_body(name: str, *spec: bytes) -> bytes:
    return body("v1", "Pod", named(name) + f(2, f(2, CONTAINER) + b"".join(spec)) + f(3, f(1, "") + f(3, "")))


def deployment_body(name: str, replicas: int) -> bytes:
    label = f(1, f(1, "app") + f(2, name))
    template = f(1, f(11, f(1, "app") + f(2, name))) + f(2, f(2, CONTAINER))
    return body("apps/v1", "Deployment", named(name) + f(2, f(1, replicas) + f(2, label) + f(3, template)))


async def test_an_object_is_created_and_answered_in_json(api: Api) -> None:
    answer = await send(api, f"{CORE}/configmaps", body("v1", "ConfigMap", named("a") + f(2, f(1, "k") + f(2, "v"))))
    made = answer.ok(201)
    assert answer.headers["Content-Type"] == "application/json"
    assert (made["data"], made["metadata"]["name"]) == ({"k": "v"}, "a")
    assert (await api.get(f"{CORE}/configmaps/a")).ok() == made


async def test_an_object_is_replaced(api: Api) -> None:
    (await send(api, DEPLOYMENTS, deployment_body("web", 2))).ok(201)
    replaced = (await send(api, f"{DEPLOYMENTS}/web", deployment_body("web", 0), "PUT")).ok()
    assert (replaced["spec"]["replicas"], replaced["metadata"]["generation"]) == (0, 2)


async def test_a_strict_write_is_refused_by_the_names_that_json_has(api: Api) -> None:
    sent = pod_body("a", f(11, 1), f(26, f(1, "10.0.0.1")))
    message = (await send(api, f"{PODS}?fieldValidation=Strict", sent)).refused(400, "BadRequest")
    assert 'strict decoding error: unknown field "spec.hostNetwork", unknown field "spec.dnsConfig"' in message


async def test_a_write_without_a_wish_is_warned_and_done(api: Api) -> None:
    answer = await send(api, PODS, pod_body("a", f(11, 1)))
    assert "hostNetwork" not in answer.ok(201)["spec"]
    assert answer.headers["Warning"] == '299 - "unknown field \\"spec.hostNetwork\\""'


async def test_validation_speaks_of_protobuf_as_of_json(api: Api) -> None:
    refused = await send(api, PODS, body("v1", "Pod", named("a") + f(2, f(2, f(1, "Not A Name") + f(2, "x")))))
    assert "spec.containers[0].name" in refused.refused(422, "Invalid")


@pytest.mark.parametrize(
    ("path", "data", "status", "reason"),
    [
        pytest.param(PODS, b"{}", 400, "BadRequest", id="JSON that is called protobuf"),
        pytest.param(PODS, b"", 400, "BadRequest", id="nothing"),
        pytest.param(PODS, pod_body("a")[:-3], 400, "BadRequest", id="a body that is cut off"),
        pytest.param(PODS, body("v1", "Secret", named("a")), 400, "BadRequest", id="another kind"),
        pytest.param(PODS, body("apps/v1", "Pod", named("a")), 400, "BadRequest", id="another version"),
        pytest.param(
            "/apis/stark.dev/v1/packs", body("stark.dev/v1", "Pack", b""), 415, "UnsupportedMediaType", id="a Pack"
        ),
    ],
)
async def test_what_cannot_be_read_is_refused(api: Api, path: str, data: bytes, status: int, reason: str) -> None:
    (await send(api, path, data)).refused(status, reason)


async def test_options_of_a_deletion_are_heard(api: Api) -> None:
    made = (await send(api, PODS, pod_body("a"))).ok(201)
    other = body("v1", "DeleteOptions", f(2, f(1, "another-uid")))
    (await send(api, f"{PODS}/a", other, "DELETE")).refused(409, "Conflict")
    same = body("v1", "DeleteOptions", f(1, 0) + f(2, f(1, made["metadata"]["uid"])))
    (await send(api, f"{PODS}/a", same, "DELETE")).ok()
    (await api.get(f"{PODS}/a")).refused(404, "NotFound")


async def test_a_pod_is_bound_and_evicted(api: Api) -> None:
    (await api.post(PODS, pod("a"))).ok(201)
    binding = body("v1", "Binding", named("a") + f(2, f(1, "Node") + f(2, "") + f(3, "n1") + f(5, "")))
    (await send(api, f"{PODS}/a/binding", binding)).ok(201)
    assert (await api.get(f"{PODS}/a")).ok()["spec"]["nodeName"] == "n1"
    (await send(api, f"{PODS}/a/eviction", body("policy/v1", "Eviction", named("a")))).ok(201)
    assert "deletionTimestamp" in (await api.get(f"{PODS}/a")).ok()["metadata"]


@pytest.mark.parametrize("replicas", [3, 0])
async def test_a_scale_is_put(api: Api, replicas: int) -> None:
    (await send(api, DEPLOYMENTS, deployment_body("web", 1))).ok(201)
    scale = body("autoscaling/v1", "Scale", named("web") + f(2, f(1, replicas)))
    (await send(api, f"{DEPLOYMENTS}/web/scale", scale, "PUT")).ok()
    assert (await api.get(f"{DEPLOYMENTS}/web")).ok()["spec"]["replicas"] == replicas


async def test_questions_are_answered(api: Api) -> None:
    attributes = f(1, "default") + f(2, "get") + f(3, "") + f(4, "v1") + f(5, "pods") + f(6, "") + f(7, "")
    asked = f(2, f(1, attributes) + f(3, "somebody") + f(5, f(1, "k") + f(2, f(1, "v"))) + f(6, ""))
    review = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    answer: dict[str, Any] = (
        await send(api, review, body("authorization.k8s.io/v1", "SubjectAccessReview", asked))
    ).ok(201)
    assert answer["status"]["allowed"] is False
    assert answer["spec"]["extra"] == {"k": ["v"]}


async def test_an_event_and_a_lease_are_created(api: Api) -> None:
    about = f(2, f(1, "Pod") + f(2, "default") + f(3, "a"))
    event = named("a.1") + about + f(3, "Started") + f(5, f(1, "agent")) + f(6, f(1, 1_700_000_000)) + f(8, 1)
    made = (await send(api, f"{CORE}/events", body("v1", "Event", event + f(10, b"") + f(14, "") + f(15, "")))).ok(201)
    assert (made["firstTimestamp"], made["count"]) == ("2023-11-14T22:13:20Z", 1)
    lease = named("l") + f(2, f(1, "me") + f(2, 15) + f(4, f(1, 1_700_000_000) + f(2, 5_000)))
    leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
    held = (await send(api, leases, body("coordination.k8s.io/v1", "Lease", lease))).ok(201)
    assert held["spec"]["renewTime"] == "2023-11-14T22:13:20.000005Z"


async def test_a_definition_is_created(api: Api) -> None:
    version = f(1, "v1") + f(2, 1) + f(3, 1) + f(4, f(1, f(5, "object")))
    names = f(1, "crates") + f(2, "") + f(4, "Crate") + f(5, "")
    spec = f(1, "example.com") + f(3, names) + f(4, "Namespaced") + f(7, version) + f(10, 0)
    status = f(3, f(2, names))
    raw = named("crates.example.com") + f(2, spec) + status
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    made = (await send(api, definitions, body("apiextensions.k8s.io/v1", "CustomResourceDefinition", raw))).ok(201)
    assert made["spec"]["versions"][0]["schema"] == {"openAPIV3Schema": {"type": "object"}}
