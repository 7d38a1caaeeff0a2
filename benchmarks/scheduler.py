"""Decisions a second of the scheduler's core at 5,000 nodes, in the shapes of Kubernetes' scheduler_perf.

Each shape is decided twice in the same run: by the tables, and by a look at every node in plain Python. For plain pods
that look is written as fast as plain Python allows: one loop without a call, at only what can differ between these nodes.
For the others it is the definition itself (`crds/placement/judging`), on fewer pods and, where it looks at every pod of
every node, in a smaller cluster too: its rate there is an upper bound. Both sides must give the same answers.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from stark.controllers.daemonset.planning import plan
from stark.controllers.scheduler.snapshot import Snapshot
from stark.crds.apps import DaemonSet
from stark.crds.meta import decode
from stark.crds.nodes import Node
from stark.crds.placement.facts import Demand, NodeTerm, Offer, PodToleration, Where
from stark.crds.placement.judging import best, judge_nodes
from stark.crds.placement.relations import Group, PodTerm, Profile, Relations, Spread
from stark.crds.selectors import IN, Requirement, Selector

NODES = 5_000
DAEMON_NODES = 15_000
GIB = 1 << 30
ZONE, HOSTNAME = "topology.kubernetes.io/zone", "kubernetes.io/hostname"
ZONES = 5
Choose = Callable[[Snapshot, Demand], str | None]


def offer(index: int) -> Offer:
    """One of three sizes, in one of five zones."""
    size, name = 1 + index % 3, f"node-{index:05}"
    labels = {"kubernetes.io/arch": "amd64", "stark.dev/runtime-node": "22", ZONE: f"z{index % ZONES}", HOSTNAME: name}
    return Offer(name, 16_000 * size, 64 * GIB * size, 110, labels)


def cluster(nodes: int) -> Snapshot:
    """So many nodes."""
    snapshot = Snapshot()
    for index in range(nodes):
        snapshot.set_node(offer(index))
    return snapshot


WHERE = Where(
    tolerations=tuple(
        PodToleration(f"node.kubernetes.io/{name}", "Exists", "", "NoExecute") for name in ("not-ready", "unreachable")
    ),
    runtimes=(frozenset({"node"}),),
    architectures=frozenset({"amd64", "arm64"}),
)
PLAIN = Demand(WHERE, 100, 500 << 20)
GREEN = Group(Selector((Requirement("color", IN, ("green",)),)), frozenset({"bench"}))
LABELLED = replace(PLAIN, profile=Profile("bench", (("color", "green"),)))


def owned(count: int) -> list[Demand]:
    """Pods of `count` controllers with different requests, which are spread without asking for it."""
    sizes = [(50 + 10 * (n % 7), (64 + n) << 20) for n in range(count)]
    return [
        Demand(WHERE, cpu, memory, owner=f"rs-{n}", profile=Profile("bench", (("app", str(n)),), f"rs-{n}"))
        for n, (cpu, memory) in enumerate(sizes)
    ]


def related(**relations: object) -> list[Demand]:
    """Pods of one group that say something about each other."""
    return [replace(LABELLED, relations=Relations(**relations))]  # type: ignore[arg-type]


def in_zones(*zones: str) -> NodeTerm:
    """A term about zones."""
    return NodeTerm((Requirement(ZONE, IN, zones),))


@dataclass(frozen=True)
class Shape:
    """What is decided, how often, and in how large a cluster the plain side does it."""

    name: str
    mix: Sequence[Demand]
    pods: int = 10_000
    plain_pods: int = 10
    plain_nodes: int = NODES


SHAPES = (
    Shape("plain_10k", [PLAIN], 10_000, 300),
    Shape("plain_50k", [PLAIN], 50_000, 300),
    Shape("50_owners", owned(50), 10_000),
    Shape("node_affinity", [replace(PLAIN, where=replace(WHERE, required=(in_zones("z0", "z1"),)))]),
    Shape("preferred_node_affinity", [replace(PLAIN, where=replace(WHERE, preferred=((10, in_zones("z0")),)))]),
    Shape("pod_affinity", related(near=(PodTerm(GREEN, ZONE),))),
    Shape("preferred_pod_affinity", related(preferred=((10, PodTerm(GREEN, HOSTNAME)),))),
    Shape("pod_anti_affinity", related(apart=(PodTerm(GREEN, HOSTNAME),)), 5_000),
    Shape("preferred_pod_anti_affinity", related(preferred=((-10, PodTerm(GREEN, HOSTNAME)),))),
    Shape("topology_spread", related(spread=(Spread(GREEN, ZONE, 5),))),
    Shape("hostname_spread", related(spread=(Spread(GREEN, HOSTNAME, 1),))),
    Shape("preferred_topology_spread", related(spread=(Spread(GREEN, ZONE, 5, is_hard=False),))),
    Shape("unschedulable_churn", [PLAIN, replace(PLAIN, milli_cpu=900_000)]),
)


def by_tables(snapshot: Snapshot, demand: Demand) -> str | None:
    """The scheduler's answer; one that finds no node must also say why."""
    node = snapshot.choose(demand)
    if node is None:
        assert snapshot.refusal(demand).reasons
    return node


