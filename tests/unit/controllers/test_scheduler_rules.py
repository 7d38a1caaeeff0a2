"""The scheduler's rules one by one, their wording, and the order of preference."""

from __future__ import annotations

import pytest

from stark.controllers.scheduler.snapshot import Snapshot
from stark.crds.placement.facts import Demand, HostPort, NodeState, NodeTaint, Offer, PodToleration, Where
from stark.crds.placement.filters import rejection
from stark.crds.placement.judging import Cluster, judge, refuse

GPU = NodeTaint("dedicated", "gpu", "NoSchedule")
CORDON = PodToleration("node.kubernetes.io/unschedulable", "Exists", "", "NoSchedule")


def offer(name: str = "n1", **more: object) -> Offer:
    values: dict[str, object] = {"milli_cpu": 1000, "memory": 1 << 30, "pods": 2, **more}
    return Offer(name, **values)  # type: ignore[arg-type]


def tolerating(*tolerations: PodToleration) -> Demand:
    return Demand(Where(tolerations=tolerations))


@pytest.mark.parametrize(
    ("demand", "node", "reasons"),
    [
        pytest.param(Demand(), offer(), [], id="a pod without wishes goes anywhere"),
        pytest.param(
            Demand(), offer(unschedulable=True), ["node(s) were unschedulable"], id="a cordoned node takes none"
        ),
        pytest.param(tolerating(CORDON), offer(unschedulable=True), [], id="a cordon can be tolerated"),
        pytest.param(
            Demand(Where(node_name="n2")),
            offer(),
            ["node(s) didn't match the requested node name"],
            id="a named node is the only one",
        ),
        pytest.param(
            Demand(), offer(ready=False), ["node(s) were not ready"], id="a node that is not ready takes none"
        ),
        pytest.param(
            Demand(),
            offer(taints=(GPU,)),
            ["node(s) had untolerated taint {dedicated: gpu}"],
            id="a taint keeps away",
        ),
        pytest.param(
            Demand(),
            offer(taints=(NodeTaint("a", "", "NoExecute"),)),
            ["node(s) had untolerated taint {a: }"],
            id="a NoExecute taint keeps away too",
        ),
        pytest.param(
            Demand(), offer(taints=(NodeTaint("a", "", "PreferNoSchedule"),)), [], id="a soft taint forbids nothing"
        ),
        pytest.param(
            tolerating(PodToleration("dedicated", "Equal", "gpu", "NoSchedule")),
            offer(taints=(GPU,)),
            [],
            id="the same key, value and effect tolerate",
        ),
        pytest.param(
            tolerating(PodToleration("dedicated", "Equal", "cpu", "")),
            offer(taints=(GPU,)),
            ["node(s) had untolerated taint {dedicated: gpu}"],
            id="another value does not tolerate",
        ),
        pytest.param(
            tolerating(PodToleration("dedicated", "Exists", "", "")),
            offer(taints=(GPU,)),
            [],
            id="Exists looks at no value",
        ),
        pytest.param(
            tolerating(PodToleration("", "Exists", "", "")),
            offer(taints=(GPU, NodeTaint("b", "c", "NoExecute"))),
            [],
            id="an empty key with Exists tolerates all",
        ),
        pytest.param(
            tolerating(PodToleration("", "Equal", "", "")),
            offer(taints=(NodeTaint("a", "", "NoSchedule"),)),
            ["node(s) had untolerated taint {a: }"],
            id="an empty key with Equal tolerates nothing",
        ),
        pytest.param(
            tolerating(PodToleration("dedicated", "Exists", "", "NoExecute")),
            offer(taints=(GPU,)),
            ["node(s) had untolerated taint {dedicated: gpu}"],
            id="another effect does not tolerate",
        ),
        pytest.param(
            Demand(Where(selector=(("zone", "a"),))),
            offer(labels={"zone": "b"}),
            ["node(s) didn't match Pod's node affinity/selector"],
            id="a selector must match",
        ),
        pytest.param(
            Demand(Where(selector=(("zone", "a"),))),
            offer(labels={"zone": "a", "x": "y"}),
            [],
            id="a selector may match",
        ),
        pytest.param(
            Demand(Where(runtimes=(frozenset({"python"}),))),
            offer(labels={"stark.dev/runtime-node": "22"}),
            ["node(s) didn't have runtime python"],
            id="a pack needs its runtime",
        ),
        pytest.param(
            Demand(Where(runtimes=(frozenset({"node", "browser"}),))),
            offer(labels={"stark.dev/runtime-browser": "1"}),
            [],
            id="a universal pack runs in a browser",
        ),
        pytest.param(
            Demand(Where(runtimes=(frozenset({"node"}), frozenset({"container"})))),
            offer(labels={"stark.dev/runtime-node": "22"}),
            ["node(s) didn't have runtime container"],
            id="every container needs its own runtime",
        ),
        pytest.param(
            Demand(Where(isolation="strict")),
            offer(labels={"stark.dev/isolation-process": "true", "stark.dev/isolation-strict": "false"}),
            ["node(s) couldn't give isolation class strict"],
            id="a class of isolation must be there",
        ),
        pytest.param(
            Demand(Where(isolation="strict")),
            offer(labels={"stark.dev/isolation-strict": "true"}),
            [],
            id="a class of isolation may be there",
        ),
        pytest.param(
            Demand(Where(architectures=frozenset({"arm64", "riscv64"}))),
            offer(labels={"kubernetes.io/arch": "amd64"}),
            ["node(s) didn't match the pack's architectures {arm64, riscv64}"],
            id="a binary needs its processor",
        ),
        pytest.param(Demand(milli_cpu=1000, memory=1 << 30), offer(), [], id="a pod may fill a node"),
        pytest.param(
            Demand(milli_cpu=1001, memory=(1 << 30) + 1),
            offer(),
            ["Insufficient cpu", "Insufficient memory"],
            id="every resource that does not fit is named",
        ),
        pytest.param(Demand(), offer(pods=0), ["Too many pods"], id="the count of pods is a limit"),
        pytest.param(
            Demand(), offer(milli_cpu=0, memory=0), [], id="a pod that asks for nothing fits on a node without amounts"
        ),
    ],
)
def test_a_node_says_why_it_takes_a_pod_or_not(demand: Demand, node: Offer, reasons: list[str]) -> None:
    found = rejection(demand, NodeState(node, 0))
    assert list(found[1] if found else ()) == reasons


