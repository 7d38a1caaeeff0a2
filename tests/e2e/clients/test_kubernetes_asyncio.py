"""kubernetes_asyncio: what the official client does, on aiohttp."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from kubernetes_asyncio import client, config, dynamic, watch
from kubernetes_asyncio.client.exceptions import ApiException

from tests.support.clients import deployment, speaker

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120), pytest.mark.filterwarnings("ignore::DeprecationWarning")]

MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"
WAIT_S = 40.0


@pytest.fixture
async def api(kubeconfig: str) -> AsyncIterator[Any]:
    async with await config.new_client_from_config(kubeconfig) as api:
        yield api


@pytest.fixture
def core(api: Any) -> Any:
    return client.CoreV1Api(api)


def config_map(name: str, **labels: str) -> Any:
    return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name, labels=labels or None), data={"a": "1"})


async def refused(call: Any) -> int:
    with pytest.raises(ApiException) as caught:
        await call
    return int(caught.value.status)


async def until(ask: Callable[[], Awaitable[Any]], holds: Callable[[Any], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not holds(await ask()):  # noqa: ASYNC110 - the other side is another program
            await asyncio.sleep(0.2)


async def test_objects_are_created_read_replaced_and_deleted(core: Any, namespace: str) -> None:
    made = await core.create_namespaced_config_map(namespace, config_map("a"))
    made.data["b"] = "2"
    assert (await core.replace_namespaced_config_map("a", namespace, made)).data == {"a": "1", "b": "2"}
    assert await refused(core.replace_namespaced_config_map("a", namespace, made)) == 409
    assert await refused(core.create_namespaced_config_map(namespace, config_map("B"))) == 422
    held = {"metadata": {"finalizers": ["example.org/hold"]}}
    await core.patch_namespaced_config_map("a", namespace, held, _content_type=MERGE)
    await core.delete_namespaced_config_map("a", namespace)
    assert (await core.read_namespaced_config_map("a", namespace)).metadata.deletion_timestamp is not None
    await core.patch_namespaced_config_map("a", namespace, {"metadata": {"finalizers": None}}, _content_type=MERGE)
    assert await refused(core.read_namespaced_config_map("a", namespace)) == 404


async def test_every_kind_of_patch_is_taken(core: Any, namespace: str) -> None:
    await core.create_namespaced_config_map(namespace, config_map("a"))
    patch = core.patch_namespaced_config_map
    assert (await patch("a", namespace, {"data": {"m": "1"}})).data == {"a": "1", "m": "1"}
    assert (await patch("a", namespace, {"data": {"m": None}}, _content_type=MERGE)).data == {"a": "1"}
    operations = [{"op": "replace", "path": "/data/a", "value": "9"}]
    assert (await patch("a", namespace, operations)).data == {"a": "9"}
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"s": "1"}}
    applied = await patch("a", namespace, body, field_manager="us", force=True, _content_type=APPLY)
    assert applied.data["s"] == "1"
    assert applied.metadata.managed_fields[0].manager == "us"


async def test_lists_come_in_pages_and_watches_go_on(core: Any, namespace: str) -> None:
    made = [await core.create_namespaced_config_map(namespace, config_map(f"p{number}")) for number in range(5)]
    page = await core.list_namespaced_config_map(namespace, limit=2, label_selector="!none")
    names = [item.metadata.name for item in page.items]
    while page.metadata._continue:
        page = await core.list_namespaced_config_map(
            namespace, limit=2, label_selector="!none", _continue=page.metadata._continue
        )
        names += [item.metadata.name for item in page.items]
    assert [name for name in names if name.startswith("p")] == [f"p{number}" for number in range(5)]
    seen = []
    async with watch.Watch().stream(
        core.list_namespaced_config_map,
        namespace,
        resource_version=made[2].metadata.resource_version,
        timeout_seconds=1,
    ) as stream:
        async for event in stream:
            seen.append(event["object"].metadata.name)
    assert seen == ["p3", "p4"]


async def test_scales_and_cascades(api: Any, namespace: str) -> None:
    apps = client.AppsV1Api(api)
    await apps.create_namespaced_deployment(namespace, deployment("d"))
    scaled = await apps.patch_namespaced_deployment_scale(
        "d", namespace, {"spec": {"replicas": 0}}, _content_type=MERGE
    )
    assert (scaled.kind, scaled.spec.replicas) == ("Scale", 0)
    await apps.delete_namespaced_deployment("d", namespace, propagation_policy="Foreground")
    await until(lambda: apps.list_namespaced_deployment(namespace), lambda listed: not listed.items)
    assert (await apps.list_namespaced_replica_set(namespace)).items == []


async def test_a_pod_is_heard_of(core: Any, namespace: str) -> None:
    await core.create_namespaced_pod(namespace, speaker("talker"))
    await until(lambda: core.read_namespaced_pod("talker", namespace), lambda pod: pod.status.phase == "Running")
    await until(lambda: core.read_namespaced_pod_log("talker", namespace), lambda log: "bye" in log)
    events = await core.list_namespaced_event(namespace, field_selector="involvedObject.name=talker")
    assert {"Scheduled", "Started"} & {event.reason for event in events.items}
    await core.delete_namespaced_pod("talker", namespace, grace_period_seconds=0)


async def test_the_dynamic_client_discovers_what_is_served(api: Any, namespace: str) -> None:
    dyn = await dynamic.DynamicClient(api)
    maps = await dyn.resources.get(api_version="v1", kind="ConfigMap")
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"a": "1"}}
    made = await maps.create(body=body, namespace=namespace)
    assert made.data.a == "1"
    applied = await maps.server_side_apply(body=body, name="a", namespace=namespace, field_manager="us")
    assert applied.metadata.name == "a"
    # This library's dynamic client hands a refusal over instead of raising it.
    missing = await maps.get(name="b", namespace=namespace)
    assert (missing.code, missing.reason) == (404, "NotFound")
