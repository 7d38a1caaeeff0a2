"""Rows look as kubectl's users know them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stark.crds.printers import PRINTERS, find_printer, human_age, human_duration, row_conditions
from tests.support.examples import EXAMPLES

NOW = datetime(2026, 1, 2, 4, 0, 0, tzinfo=UTC)


def ago(**duration: float) -> str:
    return (NOW - timedelta(**duration)).isoformat().replace("+00:00", "Z")


def cells(obj: dict[str, Any], group: str, kind: str) -> dict[str, Any]:
    printer = find_printer(group, kind)
    assert printer is not None
    row = printer.cells(obj, NOW)
    return dict(zip([column.name for column in printer.columns], row, strict=True))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-2, "<invalid>"),
        (-1.9, "0s"),
        (-0.5, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (125, "2m5s"),
        (599, "9m59s"),
        (600, "10m"),
        (630, "10m"),
        (179 * 60, "179m"),
        (3 * 3600, "3h"),
        (3 * 3600 + 60, "3h1m"),
        (8 * 3600 - 1, "7h59m"),
        (8 * 3600, "8h"),
        (47 * 3600 + 1800, "47h"),
        (48 * 3600, "2d"),
        (49 * 3600, "2d1h"),
        (8 * 86400 - 1, "7d23h"),
        (8 * 86400, "8d"),
        (729 * 86400, "729d"),
        (730 * 86400, "2y"),
        (731 * 86400, "2y1d"),
        (8 * 365 * 86400 + 86400, "8y"),
    ],
)
def test_a_duration_is_written_in_at_most_two_units(seconds: float, text: str) -> None:
    assert human_duration(timedelta(seconds=seconds)) == text


def test_an_age_without_a_time_is_unknown() -> None:
    assert human_age(None, NOW) == "<unknown>"
    assert human_age("yesterday", NOW) == "<unknown>"
    assert human_age("2026-01-02T03:59:18Z", NOW) == "42s"


def status_of(ready: bool = False, restarts: int = 0, last: str = "", **state: Any) -> dict[str, Any]:
    container: dict[str, Any] = {"name": "c", "ready": ready, "restartCount": restarts, "state": state}
    if last:
        container["lastState"] = {"terminated": {"exitCode": 1, "finishedAt": last}}
    return container


RUNNING = status_of(True, running={"startedAt": "2026-01-02T03:00:00Z"})
COMPLETED = status_of(terminated={"exitCode": 0, "reason": "Completed"})


def pod(
    *containers: dict[str, Any],
    inits: tuple[dict[str, Any], ...] = (),
    deleted: bool = False,
    ready: bool = False,
    **status: Any,
) -> dict[str, Any]:
    meta = {"name": "web", "creationTimestamp": ago(minutes=5)}
    spec: dict[str, Any] = {"containers": [{}] * max(1, len(containers)), "initContainers": [{}] * len(inits)}
    conditions = [{"type": "Ready", "status": "True"}] if ready else []
    body = {"containerStatuses": list(containers), "initContainerStatuses": list(inits), "conditions": conditions}
    return {
        "metadata": {**meta, **({"deletionTimestamp": ago(seconds=1)} if deleted else {})},
        "spec": spec,
        "status": {**body, **status},
    }


@pytest.mark.parametrize(
    ("given", "ready", "status", "restarts"),
    [
        pytest.param(pod(phase="Pending"), "0/1", "Pending", "0", id="new"),
        pytest.param(
            pod(status_of(waiting={"reason": "ContainerCreating"}), phase="Pending"),
            "0/1",
            "ContainerCreating",
            "0",
            id="starting",
        ),
        pytest.param(pod(RUNNING, phase="Running"), "1/1", "Running", "0", id="running"),
        pytest.param(
            pod(RUNNING, status_of(running={}), phase="Running"), "1/2", "Running", "0", id="one is not ready"
        ),
        pytest.param(
            pod(status_of(False, 3, ago(minutes=5), waiting={"reason": "CrashLoopBackOff"}), phase="Running"),
            "0/1",
            "CrashLoopBackOff",
            "3 (5m ago)",
            id="crash loop",
        ),
        pytest.param(
            pod(status_of(False, 2, running={}), phase="Running"), "0/1", "Running", "2", id="restarted, unknown when"
        ),
        pytest.param(pod(COMPLETED, phase="Succeeded"), "0/1", "Completed", "0", id="completed"),
        pytest.param(
            pod(status_of(terminated={"exitCode": 1, "reason": "Error"}), phase="Failed"),
            "0/1",
            "Error",
            "0",
            id="error",
        ),
        pytest.param(
            pod(status_of(terminated={"exitCode": 3}), phase="Failed"), "0/1", "ExitCode:3", "0", id="exit code"
        ),
        pytest.param(
            pod(status_of(terminated={"exitCode": 137, "signal": 9}), phase="Failed"),
            "0/1",
            "Signal:9",
            "0",
            id="signal",
        ),
        pytest.param(pod(phase="Failed", reason="Evicted"), "0/1", "Evicted", "0", id="evicted"),
        pytest.param(pod(RUNNING, deleted=True, phase="Running"), "1/1", "Terminating", "0", id="terminating"),
        pytest.param(
            pod(COMPLETED, deleted=True, phase="Succeeded"), "0/1", "Completed", "0", id="done, being deleted"
        ),
        pytest.param(
            pod(RUNNING, deleted=True, phase="Running", reason="NodeLost"), "1/1", "Unknown", "0", id="node lost"
        ),
        pytest.param(
            pod(RUNNING, COMPLETED, ready=True, phase="Running"), "1/2", "Running", "0", id="one done, one ready"
        ),
        pytest.param(pod(COMPLETED, RUNNING, ready=True, phase="Running"), "1/2", "Running", "0", id="first done"),
        pytest.param(pod(COMPLETED, RUNNING, phase="Running"), "1/2", "NotReady", "0", id="first done, not ready"),
        pytest.param(pod(inits=(status_of(running={}),), phase="Pending"), "0/1", "Init:0/1", "0", id="initializing"),
        pytest.param(
            pod(inits=(COMPLETED, status_of(waiting={"reason": "ErrImagePull"})), phase="Pending"),
            "0/1",
            "Init:ErrImagePull",
            "0",
            id="init waits",
        ),
        pytest.param(
            pod(inits=(status_of(False, 1, terminated={"exitCode": 2}),), phase="Pending"),
            "0/1",
            "Init:ExitCode:2",
            "1",
            id="init failed",
        ),
        pytest.param(
            pod(phase="Pending")
            | {"status": {"phase": "Pending", "conditions": [{"type": "PodScheduled", "reason": "SchedulingGated"}]}},
            "0/1",
            "SchedulingGated",
            "0",
            id="gated",
        ),
    ],
)
def test_a_pod_row_says_what_the_pod_does(given: dict[str, Any], ready: str, status: str, restarts: str) -> None:
    row = cells(given, "", "Pod")
    assert (row["Name"], row["Ready"], row["Status"], row["Restarts"], row["Age"]) == (
        "web",
        ready,
        status,
        restarts,
        "5m",
    )


def test_a_wide_pod_row_shows_where_it_is() -> None:
    row = cells(pod(phase="Pending"), "", "Pod")
    assert [row[name] for name in ("IP", "Node", "Nominated Node", "Readiness Gates")] == ["<none>"] * 4
    there = cells(EXAMPLES["Pod"], "", "Pod")
    assert (there["IP"], there["Node"], there["Nominated Node"]) == ("10.0.0.1", "node-1", "node-1")


@pytest.mark.parametrize(("phase", "reasons"), [("Running", []), ("Succeeded", ["Succeeded"]), ("Failed", ["Failed"])])
def test_a_row_of_an_ended_pod_is_marked_completed(phase: str, reasons: list[str]) -> None:
    assert [item["reason"] for item in row_conditions("", "Pod", pod(phase=phase))] == reasons
    assert row_conditions("", "Namespace", pod(phase=phase)) == []


@pytest.mark.parametrize(
    ("labels", "spec", "conditions", "status", "roles"),
    [
        ({}, {}, [], "Unknown", "<none>"),
        ({}, {}, [{"type": "Ready", "status": "True"}], "Ready", "<none>"),
        ({}, {"unschedulable": True}, [{"type": "Ready", "status": "True"}], "Ready,SchedulingDisabled", "<none>"),
        ({}, {}, [{"type": "Ready", "status": "Unknown"}], "NotReady", "<none>"),
        (
            {"node-role.kubernetes.io/b": "", "kubernetes.io/role": "a", "node-role.kubernetes.io/": ""},
            {},
            [],
            "Unknown",
            "a,b",
        ),
    ],
)
def test_a_node_row_shows_status_and_roles(
    labels: dict[str, str], spec: dict[str, Any], conditions: list[dict[str, str]], status: str, roles: str
) -> None:
    node = {"metadata": {"name": "n", "labels": labels}, "spec": spec, "status": {"conditions": conditions}}
    row = cells(node, "", "Node")
    assert (row["Status"], row["Roles"], row["OS-Image"], row["Internal-IP"]) == (status, roles, "<unknown>", "<none>")


@pytest.mark.parametrize(
    ("group", "kind", "expected"),
    [
        ("apps", "Deployment", {"Ready": "2/3", "Up-to-date": 3, "Available": 2, "Containers": "main"}),
        ("apps", "ReplicaSet", {"Desired": 3, "Current": 3, "Ready": 2, "Images": "pack.stark/hello:1.2.0"}),
        (
            "batch",
            "Job",
            {"Status": "Terminating", "Completions": "2/3", "Duration": "0s", "Images": "pack.stark/hello:1.2.0"},
        ),
        ("apps", "DaemonSet", {"Desired": 4, "Current": 3, "Ready": 2, "Up-to-date": 3, "Available": 2}),
        ("batch", "CronJob", {"Schedule": "*/5 * * * *", "Timezone": "Europe/Berlin", "Suspend": "True", "Active": 1}),
        ("", "Namespace", {"Name": "example", "Status": "Active", "Age": "<unknown>"}),
        ("", "ConfigMap", {"Data": 2, "Age": "55m"}),
        ("", "Secret", {"Type": "Opaque", "Data": 1}),
        ("", "ServiceAccount", {"Secrets": 1}),
        ("coordination.k8s.io", "Lease", {"Holder": "node-1"}),
        ("apiextensions.k8s.io", "CustomResourceDefinition", {"Name": "widgets.example.com"}),
        (
            "",
            "Event",
            {"Last Seen": "55m", "Object": "pod/web", "Source": "agent, node-1", "Count": 3, "Name": "example"},
        ),
        ("", "Node", {"Version": "v1.33.0", "Internal-IP": "127.0.0.1", "Container-Runtime": "stark://0.1.0"}),
    ],
)
def test_a_row_of_each_kind_shows_its_columns(group: str, kind: str, expected: dict[str, Any]) -> None:
    row = cells(EXAMPLES[kind], group, kind)
    assert {name: row[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("body", "status", "completions"),
    [
        pytest.param({}, "Running", "0/1", id="a job without numbers has one to do"),
        pytest.param({"spec": {"parallelism": 3}}, "Running", "0/1 of 3", id="a queue of work says how many share it"),
        pytest.param({"status": {"conditions": ["Complete"], "succeeded": 1}}, "Complete", "1/1", id="complete"),
        pytest.param({"status": {"conditions": ["FailureTarget", "Failed"]}}, "Failed", "0/1", id="failed"),
        pytest.param({"status": {"conditions": ["Suspended"]}}, "Suspended", "0/1", id="suspended"),
        pytest.param({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}, "Terminating", "0/1", id="leaving"),
    ],
)
def test_a_job_row_says_how_it_stands(body: dict[str, Any], status: str, completions: str) -> None:
    words = body.get("status", {}).get("conditions", [])
    told = {**body.get("status", {}), "conditions": [{"type": word, "status": "True"} for word in words]}
    row = cells({**body, "status": told}, "batch", "Job")
    assert (row["Status"], row["Completions"], row["Duration"]) == (status, completions, "")


def test_a_deployment_on_every_node_counts_nodes() -> None:
    daemon = {
        "metadata": {"name": "web", "annotations": {"stark.dev/mode": "DaemonSet"}},
        "spec": {"replicas": 0},
        "status": {"readyReplicas": 3, "availableReplicas": 2, "unavailableReplicas": 2},
    }
    assert cells(daemon, "apps", "Deployment")["Ready"] == "3/4"


def test_a_selector_is_shown_as_text() -> None:
    assert cells(EXAMPLES["Deployment"], "apps", "Deployment")["Selector"] == "app=web,tier in (back,front)"
    broken = {"spec": {"selector": {"matchExpressions": [{"key": "a", "operator": "?"}]}}}
    assert cells(broken, "apps", "Deployment")["Selector"] == "<invalid>"
    assert cells({}, "apps", "Deployment")["Selector"] == "<none>"


def test_an_event_that_happened_once_counts_one() -> None:
    event = {"metadata": {"name": "e"}, "eventTime": ago(seconds=30), "involvedObject": {"kind": "Node"}}
    row = cells(event, "", "Event")
    assert (row["Last Seen"], row["First Seen"], row["Count"], row["Object"], row["Source"]) == (
        "30s",
        "30s",
        1,
        "node",
        "",
    )


@pytest.mark.parametrize("key", PRINTERS, ids="/".join)
def test_an_empty_object_has_a_row_as_wide_as_its_headings(key: tuple[str, str]) -> None:
    printer = PRINTERS[key]
    assert len(printer.cells({}, NOW)) == len(printer.columns)


@pytest.mark.parametrize(
    ("group", "kind", "row"),
    [
        ("scheduling.k8s.io", "PriorityClass", ["important", 100, False, "Never"]),
        ("policy", "PodDisruptionBudget", ["example", "1", "50%", 1]),
        ("", "Service", ["example", "ClusterIP", "None", "<none>", "80/TCP", "app=web"]),
        ("discovery.k8s.io", "EndpointSlice", ["example", "IPv4", "20000", "10.0.0.1"]),
        ("", "ResourceQuota", ["example", "pods: 1/2", ""]),
    ],
)
def test_policies_and_services_have_the_columns_of_kubernetes(group: str, kind: str, row: list[Any]) -> None:
    found = cells(EXAMPLES[kind], group, kind)
    assert found.pop("Age")
    assert list(found.values()) == row


def test_only_the_first_endpoints_are_named() -> None:
    many = {"ports": [], "endpoints": [{"addresses": [f"10.0.0.{n}"]} for n in range(5)]}
    found = cells(many, "discovery.k8s.io", "EndpointSlice")
    assert (found["Ports"], found["Endpoints"]) == ("<unset>", "10.0.0.0,10.0.0.1,10.0.0.2 + 2 more...")


def test_a_quota_shows_limits_apart() -> None:
    status = {"hard": {"limits.cpu": "2", "pods": "3", "cpu": "1"}, "used": {"pods": "1"}}
    found = cells({"metadata": {"name": "q"}, "status": status}, "", "ResourceQuota")
    assert (found["Request"], found["Limit"]) == ("cpu: 0/1, pods: 1/3", "limits.cpu: 0/2")


@pytest.mark.parametrize(
    ("side", "ready", "word", "restarts"),
    [
        pytest.param(status_of(True, 2, running={}) | {"started": True}, "2/2", "Running", "2", id="it runs"),
        pytest.param(status_of(False, 0, running={}) | {"started": False}, "0/2", "Init:0/1", "0", id="it starts"),
    ],
)
def test_a_sidecar_counts_among_the_containers(side: dict[str, Any], ready: str, word: str, restarts: str) -> None:
    main = RUNNING if ready == "2/2" else status_of(waiting={"reason": "PodInitializing"})
    shown = pod(main, inits=({**side, "name": "side"},), phase="Running" if ready == "2/2" else "Pending")
    shown["spec"]["initContainers"] = [{"name": "side", "restartPolicy": "Always"}]
    row = cells(shown, "", "Pod")
    assert (row["Ready"], row["Status"], row["Restarts"]) == (ready, word, restarts)
