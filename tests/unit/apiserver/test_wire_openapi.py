"""The OpenAPI documents, and what the real kubectl makes of them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from stark.apiserver.errors import NotAcceptable
from stark.apiserver.kinds import builtin_resources, resources_of
from stark.apiserver.resources import Resources
from stark.apiserver.wire import openapi_proto
from stark.apiserver.wire.openapi import OpenApi
from tests.support.kubectl import kubectl_of
from tests.support.wire_samples import CRONTAB
from tests.support.wire_server import WireServer, wire_server

PROTO = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"


@pytest.fixture(scope="module")
def resources() -> Resources:
    return Resources([*builtin_resources(), *resources_of(CRONTAB)])


def read(openapi: OpenApi, url: str) -> dict[str, Any]:
    path, _, query = url.partition("?hash=")
    response = openapi.respond(path, query, "application/json")
    assert response is not None
    assert isinstance(response.body, bytes)
    assert response.status == 200
    body: dict[str, Any] = orjson.loads(response.body)
    return body


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def test_the_index_leads_to_every_document_and_no_reference_leads_nowhere(resources: Resources) -> None:
    openapi = OpenApi(resources, "v1.33.0")
    index = read(openapi, "/openapi/v3")["paths"]
    assert {"api/v1", "apis/apps/v1", "apis/stark.dev/v1", "apis/stable.example.com/v1beta1"} <= index.keys()
    for entry in index.values():
        document = read(openapi, entry["serverRelativeURL"])
        schemas = document["components"]["schemas"]
        assert {name.rpartition("/")[2] for name in references(document)} <= schemas.keys()
    v2 = read(openapi, "/openapi/v2")
    assert {name.removeprefix("#/definitions/") for name in references(v2)} <= v2["definitions"].keys()


def test_a_document_has_what_kubectl_looks_for(resources: Resources) -> None:
    document = read(OpenApi(resources, "v1.33.0"), "/openapi/v3/apis/apps/v1")
    patch = document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"]
    assert patch["x-kubernetes-group-version-kind"] == {"group": "apps", "kind": "Deployment", "version": "v1"}
    assert patch["x-kubernetes-action"] == "patch"
    assert {"dryRun", "fieldValidation"} <= {parameter["name"] for parameter in patch["parameters"]}
    assert "application/strategic-merge-patch+json" in patch["requestBody"]["content"]
    schema = document["components"]["schemas"]["io.k8s.api.apps.v1.Deployment"]
    containers = schema["properties"]["spec"]["properties"]["template"]["properties"]["spec"]["properties"][
        "containers"
    ]
    assert containers["x-kubernetes-patch-merge-key"] == "name"


def test_custom_kinds_have_no_strategic_merge(resources: Resources) -> None:
    document = read(OpenApi(resources, "v1.33.0"), "/openapi/v3/apis/stable.example.com/v1")
    patch = document["paths"]["/apis/stable.example.com/v1/namespaces/{namespace}/crontabs/{name}"]["patch"]
    assert "application/strategic-merge-patch+json" not in patch["requestBody"]["content"]
    assert "com.example.stable.v1.CronTab" in document["components"]["schemas"]


def test_the_hash_of_a_document_changes_with_its_schema_only() -> None:
    changing = Resources([*builtin_resources(), *resources_of(CRONTAB)])
    openapi = OpenApi(changing, "v1.33.0")
    before = read(openapi, "/openapi/v3")["paths"]
    changing.remove("stable.example.com", "v1beta1", "crontabs")
    after = read(openapi, "/openapi/v3")["paths"]
    assert before["apis/apps/v1"] == after["apis/apps/v1"]
    assert "apis/stable.example.com/v1beta1" not in after


def test_a_stale_hash_is_redirected_and_a_known_document_not_sent_again(resources: Resources) -> None:
    openapi = OpenApi(resources, "v1.33.0")
    moved = openapi.respond("/openapi/v3/api/v1", "OLD")
    assert moved is not None
    assert moved.status == 301
    url = moved.headers["Location"]
    found = openapi.respond("/openapi/v3/api/v1", url.partition("=")[2])
    assert found is not None
    assert "immutable" in found.headers["Cache-Control"]
    again = openapi.respond("/openapi/v3/api/v1", if_none_match=found.headers["ETag"])
    assert again is not None
    assert again.status == 304


def test_other_paths_and_forms_are_refused(resources: Resources) -> None:
    openapi = OpenApi(resources, "v1.33.0")
    assert openapi.respond("/openapi/v3/apis/none/v1") is None
    assert openapi.respond("/metrics", accept="image/png") is None
    with pytest.raises(NotAcceptable):
        openapi.respond("/openapi/v3/api/v1", accept="application/com.github.proto-openapi.spec.v3@v1.0+protobuf")


def test_numbers_of_a_schema_survive_protobuf_whatever_their_sign() -> None:
    for number in (0, 127, 128, 2**40, -1):
        body = openapi_proto.encode({"definitions": {"A": {"minLength": number, "minimum": -1.5}}})
        assert body


MANIFEST = b"""apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: default}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: a, image: new}, {name: b, image: same}]}
"""
STORED: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "namespace": "default", "uid": "1", "resourceVersion": "5"},
    "spec": {
        "replicas": 1,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "a", "image": "old"}, {"name": "b", "image": "same"}]},
        },
    },
}


class Kubectl:
    """One version of the real program, against a server that serves only documents."""

    def __init__(self, server: WireServer, home: Path) -> None:
        self.server = server
        self._home = home

    def run(self, *arguments: str, stdin: bytes = b"") -> str:
        """Its output. The command must succeed."""
        program = kubectl_of(f"1.{self.server.minor}")
        command = [str(program), "--server", self.server.url, "--cache-dir", str(self._home / "cache"), *arguments]
        done = subprocess.run(
            command, input=stdin, capture_output=True, timeout=60, env={"HOME": str(self._home)}, check=False
        )
        assert done.returncode == 0, (arguments, done.stderr.decode(), self.server.seen)
        return done.stdout.decode()


@pytest.fixture(params=["27", pytest.param("30", marks=pytest.mark.slow), "33"])
def kubectl(request: pytest.FixtureRequest, resources: Resources, tmp_path: Path) -> Iterator[Kubectl]:
    kubectl_of(f"1.{request.param}")
    with wire_server(resources, request.param) as server:
        yield Kubectl(server, tmp_path)


def test_kubectl_finds_and_explains_the_kinds(kubectl: Kubectl) -> None:
    listed = kubectl.run("api-resources")
    assert "deploy       apps/v1" in listed
    assert "ct           stable.example.com/v1" in listed
    assert "<integer>" in kubectl.run("explain", "deployment.spec.replicas")
    assert "The times." in kubectl.run("explain", "ct.spec")


def test_kubectl_validates_on_the_server_and_merges_lists_by_their_keys(kubectl: Kubectl) -> None:
    kubectl.run("create", "--validate=strict", "-f", "-", stdin=MANIFEST)
    kubectl.server.objects["/apis/apps/v1/namespaces/default/deployments/web"] = STORED
    kubectl.run("apply", "--validate=strict", "-f", "-", stdin=MANIFEST)
    method, content_type, body = kubectl.server.bodies[-1]
    assert (method, content_type) == ("PATCH", "application/strategic-merge-patch+json")
    assert orjson.loads(body)["spec"] == {
        "replicas": 2,
        "template": {
            "spec": {
                "$setElementOrder/containers": [{"name": "a"}, {"name": "b"}],
                "containers": [{"image": "new", "name": "a"}],
            }
        },
    }
