"""A node that is cut off: its pods are replaced, and what was given up ends there before the node takes part again."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from stark.crds.incarnations import HOLDER
from stark.crds.incarnations import INCARNATION as NUMBER
from tests.e2e.test_main_job import HELLO, process_of, register, running
from tests.support.agents import workload_of
from tests.support.partition import Road
from tests.support.up import Up, stark_up
from tests.support.up import ready as is_ready

pytestmark = [pytest.mark.timeout(300), pytest.mark.slow]
TIMEOUT_S = 4


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """Two agents that are given up after four seconds of silence, and their pods two seconds later."""
    with stark_up(tmp_path_factory.mktemp("up"), "sqlite", "--agents", "2") as up:
        silence = ("nodeHeartbeatIntervalSeconds=1", f"nodeHeartbeatTimeoutSeconds={TIMEOUT_S}")
        up.starkctl("server-config", "set", *silence, "defaultTolerationSeconds=2")
        register(up, "hello", "1.0.0", "examples/hello-node/bundle.js", "node")
        former = agents(up)
        before = {name: held(up, name) for name in former}
        for process in former.values():  # they look at the settings when they start
            process.kill()
        up.until("new agents", lambda: all(held(up, name) not in ("", holder) for name, holder in before.items()))
        yield up


def agents(up: Up) -> dict[str, psutil.Process]:
    """The agents' processes by the names of their nodes."""
    found = {}
    for process in psutil.Process(up.pid).children():
        with contextlib.suppress(psutil.Error):
            line = process.cmdline()
            if "stark.agent" in line:
                found[line[line.index("--name") + 1]] = process
    return found


def incarnation(up: Up, name: str) -> int:
    return int(up.json("node", name)["metadata"]["annotations"][NUMBER])


def held(up: Up, name: str) -> str:
    """By whom; empty when nobody is the node."""
    return str(up.json("node", name)["metadata"]["annotations"].get(HOLDER, ""))


def ready(up: Up, name: str) -> str:
    conditions = up.json("node", name)["status"]["conditions"]
    return next(str(each["status"]) for each in conditions if each["type"] == "Ready")


def settled(up: Up) -> None:
    up.until("both nodes are ready", lambda: all(ready(up, name) == "True" for name in agents(up)))


def test_a_frozen_agent_is_fenced_and_stops_what_was_given_up_before_it_takes_part_again(up: Up) -> None:
    settled(up)
    up.starkctl("apply", "-f", HELLO)
    pods = running(up, "app=hello", 3)
    victim = pods[0]["spec"]["nodeName"]
    given_up = [pod for pod in pods if pod["spec"]["nodeName"] == victim]
    processes = [process_of(up, pod) for pod in given_up]
    before, agent = incarnation(up, victim), agents(up)[victim]
    agent.send_signal(signal.SIGSTOP)
    try:

        def replaced() -> bool:
            found = [pod for pod in up.pods("app=hello") if is_ready(pod)]
            return len(found) == 3 and all(pod["spec"]["nodeName"] != victim for pod in found)

        up.until("three pods elsewhere", replaced)
        assert ready(up, victim) == "Unknown"
        assert incarnation(up, victim) == before + 1
        # Nobody has said that they ended, so their objects are still there, and nobody else has their names.
        names = {pod["metadata"]["name"] for pod in up.json("pods", "-l", "app=hello")["items"]}
        assert {pod["metadata"]["name"] for pod in given_up} <= names
        assert all(process.is_running() for process in processes)
    finally:
        agent.send_signal(signal.SIGCONT)
    # However often it is given up and claims again before it keeps up with the world: what was given up has ended by then.
    up.until("the node is claimed", lambda: held(up, victim) and incarnation(up, victim) >= before + 2)
    assert not any(process.is_running() for process in processes)
    up.until("the node is back", lambda: ready(up, victim) == "True")
    up.until("the old pods are gone", lambda: len(up.json("pods", "-l", "app=hello")["items"]) == 3)
    up.starkctl("delete", "-f", HELLO)


def test_a_server_that_stands_still_for_longer_than_nodes_may_be_silent_gives_none_of_them_up(up: Up) -> None:
    settled(up)
    nodes = sorted(agents(up))
    before = [incarnation(up, name) for name in nodes]
    with standing_still(up):
        time.sleep(2 * TIMEOUT_S)  # the time that passes is what is tested
    first = {name: renewed(up, name) for name in nodes}
    up.until("heard for a while", lambda: all(renewed(up, name) - first[name] > 2 * TIMEOUT_S for name in nodes))
    assert [incarnation(up, name) for name in nodes] == before


