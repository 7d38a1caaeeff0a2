"""The nine states and the termination reasons are read from Kubernetes' status in one way."""

from __future__ import annotations

from typing import Any

import pytest

from stark.crds.podview import counts_as_crash, pod_state, termination_reason


def pod(phase: str = "", *, node: str = "", deleted: bool = False, **status: Any) -> dict[str, Any]:
    meta = {"name": "p", **({"deletionTimestamp": "2026-01-02T03:04:05Z"} if deleted else {})}
    return {"metadata": meta, "spec": {"nodeName": node}, "status": {**({"phase": phase} if phase else {}), **status}}


@pytest.mark.parametrize(
    ("given", "state"),
    [
        pytest.param({"metadata": {"name": "p"}}, "pending", id="new"),
        pytest.param(pod("Pending"), "pending", id="unbound"),
        pytest.param(pod("Pending", node="n"), "scheduled", id="bound"),
        pytest.param(pod("Pending", node="n", startTime="2026-01-02T03:04:05Z"), "starting", id="taken on"),
        pytest.param(pod("Running", node="n"), "running", id="running"),
        pytest.param(pod("Running", node="n", deleted=True), "stopping", id="being deleted"),
        pytest.param(pod("Pending", deleted=True), "stopping", id="deleted before it ran"),
        pytest.param(pod("Succeeded", deleted=True), "stopped", id="done, being deleted"),
        pytest.param(pod("Succeeded"), "stopped", id="done"),
        pytest.param(pod("Failed"), "failed", id="failed"),
        pytest.param(pod("Failed", reason="DeadlineExceeded"), "failed", id="deadline"),
        pytest.param(pod("Failed", reason="NodeLost"), "failed", id="lost for good"),
        pytest.param(pod("Failed", reason="Evicted"), "evicted", id="evicted"),
        pytest.param(pod("Failed", reason="Preempted"), "evicted", id="preempted"),
        pytest.param(pod("Unknown"), "unknown", id="unknown"),
        pytest.param(pod("Running", reason="NodeLost", deleted=True), "unknown", id="node lost"),
    ],
)
def test_a_pod_is_in_one_of_nine_states(given: dict[str, Any], state: str) -> None:
    assert pod_state(given) == state


def ended(*reasons: str) -> dict[str, Any]:
    return {"containerStatuses": [{"state": {"terminated": {"exitCode": 1, "reason": word}}} for word in reasons]}


def initialized(reason: str, code: int, restartPolicy: str = "", **status: Any) -> dict[str, Any]:
    end = {"name": "first", "state": {"terminated": {"reason": reason, "exitCode": code}}}
    made = pod("Failed", initContainerStatuses=[end], **status)
    made["spec"]["initContainers"] = [{"name": "first", "restartPolicy": restartPolicy}]
    return made


@pytest.mark.parametrize(
    ("given", "reason", "crash"),
    [
        pytest.param(pod("Running"), None, False, id="still running"),
        pytest.param(pod("Succeeded"), "completed", False, id="done"),
        pytest.param(pod("Failed"), None, True, id="no reason counts"),
        pytest.param(pod("Failed", reason="DeadlineExceeded"), "deadline_exceeded", True, id="deadline"),
        pytest.param(pod("Failed", reason="Evicted"), "evicted_resources", False, id="evicted"),
        pytest.param(pod("Failed", reason="NodeLost"), "node_lost", False, id="node lost"),
        pytest.param(pod("Failed", reason="Strange"), "unknown", False, id="a word nobody knows"),
        pytest.param(pod("Failed", **ended("OOMKilled")), "oom_killed", True, id="out of memory"),
        pytest.param(pod("Failed", **ended("Completed", "Error")), "error", True, id="one of two failed"),
        pytest.param(initialized("Error", 3), "init_error", True, id="an init container failed"),
        pytest.param(initialized("OOMKilled", 137), "oom_killed", True, id="an init container was out of memory"),
        pytest.param(
            initialized("Error", 143, restartPolicy="Always", **ended("OOMKilled")),
            "oom_killed",
            True,
            id="how a sidecar was stopped says nothing",
        ),
        pytest.param(
            pod("Failed", containerStatuses=[{"state": {"waiting": {"reason": "ErrImagePull"}}}]),
            "pack_load_error",
            True,
            id="never started",
        ),
    ],
)
def test_an_ended_pod_says_why_and_whether_it_counts(given: dict[str, Any], reason: str | None, crash: bool) -> None:
    assert termination_reason(given) == reason
    assert counts_as_crash(given) is crash
