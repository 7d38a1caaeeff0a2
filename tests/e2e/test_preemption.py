"""Who makes way and who is placed together, through the real API with the real controllers and hollow nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stark.client.errors import NotFound
from stark.controllers.kit import Context, Controller
from stark.controllers.scheduler.controller import Scheduler
from stark.crds.conditions import find_condition
from stark.crds.events import Event
from stark.crds.meta import decode
from stark.crds.pod_groups import PodGroup
from stark.crds.pods import Pod
from stark.crds.policy import PodDisruptionBudget
from stark.crds.scheduling import PriorityClass
from tests.support.reconciling import Cluster, cluster, controllers

BUSY = ("scheduler", "disruption", "pod-group")


def pod(name: str, cpu: str = "3", *, group: str = "", **spec: Any) -> Pod:
    container = {"name": "main", "image": "docker.io/library/web:1", "resources": {"requests": {"cpu": cpu}}}
    labels = {"app": name, **({"stark.dev/pod-group": group} if group else {})}
    body = {"metadata": {"name": name, "namespace": "default", "labels": labels}}
    return decode({**body, "spec": {"containers": [container], "terminationGracePeriodSeconds": 1, **spec}}, Pod)


async def runs(c: Cluster, name: str) -> Pod | None:
    live = await c.api.get(Pod, name, "default")
    return live if live.status.phase == "Running" else None


async def is_gone(c: Cluster, name: str) -> bool:
    try:
        await c.api.get(Pod, name, "default")
    except NotFound:
        return True
    return False


async def test_a_higher_pod_takes_the_place_of_the_one_that_no_budget_protects(tmp_path: Path) -> None:
    async with cluster(tmp_path, ("n1", "n2")) as c, controllers(c.controllers_config, BUSY):
        await c.api.create(decode({"metadata": {"name": "urgent"}, "value": 1000}, PriorityClass))
        for name in ("kept", "other"):
            await c.api.create(pod(name))
        await c.until("one runs", lambda: runs(c, "kept"))
        await c.until("the other runs", lambda: runs(c, "other"))
        spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "kept"}}}
        budget = {"metadata": {"name": "kept", "namespace": "default"}, "spec": spec}
        await c.api.create(decode(budget, PodDisruptionBudget))

        async def counted() -> bool:
            return (await c.api.get(PodDisruptionBudget, "kept", "default")).status.current_healthy == 1

        await c.until("the budget is counted", counted)
        first = await runs(c, "other")
        await c.api.create(pod("urgent", priorityClassName="urgent"))
        live = await c.until("the urgent one runs", lambda: runs(c, "urgent"))
        assert first is not None
        assert live.spec.node_name == first.spec.node_name
        assert live.status.nominated_node_name is None
        assert await runs(c, "kept")
        assert await is_gone(c, "other")

        async def told() -> bool:
            events = (await c.api.list(Event, "default")).items
            return any(e.reason == "Preempted" and e.involved_object.name == "other" for e in events)

        await c.until("people are told", told)


async def test_while_its_victim_stops_the_pod_says_where_it_will_be(tmp_path: Path) -> None:
    async with cluster(tmp_path, ("n1",)) as c:
        async with controllers(c.controllers_config, BUSY):
            await c.api.create(pod("low"))
            await c.until("it runs", lambda: runs(c, "low"))
            c.nodes.silent.add("n1")  # its agent does not end what it is told to end
            high = {"metadata": {"name": "high"}, "value": 5, "preemptionPolicy": "PreemptLowerPriority"}
            await c.api.create(decode(high, PriorityClass))
            await c.api.create(pod("high", priorityClassName="high"))

            async def nominated() -> Pod | None:
                live = await c.api.get(Pod, "high", "default")
                return live if live.status.nominated_node_name == "n1" else None

            await c.until("it is nominated", nominated)

            async def stopping() -> Pod | None:
                live = await c.api.get(Pod, "low", "default")
                return live if live.metadata.deletion_timestamp is not None else None

            victim = await c.until("its victim is stopping", stopping)
            why = find_condition(victim.status.conditions, "DisruptionTarget")
            assert why is not None
            assert (why.status, why.reason) == ("True", "PreemptionByScheduler")
        # Another scheduler takes over: it knows whose the room is that is being made.
        async with controllers(c.controllers_config, BUSY):
            await c.api.create(pod("equal", priorityClassName="high"))

            async def refused() -> bool:
                live = await c.api.get(Pod, "equal", "default")
                told = find_condition(live.status.conditions, "PodScheduled")
                return told is not None and told.status == "False"

            await c.until("its equal waits", refused)
            await c.nodes.come_back("n1")
            live = await c.until("it runs", lambda: runs(c, "high"))
            assert live.spec.node_name == "n1"
            assert not (await c.api.get(Pod, "equal", "default")).spec.node_name


class FailingAfter:
    """The scheduler whose process ends after so many bindings."""

    def __init__(self, bindings: int) -> None:
        self.left = bindings

    def build(self, context: Context) -> Controller:
        scheduler, bind = Scheduler(context), context.api.bind

        async def limited(*args: Any, **more: Any) -> None:
            if self.left <= 0:
                raise NotFound("the process has ended")
            self.left -= 1
            await bind(*args, **more)

        context.api.bind = limited  # type: ignore[method-assign]
        return scheduler


async def bound(c: Cluster) -> set[str]:
    return {pod.metadata.name for pod in (await c.api.list(Pod, "default")).items if pod.spec.node_name}


async def test_a_group_is_bound_as_a_whole_and_completed_after_a_crash(tmp_path: Path) -> None:
    async with cluster(tmp_path, ("n1", "n2")) as c:
        group = {"metadata": {"name": "g", "namespace": "default"}, "spec": {"minMember": 3}}
        await c.api.create(decode(group, PodGroup))
        for name in ("a", "b", "c"):
            await c.api.create(pod(name, group="g"))

        async def waits() -> str | None:
            told = find_condition((await c.api.get(PodGroup, "g", "default")).status.conditions, "Scheduled")
            message = told.message if told is not None and told.reason == "Unschedulable" else None
            return message if message is not None and "found" in message else None

        async with controllers(c.controllers_config, BUSY):
            why = await c.until("the group is told why it waits", waits)
            assert why.startswith("pod group default/g found a place for 2 of the 3 members it needs: 0/2 nodes are")
            assert await bound(c) == set()
        await c.nodes.join("n3")
        builders = {"scheduler": FailingAfter(1).build}
        async with controllers(c.controllers_config, ("pod-group",), builders):

            async def begun() -> bool:
                return len(await bound(c)) == 1

            await c.until("one is bound when the scheduler ends", begun)
        await c.api.create(pod("single"))
        async with controllers(c.controllers_config, BUSY):

            async def running() -> PodGroup | None:
                live = await c.api.get(PodGroup, "g", "default")
                return live if live.status.phase == "Running" else None

            live = await c.until("all three run", running)
            assert (live.status.members, live.status.scheduled, live.status.running) == (3, 3, 3)
            assert await bound(c) == {"a", "b", "c"}
