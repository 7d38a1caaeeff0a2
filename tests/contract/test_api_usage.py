"""metrics.k8s.io over HTTP: what agents say, as kubectl top reads it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.apiserver import Api, api_server, pod
from tests.support.usage import Said, agent_saying, usage

PODS = "/apis/metrics.k8s.io/v1beta1/pods"
IN_DEFAULT = "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods"
NODES = "/apis/metrics.k8s.io/v1beta1/nodes"
TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with api_server(tmp_path) as api:
        yield api


@pytest.fixture
async def agents(api: Api, tmp_path: Path) -> AsyncIterator[tuple[Said, Said]]:
    """Two nodes: n1 with `web` and `db`, n2 whose agent is gone, with `far`."""
    authority = api.running.authority
    async with agent_saying(authority, tmp_path, "n1") as n1:
        async with agent_saying(authority, tmp_path, "n2") as n2:
            for said in (n1, n2):
                (await api.post("/api/v1/nodes", said.object())).ok(201)
        for name, node in (("web", "n1"), ("db", "n1"), ("far", "n2"), ("unbound", "")):
            body = pod(name, **({"nodeName": node} if node else {}))
            body["metadata"]["labels"] = {"app": name}
            (await api.post("/api/v1/namespaces/default/pods", body)).ok(201)
        n1.pods = {
            "web": [
                {"name": "main", **usage(1_500_000, 3 << 20)},
                {"name": "side", **usage(500_000, (1 << 20) + 1024)},
            ],
            "db": [{"name": "main", **usage(2_000_000_000, 5 << 30)}],
            "far": [{"name": "main", **usage(1, 1)}],
        }
        yield n1, n2


def names(listed: Any) -> list[str]:
    return [item["metadata"]["name"] for item in listed["items"]]


async def test_pods_have_what_their_containers_use(api: Api, agents: tuple[Said, Said]) -> None:
    listed = (await api.get(PODS)).ok()
    assert (listed["kind"], listed["apiVersion"]) == ("PodMetricsList", "metrics.k8s.io/v1beta1")
    assert names(listed) == ["db", "web"]
    web = listed["items"][1]
    assert (web["kind"], web["timestamp"], web["window"]) == ("PodMetrics", "2026-01-02T03:04:05Z", "10.003s")
    assert (web["metadata"]["namespace"], web["metadata"]["labels"]) == ("default", {"app": "web"})
    assert web["containers"] == [
        {"name": "main", "usage": {"cpu": "1500u", "memory": "3Mi"}},
        {"name": "side", "usage": {"cpu": "500u", "memory": "1025Ki"}},
    ]
    assert (await api.get(f"{IN_DEFAULT}/db")).ok()["containers"][0]["usage"] == {"cpu": "2", "memory": "5Gi"}


async def test_nodes_have_what_they_use(api: Api, agents: tuple[Said, Said]) -> None:
    listed = (await api.get(NODES)).ok()
    assert (listed["kind"], names(listed)) == ("NodeMetricsList", ["n1"])
    one = (await api.get(f"{NODES}/n1")).ok()
    assert (one["kind"], one["usage"]) == ("NodeMetrics", {"cpu": "250m", "memory": "1Gi"})
    assert "n2" in (await api.get(f"{NODES}/n2")).refused(404, "NotFound")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("labelSelector=app=web", ["web"]),
        ("labelSelector=app!=web", ["db"]),
        ("fieldSelector=metadata.name=db", ["db"]),
        ("fieldSelector=metadata.namespace=kube-system", []),
    ],
)
async def test_pods_are_selected_as_pods_are(api: Api, agents: tuple[Said, Said], query: str, found: list[str]) -> None:
    assert names((await api.get(f"{PODS}?{query}")).ok()) == found


async def test_nodes_are_selected_as_nodes_are(api: Api, agents: tuple[Said, Said]) -> None:
    assert names((await api.get(f"{NODES}?labelSelector=disk=fast")).ok()) == ["n1"]
    assert names((await api.get(f"{NODES}?labelSelector=disk=slow")).ok()) == []
    assert agents[0].asked == 1


async def test_other_namespaces_and_other_fields_give_nothing(api: Api, agents: tuple[Said, Said]) -> None:
    elsewhere = "/apis/metrics.k8s.io/v1beta1/namespaces/kube-system/pods"
    assert names((await api.get(elsewhere)).ok()) == []
    assert agents[0].asked == 0
    assert "not supported" in (await api.get(f"{PODS}?fieldSelector=spec.nodeName=n1")).refused(400, "BadRequest")
    assert (await api.get(f"{IN_DEFAULT}/nope")).refused(404, "NotFound").endswith('"default/nope" not found')


async def test_they_are_read_and_nothing_else(api: Api, agents: tuple[Said, Said]) -> None:
    for answer in (
        await api.get(f"{PODS}?watch=1"),
        await api.post(IN_DEFAULT, {}),
        await api.delete(f"{IN_DEFAULT}/web"),
        await api.put(f"{NODES}/n1", {}),
        await api.get(f"{NODES}/n1/status"),
    ):
        answer.refused(405, "MethodNotAllowed")
    resources = (await api.get("/apis/metrics.k8s.io/v1beta1")).ok()["resources"]
    assert [(each["name"], each["kind"], each["verbs"]) for each in resources] == [
        ("nodes", "NodeMetrics", ["get", "list"]),
        ("pods", "PodMetrics", ["get", "list"]),
    ]
    described = (await api.get("/openapi/v3/apis/metrics.k8s.io/v1beta1")).ok()
    assert set(described["paths"]["/apis/metrics.k8s.io/v1beta1/nodes/{name}"]) == {"parameters", "get"}


async def test_they_are_shown_as_a_table_too(api: Api, agents: tuple[Said, Said]) -> None:
    table = (await api.get(PODS, headers=TABLE)).ok()
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "cpu", "memory", "Window"]
    assert table["rows"][1]["cells"] == ["web", "2m", "4097Ki", "10.003s"]
    (row,) = (await api.get(NODES, headers=TABLE)).ok()["rows"]
    assert row["cells"] == ["n1", "250m", "1Gi", "10.003s"]


async def test_who_asks_shares_what_an_agent_said(api: Api, agents: tuple[Said, Said]) -> None:
    n1, n2 = agents
    await asyncio.gather(*(api.get(path) for path in (PODS, NODES, IN_DEFAULT, f"{IN_DEFAULT}/web", PODS)))
    assert (n1.asked, n2.asked) == (1, 0)


async def test_usage_of_pods_is_a_right_of_its_own(api: Api, agents: tuple[Said, Said]) -> None:
    session = api.as_identity("node:n1")
    refused = (await api.get(PODS, session=session)).refused(403, "Forbidden")
    assert 'resource "pods" in API group "metrics.k8s.io"' in refused


async def test_whoever_reaches_only_their_own_sees_what_their_own_use(api: Api, agents: tuple[Said, Said]) -> None:
    given = {"metadata": {"annotations": {"stark.dev/owner": "alice"}}}
    (await api.patch("/api/v1/namespaces/default/pods/web", given)).ok()
    alice = api.as_user("alice", "stark:user")
    assert names((await api.get(PODS, session=alice)).ok()) == ["web"]
    assert names((await api.get(f"{IN_DEFAULT}?labelSelector=app%3Ddb", session=alice)).ok()) == []
    assert names((await api.get(NODES, session=alice)).ok()) == []
    (await api.get(f"{IN_DEFAULT}/web", session=alice)).ok()
    (await api.get(f"{IN_DEFAULT}/db", session=alice)).refused(404, "NotFound")
    (await api.patch("/api/v1/nodes/n1", given)).ok()
    assert names((await api.get(NODES, session=alice)).ok()) == ["n1"]
