"""Each setting of the cluster does what it says, from the next write on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from stark.apiserver.settings import Settings
from stark.apiserver.store.protocol import Put
from stark.apiserver.stores import open_store
from tests.support.apiserver import Api, api_server, pod

CONFIG = "/apis/stark.dev/v1/clusterconfigs/cluster"
PODS = "/api/v1/namespaces/default/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with api_server(tmp_path) as found:
        yield found


async def configure(api: Api, **settings: Any) -> None:
    answer = await api.put("/api/config", settings)
    assert settings.items() <= answer.ok()["data"]["config"].items()


def container(obj: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = obj["spec"]["containers"][0]
    return found


async def test_what_pods_get_by_default_is_the_clusters_to_say(api: Api) -> None:
    plain = (await api.post(PODS, pod("plain"))).ok(201)
    assert plain["spec"]["terminationGracePeriodSeconds"] == 30
    assert not container(plain).get("resources")
    template = {"metadata": {"labels": {"app": "a"}}, "spec": pod("a")["spec"]}
    spec = {"selector": {"matchLabels": {"app": "a"}}, "template": template}
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": spec}
    (await api.post(DEPLOYMENTS, deployment)).ok(201)

    amounts = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "500m", "memory": "512Mi"}}
    await configure(api, defaultTerminationGracePeriodSeconds=5, defaultResources=amounts)
    later = (await api.post(PODS, pod("later"))).ok(201)
    assert later["spec"]["terminationGracePeriodSeconds"] == 5
    assert container(later)["resources"] == amounts
    assert later["status"]["qosClass"] == "Burstable"
    own = pod("own", terminationGracePeriodSeconds=7)
    container(own)["resources"] = {"requests": {"cpu": "2"}}
    kept = (await api.post(PODS, own)).ok(201)
    assert kept["spec"]["terminationGracePeriodSeconds"] == 7
    assert container(kept)["resources"] == {
        "requests": {"cpu": "2", "memory": "128Mi"},
        "limits": {"memory": "512Mi"},
    }
    # What is there stays as it is: a template that changed by itself would be rolled out.
    updated = (await api.put(f"{DEPLOYMENTS}/a", deployment)).ok()
    assert updated["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 30
    assert updated["metadata"]["generation"] == 1

    odd = await api.put("/api/config", {"defaultResources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}})
    assert "defaultResources.requests[cpu]" in odd.ok(400)["error"]["details"]
    odd = await api.put("/api/config", {"schedulingPolicy": "random", "maxPods": 0})
    assert set(odd.ok(400)["error"]["details"]) == {"schedulingPolicy", "maxPods"}
    odd = await api.put("/api/config", {"nodeHeartbeatTimeoutSeconds": 10})
    assert "longer than the interval" in odd.ok(400)["error"]["details"]["nodeHeartbeatTimeoutSeconds"]


async def test_an_agent_may_read_how_often_it_is_to_speak(api: Api) -> None:
    agent = api.as_identity("node:a")
    assert (await api.get(CONFIG, session=agent)).ok()["spec"]["nodeHeartbeatIntervalSeconds"] == 10
    (await api.ask("DELETE", CONFIG, session=agent)).refused(403, "Forbidden")


async def test_there_are_no_more_pods_and_nodes_than_the_cluster_takes(api: Api) -> None:
    await configure(api, maxPods=2, maxNodes=1)
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a"}}
    (await api.post("/api/v1/nodes", node)).ok(201)
    async with asyncio.timeout(5):
        while len((await api.get("/api/v1/nodes?resourceVersion=0")).ok()["items"]) < 1:
            pass
    refused = await api.post("/api/v1/nodes", {**node, "metadata": {"name": "b"}})
    assert "as many as maxNodes of ClusterConfig allows" in refused.refused(403, "Forbidden")
    for name in "ab":
        (await api.post(PODS, pod(name))).ok(201)
    (await api.get(PODS)).ok()
    assert "maxPods" in (await api.post(PODS, pod("c"))).refused(403, "Forbidden")
    await configure(api, maxPods=3)
    (await api.post(PODS, pod("c"))).ok(201)


async def test_without_the_object_every_setting_has_its_default(api: Api) -> None:
    before = (await api.get("/api/config")).ok()["data"]["config"]
    await configure(api, maxPods=7)
    (await api.delete(CONFIG)).ok()
    async with asyncio.timeout(5):
        while (await api.get("/api/config")).ok()["data"]["config"] != before:
            pass
    await configure(api, maxPods=8)
    assert (await api.get(CONFIG)).ok()["spec"]["maxPods"] == 8


async def test_settings_that_came_later_are_shown_in_what_an_older_version_wrote(tmp_path: Path) -> None:
    store = await open_store(Settings(tmp_path, store="memory"))
    key = b"/registry/stark.dev/clusterconfigs/cluster"
    try:
        async with api_server(tmp_path, opened=store) as api:
            new = (await api.get(CONFIG)).ok()
        old, _ = await store.get(key)
        assert old is not None
        written = {**json.loads(old.value), "spec": {"maxPods": 7}}
        await store.txn([], [Put(key, json.dumps(written, separators=(",", ":")).encode())])
        async with api_server(tmp_path, opened=store) as api:
            assert (await api.get(CONFIG)).ok()["spec"] == {**new["spec"], "maxPods": 7}
            settled = await store.get(key)
        async with api_server(tmp_path, opened=store):
            assert await store.get(key) == (settled[0], await store.revision()), "what is whole is not written again"
    finally:
        await store.close()
