"""What the words of `pod` and `deployment` commands mean, and the sentences about rollouts."""

from __future__ import annotations

import argparse
from typing import Any

import pytest

from stark.crds.deploymentview import status_of
from stark.crds.packpods import (
    HISTORY_MAX,
    Step,
    format_steps,
    label_of,
    message_of,
    previous_version,
    resources,
    version_steps,
)
from stark.crds.podhistory import of_pod
from stark.ctl.commands import resolve
from stark.ctl.deployments import ready_of
from stark.ctl.errors import CommandError, UsageError
from stark.ctl.paging import page_of
from stark.ctl.rollouts import Revision, chosen, plain_template, progress_of, why_taken_back
from stark.ctl.running import (
    checked_name,
    count,
    generated_name,
    image_of,
    pack_of,
    pairs,
    toleration,
)
from stark.ctl.verbs.deployment_rollback import previous_version as previous_of_deployment


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("k=v:NoSchedule", {"key": "k", "operator": "Equal", "value": "v", "effect": "NoSchedule"}),
        ("k:NoExecute", {"key": "k", "operator": "Exists", "effect": "NoExecute"}),
        ("a.b/k", {"key": "a.b/k", "operator": "Exists"}),
        ("k=v", {"key": "k", "operator": "Equal", "value": "v"}),
        ("k=:NoSchedule", {"key": "k", "operator": "Equal", "value": "", "effect": "NoSchedule"}),
    ],
)
def test_a_toleration_is_one_of_the_three_forms(text: str, expected: dict[str, str]) -> None:
    assert toleration(text) == expected


@pytest.mark.parametrize("text", ["k:Never", ":NoSchedule", "=v", ""])
def test_what_is_no_toleration_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        toleration(text)


def test_a_value_may_have_an_equals_sign() -> None:
    assert pairs(["a=b=c", "d="], "-l") == {"a": "b=c", "d": ""}
    with pytest.raises(UsageError, match="'x' is not KEY=VALUE"):
        pairs(["x"], "-l")


@pytest.mark.parametrize(
    ("cpu", "memory", "expected"),
    [
        pytest.param(None, None, ("100m", "128Mi", "500m", "512Mi"), id="nothing is said"),
        pytest.param(250, None, ("250m", "128Mi", "500m", "512Mi"), id="one is said"),
        pytest.param(900, 600, ("900m", "600Mi", "900m", "600Mi"), id="more than the limits is asked for"),
    ],
)
def test_amounts_when(cpu: int | None, memory: int | None, expected: tuple[str, ...]) -> None:
    found = resources(cpu, memory)
    assert (*found["requests"].values(), *found["limits"].values()) == expected


def test_names_are_made_of_the_packs() -> None:
    assert label_of("My_Pack") == "my-pack"
    assert label_of("x" * 64) == "x" * 57
    assert generated_name("My_Pack").startswith("my-pack-")
    assert len(generated_name("x" * 64)) <= 63
    assert checked_name("a-1") == "a-1"
    for wrong in ("A", "-a", "a-", "a.b", "x" * 64, ""):
        with pytest.raises(UsageError):
            checked_name(wrong)


def test_a_pack_is_named_once() -> None:
    assert pack_of(["a"], None) == pack_of([], "a") == pack_of(["a"], "a") == "a"
    for words, option in ((["a", "b"], None), (["a"], "b"), ([], None)):
        with pytest.raises(UsageError):
            pack_of(words, option)
    assert image_of("a", None) == "pack.stark/a"
    with pytest.raises(UsageError, match="not a semantic version"):
        image_of("a", "one")


@pytest.mark.parametrize("text", ["-1", "1001", "x", "1.5"])
def test_a_number_of_pods_is_from_0_to_1000(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        count(text)
    assert (count("0"), count("1000")) == (0, 1000)


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (("deploy", "ls"), "deployment list"),
        (("deployment", "rm"), "deployment delete"),
        (("pod", "run"), "pod create"),
        (("pods", "ls"), "pod list"),
        (("pack", "ls"), "pack list"),
        (("deployment", "run"), "deployment run"),
    ],
)
def test_aliases(words: tuple[str, str], command: str) -> None:
    assert resolve(*words) == command


def test_pages_have_so_many_rows(capsys: pytest.CaptureFixture[str]) -> None:
    args = argparse.Namespace(page=2, limit=2)
    assert page_of([1, 2, 3], args) == [3]
    assert "Page 2 of 2, 3 in all" in capsys.readouterr().err
    assert page_of([1, 2], argparse.Namespace(page=1, limit=500)) == [1, 2]
    assert capsys.readouterr().err == ""


