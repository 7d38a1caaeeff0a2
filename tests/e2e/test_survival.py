"""What breaks, and what must be left when it has: processes killed at any moment, restarts, a store that goes away."""

from __future__ import annotations

import contextlib
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.e2e.test_main_job import HELLO, config_map, process_of, register, running
from tests.support.etcd import etcd, free_port
from tests.support.up import Up, stark_up

pytestmark = [pytest.mark.timeout(300), pytest.mark.slow]


@contextlib.contextmanager
def hello_running(up: Up) -> Iterator[list[dict[str, Any]]]:
    register(up, "hello", "1.0.0", "examples/hello-node/bundle.js", "node")
    up.starkctl("apply", "-f", HELLO)
    yield running(up, "app=hello", 3)
    up.starkctl("delete", "-f", HELLO)


def uids_and_restarts(pods: list[dict[str, Any]]) -> set[tuple[str, int]]:
    return {(pod["metadata"]["uid"], pod["status"]["containerStatuses"][0]["restartCount"]) for pod in pods}


def test_an_agent_killed_with_9_leaves_its_pods_running_and_adopts_them_again(tmp_path: Path) -> None:
    with stark_up(tmp_path) as up, hello_running(up) as pods:
        processes = {process_of(up, pod).pid for pod in pods}
        agent = up.child("stark.agent")
        agent.kill()
        assert all(psutil.pid_exists(pid) for pid in processes)
        up.until("a new agent", lambda: _other(up, "stark.agent", agent.pid))
        victim = pods[0]
        process_of(up, victim).kill()  # the new agent must notice what happens to a process it did not start

        def restarted() -> bool:
            status = up.json("pod", victim["metadata"]["name"])["status"]["containerStatuses"][0]
            return bool(status["restartCount"] == 1 and status["ready"])

        up.until("the adopted pod restarted in place", restarted)
        others = uids_and_restarts(running(up, "app=hello", 3))
        assert len(others & uids_and_restarts(pods)) == 2
        assert {process_of(up, pod).pid for pod in pods[1:]} <= processes


def _other(up: Up, word: str, pid: int) -> bool:
    with contextlib.suppress(StopIteration, psutil.Error):
        return up.child(word).pid != pid
    return False


@pytest.mark.parametrize("word", ["stark.apiserver", "stark.controllers"])
def test_a_killed_control_plane_process_comes_back_and_no_pod_notices(tmp_path: Path, word: str) -> None:
    with stark_up(tmp_path) as up, hello_running(up) as pods:
        before = uids_and_restarts(pods)
        for index in range(3):
            up.kubectl("create", "configmap", f"kept-{index}", "--from-literal=a=b")
        killed = up.child(word)
        killed.kill()
        up.until(f"{word} is back", lambda: _other(up, word, killed.pid))
        up.until("it answers", lambda: "ok" in _tolerant(up, "get", "--raw", "/readyz"))
        assert {f"kept-{i}" for i in range(3)} <= {c["metadata"]["name"] for c in up.json("configmaps")["items"]}
        up.starkctl("scale", "deployment/hello", "--replicas", "4")
        assert before <= uids_and_restarts(running(up, "app=hello", 4))
        up.starkctl("scale", "deployment/hello", "--replicas", "3")


def _tolerant(up: Up, *words: str) -> str:
    with contextlib.suppress(AssertionError):
        return up.run("kubectl", *words, timeout=10)
    return ""


def test_everything_killed_with_9_leaves_no_process_and_loses_nothing(tmp_path: Path) -> None:
    with stark_up(tmp_path) as up:
        register(up, "hello", "1.0.0", "examples/hello-node/bundle.js", "node")
        up.starkctl("apply", "-f", HELLO)
        pods = running(up, "app=hello", 3)
        psutil.Process(up.pid).kill()
        up.until("no process is left behind", lambda: not up.processes())
        up.start()
        assert {p["metadata"]["uid"] for p in running(up, "app=hello", 3)} == {p["metadata"]["uid"] for p in pods}
        up.starkctl("delete", "-f", HELLO)


