"""Volumes as their user meets them: kubectl puts them in, programs find them, and they follow what is changed."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.e2e.test_main_job import register
from tests.support.up import Up, stark_up

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="secrets lie in memory where the agent is root"),
]

IDLE = "module.exports.default = () => new Promise(() => setInterval(() => {}, 1000));"
LABEL = "pod-security.kubernetes.io/enforce=privileged"


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    directory = tmp_path_factory.mktemp("volumes")
    with stark_up(directory) as started:
        bundle = directory / "idle.js"
        bundle.write_text(IDLE)
        register(started, "idle", "1.0.0", str(bundle), "node")
        yield started


def pod(name: str, volumes: list[dict[str, Any]], mounts: list[dict[str, Any]], **container: Any) -> dict[str, Any]:
    main = {"name": "main", "image": "pack.stark/idle:1.0.0", "volumeMounts": mounts, **container}
    spec = {"containers": [main], "volumes": volumes, "terminationGracePeriodSeconds": 1}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"tier": "front"}}, "spec": spec}


def put(up: Up, obj: dict[str, Any]) -> None:
    up.kubectl("apply", "--validate=strict", "-f", "-", stdin=json.dumps(obj))


def runs(up: Up, name: str) -> dict[str, Any]:
    def is_running() -> bool:
        return bool(up.json("pod", name)["status"].get("phase") == "Running")

    up.until(f"{name} runs", is_running)
    found: dict[str, Any] = up.json("pod", name)
    return found


def in_pod(up: Up, name: str, command: str) -> str:
    return up.kubectl("exec", name, "--", "/bin/sh", "-c", command)


def waits_for(up: Up, name: str, command: str, wanted: str) -> None:
    up.until(f"{command!r} says {wanted!r}", lambda: in_pod(up, name, command).strip() == wanted)


def test_a_pod_finds_its_volumes_and_they_follow_what_is_changed(up: Up) -> None:
    volumes: list[dict[str, Any]] = [
        {"name": "conf", "configMap": {"name": "conf"}},
        {"name": "keys", "secret": {"secretName": "keys", "defaultMode": 0o400}},
        {"name": "scratch", "emptyDir": {}},
        {"name": "fast", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
        {"name": "self", "downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
        {
            "name": "all",
            "projected": {
                "sources": [
                    {"configMap": {"name": "conf", "items": [{"key": "greeting", "path": "deep/greeting"}]}},
                    {"serviceAccountToken": {"path": "token", "audience": "vault", "expirationSeconds": 600}},
                ]
            },
        },
    ]
    mounts: list[dict[str, Any]] = [
        {"name": "conf", "mountPath": "/etc/web/conf"},
        {"name": "conf", "mountPath": "/etc/web/one", "subPath": "greeting"},
        {"name": "keys", "mountPath": "/keys", "readOnly": True},
        {"name": "scratch", "mountPath": "/data"},
        {"name": "scratch", "mountPath": "/mine", "subPathExpr": "$(POD)"},
        {"name": "fast", "mountPath": "/fast"},
        {"name": "self", "mountPath": "/self"},
        {"name": "all", "mountPath": "/all"},
    ]
    env = [
        {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "MIB", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
    ]
    limits = {"limits": {"memory": "256Mi"}}
    up.kubectl("create", "configmap", "conf", "--from-literal=greeting=hello")
    up.kubectl("create", "secret", "generic", "keys", "--from-literal=key=hush")
    put(up, pod("web", volumes, mounts, env=env, resources=limits))
    uid = runs(up, "web")["metadata"]["uid"]
    assert (
        in_pod(up, "web", "cat /etc/web/conf/greeting /etc/web/one /keys/key /all/deep/greeting")
        == "hellohellohushhello"
    )
    assert in_pod(up, "web", "stat -Lc %a /keys/key; echo $MIB").split() == ["400", "256"]
    assert in_pod(up, "web", "cut -d. -f1 /all/token | wc -c").strip() != "0"
    assert "Read-only file system" in in_pod(up, "web", "echo x 2>&1 > /etc/web/conf/greeting; true")
    assert "No space left" in in_pod(up, "web", "head -c 2000000 /dev/zero 2>&1 > /fast/big; true")
    in_pod(up, "web", "echo kept > /mine/file")
    assert in_pod(up, "web", "cat /data/web/file").strip() == "kept"
    copied = up.directory / "copied"
    up.kubectl("cp", "web:/data/web/file", str(copied))
    assert copied.read_text() == "kept\n"
    up.kubectl("cp", str(copied), "web:/data/back")
    assert in_pod(up, "web", "cat /data/back") == "kept\n"
    # Nothing of a Secret lies on the disk, and nobody but the agent can come near it.
    folder = next(up.data_dir.rglob(f"pods/{uid}/volumes"))
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {name for name in os.listdir(folder) if os.path.ismount(folder / name)} == {"keys", "fast", "all"}
    shown = up.kubectl("describe", "pod", "web")
    assert "ConfigMap (a volume populated by a ConfigMap)" in shown
    assert "/etc/web/conf from conf" in shown

    patch = json.dumps({"data": {"greeting": "bye"}})
    up.kubectl("patch", "configmap", "conf", "-p", patch)
    up.kubectl("patch", "secret", "keys", "-p", json.dumps({"stringData": {"key": "other"}}))
    up.kubectl("label", "pod", "web", "tier=back", "--overwrite")
    waits_for(up, "web", "cat /etc/web/conf/greeting /all/deep/greeting", "byebye")
    waits_for(up, "web", "cat /keys/key", "other")
    waits_for(up, "web", "cat /self/labels", 'tier="back"')
    assert in_pod(up, "web", "cat /etc/web/one") == "hello"  # a subPath stays what it was
    up.kubectl("delete", "pod", "web")
    up.until("nothing is left", lambda: not folder.parent.exists())
    assert uid not in Path("/proc/self/mounts").read_text()


def test_a_container_waits_for_what_is_missing_and_starts_when_it_appears(up: Up) -> None:
    volumes = [{"name": "late", "configMap": {"name": "late"}}]
    put(up, pod("waits", volumes, [{"name": "late", "mountPath": "/late"}]))

    def waiting() -> dict[str, Any]:
        (status,) = up.json("pod", "waits")["status"].get("containerStatuses") or [{}]
        found: dict[str, Any] = status.get("state", {}).get("waiting", {})
        return found

    up.until("it waits", lambda: waiting().get("reason") == "FailedMount")
    why = 'MountVolume.SetUp failed for volume "late" : configmap "late" not found'
    assert waiting()["message"] == why
    up.until("it is told", lambda: why in up.kubectl("describe", "pod", "waits"))
    up.kubectl("create", "configmap", "late", "--from-literal=k=v")
    runs(up, "waits")
    assert in_pod(up, "waits", "cat /late/k") == "v"
    up.kubectl("delete", "pod", "waits")


def test_volumes_outlive_the_agent(up: Up) -> None:
    up.kubectl("create", "secret", "generic", "lasting", "--from-literal=k=1")
    volumes: list[dict[str, Any]] = [
        {"name": "e", "emptyDir": {"medium": "Memory"}},
        {"name": "s", "secret": {"secretName": "lasting"}},
    ]
    put(up, pod("lasts", volumes, [{"name": "e", "mountPath": "/e"}, {"name": "s", "mountPath": "/s"}]))
    runs(up, "lasts")
    in_pod(up, "lasts", "echo kept > /e/file")
    agent = up.child("stark.agent")
    agent.send_signal(signal.SIGKILL)
    psutil.wait_procs([agent], timeout=20)
    up.kubectl("patch", "secret", "lasting", "-p", json.dumps({"stringData": {"k": "2"}}))

    def said() -> str:
        try:
            return in_pod(up, "lasts", "cat /e/file /s/k").strip()
        except AssertionError:
            return ""  # the next agent is not there yet

    up.until("the next agent has gone on with them", lambda: said() == "kept\n2")
    assert up.json("pod", "lasts")["status"]["containerStatuses"][0]["restartCount"] == 0
    up.kubectl("delete", "pod", "lasts")


def test_a_pod_that_fills_its_folder_is_evicted(up: Up) -> None:
    volumes = [{"name": "small", "emptyDir": {"sizeLimit": "1Mi"}}]
    put(up, pod("greedy", volumes, [{"name": "small", "mountPath": "/small"}]))
    runs(up, "greedy")
    in_pod(up, "greedy", "head -c 3000000 /dev/urandom > /small/big")
    up.until("it has failed", lambda: up.json("pod", "greedy")["status"]["phase"] == "Failed")
    status = up.json("pod", "greedy")["status"]
    assert (status["reason"], status["message"].strip()) == (
        "Evicted",
        'Usage of EmptyDir volume "small" exceeds the limit "1Mi".',
    )
    up.kubectl("delete", "pod", "greedy")


def test_the_nodes_files_are_for_privileged_namespaces(up: Up, tmp_path: Path) -> None:
    volumes = [{"name": "host", "hostPath": {"path": str(tmp_path / "made"), "type": "DirectoryOrCreate"}}]
    wanted = pod("host", volumes, [{"name": "host", "mountPath": "/host"}])
    refused = up.kubectl("apply", "-f", "-", stdin=json.dumps(wanted), ok=False)
    assert 'violates PodSecurity "baseline:latest": hostPath volumes (volume "host")' in refused
    up.kubectl("label", "namespace", "default", LABEL)
    try:
        put(up, wanted)
        runs(up, "host")
        (tmp_path / "made" / "seen").write_text("here")
        assert in_pod(up, "host", "cat /host/seen") == "here"
        up.kubectl("delete", "pod", "host")
        assert (tmp_path / "made" / "seen").exists()
    finally:
        up.kubectl("label", "namespace", "default", "pod-security.kubernetes.io/enforce-")