def by_definition(snapshot: Snapshot, demand: Demand) -> str | None:
    """The answer by a look at every node and every pod."""
    nodes = list(snapshot.nodes)
    return best(judge_nodes(demand, nodes, snapshot.namespaces, snapshot.weights))


def by_plain_scan(snapshot: Snapshot, demand: Demand) -> str | None:
    """The definition of the answer for plain pods on nodes that all have the runtime, the processor and no taints."""
    cpu, memory = demand.milli_cpu, demand.memory
    best_score, best_name = -1, None
    for node in snapshot.nodes:
        offer = node.offer
        if node.pods >= offer.pods:
            continue
        all_cpu, all_memory = offer.milli_cpu, offer.memory
        cpu_left = all_cpu - node.milli_cpu - cpu
        memory_left = all_memory - node.memory - memory
        if cpu_left < 0 or memory_left < 0:
            continue
        score = (cpu_left * 100 // all_cpu + memory_left * 100 // all_memory) // 2
        alike = abs((all_cpu - cpu_left) / all_cpu - (all_memory - memory_left) / all_memory)
        score += int((1.0 - alike / 2) * 100) + max(0, 100 - 10 * node.pods)
        # The nodes come in the order of their names, so the first of equal ones stays.
        if score > best_score:
            best_score, best_name = score, offer.name
    return best_name


def rate(choose: Choose, mix: Sequence[Demand], pods: int, nodes: int) -> tuple[float, list[str | None]]:
    """Decisions a second of the processor's time, each placed before the next is made; and the answers."""
    snapshot = cluster(nodes)
    answers = []
    started = time.process_time()
    for number in range(pods):
        demand = mix[number % len(mix)]
        node = choose(snapshot, demand)
        answers.append(node)
        if node is not None:
            snapshot.place(str(number), node, demand)
    return pods / (time.process_time() - started), answers


def measure(shape: Shape, rounds: int) -> None:
    """Run both sides alternately and print the medians."""
    look = by_plain_scan if shape.name.startswith("plain") else by_definition
    ours, plain = [], []
    for _ in range(rounds):
        quick, _ = rate(by_tables, shape.mix, shape.pods, NODES)
        slow, expected = rate(look, shape.mix, shape.plain_pods, shape.plain_nodes)
        _, answers = rate(by_tables, shape.mix, shape.plain_pods, shape.plain_nodes)
        assert answers == expected, (shape.name, "the tables and the definition disagree")
        ours.append(quick)
        plain.append(slow)
    print(f"scheduler_{shape.name}_decisions_per_s: {statistics.median(ours):.0f}", flush=True)
    print(f"scheduler_{shape.name}_scan_per_s: {statistics.median(plain):.1f}")
    print(f"scheduler_{shape.name}_over_scan: {statistics.median(ours) / statistics.median(plain):.1f}", flush=True)


def measure_daemons() -> None:
    """Where a DaemonSet's pods go on 15,000 nodes: one plan is one decision a node."""
    template = {
        "metadata": {"labels": {"app": "d"}},
        "spec": {"containers": [{"name": "c", "image": "nginx:1"}], "nodeSelector": {"pool": "a"}},
    }
    spec = {"selector": {"matchLabels": {"app": "d"}}, "template": template}
    daemons = decode({"metadata": {"name": "d", "namespace": "bench", "uid": "1"}, "spec": spec}, DaemonSet)
    nodes = [
        decode(
            {"metadata": {"name": f"n{n}", "labels": {"pool": "ab"[n % 2], "stark.dev/runtime-container": "1"}}}, Node
        )
        for n in range(DAEMON_NODES)
    ]
    started = time.process_time()
    made = plan(daemons, [], nodes, lambda _: None, datetime.now(UTC)).status.desired_number_scheduled
    assert made == DAEMON_NODES // 2, made
    print(f"scheduler_daemonset_decisions_per_s: {DAEMON_NODES / (time.process_time() - started):.0f}")


def main() -> None:
    """Every shape, or the one that is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="finish within 50 s: every shape once, with fewer pods")
    parser.add_argument("--shape", help="only the shape of this name")
    given = parser.parse_args()
    for shape in SHAPES:
        if given.shape in (None, shape.name):
            quick = replace(shape, pods=min(shape.pods, 4_000), plain_pods=min(shape.plain_pods, 6))
            measure(quick if given.quick else shape, 1 if given.quick else 3)
    if given.shape in (None, "daemonset"):
        measure_daemons()


if __name__ == "__main__":
    main()
