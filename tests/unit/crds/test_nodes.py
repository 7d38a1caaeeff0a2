"""How a node is in one word, taints as people write them, what a drain takes, and which life of a node it is."""

from __future__ import annotations

from typing import Any

import pytest

from stark.crds.draining import DAEMON_REFUSAL, STORAGE_REFUSAL, UNMANAGED_REFUSAL, DrainRules, plan_drain
from stark.crds.incarnations import HOLDER, INCARNATION, Holder, claimed, parse_number, read_incarnation, revoked
from stark.crds.nodestate import node_state, why
from stark.crds.taint_words import BadTaint, Removal, changed, parse_removal, parse_taint, parse_words


def node(ready: str = "True", maintenance: str | None = None, **conditions: Any) -> dict[str, Any]:
    told = [
        {"type": name, **(value if isinstance(value, dict) else {"status": value})}
        for name, value in conditions.items()
    ]
    annotations = {"stark.dev/maintenance": maintenance} if maintenance else {}
    status = {"conditions": [{"type": "Ready", "status": ready, "message": "why"}, *told]}
    return {"metadata": {"name": "n", "annotations": annotations}, "spec": {}, "status": status}


@pytest.mark.parametrize(
    ("given", "state"),
    [
        pytest.param(node(), "online", id="an agent that says it is ready is online"),
        pytest.param(node(Suspect="True"), "suspect", id="missed heartbeats make it suspect"),
        pytest.param(node(Suspect="False"), "online", id="until it is heard again"),
        pytest.param(node("Unknown", Suspect="True"), "offline", id="a silent agent is offline"),
        pytest.param(node("False"), "unhealthy", id="an agent that is not ready is unhealthy"),
        pytest.param(node(DiskPressure="True"), "unhealthy", id="so is one short of something"),
        pytest.param({"metadata": {"name": "n"}}, "unhealthy", id="and one that never said anything"),
        pytest.param(node(maintenance="disks"), "draining", id="maintenance begins with draining"),
        pytest.param(
            node(maintenance="disks", Maintenance={"status": "True", "reason": "Drained"}), "maintenance", id="drained"
        ),
        pytest.param(
            node(Maintenance={"status": "True", "reason": "Drained"}), "online", id="without the annotation it is over"
        ),
        pytest.param(node("Unknown", maintenance="disks"), "offline", id="a machine that is off is offline first"),
    ],
)
def test_a_node_is_in_one_state(given: dict[str, Any], state: str) -> None:
    assert node_state(given) == state


def test_a_node_tells_why_it_is_not_as_usual() -> None:
    assert list(why(node())) == []
    assert list(why(node("Unknown"))) == ["why"]
    assert list(why(node(maintenance="disks", Maintenance={"status": "True", "message": "2 left"}))) == [
        "2 left",
        "maintenance: disks",
    ]


A = {"key": "a", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("text", "taint"),
    [
        ("a:NoSchedule", A),
        ("a=b:NoExecute", {"key": "a", "value": "b", "effect": "NoExecute"}),
        ("a=:PreferNoSchedule", {"key": "a", "effect": "PreferNoSchedule"}),
        ("x.io/a=b:NoSchedule", {"key": "x.io/a", "value": "b", "effect": "NoSchedule"}),
    ],
)
def test_a_taint_is_read_as_it_is_written(text: str, taint: dict[str, str]) -> None:
    assert parse_taint(text) == taint


@pytest.mark.parametrize("text", ["a", "a:", ":NoSchedule", "a:Sometimes", "a b:NoSchedule", "a=b c:NoSchedule", ""])
def test_what_is_no_taint_is_refused_with_what_would_be_one(text: str) -> None:
    with pytest.raises(BadTaint, match=r"KEY|key|effect|value"):
        parse_taint(text)


