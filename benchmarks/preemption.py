"""Pods a second for which others make way, at 5,000 nodes, in the shape of scheduler_perf's PreemptionBasic.

Every node is full of four low pods of 900 milli-cpu, and 5,000 high pods of 3,000 come. Counted is the whole of the core's
work for one of them: the search for victims, the nomination, hearing that the victims leave and have left, and the
decision to bind. `classes` is how many kinds of high pods there are, which differ in what they ask for: what a search
has learned helps only pods of the same kind. Against it stands a search that looks at every node each time, as the
definition says.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from stark.controllers.scheduler.core import Bind, Core, Preempt
from stark.controllers.scheduler.rooms import Rooms
from stark.crds.meta import decode
from stark.crds.nodes import Node
from stark.crds.placement.reading import demand_of
from stark.crds.placement.victims import going, plan
from stark.crds.placement.weights import Weights
from stark.crds.pods import Pod

NODES = 5_000
LOW_A_NODE = 4
SETTLED_S = 100.0
TAKEN_AT = "2026-01-01T00:00:00Z"


def node(index: int) -> Node:
    """Four cores, 32 GiB, 110 pods."""
    amounts = {"cpu": "4", "memory": "32Gi", "pods": "110"}
    body = {
        "metadata": {"name": f"node-{index:05}", "labels": {"stark.dev/runtime-container": "1"}},
        "status": {"allocatable": amounts, "conditions": [{"type": "Ready", "status": "True"}]},
    }
    return decode(body, Node)


def pod(name: str, milli_cpu: int, priority: int, on: str = "", *, is_leaving: bool = False) -> Pod:
    """A pod of a container image."""
    requests = {"cpu": f"{milli_cpu}m", "memory": "500Mi"}
    body: dict[str, Any] = {
        "metadata": {"name": name, "namespace": "bench", "uid": name},
        "spec": {"containers": [{"name": "main", "image": "pause:1", "resources": {"requests": requests}}]},
    }
    body["spec"] |= {"priority": priority, **({"nodeName": on} if on else {})}
    if is_leaving:
        body["metadata"]["deletionTimestamp"] = TAKEN_AT
    return decode(body, Pod)


class World:
    """The caches and the core."""

    def __init__(self, nodes: int) -> None:
        self.pods: dict[str, Pod] = {}
        self.core = Core(self.pods.get, lambda _: None)
        offered = [node(index) for index in range(nodes)]
        self.core.configure(pods_max=110, weights=Weights(), nodes=offered)
        for each in offered:
            self.core.set_node(each)
        for index in range(nodes * LOW_A_NODE):
            self.put(pod(f"low-{index}", 900, 0, offered[index % nodes].metadata.name))

    def put(self, made: Pod, now: float = 0) -> None:
        """The pod is as it is now."""
        self.pods[made.key] = made
        self.core.set_pod(made, now)

    def gone(self, key: str, now: float) -> None:
        """The pod is gone."""
        self.core.drop_pod(self.pods.pop(key), now)


def high_pods(count: int, classes: int) -> list[Pod]:
    """Pods that need the room of three or four low ones."""
    return [pod(f"high-{index}", 3_000 + index % classes, 10) for index in range(count)]


def preempting(nodes: int, pods: int, classes: int) -> float:
    """Pods a second from their coming to their binding."""
    world, now, waiting = World(nodes), 0.0, high_pods(pods, classes)
    leaving = {
        each.key: pod(each.metadata.name, 900, 0, each.spec.node_name or "", is_leaving=True)
        for each in world.pods.values()
    }
    bound = {each.key: pod(each.metadata.name, 3_000 + index % classes, 10) for index, each in enumerate(waiting)}
    placed = 0
    began = time.process_time()
    for each in waiting:
        world.put(each, now)
        preempt = world.core.decide(now)
        assert isinstance(preempt, Preempt), preempt
        for victim in preempt.victims:
            world.put(leaving[victim.key], now)
        for victim in preempt.victims:
            world.gone(victim.key, now)
        bind = world.core.decide(now)
        assert isinstance(bind, Bind), bind
        assert bind.node == preempt.refuse.nominated
        placed += bind.pod.key in bound
    return placed / (time.process_time() - began)


def by_definition(nodes: int, pods: int) -> float:
    """Searches a second that look at every node."""
    world = World(nodes)
    rooms: Rooms = world.core.rooms
    began = time.process_time()
    for each in high_pods(pods, 1):
        accepts = rooms.accepts(demand_of(each, lambda _: None), each.uid, 10)
        plans = [plan(name, going(rooms.residents.at(name).values(), 10), accepts) for name in rooms.residents.nodes()]
        assert min(found.cost for found in plans if found is not None)
    return pods / (time.process_time() - began)


def main() -> None:
    """Run the shapes and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a fifth of the pods")
    pods = 1_000 if parser.parse_args().quick else 5_000
    for classes in (1, 50):
        print(f"scheduler_preemption_{classes}_classes_per_s: {preempting(NODES, pods, classes):.0f}")
    print(f"scheduler_preemption_every_node_per_s: {by_definition(NODES, 3):.1f}")


if __name__ == "__main__":
    main()
