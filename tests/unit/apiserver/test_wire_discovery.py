"""Discovery documents, plain and aggregated."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from stark.apiserver.errors import NotAcceptable
from stark.apiserver.kinds import builtin_resources, resources_of
from stark.apiserver.resources import ALL_VERBS, Resources
from stark.apiserver.wire.discovery import FIRST_GROUPS, LAST_GROUPS, Discovery, storage_version_hash, version_order
from tests.support.wire_samples import CRONTAB, DEPLOYMENT, POD

V2 = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
V2BETA1 = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"


@pytest.fixture
def resources() -> Resources:
    return Resources(
        [*resources_of(POD, custom=False), *resources_of(DEPLOYMENT, custom=False), *resources_of(CRONTAB)]
    )


def read(discovery: Discovery, path: str, accept: str = "") -> dict[str, Any]:
    response = discovery.respond(path, accept)
    assert response is not None
    assert isinstance(response.body, bytes)
    body: dict[str, Any] = orjson.loads(response.body)
    return body


def test_the_core_group_and_the_named_groups_are_listed(resources: Resources) -> None:
    discovery = Discovery(resources, "10.0.0.1:6443")
    assert read(discovery, "/api") == {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": "10.0.0.1:6443"}],
    }
    groups = read(discovery, "/apis")["groups"]
    assert [group["name"] for group in groups] == ["apps", "stable.example.com"]
    assert [version["version"] for version in groups[1]["versions"]] == ["v1", "v1beta1"]
    assert groups[1]["preferredVersion"] == {"groupVersion": "stable.example.com/v1", "version": "v1"}
    assert read(discovery, "/apis/apps")["kind"] == "APIGroup"


def test_a_plural_that_two_groups_have_is_first_found_where_kubernetes_finds_it(resources: Resources) -> None:
    groups = ["metrics.k8s.io", "zoo.example.com", "batch", "art.example.com", "events.k8s.io", "apps"]
    base = next(iter(resources))
    served = Discovery(Resources(replace(base, group=group) for group in groups))
    expected = ["apps", "events.k8s.io", "batch", "art.example.com", "zoo.example.com", "metrics.k8s.io"]
    assert [group["name"] for group in read(served, "/apis")["groups"]] == expected
    assert [item["metadata"]["name"] for item in read(served, "/apis", V2)["items"]] == expected


def test_every_built_in_group_of_kubernetes_has_its_place() -> None:
    groups = {resource.group for resource in builtin_resources()} - {"", "stark.dev"}
    assert groups <= {*FIRST_GROUPS, *LAST_GROUPS}


def test_a_group_version_lists_its_kinds_and_subresources(resources: Resources) -> None:
    listed = {entry["name"]: entry for entry in read(Discovery(resources), "/apis/apps/v1")["resources"]}
    assert list(listed) == ["deployments", "deployments/scale", "deployments/status"]
    assert listed["deployments"]["verbs"] == list(ALL_VERBS)
    assert listed["deployments"]["shortNames"] == ["deploy"]
    assert listed["deployments"]["storageVersionHash"] == "8aSe+NMegvE="
    scale = listed["deployments/scale"]
    assert (scale["kind"], scale["group"], scale["version"]) == ("Scale", "autoscaling", "v1")
    assert scale["verbs"] == ["get", "patch", "update"]
    core = {entry["name"]: entry for entry in read(Discovery(resources), "/api/v1")["resources"]}
    assert (core["pods/binding"]["kind"], core["pods/binding"]["verbs"]) == ("Binding", ["create"])
    assert (core["pods/log"]["kind"], core["pods/log"]["verbs"]) == ("Pod", ["get"])


def test_every_version_of_a_kind_names_the_version_that_is_stored(resources: Resources) -> None:
    discovery = Discovery(resources)
    hashes = {
        read(discovery, f"/apis/stable.example.com/{version}")["resources"][0]["storageVersionHash"]
        for version in ("v1", "v1beta1")
    }
    assert hashes == {storage_version_hash("stable.example.com", "v1", "CronTab")}
    assert storage_version_hash("", "v1", "Pod") == "xPOwRZ+Yhw8=", "as Kubernetes computes it"


@pytest.mark.parametrize(("accept", "version"), [(f"{V2},{V2BETA1},application/json", "v2"), (V2BETA1, "v2beta1")])
def test_aggregated_discovery_has_everything_in_one_answer(resources: Resources, accept: str, version: str) -> None:
    response = Discovery(resources).respond("/apis", accept)
    assert response is not None
    assert isinstance(response.body, bytes)
    assert response.content_type == f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
    body = orjson.loads(response.body)
    assert body["apiVersion"] == f"apidiscovery.k8s.io/{version}"
    apps, stable = body["items"]
    assert apps["metadata"]["name"] == "apps"
    deployments = apps["versions"][0]["resources"][0]
    assert deployments["responseKind"] == {"group": "apps", "version": "v1", "kind": "Deployment"}
    assert [sub["subresource"] for sub in deployments["subresources"]] == ["scale", "status"]
    assert deployments["subresources"][0]["responseKind"] == {"group": "autoscaling", "version": "v1", "kind": "Scale"}
    assert [found["version"] for found in stable["versions"]] == ["v1", "v1beta1"]
    assert read(Discovery(resources), "/api", V2)["items"][0]["versions"][0]["resources"][0]["resource"] == "pods"


def test_an_unchanged_document_is_not_sent_again_and_a_changed_one_is(resources: Resources) -> None:
    discovery = Discovery(resources)
    first = discovery.respond("/apis", V2)
    assert first is not None
    assert first.headers["Vary"] == "Accept"
    again = discovery.respond("/apis", V2, first.headers["ETag"])
    assert again is not None
    assert (again.status, again.body) == (304, b"")
    resources.remove("stable.example.com", "v1beta1", "crontabs")
    changed = discovery.respond("/apis", V2, first.headers["ETag"])
    assert changed is not None
    assert changed.status == 200


@pytest.mark.parametrize("path", ["/apis/none", "/apis/apps/v2", "/api/v2", "/apis//v1", "/healthz", "/apis/a/b/c"])
def test_what_is_not_served_is_left_to_the_caller(resources: Resources, path: str) -> None:
    assert Discovery(resources).respond(path, "image/png") is None


def test_only_json_is_spoken(resources: Resources) -> None:
    with pytest.raises(NotAcceptable):
        Discovery(resources).respond("/apis/apps/v1", "application/vnd.kubernetes.protobuf")


def test_a_kind_that_is_only_created_says_so(resources: Resources) -> None:
    (pod,) = resources_of(POD, custom=False)
    review = replace(
        pod, group="authorization.k8s.io", kind="Review", plural="reviews", verbs=("create",), subresources=()
    )
    resources.add(review)
    (entry,) = read(Discovery(resources), "/apis/authorization.k8s.io/v1")["resources"]
    assert entry["verbs"] == ["create"]
    assert "storageVersionHash" not in entry


def test_versions_are_ordered_by_stability_and_number() -> None:
    given = ["v1alpha1", "foo", "v1", "v2beta1", "v10", "v1beta2", "v2"]
    assert sorted(given, key=version_order) == ["v10", "v2", "v1", "v2beta1", "v1beta2", "v1alpha1", "foo"]
