"""The controllers of budgets, endpoints and quotas against the real server, with hollow nodes."""

from __future__ import annotations

from pathlib import Path

from stark.crds.apps import ReplicaSet
from stark.crds.limits import ResourceQuota
from stark.crds.meta import decode
from stark.crds.pods import Pod
from stark.crds.policy import PodDisruptionBudget
from stark.crds.services import EndpointSlice, Service
from tests.support.apiserver import pod
from tests.support.reconciling import Cluster, cluster, controllers

SELECTOR = {"matchLabels": {"app": "web"}}
IMAGE = "docker.io/library/busybox:1.36"


async def ready_pods(c: Cluster, count: int) -> list[Pod]:
    async def look() -> list[Pod] | None:
        pods = (await c.api.list_all(Pod, "default")).items
        up = [each for each in pods if any(x.type == "Ready" and x.status == "True" for x in each.status.conditions)]
        return up if len(up) == count else None

    return await c.until(f"{count} pods are ready", look)


async def test_budgets_and_slices_follow_the_pods(tmp_path: Path) -> None:
    async with cluster(tmp_path) as c, controllers(c.controllers_config):
        template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "main", "image": IMAGE}]}}
        meta = {"name": "web", "namespace": "default"}
        await c.api.create(
            decode({"metadata": meta, "spec": {"replicas": 3, "selector": SELECTOR, "template": template}}, ReplicaSet)
        )
        await c.api.create(
            decode({"metadata": meta, "spec": {"maxUnavailable": 1, "selector": SELECTOR}}, PodDisruptionBudget)
        )
        ports = [{"port": 80}]
        await c.api.create(decode({"metadata": meta, "spec": {"selector": {"app": "web"}, "ports": ports}}, Service))
        pods = await ready_pods(c, 3)

        async def counted() -> bool:
            found = await c.api.get(PodDisruptionBudget, "web", "default")
            return (found.status.disruptions_allowed, found.status.expected_pods) == (1, 3)

        await c.until("the budget allows one", counted)
        first, second = (each.metadata.name for each in pods[:2])
        assert [await evict(c, first), await evict(c, second)] == [201, 429]
        await c.until("it is counted anew when the pod is replaced", counted)

        async def in_slices() -> bool:
            slices = (await c.api.list_all(EndpointSlice, "default")).items
            now = {each.metadata.name for each in await ready_pods(c, 3)}
            there = {e.target_ref.name for each in slices for e in each.endpoints if e.target_ref}
            return now == there and all(port.port == 80 for each in slices for port in each.ports)

        await c.until("the slices hold the three pods", in_slices)
        await c.api.delete(Service, "web", "default")

        async def none() -> bool:
            return not (await c.api.list_all(EndpointSlice, "default")).items

        await c.until("the slices go with their Service", none)


async def evict(c: Cluster, name: str) -> int:
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    return (await c.server.post(f"/api/v1/namespaces/default/pods/{name}/eviction", body)).status


async def test_a_quota_with_scopes_counts_and_limits_the_pods_in_them(tmp_path: Path) -> None:
    async with cluster(tmp_path, nodes=()) as c, controllers(c.controllers_config, ["quota"]):
        meta = {"name": "q", "namespace": "default"}
        requirement = {"scopeName": "PriorityClass", "operator": "In", "values": ["low-priority"]}
        spec = {"hard": {"pods": "1"}, "scopes": ["BestEffort"], "scopeSelector": {"matchExpressions": [requirement]}}
        low = {"priorityClassName": "low-priority"}
        pods = "/api/v1/namespaces/default/pods"
        (await c.server.post(pods, pod("usual"))).ok(201)
        await c.api.create(decode({"metadata": meta, "spec": spec}, ResourceQuota))

        async def used() -> str | None:
            return (await c.api.get(ResourceQuota, "q", "default")).status.used.get("pods")

        async def none() -> bool:
            return await used() == "0"

        await c.until("others are not counted", none)
        (await c.server.post(pods, pod("low", **low))).ok(201)
        assert await used() == "1"
        assert "exceeded quota: q" in (await c.server.post(pods, pod("lower", **low))).refused(403, "Forbidden")
        (await c.server.post(pods, pod("another"))).ok(201)
        (await c.server.delete(f"{pods}/low")).ok()
        await c.until("its place is free", none)
