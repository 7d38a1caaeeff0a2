"""The agent's end of a supervisor's socket: start a supervisor, talk to it, and read what a dead one left behind."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STATE_FILE = "state.jsonl"
SOCKET = "shim.sock"
START_TIMEOUT_S = 20.0  # a supervisor is up in 50 ms; a machine that needs longer than this is thrashing
ANSWER_TIMEOUT_S = 30.0  # who says nothing for so long to a new agent is frozen, and must not hold up the other pods
IDLE_END_S = 60.0  # an agent that was killed in the middle of stopping its pods may be back by then
EVENT_MAX = 4 << 20  # bytes of one event line; a snapshot of 64 containers is far below
REPLY_SLACK_S = 5.0  # on top of a command's own timeout
_AGENT_DIR = Path(__file__).resolve().parent.parent
_BOOT = (
    "import sys;sys.path.insert(0,sys.argv[2]);from supervisor.shim import main;main(sys.argv[1],float(sys.argv[3]))"
)

View = dict[str, Any]
"""What the supervisor says of one run: name, attempt, execution, tag, state, pid, started, called (ns), and when it has
ended exited (ns), code, signal, reason, message."""


class SupervisorError(Exception):
    """The supervisor cannot be started or reached; everything it ran is dead or about to be."""


@dataclass(frozen=True, slots=True)
class ExecResult:
    """What became of a command run beside a container."""

    code: int
    output: str
    timed_out: bool


async def start_supervisor(pod_dir: Path, idle_end_s: float = IDLE_END_S) -> None:
    """Start the supervisor of a pod, detached from us; returns when its socket listens. Raises SupervisorError.

    It ends by itself after `idle_end_s` without a process to run and without an agent.
    """
    # Not our venv's python: the supervisor must not change when the agent's environment is rebuilt under it.
    python = getattr(sys, "_base_executable", None) or sys.executable
    process = await asyncio.create_subprocess_exec(
        python, "-I", "-S", "-c", _BOOT, str(pod_dir), str(_AGENT_DIR), str(idle_end_s),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        env={"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"}, cwd="/", start_new_session=True,
    )  # fmt: skip
    try:
        _, errors = await asyncio.wait_for(process.communicate(), START_TIMEOUT_S)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise SupervisorError(f"{pod_dir}: no supervisor after {START_TIMEOUT_S} s") from None
    if process.returncode != 0:
        raise SupervisorError(f"{pod_dir}: supervisor failed: {errors.decode(errors='replace')[-500:]}")


_UNSAID: View = {
    "execution": "", "tag": {}, "pid": 0, "started": 0, "called": 0,
    "exited": 0, "code": 0, "signal": 0, "reason": "", "message": "",
}  # fmt: skip
"""Of a run, where its supervisor is older than the word for it."""


class ShimLink:
    """A connection to one supervisor. `on_event` gets every event, `on_lost` is called once when the socket closes."""

    def __init__(self, on_event: Callable[[View], None], on_lost: Callable[[], None]) -> None:
        self._on_event = on_event
        self._on_lost = on_lost
        self._writer: asyncio.StreamWriter | None = None
        self._reader_task: asyncio.Task[None] | None = None
        self._numbers = itertools.count(1)
        self._replies: dict[int, asyncio.Future[View]] = {}
        self.pid = 0

    async def connect(self, pod_dir: Path, timeout_s: float = ANSWER_TIMEOUT_S) -> list[View]:
        """Connect and return what runs. Raises SupervisorError when nobody listens, or nobody answers."""
        # The path of a socket is limited to 107 bytes; through /proc the directory's name no longer counts.
        fd = os.open(pod_dir, os.O_RDONLY | os.O_DIRECTORY)
        try:
            reader, self._writer = await asyncio.open_unix_connection(f"/proc/self/fd/{fd}/{SOCKET}", limit=EVENT_MAX)
        except OSError as error:
            raise SupervisorError(f"{pod_dir}: {error.strerror or error}") from error
        finally:
            os.close(fd)
        try:
            snapshot = json.loads(await asyncio.wait_for(reader.readline(), timeout_s))
            self.pid = int(snapshot["pid"])
            runs = [view for view in map(_whole, snapshot["runs"]) if view is not None]
        except (OSError, ValueError, TypeError, KeyError, TimeoutError) as error:
            # Or it would write to the record of the next one when it goes on.
            await asyncio.to_thread(_kill_frozen, pod_dir)
            self._writer.close()
            raise SupervisorError(
                f"{pod_dir}: the supervisor does not answer: {error or type(error).__name__}"
            ) from error
        # Its parent is whoever owns the link: `close` ends it and waits for it.
        self._reader_task = asyncio.create_task(self._read(reader), name=f"supervisor {pod_dir.name}")
        return runs

    async def close(self) -> None:
        """Let go; the supervisor goes on."""
        if self._reader_task is not None:
            self._reader_task.cancel()
            await asyncio.gather(self._reader_task, return_exceptions=True)
            self._reader_task = None
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def start(self, spec: dict[str, Any]) -> None:
        """Start one run of a container; `started` or `refused` answers."""
        self._send({"cmd": "start", "spec": spec})

    def stop(self, container: str, grace_s: float, reason: str) -> None:
        """Ask a container to end, and kill it after the grace; `exited` answers."""
        self._send({"cmd": "stop", "container": container, "grace_s": grace_s, "reason": reason})

    def shut_down(self) -> None:
        """End the supervisor once it runs nothing; it starts nothing more."""
        self._send({"cmd": "shutdown"})

    async def exec(self, container: str, argv: list[str], timeout_s: float) -> ExecResult:
        """Run a command in a container's cgroup, identity, directory and environment. Raises SupervisorError."""
        number = next(self._numbers)
        reply: asyncio.Future[View] = asyncio.get_running_loop().create_future()
        self._replies[number] = reply
        try:
            self._send({"cmd": "exec", "id": number, "container": container, "argv": argv, "timeout_s": timeout_s})
            view = await asyncio.wait_for(reply, timeout_s + REPLY_SLACK_S)
        except TimeoutError:
            return ExecResult(124, "timed out", True)
        finally:
            self._replies.pop(number, None)
        return ExecResult(view["code"], view["output"], bool(view.get("timed_out")))

    def _send(self, command: dict[str, Any]) -> None:
        if self._writer is None or self._writer.is_closing():
            raise SupervisorError("the supervisor is gone")
        self._writer.write(json.dumps(command).encode() + b"\n")

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while line := await reader.readline():
                event = json.loads(line)
                if event["ev"] == "executed":
                    reply = self._replies.get(event["id"])
                    if reply is not None and not reply.done():
                        reply.set_result(event)
                else:
                    is_run = event["ev"] in ("started", "called", "exited")
                    self._on_event({**_UNSAID, **event} if is_run else event)
        except (ConnectionError, ValueError):
            pass  # an unreadable supervisor is as lost as a dead one
        for reply in self._replies.values():
            if not reply.done():
                reply.set_exception(SupervisorError("the supervisor is gone"))
        if self._writer is not None:
            self._writer.close()
        self._on_lost()


