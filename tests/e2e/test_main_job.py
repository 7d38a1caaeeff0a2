"""The main job by the commands a user types: packs run, survive, roll, scale and go; starkctl and stock kubectl alike."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.up import REPO, Up, ready

HELLO = "manifests/examples/hello.yaml"
BUNDLE = "examples/hello-node/bundle.js"

pytestmark = pytest.mark.timeout(300)


def running(up: Up, selector: str, count: int, namespace: str = "default", image: str = "") -> list[dict[str, Any]]:
    """Wait until exactly `count` pods are there, all ready, all of that image."""

    def holds() -> list[dict[str, Any]] | None:
        pods = up.pods(selector, namespace)
        good = [p for p in pods if ready(p) and image in p["spec"]["containers"][0]["image"]]
        return pods if len(pods) == len(good) == count else None

    found: list[dict[str, Any]] = up.until(f"{count} pods {selector} {image} ready", holds)
    return found


def process_of(up: Up, pod: dict[str, Any]) -> psutil.Process:
    """The process that runs the pod's program: the one whose environment names the pod, nearest to the leaves."""
    uid = pod["metadata"]["uid"]
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("STARK_POD_ID") == uid:
                found.append(process)
        except psutil.Error:
            continue
    assert found, f"no process has STARK_POD_ID={uid}"
    return max(found, key=lambda process: len(process.parents()))


@pytest.mark.usefixtures("up")
def test_the_main_job(up: Up) -> None:
    assert "hello 1.0.0 registered" in register(up, "hello", "1.0.0", BUNDLE, "node")
    assert "unchanged" in register(up, "hello", "1.0.0", BUNDLE, "node")
    assert "deployment.apps/hello created" in up.starkctl("apply", "-f", HELLO)
    pods = running(up, "app=hello", 3)
    try:
        the_rest_of_the_main_job(up, pods)
    finally:
        up.kubectl("delete", "deployment", "hello", "--ignore-not-found", "--wait=false")


def register(up: Up, name: str, version: str, bundle: str, runtime: str) -> str:
    return up.starkctl("pack", "register", bundle, "--name", name, "--ver", version, "--runtime", runtime)


def the_rest_of_the_main_job(up: Up, pods: list[dict[str, Any]]) -> None:
    it_can_be_looked_at(up, pods)
    a_killed_process_is_restarted_in_place(up, pods[0])
    a_deleted_pod_is_replaced(up, pods[1])
    a_new_version_rolls_and_can_be_undone(up)
    it_scales_and_goes(up)


def it_can_be_looked_at(up: Up, pods: list[dict[str, Any]]) -> None:
    name = pods[0]["metadata"]["name"]
    table = up.starkctl("get", "pods", "-o", "wide")
    assert table.splitlines()[0].split()[:7] == ["NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE"]
    assert f"{name}   1/1     Running" in table
    assert "pack.stark/hello:1.0.0" in up.starkctl("describe", "pod", name)
    assert up.starkctl("logs", "deployment/hello").strip()
    both = up.kubectl("get", "pods,deployments,nodes,packs")
    for part in (f"pod/{name}", "deployment.apps/hello", "node/", "pack.stark.dev/hello.1.0.0"):
        assert part in both
    assert "unchanged" in up.starkctl("apply", "-f", HELLO)
    # The two tools remember what was applied in the same annotation, but not in the same words the first time.
    assert "deployment.apps/hello" in up.kubectl("apply", "-f", HELLO)
    assert "deployment.apps/hello unchanged" in up.kubectl("apply", "-f", HELLO)
    up.kubectl("explain", "deployment.spec.replicas")


def a_killed_process_is_restarted_in_place(up: Up, pod: dict[str, Any]) -> None:
    name = pod["metadata"]["name"]
    process_of(up, pod).kill()

    def restarted() -> bool:
        now = up.json("pod", name)
        status = now["status"]["containerStatuses"][0]
        return bool(
            now["metadata"]["uid"] == pod["metadata"]["uid"] and status["restartCount"] == 1 and status["ready"]
        )

    up.until(f"{name} restarted in place", restarted)
    last = up.json("pod", name)["status"]["containerStatuses"][0]["lastState"]["terminated"]
    assert last["exitCode"] == 128 + signal.SIGKILL
    assert up.starkctl("logs", name, "--previous").strip()


def a_deleted_pod_is_replaced(up: Up, pod: dict[str, Any]) -> None:
    process = process_of(up, pod)
    assert "deleted" in up.starkctl("delete", "pod", pod["metadata"]["name"])
    assert not process.is_running()
    names = {p["metadata"]["name"] for p in running(up, "app=hello", 3)}
    assert pod["metadata"]["name"] not in names


def a_new_version_rolls_and_can_be_undone(up: Up) -> None:
    register(up, "hello", "1.1.0", BUNDLE, "node")
    up.kubectl("set", "image", "deployment/hello", "hello=pack.stark/hello:1.1.0")
    assert "successfully rolled out" in up.kubectl("rollout", "status", "deployment/hello", "--timeout=60s")
    running(up, "app=hello", 3, image="hello:1.1.0")
    assert "2" in up.kubectl("rollout", "history", "deployment/hello")
    up.kubectl("rollout", "undo", "deployment/hello")
    up.kubectl("rollout", "status", "deployment/hello", "--timeout=60s")
    running(up, "app=hello", 3, image="hello:1.0.0")


