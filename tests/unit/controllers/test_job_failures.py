"""What a failed pod means to a job: an eviction, a lost node, an exit code."""

from __future__ import annotations

from typing import Any

import pytest

from stark.controllers.job.counting import count
from stark.controllers.job.failures import judge
from stark.controllers.job.planning import Plan, plan
from stark.crds.batch import JOB_TRACKING, Job
from stark.crds.conditions import find_condition
from stark.crds.pods import Pod
from tests.support.workloads import NOW, at, job, owned_by, pod

DISRUPTED = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
FATAL = {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}
COUNTED = {"action": "Count", "onExitCodes": {"containerName": "main", "operator": "NotIn", "values": [1, 2]}}


def sums(*rules: dict[str, Any], **spec: Any) -> Job:
    policy = {"podFailurePolicy": {"rules": list(rules)}} if rules else {}
    return job(spec={"backoffLimit": 0, **policy, **spec}, status={"startTime": at(0), "uncountedTerminatedPods": {}})


def ended(name: str = "a", code: int = 1, reason: str = "", *, phase: str = "Failed", **metadata: Any) -> Pod:
    """A pod that failed, for a reason of the cluster's if one is given."""
    meta = {"ownerReferences": owned_by("sums", "Job", "batch/v1"), "finalizers": [JOB_TRACKING], **metadata}
    body = pod(name, node="n1", phase=phase, metadata=meta).model_dump(by_alias=True, exclude_unset=True)
    state = {"terminated": {"exitCode": code, "finishedAt": at(-100)}} if phase == "Failed" else {"running": {}}
    body["status"]["containerStatuses"] = [{"name": "main", "state": state}]
    if reason:
        body["status"]["conditions"] = [{"type": "DisruptionTarget", "status": "True", "reason": reason}]
    return Pod.model_validate(body)


def verdict(step: Plan) -> tuple[str | None, str | None]:
    found = find_condition(step.status.conditions, "FailureTarget")
    return (None, None) if found is None else (found.reason, found.message)


@pytest.mark.parametrize(
    ("rules", "failed", "action"),
    [
        pytest.param((), ended(), "Count", id="without a policy it counts"),
        pytest.param((DISRUPTED,), ended(), "Count", id="a failure of its own counts"),
        pytest.param((DISRUPTED,), ended(reason="TerminationByKubelet"), "Ignore", id="an eviction is passed over"),
        pytest.param((DISRUPTED,), ended(reason="PreemptionByScheduler"), "Ignore", id="a preemption is passed over"),
        pytest.param((DISRUPTED,), ended(reason="DeletionByPodGC"), "Ignore", id="a lost node is passed over"),
        pytest.param((FATAL, DISRUPTED), ended(code=42, reason="x"), "FailJob", id="the first rule decides"),
        pytest.param((DISRUPTED, FATAL), ended(code=42, reason="x"), "Ignore", id="whichever it is"),
        pytest.param((COUNTED, DISRUPTED), ended(code=3, reason="x"), "Count", id="not one of these codes"),
        pytest.param((COUNTED, DISRUPTED), ended(code=2, reason="x"), "Ignore", id="one of these codes"),
        pytest.param((COUNTED,), ended(code=0), "Count", id="a success is no failure of the other containers"),
    ],
)
def test_the_first_rule_that_fits_decides(rules: tuple[dict[str, Any], ...], failed: Pod, action: str) -> None:
    assert judge(sums(*rules), failed).action == action


def test_a_pod_that_is_passed_over_is_replaced_and_let_go_and_counts_nowhere() -> None:
    step = plan(sums(DISRUPTED), [ended(reason="DeletionByPodGC")], NOW)
    assert verdict(step) == (None, None)
    assert len(step.create) == 1
    assert [each.metadata.name for each in step.release] == ["a"]
    assert step.status.failed is None
    assert step.status.uncounted_terminated_pods is not None
    assert step.status.uncounted_terminated_pods.failed == []


def test_without_a_policy_an_eviction_is_a_failure_as_any_other() -> None:
    assert verdict(plan(sums(), [ended(reason="EvictionByEvictionAPI")], NOW))[0] == "BackoffLimitExceeded"


def test_an_exit_code_ends_the_job_before_its_limit() -> None:
    step = plan(sums(FATAL, backoffLimit=6), [ended(code=42)], NOW)
    text = "Container main for pod default/a failed with exit code 42 matching FailJob rule at index 0"
    assert verdict(step) == ("PodFailurePolicy", text)
    assert step.create == ()


def test_one_that_was_evicted_and_has_failed_ends_a_job_that_says_so() -> None:
    fatal = {**DISRUPTED, "action": "FailJob"}
    gone = ended(reason="EvictionByEvictionAPI", deletionTimestamp=at(-5), deletionGracePeriodSeconds=30)
    step = plan(sums(fatal, backoffLimit=6), [gone], NOW)
    assert verdict(step)[0] == "PodFailurePolicy"
    # One that the job itself stopped, for its suspension for one, is let go before, and says nothing.
    stopped = gone.model_copy(update={"metadata": gone.metadata.model_copy(update={"finalizers": []})})
    assert verdict(plan(sums(fatal, backoffLimit=6), [stopped], NOW)) == (None, None)


@pytest.mark.parametrize(
    ("spec", "rules", "grace", "created", "counted"),
    [
        pytest.param({}, (), 30, 1, 1, id="at once, and has failed"),
        pytest.param({"podReplacementPolicy": "Failed"}, (), 30, 0, 0, id="when it has ended, if the job says so"),
        pytest.param({}, (DISRUPTED,), 30, 0, 0, id="when it has ended, under a policy"),
        pytest.param({}, (DISRUPTED,), 0, 0, 1, id="when it was deleted without grace"),
    ],
)
def test_a_pod_that_is_being_stopped_is_replaced(
    spec: dict[str, Any], rules: tuple[dict[str, Any], ...], grace: int, created: int, counted: int
) -> None:
    leaving: dict[str, Any] = {"deletionTimestamp": at(0), "deletionGracePeriodSeconds": grace}
    stopping = ended(phase="Running", **leaving)
    wanted = sums(*rules, **{"backoffLimit": 6, **spec})
    assert count(wanted, [stopping]).failed == counted
    assert len(plan(wanted, [stopping], NOW).create) == created


def test_a_job_counted_by_its_pods_passes_over_the_same_ones() -> None:
    old = job(
        spec={"backoffLimit": 0, "podFailurePolicy": {"rules": [DISRUPTED]}}, status={"startTime": at(0), "active": 1}
    )
    assert count(old, [ended("a", reason="x"), ended("b")]).failed == 1