def read_state(pod_dir: Path) -> list[tuple[View, View | None]]:
    """From the state file: the last run of each container, and the ended run before it (None when there was none).

    A run that has no end on record is given as running, whatever became of its supervisor. A torn last line, from a
    power cut in the middle of a write, is ignored.
    """
    last: dict[str, View] = {}
    previous: dict[str, View] = {}
    try:
        lines = (pod_dir / STATE_FILE).read_bytes().splitlines()
    except FileNotFoundError:
        return []
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        entry = _whole(entry)
        if entry is None or entry.get("ev") not in ("started", "exited"):
            continue
        known = last.get(entry["name"])
        if known is not None and known["attempt"] != entry["attempt"]:
            previous[entry["name"]] = known
        last[entry["name"]] = entry
    return [(view, previous.get(name)) for name, view in last.items()]


def _whole(entry: Any) -> View | None:
    """A run as it is told of, by a supervisor of whatever version: what it does not say is as if nothing were to be said,
    and what it says that we do not know stays. None for what names no run."""
    if (
        not isinstance(entry, dict)
        or not isinstance(entry.get("name"), str)
        or not isinstance(entry.get("attempt"), int)
    ):
        return None
    state = "exited" if entry.get("ev") == "exited" else "running"
    return {"state": state, **_UNSAID, **entry}


def _kill_frozen(pod_dir: Path) -> None:
    """End a supervisor that has not told us who it is: the one whose command line names the pod's folder."""
    wanted = os.fsencode(pod_dir)
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if wanted in words and any(b"supervisor.shim" in word for word in words):
                os.kill(int(entry.name), signal.SIGKILL)
