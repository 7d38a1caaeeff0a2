"""Whatever is created and deleted at the same time, a quota is never exceeded, and in the end it knows what is there."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from stark.crds.limits import ResourceQuota
from stark.crds.meta import decode
from tests.support.apiserver import pod
from tests.support.reconciling import Cluster, cluster, controllers

PODS = "/api/v1/namespaces/default/pods"
HARD = {"pods": "4", "requests.cpu": "1", "count/pods": "5"}
STEPS = 12


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_racing_creates_and_deletes_never_exceed_a_quota(seed: int, tmp_path: Path) -> None:
    choose = random.Random(seed)
    async with cluster(tmp_path, nodes=()) as c, controllers(c.controllers_config, ["quota"]):
        meta = {"name": "q", "namespace": "default"}
        await c.api.create(decode({"metadata": meta, "spec": {"hard": HARD}}, ResourceQuota))
        await c.until("the quota is counted", lambda: used(c))
        serial, refused = 0, 0
        for _ in range(STEPS):
            there = [each["metadata"]["name"] for each in (await c.server.get(PODS)).ok()["items"]]
            acts: list[Any] = [c.server.delete(f"{PODS}/{name}") for name in there if choose.random() < 0.4]
            for _ in range(choose.randint(1, 5)):
                serial += 1
                acts.append(c.server.post(PODS, asking(f"p{serial}", choose.choice(["100m", "250m", "0"]))))
            choose.shuffle(acts)
            answers = await asyncio.gather(*acts)
            refused += sum(answer.status == 403 for answer in answers)
            assert {answer.status for answer in answers} <= {200, 201, 403}
            await check(c)
            await asyncio.sleep(choose.choice([0, 0, 0.05]))

        async def settled() -> bool:
            counted = await used(c)
            return counted == await actual(c)

        await c.until("the quota knows what is there", settled)
        assert refused


def asking(name: str, cpu: str) -> dict[str, Any]:
    body = pod(name)
    body["spec"]["containers"][0]["resources"] = {"requests": {"cpu": cpu}}
    return body


async def used(c: Cluster) -> dict[str, int] | None:
    status = (await c.server.get("/api/v1/namespaces/default/resourcequotas/q")).ok().get("status") or {}
    return {name: milli(amount) for name, amount in status["used"].items()} if status.get("used") else None


async def actual(c: Cluster) -> dict[str, int]:
    pods = (await c.server.get(PODS)).ok()["items"]
    cpu = sum(milli(each["spec"]["containers"][0]["resources"]["requests"]["cpu"]) for each in pods)
    return {"pods": 1000 * len(pods), "requests.cpu": cpu, "count/pods": 1000 * len(pods)}


async def check(c: Cluster) -> None:
    for name, amount in (await actual(c)).items():
        assert amount <= milli(HARD[name]), name


def milli(text: str) -> int:
    return int(text[:-1]) if text.endswith("m") else 1000 * int(text)
