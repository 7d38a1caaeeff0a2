"""Every kind's example is read and written back as it was, and the base keeps its promises."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from stark.crds.kinds import COMPUTED_KINDS, KINDS, SUBRESOURCE_KINDS
from stark.crds.meta import KubeObject, ObjectMeta, Undecodable, decode, encode, to_wire, wire_name
from stark.crds.nodes import Node
from stark.crds.pods import Container, Pod, PodSpec, PodStatus
from tests.support.examples import EXAMPLES, example_of

EVERY_KIND = (*KINDS, *COMPUTED_KINDS, *SUBRESOURCE_KINDS)


@pytest.mark.parametrize("kind", EVERY_KIND, ids=lambda kind: kind.__name__)
def test_an_example_is_written_as_it_was_read(kind: type[KubeObject]) -> None:
    example = example_of(kind.RESOURCE.api_version, kind.RESOURCE.kind)
    obj = decode(json.dumps(example).encode(), kind)
    assert to_wire(obj) == example
    assert json.loads(encode(obj)) == example
    assert decode(encode(obj), kind) == obj
    assert decode(example, kind) == obj


@pytest.mark.parametrize("kind", EVERY_KIND, ids=lambda kind: kind.__name__)
def test_an_example_uses_every_field_of_its_kind(kind: type[KubeObject]) -> None:
    from stark.crds.structural import structural_schema

    example = example_of(kind.RESOURCE.api_version, kind.RESOURCE.kind)
    unused = set(_paths_of_schema(structural_schema(kind), "")) - set(_paths_of_value(example, ""))
    # Metadata below a template is the same as above it, and a probe is the same in all three places.
    expected = ("spec.template.metadata.", "Probe.", ".clientConfig.service.", ".lastState.", ".state.")
    assert [path for path in sorted(unused) if not any(word in f"{path}." for word in expected)] == []


def _paths_of_schema(schema: dict[str, Any], path: str) -> list[str]:
    found = []
    for name, field in schema.get("properties", {}).items():
        found += [f"{path}{name}", *_paths_of_schema(field.get("items", field), f"{path}{name}.")]
    return found


def _paths_of_value(value: Any, path: str) -> list[str]:
    if isinstance(value, list):
        return [inner for item in value for inner in _paths_of_value(item, path)]
    if not isinstance(value, dict):
        return []
    return [
        inner for name, item in value.items() for inner in (f"{path}{name}", *_paths_of_value(item, f"{path}{name}."))
    ]


@pytest.mark.parametrize(
    ("name", "wire"),
    [
        ("pod_ip", "podIP"),
        ("pod_ips", "podIPs"),
        ("host_ip", "hostIP"),
        ("container_id", "containerID"),
        ("system_uuid", "systemUUID"),
        ("open_api_v3_schema", "openAPIV3Schema"),
        ("json_path", "jsonPath"),
        ("api_version", "apiVersion"),
        ("exec_", "exec"),
        ("observed_generation", "observedGeneration"),
    ],
)
def test_wire_names_are_spelled_as_kubernetes_spells_them(name: str, wire: str) -> None:
    assert wire_name(name) == wire


def test_an_object_without_any_field_is_still_json() -> None:
    assert json.loads(encode(Node.model_construct())) == {"apiVersion": "v1", "kind": "Node"}


def test_what_does_not_fit_is_refused_with_its_path() -> None:
    with pytest.raises(Undecodable, match=r"^Pod spec\.containers\.0\.ports\.0\.containerPort: .*65535"):
        decode({"spec": {"containers": [{"name": "a", "ports": [{"containerPort": 70000}]}]}}, Pod)


def test_unknown_fields_are_dropped() -> None:
    pod = decode({"spec": {"containers": [{"name": "a", "volumeDevices": []}], "hostNetwork": True}}, Pod)
    assert to_wire(pod)["spec"] == {"containers": [{"name": "a"}]}


def test_an_object_cannot_be_changed_but_copied() -> None:
    pod = Pod(metadata=ObjectMeta(name="a"), spec=PodSpec(containers=[Container(name="main")]))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(pod, "metadata", ObjectMeta(name="b"))  # noqa: B010 - type checkers refuse the plain form, as they should
    running = pod.model_copy(update={"status": PodStatus(phase="Running")})
    assert to_wire(running)["status"] == {"phase": "Running"}
    assert "status" not in to_wire(pod)


def test_times_are_written_in_utc_with_the_resolution_of_their_type() -> None:
    lease = EXAMPLES["Lease"]
    assert lease["spec"]["renewTime"] == "2026-01-02T03:04:05.678901Z"
    pod = decode(
        {"metadata": {"creationTimestamp": "2026-01-02T05:04:05+02:00"}, "spec": {"containers": [{"name": "a"}]}}, Pod
    )
    assert pod.metadata.creation_timestamp == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert to_wire(pod)["metadata"]["creationTimestamp"] == "2026-01-02T03:04:05Z"


def test_a_bare_number_is_a_quantity() -> None:
    container = Container.model_validate({"name": "a", "resources": {"limits": {"cpu": 2, "memory": 1.5}}})
    assert container.resources is not None
    assert container.resources.limits == {"cpu": "2", "memory": "1.5"}


def test_the_key_of_an_object_names_its_namespace_when_it_has_one() -> None:
    containers = [Container(name="main")]
    assert Pod(metadata=ObjectMeta(name="a", namespace="b"), spec=PodSpec(containers=containers)).key == "b/a"
    assert Node(metadata=ObjectMeta(name="a")).key == "a"


def test_an_owner_reference_names_the_owner_completely() -> None:
    node = Node(metadata=ObjectMeta(name="n", uid="u"))
    assert node.owner_reference().model_dump(by_alias=True) == {
        "apiVersion": "v1",
        "kind": "Node",
        "name": "n",
        "uid": "u",
        "controller": True,
        "blockOwnerDeletion": True,
    }


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_kind_is_served_under_a_well_formed_path(kind: type[KubeObject]) -> None:
    resource = kind.RESOURCE
    assert resource.plural == resource.plural.lower()
    prefix = f"/apis/{resource.group}/{resource.version}" if resource.group else "/api/v1"
    assert resource.path(None, "x", "status") == f"{prefix}/{resource.plural}/x/status"
    namespaced = resource.path("ns", "x")
    assert ("/namespaces/ns/" in namespaced) is resource.namespaced
