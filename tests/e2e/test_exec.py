"""Commands in running pods, as people and clients run them: stock kubectl and the official Python client, real processes."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from kubernetes import client as kubernetes_client
from kubernetes import config as kubernetes_config
from kubernetes.stream import stream

from tests.support.kubectl import kubectl_of
from tests.support.up import Up, stark_up

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

MIB = 1 << 20
MINORS = ("1.27", "1.28", "1.29", "1.30", "1.31", "1.32", "1.33")
"""The first three speak SPDY, the others WebSockets."""
PACK = """
import sys, time

def default(context):
    print("up", flush=True)
    for line in sys.stdin:
        print("said " + line.strip(), flush=True)
        if line.strip() == "quit":
            return
    while True:
        time.sleep(1)
"""


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    folder = tmp_path_factory.mktemp("exec")
    with stark_up(folder) as running:
        (folder / "echo.py").write_text(PACK)
        command = ("pack", "register", str(folder / "echo.py"), "--name", "echo", "--ver", "1.0.0")
        running.starkctl(*command, "--runtime", "python")
        create(running, "box")
        yield running


def create(
    up: Up, name: str, *, annotations: dict[str, str] | None = None, names: tuple[str, ...] = ("main",), **more: Any
) -> None:
    """A pod that runs, with the containers `names`."""
    containers = [
        {"name": one, "image": "pack.stark/echo:1.0.0", "env": [{"name": "WHICH", "value": one}], **more}
        for one in names
    ]
    metadata = {"name": name, "annotations": annotations or {}}
    spec = {"containers": containers, "terminationGracePeriodSeconds": 1}
    up.kubectl(
        "create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    )
    up.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=30s")


def run(up: Up, *words: str, stdin: bytes = b"", minor: str = "") -> subprocess.CompletedProcess[bytes]:
    """kubectl, with output and errors kept apart and as bytes."""
    program = str(kubectl_of(minor)) if minor else "kubectl"
    return subprocess.run(
        [program, *words], env=up.environment, input=stdin, capture_output=True, timeout=60, check=False
    )


def eventually(what: str, holds: Any) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def alive(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


@pytest.mark.parametrize("minor", MINORS)
def test_kubectl_runs_a_command_and_exits_as_it_does(up: Up, minor: str) -> None:
    done = run(up, "exec", "box", "--", "sh", "-c", "echo out; echo err >&2; exit 3", minor=minor)
    assert (done.returncode, done.stdout) == (3, b"out\n")
    assert done.stderr == b"err\ncommand terminated with exit code 3\n"
    done = run(up, "exec", "-i", "box", "--", "wc", "-c", stdin=bytes(1 * MIB), minor=minor)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, b"1048576", b"")


def test_a_command_sees_what_its_container_sees(up: Up) -> None:
    pid = next(p.pid for p in psutil.process_iter(["environ"]) if (p.info["environ"] or {}).get("WHICH") == "main")
    script = "readlink /proc/self/cwd; tr '\\0' '\\n' < /proc/self/environ; cat /proc/self/cgroup; id -u"
    seen = run(up, "exec", "box", "--", "sh", "-c", script).stdout.decode().splitlines()
    container = psutil.Process(pid)
    assert seen[0] == container.cwd()
    expected = {f"{name}={value}" for name, value in container.environ().items() if name != "STARK_HARNESS"}
    assert expected <= set(seen)
    assert set(Path(f"/proc/{pid}/cgroup").read_text().splitlines()) <= set(seen)
    assert seen[-1] == str(container.uids().real)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nobody", "--", "ls"), 'pods "nobody" not found'),
        (("box", "-c", "other", "--", "ls"), "container other is not valid for pod box"),
        (("box", "--", "nosuch"), 'exec: "nosuch": executable file not found in $PATH'),
    ],
)
def test_what_cannot_be_run_is_told_in_kubernetes_words(up: Up, words: tuple[str, ...], message: str) -> None:
    done = run(up, "exec", *words)
    assert done.returncode == 1
    assert message in done.stderr.decode()


def test_the_container_is_the_annotated_one_unless_another_is_named(up: Up) -> None:
    create(up, "two", names=("first", "second"), annotations={"kubectl.kubernetes.io/default-container": "second"})
    assert run(up, "exec", "two", "--", "sh", "-c", "echo $WHICH").stdout == b"second\n"
    assert run(up, "exec", "two", "-c", "first", "--", "sh", "-c", "echo $WHICH").stdout == b"first\n"
    up.kubectl("delete", "pod", "two", "--wait=false")


def test_a_pod_that_does_not_run_cannot_be_entered(up: Up) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "waiting"},
        "spec": {
            "containers": [{"name": "main", "image": "pack.stark/nowhere:9.9.9"}],
            "nodeName": up.json("nodes")["items"][0]["metadata"]["name"],
        },
    }
    up.kubectl("create", "-f", "-", stdin=json.dumps(pod))
    done = run(up, "exec", "waiting", "--", "ls")
    assert done.returncode == 1
    assert 'container not found ("main")' in done.stderr.decode() or "pod does not exist" in done.stderr.decode()
    up.kubectl("delete", "pod", "waiting", "--wait=false")


@pytest.mark.parametrize("minor", ["1.27", "1.33"])
def test_files_are_copied_both_ways(up: Up, tmp_path: Path, minor: str) -> None:
    source, back = tmp_path / "source", tmp_path / "back"
    source.write_bytes(os.urandom(50 * MIB))
    assert run(up, "cp", str(source), "box:copied", minor=minor).returncode == 0
    assert run(up, "cp", "box:copied", str(back), minor=minor).returncode == 0
    assert hashlib.sha256(back.read_bytes()).digest() == hashlib.sha256(source.read_bytes()).digest()


class Terminal:
    """A program in a terminal of the test's own."""

    def __init__(self, up: Up, *words: str, rows: int = 33, columns: int = 101) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvpe(words[0], words, up.environment)
        self.resize(rows, columns)
        self.seen = b""

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def until(self, pattern: bytes) -> bytes:
        """Read until the pattern has been seen since the last time; what it matched."""
        deadline = time.monotonic() + 30
        while (found := re.search(pattern, self.seen)) is None:
            assert time.monotonic() < deadline, self.seen
            if select.select([self.fd], [], [], 0.1)[0]:
                self.seen += os.read(self.fd, 65536)
        self.seen = self.seen[found.end() :]
        return found[0]

    def type(self, text: bytes) -> None:
        os.write(self.fd, text)

    def code(self) -> int:
        """Its exit code."""
        with contextlib.suppress(OSError):
            while os.read(self.fd, 65536):
                pass
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@pytest.mark.parametrize("minor", ["1.27", "1.33"])
def test_a_shell_in_a_terminal_works_as_at_home(up: Up, minor: str) -> None:
    shell = Terminal(up, str(kubectl_of(minor)), "exec", "-it", "box", "--", "bash", "--norc")
    shell.until(rb"[$#] ")
    assert size_in(shell) == b"is 33 101 now"
    shell.resize(44, 120)
    eventually("the size has arrived", lambda: size_in(shell) == b"is 44 120 now")
    shell.type(b"sed -u s/^/said:/\n")
    shell.type(b"line\n")
    shell.until(rb"said:line")
    shell.type(b"\x03")
    shell.until(rb"[$#] ")
    shell.type(b"exit 7\n")
    assert shell.code() == 7


