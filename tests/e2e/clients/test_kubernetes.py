"""The official Python client, typed and dynamic."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes import client, config, dynamic, utils, watch
from kubernetes.client.exceptions import ApiException

from tests.support.clients import GROUP, definition, deployment, speaker, thing

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(120),
    pytest.mark.filterwarnings("ignore:.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]

WAIT_S = 40.0


@pytest.fixture
def api(kubeconfig: str) -> Iterator[Any]:
    with config.new_client_from_config(kubeconfig) as api:
        yield api


@pytest.fixture
def core(api: Any) -> Any:
    return client.CoreV1Api(api)


def config_map(name: str, **labels: str) -> Any:
    return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name, labels=labels or None), data={"a": "1"})


def refused(call: Any, *arguments: Any, **named: Any) -> tuple[int, str]:
    """Code and body of a refusal."""
    with pytest.raises(ApiException) as caught:
        call(*arguments, **named)
    return caught.value.status, str(caught.value.body)


def until(what: str, holds: Any) -> Any:
    deadline = time.monotonic() + WAIT_S
    while not (found := holds()):
        assert time.monotonic() < deadline, what
        time.sleep(0.2)
    return found


def test_objects_are_created_read_replaced_and_deleted(core: Any, namespace: str) -> None:
    made = core.create_namespaced_config_map(namespace, config_map("a", app="x"))
    assert made.metadata.uid
    assert made.metadata.creation_timestamp.tzinfo is not None
    made.data["b"] = "2"
    assert core.replace_namespaced_config_map("a", namespace, made).data == {"a": "1", "b": "2"}
    assert refused(core.replace_namespaced_config_map, "a", namespace, made)[0] == 409
    assert refused(core.create_namespaced_config_map, namespace, config_map("a"))[0] == 409
    assert refused(core.create_namespaced_config_map, namespace, config_map("B"))[0] == 422
    tried = core.create_namespaced_config_map(namespace, config_map("dry"), dry_run="All")
    assert tried.metadata.uid
    assert refused(core.read_namespaced_config_map, "dry", namespace)[0] == 404
    gone = core.delete_namespaced_config_map("a", namespace)
    assert (gone["status"], gone["details"]["name"]) == ("Success", "a")
    code, body = refused(core.read_namespaced_config_map, "a", namespace)
    assert code == 404
    assert '"reason":"NotFound"' in body


def test_every_kind_of_patch_is_taken(api: Any, core: Any, namespace: str) -> None:
    core.create_namespaced_config_map(namespace, config_map("a"))
    assert core.patch_namespaced_config_map("a", namespace, {"data": {"m": "1"}}).data == {"a": "1", "m": "1"}
    operations = [{"op": "replace", "path": "/data/a", "value": "9"}, {"op": "remove", "path": "/data/m"}]
    assert core.patch_namespaced_config_map("a", namespace, operations).data == {"a": "9"}
    merge = core.patch_namespaced_config_map(
        "a", namespace, {"data": None}, _content_type="application/merge-patch+json"
    )
    assert merge.data is None
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"s": "1"}}
    applied = core.patch_namespaced_config_map(
        "a", namespace, body, field_manager="us", force=True, _content_type="application/apply-patch+yaml"
    )
    assert applied.data == {"s": "1"}
    first = applied.metadata.managed_fields[0]
    assert (first.manager, first.operation) == ("us", "Apply")


def test_lists_come_in_pages_and_by_selectors(core: Any, namespace: str) -> None:
    for number in range(7):
        core.create_namespaced_config_map(namespace, config_map(f"p{number}", half="low" if number < 3 else "high"))
    found, token, rest = [], None, []
    while token != "":
        page = core.list_namespaced_config_map(namespace, limit=3, _continue=token)
        found += [item.metadata.name for item in page.items]
        token = page.metadata._continue or ""
        rest.append(page.metadata.remaining_item_count)
    assert [name for name in found if name.startswith("p")] == [f"p{number}" for number in range(7)]
    assert rest[-1] is None
    low = core.list_namespaced_config_map(namespace, label_selector="half in (low)").items
    assert [item.metadata.name for item in low] == ["p0", "p1", "p2"]
    one = core.list_namespaced_config_map(namespace, field_selector="metadata.name=p5").items
    assert [item.metadata.name for item in one] == ["p5"]
    assert refused(core.list_namespaced_config_map, namespace, label_selector="a in")[0] == 400
    core.delete_collection_namespaced_config_map(namespace, label_selector="half=high")
    assert len(core.list_namespaced_config_map(namespace, label_selector="half").items) == 3


def test_a_watch_goes_on_where_it_stopped(core: Any, namespace: str) -> None:
    first = core.create_namespaced_config_map(namespace, config_map("w1"))
    core.create_namespaced_config_map(namespace, config_map("w2"))
    core.delete_namespaced_config_map("w1", namespace)
    since = first.metadata.resource_version
    seen = [
        (event["type"], event["object"].metadata.name)
        for event in watch.Watch().stream(
            core.list_namespaced_config_map, namespace, resource_version=since, timeout_seconds=1
        )
        if event["object"].metadata.name.startswith("w")
    ]
    assert seen == [("ADDED", "w2"), ("DELETED", "w1")]


def test_finalizers_hold_and_propagation_is_obeyed(api: Any, core: Any, namespace: str) -> None:
    held = config_map("held")
    held.metadata.finalizers = ["example.org/hold"]
    core.create_namespaced_config_map(namespace, held)
    core.delete_namespaced_config_map("held", namespace)
    assert core.read_namespaced_config_map("held", namespace).metadata.deletion_timestamp is not None
    core.patch_namespaced_config_map("held", namespace, {"metadata": {"finalizers": None}})
    assert refused(core.read_namespaced_config_map, "held", namespace)[0] == 404

    apps = client.AppsV1Api(api)
    for name, policy in (("orphaning", "Orphan"), ("taking", "Foreground")):
        apps.create_namespaced_deployment(namespace, deployment(name))
        until(
            "a replica set", lambda n=name: apps.list_namespaced_replica_set(namespace, label_selector=f"app={n}").items
        )
        apps.delete_namespaced_deployment(name, namespace, propagation_policy=policy)
    until("taken", lambda: not apps.list_namespaced_replica_set(namespace, label_selector="app=taking").items)
    until("gone", lambda: not apps.list_namespaced_deployment(namespace).items)
    (left,) = apps.list_namespaced_replica_set(namespace, label_selector="app=orphaning").items
    assert not left.metadata.owner_references


def test_scale_and_status_are_subresources(api: Any, namespace: str) -> None:
    apps = client.AppsV1Api(api)
    apps.create_namespaced_deployment(namespace, deployment("d"))
    scale = apps.read_namespaced_deployment_scale("d", namespace)
    assert (scale.spec.replicas, scale.kind) == (0, "Scale")
    scale.metadata.resource_version = None
    scale.spec.replicas = 1
    assert apps.replace_namespaced_deployment_scale("d", namespace, scale).spec.replicas == 1
    assert apps.patch_namespaced_deployment_scale("d", namespace, {"spec": {"replicas": 0}}).spec.replicas == 0
    assert apps.read_namespaced_deployment_status("d", namespace).spec.replicas == 0


def test_a_pod_runs_and_is_heard_of(core: Any, namespace: str) -> None:
    core.create_namespaced_pod(namespace, speaker("talker"))
    until("it runs", lambda: core.read_namespaced_pod("talker", namespace).status.phase == "Running")
    until("it spoke", lambda: "bye" in core.read_namespaced_pod_log("talker", namespace))
    assert core.read_namespaced_pod_log("talker", namespace, tail_lines=1, timestamps=False) == "bye\n"
    streamed = core.read_namespaced_pod_log("talker", namespace, follow=True, _preload_content=False)
    assert streamed.readline() == b"hello from talker\n"
    streamed.release_conn()
    happened = until(
        "events",
        lambda: core.list_namespaced_event(namespace, field_selector="involvedObject.name=talker").items,
    )
    assert {"Scheduled", "Started"} & {event.reason for event in happened}
    core.delete_namespaced_pod("talker", namespace, grace_period_seconds=0)
    until("it goes", lambda: not core.list_namespaced_pod(namespace).items)


def test_events_of_the_newer_group_are_typed_too(api: Any, namespace: str) -> None:
    events = client.EventsV1Api(api)
    about = client.V1ObjectReference(kind="ConfigMap", namespace=namespace, name="x", api_version="v1")
    made = events.create_namespaced_event(
        namespace,
        client.EventsV1Event(
            metadata=client.V1ObjectMeta(generate_name="x."),
            event_time="2026-01-02T03:04:05.678901Z",
            reporting_controller="example.org/us",
            reporting_instance="us-1",
            action="Trying",
            reason="Tried",
            regarding=about,
            note="it was tried",
            type="Normal",
        ),
    )
    assert made.event_time.microsecond == 678901
    (seen,) = client.CoreV1Api(api).list_namespaced_event(namespace, field_selector="reason=Tried").items
    assert (seen.message, seen.involved_object.name) == ("it was tried", "x")


@pytest.fixture
def dyn(api: Any) -> Any:
    return dynamic.DynamicClient(api)


def test_the_dynamic_client_finds_a_kind_of_ones_own_and_works_with_it(api: Any, dyn: Any, namespace: str) -> None:
    definitions = dyn.resources.get(api_version="apiextensions.k8s.io/v1", kind="CustomResourceDefinition")
    body = definition("dynthings", "DynThing")
    definitions.create(body)
    try:
        until("it is served", lambda: _established(definitions.get(body["metadata"]["name"])))
        dyn.resources.invalidate_cache()
        things = dyn.resources.get(api_version=f"{GROUP}/v1", kind="DynThing")
        made = things.create(thing("DynThing", "one", 2), namespace=namespace)
        assert made.spec.colour == "red"
        with pytest.raises(dynamic.exceptions.UnprocessibleEntityError, match=r"spec\.size"):
            things.create(thing("DynThing", "bad", -1), namespace=namespace)
        patched = things.patch({"spec": {"size": 5}}, "one", namespace, content_type="application/merge-patch+json")
        assert (patched.spec.size, patched.metadata.generation) == (5, 2)
        with pytest.raises(dynamic.exceptions.DynamicApiError) as caught:
            things.patch({"spec": {"size": 6}}, "one", namespace, content_type="application/strategic-merge-patch+json")
        assert caught.value.status == 415
        status = things.status.patch(
            {"status": {"replicas": 5}}, "one", namespace, content_type="application/merge-patch+json"
        )
        assert (status.status.replicas, status.metadata.generation) == (5, 2)
        assert things.scale.get("one", namespace).spec.replicas == 5
        applied = things.server_side_apply(thing("DynThing", "two"), namespace=namespace, field_manager="us")
        assert applied.metadata.managedFields[0].manager == "us"
        assert {item.metadata.name for item in things.get(namespace=namespace).items} == {"one", "two"}
        seen = [event["object"].metadata.name for event in things.watch(namespace=namespace, timeout=1)]
        assert sorted(seen) == ["one", "two"]
        with pytest.raises(dynamic.exceptions.NotFoundError):
            things.get("three", namespace)
    finally:
        definitions.delete(body["metadata"]["name"])


def _established(crd: Any) -> bool:
    conditions = (crd.status.conditions if crd.status else None) or []
    return any((each.type, each.status) == ("Established", "True") for each in conditions)


def test_usage_and_yaml_files_work_through_the_generic_calls(api: Any, namespace: str) -> None:
    listed = client.CustomObjectsApi(api).list_cluster_custom_object("metrics.k8s.io", "v1beta1", "nodes")
    assert listed["kind"] == "NodeMetricsList"
    utils.create_from_dict(api, deployment("from-yaml"), namespace=namespace)
    with pytest.raises(utils.FailToCreateError):
        utils.create_from_dict(api, deployment("from-yaml"), namespace=namespace)