def it_scales_and_goes(up: Up) -> None:
    assert "deployment.apps/hello scaled" in up.starkctl("scale", "deployment/hello", "--replicas", "5")
    uids = [pod["metadata"]["uid"] for pod in running(up, "app=hello", 5)]
    assert 'deployment.apps "hello" deleted' in up.starkctl("delete", "-f", HELLO)
    up.until("no pod is left", lambda: not up.json("pods", "-l", "app=hello")["items"])
    for process in psutil.process_iter():
        try:
            assert process.environ().get("STARK_POD_ID") not in uids, process.cmdline()
        except psutil.Error:
            continue


def test_a_watch_shows_what_happens(up: Up) -> None:
    commands = [["starkctl", "get", "configmaps", "-w"], ["kubectl", "get", "configmaps", "-w"]]
    watching = [
        subprocess.Popen(c, env=up.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for c in commands
    ]
    try:
        time.sleep(2)  # both have listed by now, or their list shows the object anyway
        up.kubectl("create", "-f", "-", stdin=json.dumps(config_map("watched")))
        for process in watching:
            assert process.stdout is not None
            assert any("watched" in line for line in process.stdout)
    finally:
        for process in watching:
            process.kill()
            process.communicate()
        up.kubectl("delete", "configmap", "watched")


def config_map(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"greeting": "hello"}}


def test_a_python_pack_runs_the_same_way(up: Up) -> None:
    bundle = "examples/hello-python/main.py"
    register(up, "hello-python", "1.0.0", bundle, "python")
    up.starkctl("apply", "-f", "manifests/examples/hello-python.yaml")
    try:
        pods = running(up, "app=hello-python", 2)
        process_of(up, pods[0]).kill()
        up.until(
            "restarted",
            lambda: up.json("pod", pods[0]["metadata"]["name"])["status"]["containerStatuses"][0]["restartCount"] == 1,
        )
        running(up, "app=hello-python", 2)
        assert up.starkctl("logs", "deployment/hello-python", "--tail", "5").strip()
    finally:
        up.starkctl("delete", "-f", "manifests/examples/hello-python.yaml")


def test_logs_follow_and_end_with_the_pod(up: Up, tmp_path: Path) -> None:
    bundle = tmp_path / "count.js"
    bundle.write_text(
        "module.exports.default = async () => { for (let i = 0; i < 5; i++) {"
        " console.log(`line ${i}`); await new Promise((done) => setTimeout(done, 300)); } };"
    )
    register(up, "count", "1.0.0", str(bundle), "node")
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "count"},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "count", "image": "pack.stark/count"}]},
    }
    up.starkctl("apply", "-f", "-", stdin=json.dumps(pod))
    try:
        up.until("it has started", lambda: up.json("pod", "count")["status"].get("phase") in ("Running", "Succeeded"))
        said = up.starkctl("logs", "count", "-f")
        assert [line for line in said.splitlines() if line.startswith("line")] == [f"line {i}" for i in range(5)]
        up.until("it has ended", lambda: up.json("pod", "count")["status"]["phase"] == "Succeeded")
        assert up.json("pod", "count")["spec"]["containers"][0]["image"] == "pack.stark/count:1.0.0"
        assert len(up.starkctl("logs", "count", "--tail", "2").splitlines()) == 2
    finally:
        up.starkctl("delete", "pod", "count")


def test_environment_comes_from_config_maps_secrets_and_the_pod(up: Up, tmp_path: Path) -> None:
    bundle = tmp_path / "env.js"
    bundle.write_text("module.exports.default = () => { console.log(JSON.stringify(process.env)); };")
    register(up, "env", "1.0.0", str(bundle), "node")
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token"}, "stringData": {"key": "s3cret"}}
    env = [
        {"name": "PLAIN", "value": "plain"},
        {"name": "FROM_MAP", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "greeting"}}},
        {"name": "FROM_SECRET", "valueFrom": {"secretKeyRef": {"name": "token", "key": "key"}}},
        {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "EXPANDED", "value": "$(PLAIN)-$(POD)"},
    ]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "env"},
        "spec": {
            "restartPolicy": "Never",
            "containers": [{"name": "env", "image": "pack.stark/env:1.0.0", "env": env}],
        },
    }
    items = {"apiVersion": "v1", "kind": "List", "items": [config_map("settings"), secret, pod]}
    up.starkctl("apply", "-f", "-", stdin=json.dumps(items))
    try:
        up.until("it has ended", lambda: up.json("pod", "env")["status"].get("phase") == "Succeeded")
        seen = json.loads(up.starkctl("logs", "env"))
        assert {name: seen.get(name) for name in ("PLAIN", "FROM_MAP", "FROM_SECRET", "POD", "EXPANDED")} == {
            "PLAIN": "plain", "FROM_MAP": "hello", "FROM_SECRET": "s3cret", "POD": "env", "EXPANDED": "plain-env",
        }  # fmt: skip
        assert seen["STARK_PACK_VERSION"] == "1.0.0"
        assert set(seen) & set(os.environ) <= {
            "PATH",
            "HOME",
            "TMPDIR",
            "LANG",
            "LC_ALL",
            "TZ",
            "PWD",
            "USER",
            "HOSTNAME",
        }
    finally:
        up.starkctl("delete", "-f", "-", stdin=json.dumps(items))


def test_the_readme_names_the_commands_tested_here() -> None:
    readme = (REPO / "README.md").read_text()
    for command in ("make up", "make test", f"starkctl apply -f {HELLO}", f"starkctl pack register {BUNDLE}"):
        assert command in readme
