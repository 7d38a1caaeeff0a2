"""What a pod is told of the nodes: the scheduler's sentence, each node's verdict, and nothing of nodes it may not know."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stark.crds.meta import decode
from stark.crds.placement.explaining import NODES_SHOWN_MAX, UNSCHEDULABLE, explain, told
from stark.crds.placement.facts import NodeTaint, Offer
from stark.crds.placement.judging import Cluster, judge, refuse
from stark.crds.placement.reading import demand_of
from stark.crds.pods import Pod, PodSchedulingGate

GPU = NodeTaint("dedicated", "gpu", "NoSchedule")
RUNTIME = {"stark.dev/runtime-container": "1"}


def offer(name: str, cpu: int = 4_000, taints: tuple[NodeTaint, ...] = ()) -> Offer:
    return Offer(name, cpu, 8 << 30, 110, RUNTIME, taints)


def pod(cpu: str = "1", image: str = "nginx:1") -> Pod:
    container = {"name": "c", "image": image, "resources": {"requests": {"cpu": cpu}}}
    return decode({"metadata": {"name": "web", "namespace": "default"}, "spec": {"containers": [container]}}, Pod)


def status(pod_: Pod, offers: list[Offer], visible: set[str] | None = None, node: str = "") -> dict[str, Any]:
    return told(explain(pod_, lambda _: None, Cluster(offers, {})), visible, node=node)


def test_a_pod_that_fits_is_told_its_node_and_the_scores_of_all_that_would_do_the_best_first() -> None:
    found = status(pod(), [offer("small", 2_000), offer("large", 64_000), offer("gpu", taints=(GPU,))], node="small")
    assert (found["schedulable"], found["chosen"], found["node"]) == (True, "large", "small")
    assert found["message"] == "would run on large: the best of 2 nodes that may run it"
    assert [(node["name"], node["fits"]) for node in found["nodes"]] == [
        ("large", True),
        ("small", True),
        ("gpu", False),
    ]
    assert found["nodes"][0]["points"] > found["nodes"][1]["points"]
    assert found["nodes"][0]["scores"]["leastAllocated"] > 90


def test_a_pod_that_fits_nowhere_is_told_what_the_scheduler_says() -> None:
    offers = [offer("a", 100), offer("b", taints=(GPU,)), offer("c", taints=(GPU,))]
    found = status(pod(), offers)
    refusal = refuse(judge(demand_of(pod(), lambda _: None), Cluster(offers, {})))
    assert (found["reason"], found["message"]) == (UNSCHEDULABLE, refusal.message)
    untolerated = "node(s) had untolerated taint {dedicated: gpu}"
    assert found["refusals"] == [
        {"rule": "TaintToleration", "reason": untolerated, "nodes": 2},
        {"rule": "NodeResourcesFit", "reason": "Insufficient cpu", "nodes": 1},
    ]
    assert found["nodes"][0] == {
        "name": "a", "fits": False, "rule": "NodeResourcesFit", "reasons": ["Insufficient cpu"],
    }  # fmt: skip


def test_a_pod_whose_pack_is_missing_is_told_that_whatever_the_nodes_say() -> None:
    found = status(pod(image="pack.stark/none:1.0.0"), [offer("a")])
    assert (found["schedulable"], found["reason"]) == (False, "PackNotFound")
    assert "chosen" not in found


def test_a_pod_that_its_gates_hold_back_is_told_that_and_what_the_nodes_would_say() -> None:
    gated = pod().model_copy(
        update={"spec": pod().spec.model_copy(update={"scheduling_gates": [PodSchedulingGate(name="a/b")]})}
    )
    found = status(gated, [offer("a")])
    assert (found["schedulable"], found["reason"], found["counts"]["fit"]) == (False, "SchedulingGated", 1)


@pytest.mark.parametrize(
    ("visible", "named", "hidden"),
    [
        pytest.param(None, {"mine", "secret-1", "secret-2"}, 0, id="all of them to whoever may list nodes"),
        pytest.param({"mine"}, {"mine"}, 2, id="their own to a user"),
        pytest.param(set[str](), set[str](), 3, id="none to whoever may list none"),
    ],
)
def test_only_nodes_that_the_asker_may_list_are_named(visible: set[str] | None, named: set[str], hidden: int) -> None:
    offers = [offer("mine", 2_000), offer("secret-1", 64_000), offer("secret-2", taints=(GPU,))]
    found = status(pod(), offers, visible)
    assert {node["name"] for node in found["nodes"]} == named
    assert found["counts"] == {"nodes": 3, "fit": 2, "hidden": hidden}
    assert ("secret" in json.dumps(found)) is (visible is None)
    if hidden:
        assert found["message"].startswith("would run on a node that you may not list")


def test_of_a_large_cluster_some_nodes_are_shown_and_all_are_counted() -> None:
    found = status(pod(), [offer(f"n{number:04}", 100) for number in range(5 * NODES_SHOWN_MAX)])
    assert len(found["nodes"]) == NODES_SHOWN_MAX
    assert found["counts"]["nodes"] == found["refusals"][0]["nodes"] == 5 * NODES_SHOWN_MAX


def test_without_nodes_the_pod_is_told_so() -> None:
    assert status(pod(), [])["message"] == "no nodes available to schedule pods"
