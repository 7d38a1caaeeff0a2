"""starkctl's own streams against a whole Stark: commands in pods, terminals and forwarded ports."""

from __future__ import annotations

import contextlib
import fcntl
import http.client
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
from typing import Any

import pytest

from tests.support.up import Up, stark_up

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

MIB = 1 << 20
WAIT_S = 30.0
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
    folder = tmp_path_factory.mktemp("streams")
    with stark_up(folder) as running:
        (folder / "echo.py").write_text(PACK)
        command = ("pack", "register", str(folder / "echo.py"), "--name", "echo", "--ver", "1.0.0")
        running.starkctl(*command, "--runtime", "python")
        create(running, "box")
        yield running


def create(up: Up, name: str, **more: Any) -> None:
    """A pod that runs."""
    container = {"name": "main", "image": "pack.stark/echo:1.0.0", **more}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 1}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
    up.kubectl("create", "-f", "-", stdin=json.dumps(pod))
    up.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=30s")


def run(up: Up, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["starkctl", *words], env=up.environment, input=stdin, capture_output=True, timeout=60, check=False
    )


def test_a_command_speaks_and_exits_through_starkctl(up: Up) -> None:
    done = run(up, "exec", "box", "--", "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (done.returncode, done.stdout) == (3, b"out\n")
    assert done.stderr == b"err\ncommand terminated with exit code 3\n"
    done = run(up, "exec", "-i", "pod/box", "--", "cat", stdin=(data := os.urandom(5 * MIB)))
    assert (done.returncode, done.stdout == data, done.stderr) == (0, True, b"")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nobody", "--", "ls"), 'pods "nobody" not found'),
        (("box", "-c", "other", "--", "ls"), "container other not found in pod box"),
        (("box", "--", "nosuch"), 'exec: "nosuch": executable file not found in $PATH'),
        (("box",), "you must specify at least one command for the container"),
    ],
)
def test_what_cannot_be_run_is_said(up: Up, words: tuple[str, ...], message: str) -> None:
    done = run(up, "exec", *words)
    assert done.returncode in (1, 2)
    assert message in done.stderr.decode()


class Terminal:
    """A program in a terminal of the test's own."""

    def __init__(self, up: Up, *words: str) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvpe(words[0], words, up.environment)
        self.seen = b""

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def until(self, pattern: bytes) -> bytes:
        deadline = time.monotonic() + WAIT_S
        while (found := re.search(pattern, self.seen)) is None:
            assert time.monotonic() < deadline, self.seen
            if select.select([self.fd], [], [], 0.1)[0]:
                self.seen += os.read(self.fd, 65536)
        self.seen = self.seen[found.end() :]
        return found[0]

    def type(self, text: bytes) -> None:
        os.write(self.fd, text)

    def code(self) -> int:
        with contextlib.suppress(OSError):
            while os.read(self.fd, 65536):
                pass
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def test_a_shell_has_a_terminal_its_keys_and_its_size(up: Up) -> None:
    shell = Terminal(up, "starkctl", "exec", "-it", "box", "--", "bash", "--norc")
    shell.until(rb"[$#] ")
    shell.resize(44, 120)
    deadline = time.monotonic() + WAIT_S
    while size_in(shell) != b"is 44 120 now":
        assert time.monotonic() < deadline
    shell.type(b"sed -u s/^/said:/\nline\n")
    shell.until(rb"said:line")
    shell.type(b"\x03")
    shell.until(rb"[$#] ")
    shell.type(b"exit 7\n")
    assert shell.code() == 7


def size_in(shell: Terminal) -> bytes:
    shell.type(b"echo is $(stty size) now\n")
    return shell.until(rb"is \d+ \d+ now")


def test_attaching_speaks_to_a_container_that_listens(up: Up) -> None:
    create(up, "listening", stdin=True)
    pipe = subprocess.PIPE
    command = ["starkctl", "attach", "-iq", "listening"]
    with subprocess.Popen(command, env=up.environment, stdin=pipe, stdout=pipe) as talk:
        assert talk.stdin is not None
        assert talk.stdout is not None
        for word in (b"hello", b"quit"):
            talk.stdin.write(word + b"\n")
            talk.stdin.flush()
            assert talk.stdout.readline() == b"said " + word + b"\n"
        assert talk.wait(30) == 0
    up.kubectl("delete", "pod", "listening", "--wait=false")


WEB = """
import http.server
import os

class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

def default(context):
    http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


def test_forwarded_ports_carry_much_both_ways_and_end_with_ctrl_c_or_the_pod(up: Up) -> None:
    (up.directory / "web.py").write_text(WEB)
    words = ("pack", "register", str(up.directory / "web.py"), "--name", "web", "--ver", "1.0.0")
    up.starkctl(*words, "--runtime", "python")
    create(up, "web", image="pack.stark/web:1.0.0", ports=[{"name": "http", "containerPort": 80}])
    data = os.urandom(5 * MIB)
    for ending in ("interrupt", "delete"):
        # A test run in the background ignores SIGINT, and so would what it starts.
        command = [
            "env",
            "--default-signal=INT",
            "starkctl",
            "port-forward",
            "pod/web",
            ":http",
            "--address",
            "127.0.0.1",
        ]
        pipe = subprocess.PIPE
        with (
            subprocess.Popen(command, env=up.environment, stdout=pipe, stderr=pipe) as running,
            contextlib.ExitStack() as ends,
        ):
            assert running.stdout is not None
            ends.callback(running.kill)
            line = running.stdout.readline().decode()
            found = re.fullmatch(r"Forwarding from 127.0.0.1:(\d+) -> (\d+)\n", line)
            assert found is not None, line
            assert found[2] == "80"
            deadline = time.monotonic() + WAIT_S
            while (got := posted(int(found[1]), data)) is None:
                assert time.monotonic() < deadline, "the program has begun to listen"
            assert got == data
            if ending == "interrupt":
                running.send_signal(signal.SIGINT)
            else:
                up.kubectl("delete", "pod", "web", "--wait=false")
            _, said = running.communicate(timeout=30)
        assert running.returncode == (0 if ending == "interrupt" else 1)
        assert ending == "interrupt" or said.decode().endswith("error: lost connection to pod\n")


def posted(port: int, data: bytes) -> bytes | None:
    """What comes back; None while nobody is there."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        try:
            connection.request("POST", "/", data)
            return connection.getresponse().read()
        except (http.client.RemoteDisconnected, ConnectionError):
            return None