def test_a_host_port_is_given_once_a_node_and_protocol() -> None:
    node = NodeState(offer(), 0)
    node.take(Demand(ports=frozenset({HostPort("TCP", 80)})))
    refused = rejection(Demand(ports=frozenset({HostPort("TCP", 80), HostPort("TCP", 81)})), node)
    assert refused is not None
    assert refused[1] == ("node(s) didn't have free ports for the requested pod ports",)
    assert rejection(Demand(ports=frozenset({HostPort("UDP", 80)})), node) is None


def test_a_refusal_reads_as_kube_schedulers() -> None:
    full, tainted = offer("a", milli_cpu=100), [offer(name, taints=(GPU,)) for name in ("b", "c")]
    refusal = refuse(judge(Demand(milli_cpu=500), Cluster([full, *tainted], {})))
    assert refusal.message == (
        "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint {dedicated: gpu}."
    )
    assert refuse([]).message == "no nodes available to schedule pods"


BOTH = Demand(Where(runtimes=(frozenset({"node", "browser"}),)), owner="rs")


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        pytest.param(offer("z", milli_cpu=2000), offer("a"), id="more free cpu wins over the name"),
        pytest.param(
            offer("z", milli_cpu=1000),
            offer("a", milli_cpu=64_000, memory=64 << 30, taints=(NodeTaint("slow", "", "PreferNoSchedule"),)),
            id="a soft taint weighs more than room",
        ),
        pytest.param(
            offer("z", taints=(NodeTaint("slow", "", "PreferNoSchedule"),)),
            offer("a", labels={"stark.dev/node-type": "browser"}),
            id="a universal pack prefers any server to a browser",
        ),
        pytest.param(offer("a"), offer("b"), id="equal nodes go by name"),
    ],
)
def test_the_better_node_is_chosen(better: Offer, worse: Offer) -> None:
    snapshot = Snapshot()
    for each in (worse, better):
        labels = {"stark.dev/runtime-node": "22", **each.labels}
        snapshot.set_node(Offer(each.name, each.milli_cpu, each.memory, 110, labels, each.taints))
    assert snapshot.choose(BOTH) == better.name


def test_pods_of_one_owner_are_spread_over_equal_nodes() -> None:
    snapshot = Snapshot()
    for name in ("a", "b", "c"):
        snapshot.set_node(offer(name, milli_cpu=10**9, memory=1 << 50, pods=110))
    placed = []
    for number in range(6):
        node = snapshot.choose(Demand(owner="rs"))
        assert node is not None
        snapshot.place(str(number), node, Demand(owner="rs"))
        placed.append(node)
    assert placed == ["a", "b", "c", "a", "b", "c"]


def test_four_pods_of_half_a_core_fill_a_node_of_two() -> None:
    """The README's example: 2000m and 4096 MiB take 4 pods of 500m and 256 MiB; cpu is the bound."""
    snapshot = Snapshot()
    snapshot.set_node(Offer("n", 2000, 4096 << 20, 110))
    demand = Demand(milli_cpu=500, memory=256 << 20)
    for number in range(4):
        assert snapshot.choose(demand) == "n"
        snapshot.place(str(number), "n", demand)
    assert snapshot.choose(demand) is None
    assert snapshot.refusal(demand).message == "0/1 nodes are available: 1 Insufficient cpu."
    snapshot.remove("0")
    assert snapshot.choose(demand) == "n"


def test_what_is_placed_on_a_node_is_counted_when_the_node_comes_later_or_comes_back() -> None:
    snapshot = Snapshot()
    demand = Demand(milli_cpu=600)
    snapshot.place("p", "n1", demand)
    snapshot.set_node(offer("n1"))
    assert snapshot.choose(demand) is None
    snapshot.remove_node("n1")
    snapshot.set_node(offer("n1"))
    assert snapshot.choose(demand) is None
    snapshot.remove("p")
    assert snapshot.choose(demand) == "n1"
