"""Priorities over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

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
