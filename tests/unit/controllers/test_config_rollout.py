"""When a change of a ConfigMap or Secret replaces pods, and when it does not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stark.controllers.config_rollout import plan, references
from stark.crds.apps import Deployment
from stark.crds.meta import decode

NOW = {"secret/a": "u1:1", "configmap/b": "u2:4", "secret/maybe": ""}
ENV: list[dict[str, Any]] = [
    {"name": "A", "valueFrom": {"secretKeyRef": {"name": "a", "key": "x"}}},
    {"name": "P", "value": "plain"},
]
FROM: list[dict[str, Any]] = [
    {"configMapRef": {"name": "b"}},
    {"secretRef": {"name": "maybe", "optional": True}},
]


def workload(seen: object = None, *, asks: str = "true", gone: bool = False) -> Deployment:
    annotations = {"stark.dev/rollout-on-change": asks}
    if seen is not None:
        annotations["stark.dev/config-versions"] = seen if isinstance(seen, str) else json.dumps(seen)
    metadata: dict[str, Any] = {"name": "web", "namespace": "n", "resourceVersion": "7", "annotations": annotations}
    if gone:
        metadata["deletionTimestamp"] = "2026-04-01T00:00:00Z"
    container = {"name": "main", "image": "x", "env": ENV, "envFrom": FROM}
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [container]}}
    return decode({"metadata": metadata, "spec": {"selector": {}, "template": template}}, Deployment)


def test_references_are_required_unless_every_reader_does_without() -> None:
    spec = workload().spec.template.spec
    assert references(spec) == {"secret/a": False, "configmap/b": False, "secret/maybe": True}


def test_volumes_are_references_too() -> None:
    sources = [{"secret": {"name": "a", "optional": True}}, {"configMap": {"name": "c"}}]
    volumes = [
        {"name": "one", "configMap": {"name": "b", "optional": True}},
        {"name": "two", "projected": {"sources": sources}},
        {"name": "three", "secret": {"secretName": "alone", "optional": True}},
    ]
    template = {"spec": {"containers": [{"name": "main", "image": "x", "env": ENV}], "volumes": volumes}}
    spec = decode({"metadata": {"name": "web"}, "spec": {"selector": {}, "template": template}}, Deployment).spec
    assert references(spec.template.spec) == {
        "secret/a": False,
        "configmap/b": True,
        "configmap/c": False,
        "secret/alone": True,
    }


@pytest.mark.parametrize(
    ("live", "versions", "changed"),
    [
        pytest.param(workload(NOW, asks="false"), {}, None, id="nobody asks for it"),
        pytest.param(workload({}, gone=True), {}, None, id="on its way out"),
        pytest.param(workload(NOW), {}, None, id="nothing changed"),
        pytest.param(workload(), {}, [], id="new to us: remembered"),
        pytest.param(workload("{broken"), {}, [], id="unreadable: remembered anew"),
        pytest.param(workload({"secret/a": "u1:1"}), {}, [], id="a new reference came with new pods"),
        pytest.param(workload({**NOW, "secret/old": "u9:1"}), {}, [], id="a reference that is no more"),
        pytest.param(workload(NOW), {"secret/a": "u1:2"}, ["secret/a"], id="a secret changed"),
        pytest.param(workload(NOW), {"configmap/b": "u7:1"}, ["configmap/b"], id="a config map was made anew"),
        pytest.param(workload(NOW), {"secret/maybe": "u3:1"}, ["secret/maybe"], id="an optional one came"),
        pytest.param(workload(NOW), {"secret/a": "", "configmap/b": "u7:1"}, None, id="a required one is missing"),
    ],
)
def test_pods_are_replaced_for_what_they_were_started_with(
    live: Deployment, versions: dict[str, str], changed: list[str] | None
) -> None:
    step = plan(live, {**NOW, **versions}.__getitem__)
    assert (None if step is None else list(step.changed)) == changed
    if step is not None:
        patch = step.patch(live.metadata.resource_version)
        assert patch["metadata"]["resourceVersion"] == "7"
        assert ("spec" in patch) == bool(changed)
        assert plan(workload(dict(step.versions)), {**NOW, **versions}.__getitem__) is None