@contextlib.contextmanager
def standing_still(up: Up) -> Iterator[None]:
    """The API server does nothing meanwhile, in however many processes it is."""
    server = up.child("stark.apiserver")
    processes = [server, *server.children(recursive=True)]
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            process.send_signal(signal.SIGCONT)


def renewed(up: Up, name: str) -> float:
    """When the agent last sent a heartbeat, in seconds of its clock."""
    lease = up.json("lease", "-n", "kube-node-lease", name)
    return datetime.fromisoformat(lease["spec"]["renewTime"]).timestamp()


def test_a_second_agent_with_the_same_identity_runs_nothing_and_is_told(up: Up, tmp_path: Path) -> None:
    settled(up)
    name = sorted(agents(up))[0]
    before = incarnation(up, name)
    kubeconfig = up.data_dir / "agents" / name / "kubeconfig"
    command = [sys.executable, "-m", "stark.agent", "--kubeconfig", str(kubeconfig)]
    command += ["--data-dir", str(tmp_path / "second"), "--name", name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as second:
        try:
            told = up.until("an Event", lambda: _event(up, "IdentityHeld"))
        finally:
            second.send_signal(signal.SIGTERM)
            out, err = second.communicate(timeout=30)
    assert "held by another agent" in told
    assert "another agent is this node" in err
    assert out == ""  # it was never ready
    assert (ready(up, name), incarnation(up, name)) == ("True", before)


def _event(up: Up, reason: str) -> str:
    found = [each for each in up.json("events")["items"] if each["reason"] == reason]
    return str(found[0]["message"]) if found else ""


def test_a_pod_that_asks_for_it_is_stopped_by_its_agent_when_nobody_hears_of_it(up: Up) -> None:
    settled(up)
    name = sorted(agents(up))[0]
    annotations = {"stark.dev/stop-when-disconnected-seconds": "3"}
    for index, given in enumerate((annotations, {})):
        container = {"name": "main", "image": "pack.stark/hello:1.0.0", "ports": [{"containerPort": 8080}]}
        spec = {"nodeName": name, "containers": [container], "tolerations": [{"operator": "Exists"}]}
        labels = {"app": "cut-off"}
        meta = {"name": f"cut-off-{index}", "annotations": given, "labels": labels}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}
        up.kubectl("apply", "-f", "-", stdin=json.dumps(pod))
    running(up, "app=cut-off", 2)
    found = {pod["metadata"]["name"]: process_of(up, pod) for pod in up.json("pods", "-l", "app=cut-off")["items"]}
    with standing_still(up):
        deadline = time.monotonic() + 30
        while found["cut-off-0"].is_running():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert found["cut-off-1"].is_running()

    def status() -> dict[str, Any]:
        return dict(up.json("pod", "cut-off-0")["status"])

    up.until("it is told", lambda: status().get("reason") == "NodeDisconnected")
    assert status()["phase"] == "Failed"
    up.kubectl("delete", "pods", "-l", "app=cut-off")


