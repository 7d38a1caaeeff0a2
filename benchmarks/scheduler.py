"""Decisions a second of the scheduler's core at 5,000 nodes, against a plain Python scan of all nodes in the same run.

The scan is written as fast as plain Python allows: it looks only at what can differ between these nodes, in one loop
without a call. Two mixes: every pod of one class, and 50 classes taking turns. Both sides start from equal clusters and
must agree.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

from stark.controllers.scheduler.snapshot import Snapshot
from stark.crds.placement.facts import Demand, Offer, PodToleration, Where

NODES = 5_000
GIB = 1 << 30


def cluster() -> Snapshot:
    """5,000 nodes of three sizes."""
    snapshot = Snapshot()
    for index in range(NODES):
        size = 1 + index % 3
        labels = {"kubernetes.io/arch": "amd64", "stark.dev/runtime-node": "22", "zone": f"z{index % 5}"}
        snapshot.set_node(Offer(f"node-{index:05}", 16_000 * size, 64 * GIB * size, 110, labels))
    return snapshot


def classes(count: int) -> list[Demand]:
    """Pods of `count` owners with different requests."""
    tolerations = tuple(
        PodToleration(f"node.kubernetes.io/{name}", "Exists", "", "NoExecute") for name in ("not-ready", "unreachable")
    )
    where = Where(tolerations=tolerations, runtimes=(frozenset({"node"}),), architectures=frozenset({"amd64", "arm64"}))
    return [Demand(where, 50 + 10 * (n % 7), (64 + n) << 20, owner=f"rs-{n}") for n in range(count)]


def plain_scan(snapshot: Snapshot, demand: Demand) -> str | None:
    """The definition of the answer for nodes that all have the runtime, the processor and no taints."""
    cpu, memory, owner = demand.milli_cpu, demand.memory, demand.owner
    best: tuple[int, int] = (-1, 0)
    best_name = None
    for node in snapshot.nodes:
        offer = node.offer
        if node.pods >= offer.pods:
            continue
        cpu_left = offer.milli_cpu - node.milli_cpu - cpu
        memory_left = offer.memory - node.memory - memory
        if cpu_left < 0 or memory_left < 0:
            continue
        score = (cpu_left * 100 // offer.milli_cpu + memory_left * 100 // offer.memory) // 2
        # The nodes come in the order of their names, so the first of equal ones stays.
        if score >= best[0]:
            key = (score, -node.owners.get(owner, 0))
            if key > best:
                best, best_name = key, offer.name
    return best_name


def rate(
    choose: Callable[[Snapshot, Demand], str | None], mix: list[Demand], pods: int
) -> tuple[float, list[str | None]]:
    """Decisions a second, each placed before the next is made; and the answers."""
    snapshot = cluster()
    for demand in mix:
        choose(snapshot, demand)
    answers = []
    started = time.perf_counter()
    for number in range(pods):
        demand = mix[number % len(mix)]
        node = choose(snapshot, demand)
        answers.append(node)
        if node is not None:
            snapshot.place(str(number), node, demand)
    return pods / (time.perf_counter() - started), answers


def main() -> None:
    """Run both sides alternately and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="finish within 50 s")
    rounds, slow, fast = (3, 400, 20_000) if parser.parse_args().quick else (7, 2_000, 50_000)
    for label, count in (("one_class", 1), ("50_classes", 50)):
        mix = classes(count)
        ours, naive = [], []
        for _ in range(rounds):
            quick, answers = rate(Snapshot.choose, mix, fast)
            plain, expected = rate(plain_scan, mix, slow)
            assert answers[:slow] == expected, "the tables and the scan disagree"
            ours.append(quick)
            naive.append(plain)
        print(f"scheduler_{label}_per_s: {statistics.median(ours):.0f}")
        print(f"scheduler_{label}_scan_per_s: {statistics.median(naive):.0f}")
        print(f"scheduler_{label}_over_scan: {statistics.median(ours) / statistics.median(naive):.1f}")


if __name__ == "__main__":
    main()
