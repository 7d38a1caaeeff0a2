"""kr8s: objects with kubectl's verbs."""

from __future__ import annotations

import asyncio
from typing import Any

import kr8s
import pytest
from kr8s.asyncio.objects import APIObject, ConfigMap, CustomResourceDefinition, Deployment, Event, Pod, new_class

from tests.support.clients import GROUP, definition, deployment, speaker, thing

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120), pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")]

WAIT_S = 40


@pytest.fixture
async def api(kubeconfig: str, namespace: str) -> Any:
    return await kr8s.asyncio.api(kubeconfig=kubeconfig, namespace=namespace)


async def config_map(api: Any, name: str, **labels: str) -> Any:
    body = {"metadata": {"name": name, "namespace": api.namespace, "labels": labels}, "data": {"a": "1"}}
    made = await ConfigMap(body, api=api)
    await made.create()
    return made


async def refused(call: Any) -> int:
    with pytest.raises(kr8s.ServerError) as caught:
        await call
    assert caught.value.response is not None
    return int(caught.value.response.status_code)


async def test_objects_are_created_patched_and_deleted(api: Any) -> None:
    made = await config_map(api, "a")
    assert made.metadata.uid
    assert await refused(config_map(api, "a")) == 409
    assert await refused(config_map(api, "B")) == 422
    await made.patch({"data": {"m": "1"}})
    assert made.data == {"a": "1", "m": "1"}
    await made.patch([{"op": "remove", "path": "/data/m"}], type="json")
    assert made.data == {"a": "1"}
    await made.label(colour="red")
    await made.annotate(note="x")
    again = await ConfigMap.get("a", api=api, namespace=api.namespace)
    assert (again.labels, again.annotations) == ({"colour": "red"}, {"note": "x"})
    await made.patch({"metadata": {"finalizers": ["example.org/hold"]}})
    await made.delete()
    assert await made.exists()
    await made.patch({"metadata": {"finalizers": None}})
    assert not await made.exists()
    with pytest.raises(kr8s.NotFoundError):
        await made.refresh()


async def test_objects_are_listed_and_watched(api: Any) -> None:
    for number in range(4):
        await config_map(api, f"p{number}", half="low" if number < 2 else "high")
    listed = [item.name async for item in api.get("configmaps", label_selector={"half": "low"})]
    assert listed == ["p0", "p1"]
    one = [item.name async for item in api.get("configmaps", field_selector={"metadata.name": "p3"})]
    assert one == ["p3"]
    seen = []
    async for kind, item in api.watch("configmaps", label_selector="half"):
        seen.append((kind, item.name))
        if len(seen) == 4:
            await config_map(api, "p9", half="late")
        if len(seen) == 5:
            break
    assert (sorted(seen[:4]), seen[4]) == ([("ADDED", f"p{number}") for number in range(4)], ("ADDED", "p9"))


async def test_a_deployment_is_scaled_waited_for_and_deleted_with_its_pods(api: Any) -> None:
    body = deployment("d")
    body["metadata"]["namespace"] = api.namespace
    made = await Deployment(body, api=api)
    await made.create()
    await made.scale(1)
    async with asyncio.timeout(WAIT_S):
        while not await made.ready():  # noqa: ASYNC110 - the other side is another program
            await asyncio.sleep(0.2)
    (pod,) = await made.pods()
    assert pod.labels["app"] == "d"
    await made.delete(propagation_policy="Foreground")
    await made.wait("delete", timeout=WAIT_S)
    assert [item async for item in api.get("pods", label_selector={"app": "d"})] == []


async def test_a_pod_is_waited_for_and_heard(api: Any) -> None:
    pod = await Pod(speaker("talker", namespace=api.namespace), api=api)
    await pod.create()
    await pod.wait("condition=Ready", timeout=WAIT_S)
    lines = []
    async for line in pod.logs(follow=True):
        lines.append(line)
        if len(lines) == 2:
            break
    assert lines == ["hello from talker", "bye"]
    happened = [item async for item in Event.list(api=api, field_selector={"involvedObject.name": "talker"})]
    assert {"Scheduled", "Started"} & {event.raw.reason for event in happened}
    await pod.delete(grace_period=0)
    await pod.wait("delete", timeout=WAIT_S)


async def test_a_kind_of_ones_own_is_found_by_its_name(api: Any) -> None:
    crd = await CustomResourceDefinition(definition("kr8things", "Kr8Thing"), api=api)
    await crd.create()
    try:
        await crd.wait("condition=Established", timeout=WAIT_S)
        kind: type[APIObject] = new_class("Kr8Thing", f"{GROUP}/v1", namespaced=True, plural="kr8things", asyncio=True)
        made: Any = await kind(thing("Kr8Thing", "one", 2, namespace=api.namespace), api=api)
        await made.create()
        assert made.spec == {"size": 2, "colour": "red"}
        await made.patch({"status": {"replicas": 2}}, subresource="status")
        assert made.status == {"replicas": 2}
        assert [item.name async for item in api.get(f"kr8things.{GROUP}")] == ["one"]
    finally:
        await crd.delete()


async def test_versions_kinds_and_rights_are_known(api: Any) -> None:
    assert (await api.version())["major"] == "1"
    names = {each["name"] for each in await api.api_resources()}
    assert {"pods", "deployments", "configmaps", "packs"} <= names
    assert "metrics.k8s.io/v1beta1" in [version async for version in api.api_versions()]
    assert (await api.whoami()) == "admin"
