"""What the shim holds: runs of containers, probes' commands, connections."""

from __future__ import annotations

import _socket
import os

from .logfile import LogFile
from .process import Launch
from .sandbox import wanted
from .sessions import own
from .wire import Lines

TYPE_CHECKING = False  # `typing` itself would cost the shim a megabyte
if TYPE_CHECKING:
    from typing import Any

COMMAND_MAX = 4 << 20  # bytes of one command line: the environment of a container travels in it
REPORT_MAX = 256 * 1024  # bytes of one harness message


class Run:
    """One attempt of one container."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec = spec
        self.name: str = spec["name"]
        self.pid = 0
        self.init = 0
        """The first process of its PID namespace; 0 when it has none of its own."""
        self.control: _socket.socket | None = None
        self.lines = Lines(REPORT_MAX)
        self.streams: dict[int, str] = {}
        self.stdin: int | None = None
        """Our end of its standard input; of its terminal, when it has one."""
        self.paused = False
        self.log = LogFile(spec["log"], spec["log_max_bytes"], spec["log_max_files"])
        self.report: dict[str, Any] = {}
        self.kill_at: float | None = None
        self.stop_reason = ""
        self.deadline_at: float | None = None
        self.view: dict[str, Any] = {
            "name": self.name,
            "attempt": spec["attempt"],
            "execution": spec["execution"],
            "tag": spec.get("tag", {}),
            "state": "running",
            "pid": 0,
            "started": 0,
            "called": 0,
        }
        self.ooms = oom_count(spec)
        self.namespaces: dict[str, int] = {}
        """Descriptors of those it lives in, by kind: what runs beside it joins them."""

    def keep_namespaces(self) -> None:
        """Get hold of the namespaces while the process is there."""
        for name in wanted(self.spec):
            try:
                self.namespaces[name] = os.open(f"/proc/{self.pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                continue  # it has ended already

    @property
    def has_namespaces(self) -> bool:
        """Whether something can run beside it; not when it ended before we had hold of all of them."""
        return len(self.namespaces) == len(wanted(self.spec))

    def drop_namespaces(self) -> None:
        """Nothing joins them any more."""
        for fd in self.namespaces.values():
            os.close(fd)
        self.namespaces.clear()


class Exec:
    """A command run beside a container, for a probe."""

    def __init__(self, client: int, number: int, launch: Launch, deadline: float) -> None:
        self.client = client
        self.number = number
        self.launch = launch
        self.deadline = deadline
        self.output = b""
        self.timed_out = False


class Client:
    """A connected agent."""

    def __init__(self, sock: _socket.socket) -> None:
        self.sock = sock
        self.lines = Lines(COMMAND_MAX)
        self.out = b""
        self.fds: list[int] = []
        self.is_session = False


def oom_count(spec: dict[str, Any]) -> int:
    """How many processes of the container's cgroup the kernel has killed for memory so far."""
    path = spec.get("oom_file")
    if not path:
        return 0
    try:
        fd = os.open(path, os.O_RDONLY)
        text = os.read(fd, 4096).decode()
        os.close(fd)
    except OSError:
        return 0
    words = text.split()
    return int(words[words.index("oom_kill") + 1]) if "oom_kill" in words else 0


def open_streams(run: Run) -> tuple[dict[int, str], tuple[int | None, int, int]]:
    """Our ends that are read, by the stream they are, and the container's three; our end of its input is kept in `run`."""
    if run.spec.get("tty"):
        master, slave = os.openpty()
        own(run.spec, [slave])
        run.stdin = master
        return {master: "stdout"}, (slave, slave, slave)
    stdin = None
    if run.spec.get("stdin"):
        stdin, run.stdin = os.pipe2(os.O_CLOEXEC)
    out, err = os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC)
    own(run.spec, [fd for fd in (stdin, out[1], err[1]) if fd is not None])
    return {out[0]: "stdout", err[0]: "stderr"}, (stdin, out[1], err[1])