def test_what_a_partition_cuts_off_and_gives_back_never_has_two_owners(up: Up, tmp_path: Path) -> None:
    settled(up)
    victim = sorted(agents(up))[0]
    host, _, port = up.run("kubectl", "config", "view", "-o", "jsonpath={..server}").rpartition("/")[2].rpartition(":")
    with Road(host, int(port)) as road, joined_by(up, victim, road), watched(up, tmp_path / "history") as history:
        for kind, name in (("StatefulSet", "db"), ("Deployment", "web")):
            up.kubectl("apply", "-f", "-", stdin=json.dumps(one_of(kind, name, rather=victim)))
        (old,), (web,) = running(up, "app=db", 1), running(up, "app=web", 1)
        assert {pod["spec"]["nodeName"] for pod in (old, web)} == {victim}
        before, process, others = incarnation(up, victim), process_of(up, old), [process_of(up, web)]
        road.cut()
        up.until("it is given up", lambda: ready(up, victim) == "Unknown")
        process.kill()  # it is started again where it was, which its agent wants to report
        up.until("it is told to go", lambda: "deletionTimestamp" in up.json("pod", "db-0")["metadata"])
        (elsewhere,) = running(up, "app=web", 1)
        assert elsewhere["spec"]["nodeName"] != victim
        others.append(up.until("it runs again", lambda: other_than(process, old)))
        assert up.json("pod", "db-0")["metadata"]["uid"] == old["metadata"]["uid"]
        assert all(each.is_running() for each in others)
        road.mend()

        def replaced() -> bool:
            found = {each["metadata"]["uid"] for each in up.json("pods", "-l", "app=db")["items"]}
            is_other = bool(found - {old["metadata"]["uid"]})
            # Asked in this order: whoever is seen in its place has come after its end.
            assert not (is_other and any(each.is_running() for each in others))
            return is_other

        up.until("another one has the name", replaced)
        running(up, "app=db", 1)
        assert incarnation(up, victim) >= before + 2
        assert running(up, "app=web", 1)[0]["metadata"]["uid"] == elsewhere["metadata"]["uid"]
    told = [(each["object"]["metadata"]["uid"], each["type"], is_ready(each["object"])) for each in history()]
    last = max(at for at, (uid, _, _) in enumerate(told) if uid == old["metadata"]["uid"])
    assert told[last][1] == "DELETED"
    assert all(uid == old["metadata"]["uid"] for uid, _, _ in told[:last]), "one of the name after the other"
    heard = [was_ready for _, _, was_ready in told[:last]]
    since = heard[heard.index(True) :]
    assert since == sorted(since, reverse=True), "it was ready, then it was not: nothing late was believed"
    assert refusals(up, f"system:node:{victim}", "/pods/db-0/status"), "and its agent was told so"
    up.kubectl("delete", "statefulset/db", "deployment/web")


def other_than(process: psutil.Process, pod: dict[str, Any]) -> psutil.Process | None:
    """The process that has taken its place."""
    return next((each for each in workload_of(pod["metadata"]["uid"]) if each.pid != process.pid), None)


def one_of(kind: str, name: str, *, rather: str) -> dict[str, Any]:
    """One pod, rather on that node than on another; of a StatefulSet it has one name."""
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [rather]}
    preferred = [{"weight": 100, "preference": {"matchExpressions": [here]}}]
    spec = {
        "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}},
        "containers": [{"name": "main", "image": "pack.stark/hello:1.0.0", "ports": [{"containerPort": 8080}]}],
    }
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": spec}
    given = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    body = {**given, "serviceName": name} if kind == "StatefulSet" else given
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": body}


@contextlib.contextmanager
def joined_by(up: Up, name: str, road: Road) -> Iterator[None]:
    """The node's agent reaches the server by that road, and by the usual one afterwards."""
    kubeconfig = up.data_dir / "agents" / name / "kubeconfig"
    usual = kubeconfig.read_text()
    address = up.run("kubectl", "--kubeconfig", str(kubeconfig), "config", "view", "-o", "jsonpath={..server}")

    def join(text: str) -> None:
        kubeconfig.write_text(text)
        former = held(up, name)
        agents(up)[name].kill()
        up.until("it has joined", lambda: held(up, name) not in ("", former) and ready(up, name) == "True")

    join(usual.replace(address, f"https://127.0.0.1:{road.port}"))
    try:
        yield
    finally:
        road.mend()
        join(usual)


@contextlib.contextmanager
def watched(up: Up, file: Path) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Everything that becomes of the pods of the database meanwhile, in its order."""
    command = ["kubectl", "get", "pods", "-l", "app=db", "--watch", "--output-watch-events", "-o", "json"]
    with file.open("w") as out, subprocess.Popen(command, env=up.environment, stdout=out) as watch:

        def history() -> list[dict[str, Any]]:
            text, decoder, found = file.read_text(), json.JSONDecoder(), []
            while text.strip():
                one, end = decoder.raw_decode(text.lstrip())
                found.append(one)
                text = text.lstrip()[end:]
            return found

        try:
            yield history
        finally:
            watch.terminate()


def refusals(up: Up, user: str, path: str) -> int:
    """How many writes there the API server did not take from that user."""
    lines = (up.data_dir / "logs" / "apiserver.log").read_text().splitlines()
    asked = [json.loads(line) for line in lines if line.startswith("{") and path in line]
    return sum((each.get("status"), each.get("user")) == (409, user) for each in asked)
