"""On which nodes a DaemonSet makes a pod, which ones it gives up, and in which order it replaces them."""

from __future__ import annotations

from typing import Any

import pytest

from stark.controllers.daemonset.planning import TEMPLATE_HASH, Plan, new_pod, plan, template_hash
from stark.crds.apps import DaemonSet
from stark.crds.meta import decode
from stark.crds.nodes import Node
from stark.crds.pods import Pod
from tests.support.workloads import NOW, at, meta, node, owned_by, pod, template


def daemons(**spec: Any) -> DaemonSet:
    inner = template("docker.io/library/logs:1")
    inner["spec"]["nodeSelector"] = {"disk": "ssd"}
    body = {
        "metadata": meta("logs", generation=1),
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": inner, **spec},
    }
    return decode(body, DaemonSet)


def machine(name: str, *, taint: tuple[str, str] | None = None, **labels: str) -> Node:
    spec = {"taints": [{"key": taint[0], "effect": taint[1]}]} if taint else {}
    return node(name, spec=spec, labels={"disk": "ssd", "stark.dev/runtime-container": "1", **labels})


def on(place: str, *, old: bool = False, ready: bool = True, created: float = -100, **more: Any) -> Pod:
    mark = "old" if old else template_hash(daemons())
    metadata = {
        "labels": {"app": "web", TEMPLATE_HASH: mark},
        "ownerReferences": owned_by("logs", "DaemonSet"),
        **more.pop("metadata", {}),
    }
    since = -50 if ready else None
    arguments = {"phase": "Running", "ready": since, "created": created, **more}
    return pod(f"on-{place}", node=place, metadata=metadata, **arguments)


def numbers(step: Plan) -> tuple[list[str | None], list[str]]:
    return [each.spec.node_name for each in step.create], [each.metadata.name for each in step.delete]


def look(nodes: list[Node], pods: list[Pod], **spec: Any) -> Plan:
    return plan(daemons(**spec), pods, nodes, lambda name: None, NOW)


LEAVING: dict[str, Any] = {"metadata": {"deletionTimestamp": at(0)}}


@pytest.mark.parametrize(
    ("there", "pods", "create", "delete"),
    [
        pytest.param(machine("a"), [], ["a"], [], id="a node gets a pod"),
        pytest.param(machine("a"), [on("a")], [], [], id="one is enough"),
        pytest.param(machine("a", disk="hdd"), [], [], [], id="a node that is not selected gets none"),
        pytest.param(machine("a", disk="hdd"), [on("a")], [], ["on-a"], id="a node that stops matching loses it"),
        pytest.param(machine("a", taint=("x", "NoSchedule")), [], [], [], id="a taint keeps new pods away"),
        pytest.param(machine("a", taint=("x", "NoSchedule")), [on("a")], [], [], id="but drives no pod away"),
        pytest.param(machine("a", taint=("x", "NoExecute")), [on("a")], [], ["on-a"], id="unless it says so"),
        pytest.param(
            machine("a", taint=("node.kubernetes.io/not-ready", "NoExecute")),
            [],
            ["a"],
            [],
            id="bad times are tolerated",
        ),
        pytest.param(machine("a"), [on("a", **LEAVING)], [], [], id="never two: the old pod has to be gone first"),
        pytest.param(machine("a"), [on("a", phase="Failed")], [], ["on-a"], id="a failed pod is taken away"),
        pytest.param(machine("a"), [on("a", phase="Failed", created=-1)], [], [], id="but not at once"),
        pytest.param(machine("b"), [on("a")], ["b"], ["on-a"], id="a pod of a node that is gone is deleted"),
    ],
)
def test_a_node_has_the_pod_it_should_have(there: Node, pods: list[Pod], create: list[str], delete: list[str]) -> None:
    assert numbers(look([there], pods)) == (create, delete)


@pytest.mark.parametrize(
    ("strategy", "pods", "delete"),
    [
        pytest.param({}, [on("a", old=True), on("b", old=True), on("c")], ["on-a"], id="one at a time"),
        pytest.param({}, [on("a", old=True), on("b", ready=False), on("c")], [], id="none while another is down"),
        pytest.param(
            {}, [on("a", old=True), on("b", old=True, ready=False), on("c")], ["on-b"], id="what is down first"
        ),
        pytest.param(
            {"rollingUpdate": {"maxUnavailable": "50%"}},
            [on("a", old=True), on("b", old=True), on("c", old=True)],
            ["on-a", "on-b"],
            id="half of three is two",
        ),
        pytest.param({"type": "OnDelete"}, [on("a", old=True), on("b"), on("c")], [], id="only when told"),
    ],
)
def test_old_pods_give_way(strategy: dict[str, Any], pods: list[Pod], delete: list[str]) -> None:
    step = look([machine("a"), machine("b"), machine("c")], pods, updateStrategy=strategy)
    assert numbers(step) == ([], delete)


def test_the_status_tells_nodes_that_should_from_nodes_that_should_not() -> None:
    nodes = [machine("a"), machine("b"), machine("c"), machine("d", disk="hdd")]
    status = look(nodes, [on("a"), on("b", old=True, ready=False), on("d")]).status
    assert status.model_dump(by_alias=True) == {
        "currentNumberScheduled": 2,
        "numberMisscheduled": 1,
        "desiredNumberScheduled": 3,
        "numberReady": 1,
        "observedGeneration": 1,
        "updatedNumberScheduled": 1,
        "numberAvailable": 1,
        "numberUnavailable": 2,
    }


def test_a_pod_is_pinned_to_its_node_and_marked_with_its_template() -> None:
    made = new_pod(daemons(), "a")
    assert made.spec.node_name == "a"
    assert made.metadata.labels[TEMPLATE_HASH] == template_hash(daemons())
    assert {each.key for each in made.spec.tolerations} >= {"node.kubernetes.io/unschedulable"}
