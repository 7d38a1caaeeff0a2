"""One pod or node that nobody foresaw costs the cluster its place, and not its scheduler."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from stark.crds.events import Event
from stark.crds.meta import KubeObject
from stark.crds.placement.reading import demand_of, offer_of, pack_problem
from stark.crds.pods import Pod
from tests.support.apiserver import pod
from tests.support.reconciling import cluster, controllers

CORE = "stark.controllers.scheduler.core"


def failing_for(name: str, function: Any) -> Any:
    """The function, which cannot stand objects of that name."""

    def read(obj: KubeObject, *args: Any) -> Any:
        if obj.metadata.name == name:
            raise ZeroDivisionError(name)
        return function(obj, *args)

    return read


async def test_a_pod_and_a_node_that_raise_end_no_term(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{CORE}.demand_of", failing_for("odd", demand_of))
    monkeypatch.setattr(f"{CORE}.offer_of", failing_for("n1", offer_of))
    monkeypatch.setattr(f"{CORE}.pack_problem", failing_for("odder", pack_problem))
    async with cluster(tmp_path, ("n1", "n2")) as c:
        for name in ("odd", "odder", "good"):
            (await c.server.post("/api/v1/namespaces/default/pods", pod(name))).ok(201)
        async with controllers(c.controllers_config, ("scheduler",)):

            async def node_of(name: str) -> str | None:
                return (await c.api.get(Pod, name, "default")).spec.node_name

            async def told() -> set[str]:
                events = (await c.api.list(Event)).items
                return {each.involved_object.name or "" for each in events if "SchedulerError" in str(each)}

            assert await c.until("the good pod has a node", partial(node_of, "good")) == "n2"
            (await c.server.post("/api/v1/namespaces/default/pods", pod("later"))).ok(201)
            assert await c.until("a later one, too", partial(node_of, "later")) == "n2"

            async def all_told() -> bool:
                return {"odd", "n1"} <= await told()

            await c.until("people are told", all_told)
            monkeypatch.undo()
            for name in ("odd", "odder"):
                assert await c.until("it is tried again", partial(node_of, name))


async def test_a_new_term_lets_heartbeats_through_while_it_reads_the_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns, seen = 0, list[int]()

    def read(obj: Pod, *args: Any) -> Any:
        seen.append(turns)
        return demand_of(obj, *args)

    async def beat() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    monkeypatch.setattr(f"{CORE}.demand_of", read)
    monkeypatch.setattr("stark.controllers.scheduler.controller.BREATH_S", 0.0)
    async with cluster(tmp_path, ("n1",)) as c:
        for number in range(5):
            (await c.server.post("/api/v1/namespaces/default/pods", pod(f"p{number}"))).ok(201)
        beating = asyncio.create_task(beat())
        async with controllers(c.controllers_config, ("scheduler",)):

            async def all_read() -> bool:
                return len(seen) >= 5

            await c.until("all pods have been read", all_read)
        beating.cancel()
    assert len(set(seen[:5])) == 5, seen