def size_in(shell: Terminal) -> bytes:
    shell.type(b"echo is $(stty size) now\n")
    return shell.until(rb"is \d+ \d+ now")


def test_attaching_shows_what_is_said_from_now_on_and_speaks_to_a_container_that_listens(up: Up) -> None:
    create(up, "listening", stdin=True)
    command = ["kubectl", "attach", "-i", "listening"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=up.environment, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL) as talk:
        assert talk.stdin is not None
        assert talk.stdout is not None
        for word in (b"hello", b"quit"):
            talk.stdin.write(word + b"\n")
            talk.stdin.flush()
            assert talk.stdout.readline() == b"said " + word + b"\n"
        assert talk.wait(30) == 0
    assert "said hello" in up.kubectl("logs", "listening", "-p")
    up.kubectl("delete", "pod", "listening", "--wait=false")


def test_kubectl_run_talks_to_the_pod_it_starts(up: Up) -> None:
    words = (
        "run",
        "once",
        "-i",
        "--rm",
        "--restart=Never",
        "--image=pack.stark/echo:1.0.0",
        "--pod-running-timeout=30s",
    )
    done = run(up, *words, stdin=b"hello\nquit\n")
    assert done.returncode == 0, done.stderr
    assert b"said quit\n" in done.stdout


class Running:
    """A `kubectl exec` that goes on, and the process it started."""

    def __init__(self, up: Up, pod: str, script: str, minor: str = "1.33") -> None:
        self.client = subprocess.Popen(
            [str(kubectl_of(minor)), "exec", "-i", pod, "--", "sh", "-c", f"echo $$; {script}"],
            env=up.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self.client.stdout is not None
        self.pid = int(self.client.stdout.readline())
        assert alive(self.pid)

    def close(self) -> int:
        self.client.communicate(timeout=30)
        return self.client.returncode


@pytest.mark.parametrize("minor", ["1.27", "1.33"])
def test_nothing_is_left_of_a_command_whose_client_was_killed(up: Up, minor: str) -> None:
    running = Running(up, "box", "exec sleep 1000", minor)
    running.client.kill()
    running.close()
    eventually("the command has ended", lambda: not alive(running.pid))


@pytest.mark.parametrize("minor", ["1.27", "1.33"])
def test_nothing_is_left_when_the_killed_client_had_more_to_say_than_anybody_read(up: Up, minor: str) -> None:
    running = Running(up, "box", "exec sleep 1000", minor)
    assert running.client.stdin is not None
    os.set_blocking(running.client.stdin.fileno(), False)
    deadline = time.monotonic() + 5
    sent = 0
    while time.monotonic() < deadline:  # kubectl takes what there is room for between it and the command
        try:
            sent += os.write(running.client.stdin.fileno(), bytes(65536))
        except BlockingIOError:
            if sent > 1 * MIB:
                break
            time.sleep(0.01)
    running.client.kill()
    with contextlib.suppress(BrokenPipeError):
        running.close()
    eventually("the command has ended", lambda: not alive(running.pid))


def test_a_command_ends_with_its_pod(up: Up) -> None:
    create(up, "leaving")
    running = Running(up, "leaving", "trap '' TERM HUP; while :; do sleep 0.1; done")
    up.kubectl("delete", "pod", "leaving")
    assert running.close() == 137
    assert not alive(running.pid)


def test_a_command_ends_with_the_agent_and_the_pod_does_not(up: Up) -> None:
    create(up, "staying")
    running = Running(up, "staying", "exec sleep 1000")
    before = up.json("pod", "staying")["status"]["containerStatuses"][0]["containerID"]
    up.child("stark.agent").send_signal(signal.SIGKILL)
    assert running.close() != 0
    eventually("the command has ended", lambda: not alive(running.pid))
    eventually("the agent is back", lambda: run(up, "exec", "staying", "--", "true").returncode == 0)
    assert up.json("pod", "staying")["status"]["containerStatuses"][0]["containerID"] == before


def test_many_commands_run_side_by_side(up: Up) -> None:
    clients = [
        subprocess.Popen(
            ["kubectl", "exec", "box", "--", "sh", "-c", f"sleep 1; seq {number}000"],
            env=up.environment,
            stdout=subprocess.PIPE,
        )
        for number in range(1, 13)
    ]
    for number, client in enumerate(clients, 1):
        assert client.communicate(timeout=60)[0].splitlines()[-1] == f"{number}000".encode()


@pytest.fixture
def core(up: Up) -> Iterator[kubernetes_client.CoreV1Api]:
    configuration = yaml.safe_load(up.kubeconfig.read_text())
    with kubernetes_config.new_client_from_config_dict(configuration) as api:
        yield kubernetes_client.CoreV1Api(api)


@pytest.mark.parametrize("protocol", ["v5.channel.k8s.io", "v4.channel.k8s.io"])
def test_the_python_client_runs_a_command(core: kubernetes_client.CoreV1Api, protocol: str) -> None:
    core.api_client.set_default_header("sec-websocket-protocol", protocol)
    session = stream(
        core.connect_get_namespaced_pod_exec,
        "box",
        "default",
        command=["sh", "-c", "read line; echo got $line; echo bad >&2; exit 5"],
        stdin=True,
        stderr=True,
        stdout=True,
        tty=False,
        _preload_content=False,
    )
    session.write_stdin("typed\n")
    session.run_forever(timeout=30)
    assert (session.read_stdout(), session.read_stderr(), session.returncode) == ("got typed\n", "bad\n", 5)
    assert session.subprotocol == protocol
    session.sock.shutdown()  # its own close() leaves the socket of a session that has ended open