def workload(kind: str, spec: dict[str, Any], status: dict[str, Any], **annotations: str) -> dict[str, Any]:
    notes = {f"stark.dev/{key.replace('_', '-')}": value for key, value in annotations.items()}
    meta = {"name": "web", "generation": 2, "annotations": notes}
    return {"kind": kind, "metadata": meta, "spec": spec, "status": {"observedGeneration": 2, **status}}


def numbers(there: int, updated: int, available: int, *conditions: tuple[str, str, str]) -> dict[str, Any]:
    listed = [{"type": type_, "status": status, "reason": reason} for type_, status, reason in conditions]
    return {"replicas": there, "updatedReplicas": updated, "availableReplicas": available, "conditions": listed}


LATE = ("Progressing", "False", "ProgressDeadlineExceeded")
FEW = ("Available", "False", "MinimumReplicasUnavailable")


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (workload("Deployment", {}, {"observedGeneration": 1}), "Waiting for deployment spec update to be observed..."),
        (workload("Deployment", {"replicas": 3}, numbers(3, 1, 1)), "1 out of 3 new replicas have been updated..."),
        (workload("Deployment", {"replicas": 3}, numbers(4, 3, 3)), "1 old replicas are pending termination..."),
        (workload("Deployment", {"replicas": 3}, numbers(3, 3, 2)), "2 of 3 updated replicas are available..."),
        (workload("Deployment", {"replicas": 3}, numbers(3, 3, 3)), 'deployment "web" successfully rolled out'),
        (
            workload("DaemonSet", {}, {"desiredNumberScheduled": 2, "updatedNumberScheduled": 1}),
            'Waiting for daemon set "web" rollout to finish: 1 out of 2 new pods have been updated...',
        ),
        (
            workload("DaemonSet", {}, {"desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 1}),
            "1 of 2 updated pods are available...",
        ),
        (workload("StatefulSet", {"replicas": 3}, {"readyReplicas": 1}), "Waiting for 2 pods to be ready..."),
        (
            workload(
                "StatefulSet",
                {"replicas": 3, "updateStrategy": {"rollingUpdate": {"partition": 1}}},
                {"readyReplicas": 3, "updatedReplicas": 1},
            ),
            "Waiting for partitioned roll out to finish: 1 out of 2 new pods have been updated...",
        ),
        (
            workload(
                "StatefulSet", {"replicas": 1}, {"readyReplicas": 1, "updateRevision": "b", "currentRevision": "a"}
            ),
            "waiting for statefulset rolling update to complete 0 pods at revision b...",
        ),
    ],
)
def test_progress_is_told_in_kubectls_words(found: dict[str, Any], text: str) -> None:
    assert text in progress_of(found).text


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (workload("Deployment", {}, numbers(1, 1, 0, LATE)), "exceeded its progress deadline"),
        (workload("Deployment", {}, numbers(1, 1, 0), crash_loop_paused="1.0.0 fails"), "1.0.0 fails; `starkctl"),
        (workload("DaemonSet", {"updateStrategy": {"type": "OnDelete"}}, {}), "only available for RollingUpdate"),
    ],
)
def test_a_rollout_that_cannot_end_by_itself_is_a_failure(found: dict[str, Any], text: str) -> None:
    with pytest.raises(CommandError, match=text):
        progress_of(found)


def test_a_release_that_was_taken_back_meanwhile_is_no_success() -> None:
    block = '[{"version":"2.0.0","until":"2026-01-01T00:00:00Z","attempts":1}]'
    before = workload("Deployment", {"template": {"spec": "new"}}, {})
    back = workload("Deployment", {"template": {"spec": "old"}}, {}, blocked_versions=block)
    back["metadata"]["annotations"]["kubernetes.io/change-cause"] = "version 2.0.0 failed"
    assert why_taken_back(before, back) == "version 2.0.0 failed"
    assert why_taken_back(back, back) == ""
    assert (
        why_taken_back(back, workload("Deployment", {"template": {"spec": "next"}}, {}, blocked_versions=block)) == ""
    )


