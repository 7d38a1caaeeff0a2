"""What the doctor makes of what it sees: a verdict each, and something to do for everything that is not well."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stark.ctl.colors import wanted
from stark.ctl.doctor import (
    ESSENTIAL,
    Finding,
    of_answer,
    of_audit,
    of_certificate,
    of_clock,
    of_controllers,
    of_disk,
    of_nodes,
    of_pods,
    of_ready,
    of_versions,
)

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


def stamp(ago_s: float) -> str:
    return (NOW - timedelta(seconds=ago_s)).isoformat().replace("+00:00", "Z")


def lease(name: str, ago_s: float = 1, holder: str | None = "h") -> dict[str, Any]:
    spec = {"holderIdentity": holder, "renewTime": stamp(ago_s), "leaseDurationSeconds": 15}
    return {"metadata": {"name": f"stark-{name}"}, "spec": spec}


def node(name: str, ready: str = "True", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": {"stark.dev/runtime-node": "20"}},
        "spec": spec,
        "status": {
            "conditions": [{"type": "Ready", "status": ready, "message": "no news"}],
            "nodeInfo": {"kubeletVersion": "v0.1.0"},
        },
    }


def pod(name: str, *, ago_s: float = 10, node: str = "n", waiting: str = "", restarts: int = 0) -> dict[str, Any]:
    state = {"waiting": {"reason": waiting}} if waiting else {"running": {}}
    status = {
        "phase": "Running" if node and not waiting else "Pending",
        "containerStatuses": [{"name": "c", "state": state, "restartCount": restarts, "ready": not waiting}],
    }
    meta = {"name": name, "namespace": "default", "creationTimestamp": stamp(ago_s)}
    return {"metadata": meta, "spec": {"nodeName": node} if node else {}, "status": status if node else {}}


@pytest.mark.parametrize(
    ("ahead_s", "took_s", "verdict"),
    [(0, 0, "ok"), (3, 0, "ok"), (-3, 0, "ok"), (8, 0, "note"), (8, 5, "ok"), (-90, 0, "bad"), (90, 0, "bad")],
)
def test_clocks_may_differ_by_what_the_question_took_and_some_seconds(
    ahead_s: float, took_s: float, verdict: str
) -> None:
    assert of_clock(NOW + timedelta(seconds=ahead_s), NOW, took_s).verdict == verdict


@pytest.mark.parametrize(("left", "verdict"), [(-1, "bad"), (0.5, "bad"), (5, "note"), (100, "ok")])
def test_a_certificate_is_told_of_before_its_end(left: float, verdict: str) -> None:
    found = of_certificate("server", NOW + timedelta(days=left), NOW, "restart")
    assert (found.verdict, bool(found.advice)) == (verdict, verdict != "ok")


def test_each_failed_condition_of_readiness_is_named() -> None:
    text = "[+]ping ok\n[-]store failed: disk gone\nreadyz check failed\n"
    assert [each.text for each in of_ready(500, text)] == ["is not ready: store: disk gone"]
    assert [each.verdict for each in of_ready(200, "[+]ping ok\n")] == ["ok"]
    assert [each.verdict for each in of_ready(502, "Bad Gateway")] == ["bad"]


def test_controllers_that_never_ran_or_run_no_more_are_named() -> None:
    good = [lease(name) for name in ESSENTIAL]
    assert [each.verdict for each in of_controllers(good, NOW)] == ["ok"]
    found = list(of_controllers([*good[1:], lease("job", 100), lease("quota", holder="")], NOW))
    assert [each.text for each in found] == [f"never ran: {ESSENTIAL[0]}", "nobody runs any more: job, quota"]


def test_of_machines_those_that_are_not_well_are_told_with_why() -> None:
    bare = node("bare")
    bare["metadata"]["labels"] = {}
    nodes = [node("fine"), node("gone", "Unknown"), node("shut", unschedulable=True), bare]
    found = {each.subject: each for each in of_nodes(nodes, "v1.33.0+stark-0.2.0") if "agent is" not in each.text}
    assert found["nodes"].text == "4: 3 online, 1 offline"
    assert "no news" in found["node gone"].text
    assert found["node shut"].verdict == "note"
    assert found["node bare"].text == "has no runtime"
    assert "node fine" not in found
    assert [each.subject for each in of_nodes(nodes, "v1.33.0+stark-0.1.0") if "agent is" in each.text] == []
    assert [each.verdict for each in of_nodes([], "")] == ["bad"]


def test_of_pods_those_that_wait_crash_or_have_no_pack_are_named() -> None:
    pods = [
        pod("fine"),
        pod("new", node="", ago_s=10),
        pod("stuck", node="", ago_s=900),
        pod("loop", waiting="CrashLoopBackOff", restarts=9),
        pod("lost", waiting="ErrImagePull"),
    ]
    bad = [each for each in of_pods(pods, NOW) if each.verdict == "bad"]
    assert [each.text for each in bad] == [
        "have no node for minutes: default/stuck",
        "crash again and again: default/loop",
        "have no pack or image: default/lost",
    ]
    assert bad[0].advice == "`starkctl explain pod/stuck` tells why"


def test_of_many_only_some_are_named() -> None:
    pods = [pod(f"p{i}", node="", ago_s=900) for i in range(8)]
    (found,) = [each for each in of_pods(pods, NOW) if each.verdict == "bad"]
    assert found.text.endswith("default/p4 and 3 more")


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (of_answer(0.01), "ok"),
        (of_answer(3), "note"),
        (of_versions("v1", "v1"), "ok"),
        (of_versions("v1", "v2"), "note"),
        (of_disk("/d", 50, 100), "ok"),
        (of_disk("/d", 12, 100), "note"),
        (of_disk("/d", 2, 100), "bad"),
        (next(of_audit({})), "ok"),
        (next(of_audit({"hampered": True})), "note"),
        (next(of_audit({"trouble": "no space"})), "bad"),
    ],
)
def test_whatever_is_not_well_has_something_to_do(found: Finding, verdict: str) -> None:
    assert (found.verdict, bool(found.advice)) == (verdict, verdict != "ok")


@pytest.mark.parametrize(
    ("environment", "terminal", "refused", "expected"),
    [
        ({}, True, False, True),
        ({}, False, False, False),
        ({}, True, True, False),
        ({"NO_COLOR": "1"}, True, False, False),
        ({"NO_COLOR": ""}, True, False, True),
        ({"TERM": "dumb"}, True, False, False),
    ],
)
def test_colours_are_for_terminals_whose_people_want_them(
    environment: dict[str, str], terminal: bool, refused: bool, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal)
    assert wanted(refused=refused) is expected
