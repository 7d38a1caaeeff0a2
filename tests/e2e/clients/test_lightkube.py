"""lightkube: typed models that know no unknown field, server-side apply, and waiting for conditions."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import lightkube
import pytest
from lightkube.core.exceptions import ApiError
from lightkube.generic_resource import create_namespaced_resource, load_in_cluster_generic_resources
from lightkube.models.autoscaling_v1 import ScaleSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apiextensions_v1 import CustomResourceDefinition
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import ConfigMap, Event, Namespace, Node, Pod
from lightkube.types import CascadeType, PatchType

from tests.support.clients import GROUP, definition, deployment, speaker, thing

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120), pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")]


@pytest.fixture
def client(kubeconfig: str, namespace: str) -> Iterator[Any]:
    config = lightkube.KubeConfig.from_file(kubeconfig)
    with lightkube.Client(config=config, namespace=namespace, field_manager="us") as client:
        yield client


def config_map(name: str, **labels: str) -> Any:
    return ConfigMap(metadata=ObjectMeta(name=name, labels=labels or None), data={"a": "1"})


def refused(call: Any, *arguments: Any) -> tuple[int, str]:
    """Code and reason of a refusal."""
    with pytest.raises(ApiError) as caught:
        call(*arguments)
    return caught.value.status.code, caught.value.status.reason


def test_objects_are_created_read_replaced_and_deleted(client: Any) -> None:
    made = client.create(config_map("a"))
    assert made.metadata.uid
    made.data["b"] = "2"
    assert client.replace(made).data == {"a": "1", "b": "2"}
    assert refused(client.replace, made) == (409, "Conflict")
    assert refused(client.create, config_map("a")) == (409, "AlreadyExists")
    assert refused(client.create, config_map("B")) == (422, "Invalid")
    client.delete(ConfigMap, "a")
    assert refused(client.get, ConfigMap, "a") == (404, "NotFound")


def test_every_kind_of_patch_is_taken(client: Any) -> None:
    client.create(config_map("a"))
    assert client.patch(ConfigMap, "a", {"data": {"m": "1"}}, patch_type=PatchType.MERGE).data == {"a": "1", "m": "1"}
    strategic = client.patch(ConfigMap, "a", {"data": {"m": None}}, patch_type=PatchType.STRATEGIC)
    assert strategic.data == {"a": "1"}
    operations = [{"op": "test", "path": "/data/a", "value": "1"}, {"op": "add", "path": "/data/j", "value": "2"}]
    assert client.patch(ConfigMap, "a", operations, patch_type=PatchType.JSON).data == {"a": "1", "j": "2"}
    wanted = ConfigMap(metadata=ObjectMeta(name="s"), data={"x": "1"})
    applied = client.apply(wanted, field_manager="one")
    assert applied.metadata.managedFields[0].manager == "one"
    wanted = ConfigMap(metadata=ObjectMeta(name="s"), data={"x": "2"})
    with pytest.raises(ApiError) as caught:
        client.apply(wanted, field_manager="two")
    assert "conflict with" in str(caught.value)
    assert client.apply(wanted, field_manager="two", force=True).data == {"x": "2"}


def test_lists_come_in_pages_and_by_selectors(client: Any) -> None:
    for number in range(7):
        client.create(config_map(f"p{number}", half="low" if number < 3 else "high"))
    names = [item.metadata.name for item in client.list(ConfigMap, chunk_size=2)]
    assert [name for name in names if name.startswith("p")] == [f"p{number}" for number in range(7)]
    assert len(list(client.list(ConfigMap, labels={"half": "low"}))) == 3
    assert len(list(client.list(ConfigMap, labels={"half": ["low", "high"]}))) == 7
    assert [item.metadata.name for item in client.list(ConfigMap, fields={"metadata.name": "p5"})] == ["p5"]
    assert {item.metadata.name for item in client.list(Namespace)} >= {"default", "kube-system"}
    assert [node.status.nodeInfo.operatingSystem for node in client.list(Node)] == ["linux"]


def test_a_watch_goes_on_where_it_stopped(client: Any) -> None:
    since = client.create(config_map("w1")).metadata.resourceVersion
    client.create(config_map("w2"))
    client.delete(ConfigMap, "w1")
    seen: list[tuple[str, str]] = []
    for kind, item in client.watch(ConfigMap, resource_version=since, server_timeout=5):
        seen.append((kind, item.metadata.name))
        if len(seen) == 2:
            break
    assert seen == [("ADDED", "w2"), ("DELETED", "w1")]


def test_finalizers_hold_and_propagation_is_obeyed(client: Any) -> None:
    client.create(ConfigMap(metadata=ObjectMeta(name="held", finalizers=["example.org/hold"])))
    client.delete(ConfigMap, "held")
    assert client.get(ConfigMap, "held").metadata.deletionTimestamp is not None
    client.patch(ConfigMap, "held", {"metadata": {"finalizers": None}}, patch_type=PatchType.MERGE)
    assert refused(client.get, ConfigMap, "held") == (404, "NotFound")
    client.create(Deployment.from_dict(deployment("d")))
    client.delete(Deployment, "d", cascade=CascadeType.FOREGROUND)
    for kind, item in client.watch(Deployment, server_timeout=20):
        if (kind, item.metadata.name) == ("DELETED", "d"):
            break
    assert refused(client.get, Deployment, "d") == (404, "NotFound")


def test_scale_is_a_subresource(client: Any) -> None:
    client.create(Deployment.from_dict(deployment("d")))
    scale = Deployment.Scale(metadata=ObjectMeta(name="d"), spec=ScaleSpec(replicas=1))
    assert client.replace(scale).spec.replicas == 1
    assert client.get(Deployment.Scale, "d").spec.replicas == 1
    assert client.patch(Deployment.Scale, "d", {"spec": {"replicas": 0}}).spec.replicas == 0


def test_a_pod_is_waited_for_and_heard(client: Any) -> None:
    client.create(Pod.from_dict(speaker("talker")))
    pod = client.wait(Pod, "talker", for_conditions=["Ready"])
    assert pod.status.phase == "Running"
    lines = client.log("talker", follow=True)
    assert [next(lines), next(lines)] == ["hello from talker\n", "bye\n"]
    happened = list(client.list(Event, fields={"involvedObject.name": "talker"}))
    assert {"Scheduled", "Started"} & {event.reason for event in happened}
    client.delete(Pod, "talker", grace_period=0)


def test_a_kind_of_ones_own_is_a_generic_resource(client: Any) -> None:
    body = definition("lightthings", "LightThing")
    client.apply(CustomResourceDefinition.from_dict(body))
    try:
        client.wait(CustomResourceDefinition, body["metadata"]["name"], for_conditions=["Established"])
        load_in_cluster_generic_resources(client)
        kind = create_namespaced_resource(GROUP, "v1", "LightThing", "lightthings", verbs=None)
        made = client.create(kind(**{**thing("LightThing", "one", 2), "metadata": ObjectMeta(name="one")}))
        assert made.spec == {"size": 2, "colour": "red"}
        status = client.patch(kind.Status, "one", {"status": {"replicas": 2}}, patch_type=PatchType.MERGE)
        assert status["status"] == {"replicas": 2}
        assert client.get(kind.Scale, "one").spec.replicas == 2
        patch = {"spec": {"size": 3}}
        assert client.patch(kind, "one", patch, patch_type=PatchType.MERGE).spec["size"] == 3
        assert [item.metadata.name for item in client.list(kind)] == ["one"]
    finally:
        client.delete(CustomResourceDefinition, body["metadata"]["name"])


async def test_the_asynchronous_client_does_the_same(kubeconfig: str, namespace: str) -> None:
    client = lightkube.AsyncClient(config=lightkube.KubeConfig.from_file(kubeconfig), namespace=namespace)
    await asyncio.gather(*(client.create(config_map(f"c{number}")) for number in range(5)))
    names = [item.metadata.name async for item in client.list(ConfigMap, chunk_size=2)]
    assert [name for name in names if name.startswith("c")] == [f"c{number}" for number in range(5)]
    async for kind, item in client.watch(ConfigMap, fields={"metadata.name": "c3"}):
        assert (kind, item.data) == ("ADDED", {"a": "1"})
        break
    await client.close()