@pytest.mark.parametrize(
    ("found", "status", "ready"),
    [
        (workload("Deployment", {"replicas": 3}, numbers(3, 3, 3) | {"readyReplicas": 3}), "active", "3/3"),
        (workload("Deployment", {"replicas": 3}, numbers(4, 1, 3)), "scaling", "0/3"),
        (workload("Deployment", {"replicas": 3}, numbers(3, 3, 3) | {"observedGeneration": 1}), "scaling", "0/3"),
        (workload("Deployment", {"replicas": 3}, numbers(3, 3, 1, FEW)), "degraded", "0/3"),
        (workload("Deployment", {"replicas": 3}, numbers(3, 3, 1, FEW, LATE)), "failed", "0/3"),
        (workload("Deployment", {"replicas": 3, "paused": True}, numbers(3, 3, 1, FEW, LATE)), "paused", "0/3"),
        (workload("Deployment", {"replicas": 3}, numbers(3, 3, 1, FEW), crash_loop_paused="x"), "stopped", "0/3"),
        (workload("Deployment", {"replicas": 0}, numbers(2, 2, 2), mode="DaemonSet"), "active", "0/2 (DaemonSet)"),
    ],
)
def test_a_deployment_stands(found: dict[str, Any], status: str, ready: str) -> None:
    assert (status_of(found), ready_of(found)) == (status, ready)
    leaving = {**found, "metadata": {**found["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}}
    assert status_of(leaving) == "deleting"


def revision(number: int, image: str = "") -> Revision:
    return Revision(number, "", {"spec": {"containers": [{"name": "a", "image": image}]}}, {})


def test_a_revision_is_chosen_by_number_or_the_one_before() -> None:
    kept = [revision(1), revision(3), revision(4)]
    assert chosen(kept, 0).number == 3
    assert chosen(kept, 1).number == 1
    with pytest.raises(CommandError, match="unable to find specified revision 2 in history; there are: 1, 3, 4"):
        chosen(kept, 2)
    with pytest.raises(CommandError, match="no rollout history"):
        chosen(kept[:1], 0)


def test_a_template_goes_back_without_the_label_of_its_replica_set() -> None:
    template = {"metadata": {"labels": {"app": "web", "pod-template-hash": "x"}}, "spec": {}}
    assert plain_template(template) == {"metadata": {"labels": {"app": "web"}}, "spec": {}}


def test_the_version_before_is_the_last_other_one() -> None:
    kept = [revision(n, f"pack.stark/web:{v}") for n, v in ((1, "1.0.0"), (2, "1.1.0"), (3, "1.2.0"), (4, "1.2.0"))]
    assert previous_of_deployment(kept, "web", "1.2.0") == "1.1.0"
    with pytest.raises(CommandError, match="no other version of web"):
        previous_of_deployment(kept[2:], "web", "1.2.0")


def pod(*steps: Step, **more: Any) -> dict[str, Any]:
    notes = {"stark.dev/version-history": format_steps(list(steps))}
    meta = {"name": "web-1", "namespace": "default", "creationTimestamp": "2026-01-01T00:00:00Z", "annotations": notes}
    return {"metadata": meta, "spec": {"containers": [{"name": "a", "image": "pack.stark/web:2.0.0"}]}, **more}


def test_a_pods_versions_are_remembered_within_bounds() -> None:
    steps = [Step("2026-01-01T00:00:00Z", str(n), str(n + 1), "why") for n in range(HISTORY_MAX + 5)]
    assert version_steps(pod(*steps)) == steps[5:]
    unreadable = pod()
    unreadable["metadata"]["annotations"]["stark.dev/version-history"] = '{"a": 1}'
    assert version_steps(unreadable) == []


def test_a_pod_goes_back_to_the_last_other_version() -> None:
    forth, back = Step("1", "1.0.0", "2.0.0"), Step("2", "2.0.0", "1.0.0")
    assert previous_version(pod(forth), "2.0.0") == "1.0.0"
    assert previous_version(pod(forth, back), "1.0.0") == "2.0.0"
    assert previous_version(pod(), "1.0.0") is None


def test_a_pod_tells_its_history_and_its_trouble() -> None:
    ended = {"finishedAt": "2026-01-01T00:02:00Z", "exitCode": 3, "reason": "Error", "message": "boom"}
    status = {"containerStatuses": [{"name": "a", "restartCount": 1, "state": {"terminated": ended}, "lastState": {}}]}
    entries = list(of_pod(pod(Step("2026-01-01T00:01:00Z", "1.0.0", "2.0.0", "faster"), status=status)))
    assert [(entry.action, entry.text) for entry in entries] == [
        ("created", "1.0.0"),
        ("rolled_back", "1.0.0 -> 2.0.0: faster"),
        ("failed", "Error, exit code 3"),
    ]
    assert message_of(pod(status=status)) == "Error: boom"
    refused = {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available"}
    assert message_of(pod(status={"conditions": [refused]})) == "0/1 nodes are available"
    assert message_of(pod()) == ""