def test_words_that_end_in_a_dash_take_off() -> None:
    added, removed = parse_words(["a=b:NoSchedule", "c:NoExecute-", "d-", "e=f:NoSchedule-"])
    assert added == [{"key": "a", "value": "b", "effect": "NoSchedule"}]
    assert removed == [Removal("c", "NoExecute"), Removal("d"), Removal("e", "NoSchedule")]
    for words in (["a:NoSchedule", "a=b:NoSchedule"], ["a:NoSchedule", "a-"]):
        with pytest.raises(BadTaint):
            parse_words(words)


def test_taints_are_changed_by_key_and_effect() -> None:
    both = [A, {**A, "effect": "NoExecute"}]
    assert changed(both, [], [parse_removal("a:NoExecute")], overwrite=False) == [A]
    assert changed(both, [], [parse_removal("a")], overwrite=False) == []
    assert changed([A], [{**A, "value": "new"}], [], overwrite=True) == [{**A, "value": "new"}]
    with pytest.raises(BadTaint, match="already has a taint"):
        changed([A], [{**A, "value": "new"}], [], overwrite=False)
    with pytest.raises(BadTaint, match="not found"):
        changed([A], [], [parse_removal("b")], overwrite=False)
    with pytest.raises(BadTaint, match="at most 50"):
        changed([{**A, "key": f"a{i}"} for i in range(50)], [A], [], overwrite=False)


def pod(name: str, owner: str | None = "ReplicaSet", phase: str = "Running", **spec: Any) -> dict[str, Any]:
    owners = [{"kind": owner, "name": "o", "controller": True}] if owner else []
    meta = {"name": name, "namespace": "d", "uid": name, "ownerReferences": owners}
    return {"metadata": meta, "spec": spec, "status": {"phase": phase}}


PODS = [
    pod("a"),
    pod("daemon", "DaemonSet"),
    pod("alone", None),
    pod("scratch", volumes=[{"name": "v", "emptyDir": {}}]),
    pod("done", None, "Succeeded"),
]


@pytest.mark.parametrize(
    ("rules", "goes", "refused"),
    [
        pytest.param(
            DrainRules(),
            ["a", "done"],
            {DAEMON_REFUSAL: ["d/daemon"], UNMANAGED_REFUSAL: ["d/alone"], STORAGE_REFUSAL: ["d/scratch"]},
            id="what would be lost is asked about",
        ),
        pytest.param(
            DrainRules(ignore_daemon_sets=True, force=True, delete_empty_dir=True),
            ["a", "alone", "scratch", "done"],
            {},
            id="and goes when that was agreed to, but for daemons",
        ),
    ],
)
def test_a_drain_takes_what_it_may(rules: DrainRules, goes: list[str], refused: dict[str, list[str]]) -> None:
    plan = plan_drain(PODS, rules)
    assert [each["metadata"]["name"] for each in plan.go] == goes
    assert plan.refusals == refused
    assert [each["metadata"]["name"] for each in plan.ignored] == ["daemon"]


def test_a_drain_does_not_wait_for_what_has_been_going_for_long() -> None:
    plan = plan_drain([pod("a"), pod("b")], DrainRules(skip_deleted_s=10), {"a": 11.0, "b": 9.0})
    assert [each["metadata"]["name"] for each in plan.go] == ["b"]


def test_a_life_is_claimed_revoked_and_claimed_again() -> None:
    us = Holder("i", "p")
    annotations: dict[str, str] = {}
    for number, step in enumerate((claimed({}, us), None, None), start=1):
        step = step or (revoked(annotations) if number == 2 else claimed(annotations, us))
        annotations = {key: value for key, value in {**annotations, **step}.items() if value is not None}
        life = read_incarnation("u", annotations)
        assert (life.number, life.header) == (number, f"u/{number}" if number == 2 else f"u/{number}/i.p")
        assert life.is_fenced == (number == 2)
        assert life.holder == (None if number == 2 else us)


@pytest.mark.parametrize("text", ["", "0", "01", "-1", "x", "1.0", "9" * 19, "٣"])
def test_what_is_no_number_of_a_life_counts_as_none(text: str) -> None:
    assert parse_number(text) is None
    assert not read_incarnation("u", {INCARNATION: text, HOLDER: ""}).is_fenced
