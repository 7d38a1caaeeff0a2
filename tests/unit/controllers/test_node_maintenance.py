"""What a node in maintenance bears and says, and which machines count as off."""

from __future__ import annotations

from typing import Any

import pytest

from stark.controllers.node_maintenance import Progress, wanted_condition, wanted_taints
from stark.controllers.pod_gc import is_off, plan
from stark.crds.draining import DrainPlan
from stark.crds.nodes import Node, NodeCondition
from tests.support.workloads import NOW, node, pod

OURS = {"key": "stark.dev/maintenance", "effect": "NoSchedule"}
OTHER = {"key": "mine", "effect": "NoSchedule"}
OFF = {"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"}
POD: dict[str, Any] = {"metadata": {"name": "p", "namespace": "d", "uid": "u"}}


@pytest.mark.parametrize(
    ("taints", "in_maintenance", "expected"),
    [
        pytest.param([OTHER], True, ["mine", "stark.dev/maintenance"], id="maintenance puts its taint on"),
        pytest.param([OTHER, OURS], True, None, id="once"),
        pytest.param([OURS, OTHER], False, ["mine"], id="its end takes it off, and no other"),
        pytest.param([OTHER], False, None, id="a node in service is left alone"),
    ],
)
def test_a_node_bears_the_taint_of_maintenance(
    taints: list[Any], in_maintenance: bool, expected: list[str] | None
) -> None:
    wanted = wanted_taints(node("a", spec={"taints": taints}), in_maintenance=in_maintenance)
    assert (None if wanted is None else [taint.key for taint in wanted]) == expected


def telling(condition: NodeCondition) -> Node:
    given = node("a")
    conditions = [*given.status.conditions, condition]
    return given.model_copy(update={"status": given.status.model_copy(update={"conditions": conditions})})


def test_a_node_says_how_far_its_maintenance_is_and_says_it_once() -> None:
    step = wanted_condition(node("a"), DrainPlan(go=[POD]), Progress({"d/p": "two are needed"}), NOW)
    assert step is not None
    assert (step.status, step.reason) == ("True", "Draining")
    assert step.message == "1 pod is left; 1 held by disruption budgets, e.g. d/p: two are needed"
    assert wanted_condition(telling(step), DrainPlan(go=[POD]), Progress({"d/p": "two are needed"}), NOW) is None
    alone = wanted_condition(telling(step), DrainPlan(unmanaged=[POD]), Progress({}), NOW)
    assert alone is not None
    assert alone.message == "1 pod is left; no controller makes d/p again: delete by hand"
    done = wanted_condition(telling(step), DrainPlan(), Progress({}), NOW)
    assert done is not None
    assert (done.reason, done.last_transition_time) == ("Drained", step.last_transition_time)
    over = wanted_condition(telling(done), None, Progress({}), NOW)
    assert over is not None
    assert (over.status, over.reason) == ("False", "InService")
    assert wanted_condition(telling(over), None, Progress({}), NOW) is None
    assert wanted_condition(node("a"), None, Progress({}), NOW) is None


def lived(ready: str, annotations: dict[str, str], *taints: Any) -> Node:
    given = node("a", ready=ready, spec={"taints": list(taints)})
    return given.model_copy(update={"metadata": given.metadata.model_copy(update={"annotations": annotations})})


NUMBER, AGENT = "stark.dev/incarnation", "stark.dev/agent"


@pytest.mark.parametrize(
    ("given", "off"),
    [
        pytest.param(lived("Unknown", {NUMBER: "2"}, OFF), True, id="said to be off, silent and fenced: off"),
        pytest.param(lived("Unknown", {NUMBER: "2"}), False, id="nobody says so"),
        pytest.param(
            lived("True", {NUMBER: "1", AGENT: "i.p"}, OFF), False, id="an agent that is heard decides itself"
        ),
        pytest.param(lived("Unknown", {NUMBER: "3", AGENT: "i.p"}, OFF), False, id="an agent has just joined anew"),
        pytest.param(lived("Unknown", {}, OFF), True, id="an agent that never claimed has nothing to be fenced"),
    ],
)
def test_a_machine_is_off_when_somebody_says_so_and_its_agent_is_fenced(given: Node, off: bool) -> None:
    assert is_off(given) == off


def test_of_a_machine_that_is_off_the_pods_that_wait_to_stop_are_given_up() -> None:
    going = pod("going", node="a", metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"})
    pods = [going, pod("staying", node="a"), pod("elsewhere", node="b")]
    assert plan(pods, (), 100, {"a"}).stranded == [going]
    assert plan(pods, {"a"}, 100, {"a"}).stranded == []
