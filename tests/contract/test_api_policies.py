"""Priorities and disruption budgets over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.apiserver import Api, api_server, pod

CLASSES = "/apis/scheduling.k8s.io/v1/priorityclasses"
PODS = "/api/v1/namespaces/default/pods"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with api_server(tmp_path) as api:
        yield api


async def test_every_cluster_has_its_classes_and_pods_get_their_numbers(api: Api) -> None:
    found = {each["metadata"]["name"]: each["value"] for each in (await api.get(CLASSES)).ok()["items"]}
    assert found == {
        "system-node-critical": 2_000_001_000,
        "system-cluster-critical": 2_000_000_000,
        "high-priority": 1_000_000,
        "priority-100": 100,
        "default": 0,
        "low-priority": -1_000,
        "best-effort": -1_000_000,
    }
    spec = (await api.post(PODS, pod("low", priorityClassName="low-priority"))).ok(201)["spec"]
    assert (spec["priority"], spec["preemptionPolicy"]) == (-1_000, "Never")
    refused = (await api.post(PODS, pod("bad", priorityClassName="nope"))).refused(403, "Forbidden")
    assert refused == 'pods "bad" is forbidden: no PriorityClass with name nope was found'
    assert "cannot be deleted" in (await api.delete(f"{CLASSES}/system-node-critical")).refused(403, "Forbidden")
    changed = await api.patch(f"{CLASSES}/high-priority", {"value": 5})
    assert "may not be changed in an update" in changed.refused(422, "Invalid")


BUDGETS = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
EVICTION = {"apiVersion": "policy/v1", "kind": "Eviction"}
READY = {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}


async def running(api: Api, name: str) -> dict[str, Any]:
    body = pod(name, nodeName="n1")
    body["metadata"]["labels"] = {"app": "web"}
    (await api.post(PODS, body)).ok(201)
    done: dict[str, Any] = (await api.patch(f"{PODS}/{name}/status", READY)).ok()
    return done


async def budget(api: Api, allowed: int, name: str = "web") -> None:
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}
    body = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name}, "spec": spec}
    (await api.post(BUDGETS, body)).ok(201)
    status = {"observedGeneration": 1, "disruptionsAllowed": allowed, "desiredHealthy": 1, "currentHealthy": 1}
    (await api.patch(f"{BUDGETS}/{name}/status", {"status": status})).ok()


def eviction(name: str, **options: Any) -> dict[str, Any]:
    return {**EVICTION, "metadata": {"name": name}, **({"deleteOptions": options} if options else {})}


async def test_evictions_that_race_share_no_allowance(api: Api) -> None:
    names = [f"p{n}" for n in range(8)]
    for name in names:
        await running(api, name)
    await budget(api, 3)
    answers = await asyncio.gather(*(api.post(f"{PODS}/{name}/eviction", eviction(name)) for name in names))
    assert sorted(answer.status for answer in answers) == [201] * 3 + [429] * 5
    refused = next(answer for answer in answers if answer.status == 429)
    assert "Retry-After" not in refused.headers
    assert refused.refused(429, "TooManyRequests") == (
        "Cannot evict pod as it would violate the pod's disruption budget."
    )
    message = "The disruption budget web needs 1 healthy pods and has 1 currently"
    assert refused.body["details"]["causes"] == [{"reason": "DisruptionBudget", "message": message}]
    status = (await api.get(f"{BUDGETS}/web")).ok()["status"]
    assert (status["disruptionsAllowed"], len(status["disruptedPods"])) == (0, 3)
    assert status["conditions"][0]["reason"] == "InsufficientPods"


async def test_an_eviction_hears_grace_preconditions_and_dry_run(api: Api) -> None:
    made = await running(api, "a")
    await budget(api, 1)
    path = f"{PODS}/a/eviction"
    wrong = eviction("a", preconditions={"uid": "another"})
    (await api.post(path, wrong)).refused(409, "Conflict")
    (await api.post(path, eviction("a", dryRun=["All"]))).ok(201)
    assert (await api.get(f"{BUDGETS}/web")).ok()["status"]["disruptionsAllowed"] == 1
    assert "deletionTimestamp" not in (await api.get(f"{PODS}/a")).ok()["metadata"]
    right = eviction("a", gracePeriodSeconds=7, preconditions={"uid": made["metadata"]["uid"]})
    (await api.post(path, right)).ok(201)
    assert (await api.get(f"{PODS}/a")).ok()["metadata"]["deletionGracePeriodSeconds"] == 7
    # A pod that is on its way costs nothing more.
    conditions = {each["type"]: each for each in (await api.get(f"{PODS}/a")).ok()["status"]["conditions"]}
    assert conditions["DisruptionTarget"]["reason"] == "EvictionByEvictionAPI"
    (await api.post(path, eviction("a"))).ok(201)
    (await api.post(f"{PODS}/none/eviction", eviction("none"))).refused(404, "NotFound")


async def test_a_budget_nobody_has_counted_asks_for_patience(api: Api) -> None:
    await running(api, "a")
    await budget(api, 1)
    (await api.patch(f"{BUDGETS}/web", {"spec": {"minAvailable": 2}})).ok()
    answer = await api.post(f"{PODS}/a/eviction", eviction("a"))
    answer.refused(429, "TooManyRequests")
    assert "still being processed" in answer.body["details"]["causes"][0]["message"]
    assert answer.headers["Retry-After"] == "10"


async def test_two_budgets_for_one_pod_are_an_error_and_bad_ones_are_refused(api: Api) -> None:
    await running(api, "a")
    await budget(api, 1)
    await budget(api, 1, "second")
    answer = await api.post(f"{PODS}/a/eviction", eviction("a"))
    assert "more than one PodDisruptionBudget" in answer.refused(500, "InternalError")
    both = {"spec": {"minAvailable": 1, "maxUnavailable": "101%"}}
    message = (await api.patch(f"{BUDGETS}/web", both)).refused(422, "Invalid")
    assert "cannot be both set" in message
    assert "must not be greater than 100%" in message


SERVICES = "/api/v1/namespaces/default/services"


def service(name: str, **spec: Any) -> dict[str, Any]:
    ports = [{"port": 80, "targetPort": "http"}]
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"ports": ports, **spec}}


async def test_a_service_is_headless_and_says_so(api: Api) -> None:
    made = (await api.post(SERVICES, service("web", selector={"app": "web"}))).ok(201)["spec"]
    assert (made["type"], made["clusterIP"], made["clusterIPs"]) == ("ClusterIP", "None", ["None"])
    assert made["ports"] == [{"port": 80, "targetPort": "http", "protocol": "TCP"}]
    again = await api.put(f"{SERVICES}/web", {**service("web", clusterIP="None", type="ClusterIP")})
    assert again.ok()["spec"]["clusterIP"] == "None"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"type": "NodePort"}, 'spec.type: Unsupported value: "NodePort": supported values: "ClusterIP"'),
        ({"type": "LoadBalancer"}, "spec.type: Unsupported value"),
        ({"type": "ExternalName"}, "spec.type: Unsupported value"),
        ({"clusterIP": "10.0.0.1"}, "services have no virtual address here"),
        ({"sessionAffinity": "ClientIP"}, "spec.sessionAffinity: Unsupported value"),
        ({"ports": [{"port": 1}, {"port": 2, "name": "b"}]}, "spec.ports[0].name: Required value"),
    ],
)
async def test_what_would_need_a_proxy_is_refused(api: Api, spec: dict[str, Any], message: str) -> None:
    assert message in (await api.post(SERVICES, service("web", **spec))).refused(422, "Invalid")


QUOTAS = "/api/v1/namespaces/default/resourcequotas"


async def test_creates_that_race_do_not_exceed_a_quota(api: Api) -> None:
    hard = {"pods": "3", "count/configmaps": "0"}
    body = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"}, "spec": {"hard": hard}}
    (await api.post(QUOTAS, body)).ok(201)
    refused = (await api.post(PODS, pod("early"))).refused(403, "Forbidden")
    assert "status unknown for quota: q, resources: pods" in refused
    status = {"hard": hard, "used": {"pods": "0", "count/configmaps": "0"}}
    (await api.patch(f"{QUOTAS}/q/status", {"status": status})).ok()
    (await api.post(f"{PODS}?dryRun=All", pod("dry"))).ok(201)
    answers = await asyncio.gather(*(api.post(PODS, pod(f"p{n}")) for n in range(9)))
    assert sorted(answer.status for answer in answers) == [201] * 3 + [403] * 6
    assert (await api.get(f"{QUOTAS}/q")).ok()["status"]["used"]["pods"] == "3"
    one_more = (await api.post(PODS, pod("more"))).refused(403, "Forbidden")
    assert one_more == ('pods "more" is forbidden: exceeded quota: q, requested: pods=1, used: pods=3, limited: pods=3')
    settings = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}
    message = (await api.post("/api/v1/namespaces/default/configmaps", settings)).refused(403, "Forbidden")
    assert "requested: count/configmaps=1, used: count/configmaps=0, limited: count/configmaps=0" in message


async def test_a_limit_range_fills_in_and_refuses(api: Api) -> None:
    limits = [{"type": "Container", "default": {"cpu": "500m"}, "max": {"cpu": "1"}}]
    body = {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "l"}, "spec": {"limits": limits}}
    (await api.post("/api/v1/namespaces/default/limitranges", body)).ok(201)
    made = (await api.post(PODS, pod("a"))).ok(201)["spec"]["containers"][0]["resources"]
    assert made == {"limits": {"cpu": "500m"}, "requests": {"cpu": "500m"}}
    greedy = pod("b")
    greedy["spec"]["containers"][0]["resources"] = {"limits": {"cpu": "2"}}
    message = (await api.post(PODS, greedy)).refused(403, "Forbidden")
    assert message == 'pods "b" is forbidden: maximum cpu usage per Container is 1, but limit is 2'