def test_a_stopped_plane_goes_on_where_it_stopped(tmp_path: Path) -> None:
    with stark_up(tmp_path) as up:
        register(up, "hello", "1.0.0", "examples/hello-node/bundle.js", "node")
        up.starkctl("apply", "-f", HELLO)
        running(up, "app=hello", 3)
        assert up.stop(signal.SIGINT) == 0
        assert not up.processes()
        up.start()
        running(up, "app=hello", 3)
        assert up.starkctl("pack", "versions", "hello", "-o", "name").split() == ["1.0.0"]
        up.starkctl("delete", "-f", HELLO)


def test_etcd_may_go_away_and_come_back(tmp_path: Path) -> None:
    with etcd(tmp_path / "etcd") as server, stark_up(tmp_path, f"etcd={server.url}") as up, hello_running(up) as pods:
        before = uids_and_restarts(pods)
        server.signal(signal.SIGSTOP)
        said = up.run(
            "starkctl", "--request-timeout", "40", "apply", "-f", "-", stdin=json.dumps(config_map("late")), ok=False
        )
        assert "store" in said
        server.signal(signal.SIGCONT)
        up.until("writes work again", lambda: "configmap/late" in _apply(up, "late"))
        server.stop(kill=True)
        time.sleep(3)
        server.start()
        up.until("writes work again", lambda: "configmap/later" in _apply(up, "later"))
        up.starkctl("scale", "deployment/hello", "--replicas", "4")
        assert before <= uids_and_restarts(running(up, "app=hello", 4))


def _apply(up: Up, name: str) -> str:
    with contextlib.suppress(AssertionError):
        return up.run("starkctl", "apply", "-f", "-", stdin=json.dumps(config_map(name)), timeout=60)
    return ""


def test_a_node_whose_agent_is_gone_loses_its_pods_to_another(tmp_path: Path) -> None:
    with stark_up(tmp_path, "sqlite", "--agents", "2") as up:
        register(up, "hello", "1.0.0", "examples/hello-node/bundle.js", "node")
        up.starkctl("apply", "-f", HELLO)
        running(up, "app=hello", 3)
        names = sorted(node["metadata"]["name"] for node in up.json("nodes")["items"])
        assert len(names) == 2
        up.kubectl("cordon", names[0])
        for pod in up.pods("app=hello"):
            up.kubectl("delete", "pod", pod["metadata"]["name"])
        assert {pod["spec"]["nodeName"] for pod in running(up, "app=hello", 3)} == {names[1]}
        up.kubectl("uncordon", names[0])
        up.starkctl("delete", "-f", HELLO)


def test_controllers_can_be_processes_of_their_own(tmp_path: Path) -> None:
    with stark_up(tmp_path) as up:
        said = up.run("stark-controllers", "--help")
        assert "scheduler" in said
        kubeconfig = str(up.data_dir / "controllers.kubeconfig")
        up.child("stark.controllers").suspend()
        port = free_port()
        command = ["stark-controllers", "scheduler", "--kubeconfig", kubeconfig, "--listen", f"127.0.0.1:{port}"]
        with _process(up, command):
            register(up, "hello", "1.0.0", "examples/hello-node/bundle.js", "node")
            pod = {
                "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "alone"},
                "spec": {"containers": [{"name": "hello", "image": "pack.stark/hello:1.0.0"}]},
            }  # fmt: skip
            up.starkctl("apply", "-f", "-", stdin=json.dumps(pod))
            up.until("the scheduler alone has bound it", lambda: up.json("pod", "alone")["spec"].get("nodeName"))
        up.child("stark.controllers").resume()
        up.starkctl("delete", "pod", "alone")


@contextlib.contextmanager
def _process(up: Up, command: list[str]) -> Iterator[psutil.Popen]:
    process = psutil.Popen(command, env=up.environment)
    try:
        yield process
    finally:
        process.terminate()
        assert process.wait(20) == 0
