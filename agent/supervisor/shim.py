"""The shim: owns one pod's processes, keeps their output and their exit codes, and outlives the agent.

Invariants: at most one process per container; every start and exit is on disk (fsync) before anyone hears of it; the
shim's death kills its processes (parent-death signal), so an orphan never keeps running. It decides nothing: when to
start, stop or restart is the agent's business. `link.start_supervisor` starts it; it listens on `shim.sock` in the
pod's directory before its launcher exits, and writes `state.jsonl` there.

Commands, one JSON object a line: `start`, `stop`, `exec`, `status`, `shutdown`. Events to every connected client:
`snapshot` (first, and on status), `started`, `called`, `exited`, `executed`, `refused`, `unsaved`. A connection on which
`run` or `attach` is said, with descriptors, is a session (`sessions.py`) and hears `running` or `failed`, and `ended`.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # see process.py
import _socket
import os
import select
import sys
import time
from errno import EINVAL

from .kernel import PR_SET_CHILD_SUBREAPER, leave_session_keys, prctl
from .mounts import STAGING
from .process import FIRST_FREE_FD, Launch, kill_child, kill_children, kill_rest, launch, signal_group, spawn
from .runs import Client, Exec, Run, oom_count, open_streams
from .sessions import Listener, Sessions, plain_environment
from .statefile import StateFile
from .wire import decode, encode

TYPE_CHECKING = False  # `typing` itself would cost the shim a megabyte
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

READ_SIZE = 64 * 1024
MESSAGE_MAX = 4096  # bytes of a termination message, as Kubernetes limits it
CLIENT_BACKLOG_MAX = 1 << 20  # bytes a client may lag behind before it is dropped; it reconnects to a snapshot
EXEC_OUTPUT_MAX = 10 * 1024  # bytes of a probe command's output worth keeping
EXEC_RUNNING_MAX = 32
AS_WHOM = ("run_as_user", "run_as_group")
DEADLINE_GRACE_S = 5.0  # between the request to stop at the deadline and the kill
DEADLINE_EXIT = 124
DRAIN_READS_MAX = 32
"""Of what a container that has ended left in a pipe: twice what fits in. Who has outlived it may go on writing."""
REPORTED = frozenset({"Error", "PackLoadError", "OOMKilled"})
"""Reasons that harnesses give. Others a pack has made up, perhaps one that does not count as its fault."""
STREAMS_MAX = 3  # descriptors that come with a session
NODE_SHUTDOWN = "NodeShutdown"
"""Why a container ended that was stopped because the agent or the host goes down: no fault of its own, whoever counts."""
OWN_FAULTS = {
    "Unhealthy": "stopped because a probe failed too often",
    "FailedPostStartHook": "stopped because its postStart hook failed",
}
"""Why one ended that did not work: kept here, because the agent that knows why may be another one by then."""
HOST_STOP_GRACE_S = 30.0  # what containers get when the host itself asks the shim to end


class Shim:
    """The event loop: sockets, pipes, child exits and three kinds of deadline over one poll."""

    def __init__(self, listener: _socket.socket, idle_end_s: float) -> None:
        self._listener = listener
        self._idle_end_s = idle_end_s
        self._idle_since: float | None = time.monotonic()
        self._poll = select.poll()
        self._runs: dict[str, Run] = {}
        self._views: dict[str, dict[str, Any]] = {}
        self._pipes: dict[int, Run] = {}
        self._controls: dict[int, Run] = {}
        self._clients: dict[int, Client] = {}
        self._launches: dict[int, tuple[Launch, Callable[[], None]]] = {}
        self._execs: list[Exec] = []
        self._exec_pipes: dict[int, Exec] = {}
        self._state = StateFile()
        self._ending = False
        self._sessions = Sessions(self._poll, self._send, self._drop, self._follow)
        self._wake_r, self._wake_w = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def run(self) -> None:
        """Serve until told to shut down."""
        _signal.set_wakeup_fd(self._wake_w, warn_on_full_buffer=False)
        _signal.signal(_signal.SIGCHLD, lambda *_: None)
        _signal.signal(_signal.SIGTERM, lambda *_: self._host_stops())
        for number in (_signal.SIGINT, _signal.SIGHUP):
            _signal.signal(number, _signal.SIG_IGN)
        try:
            prctl(PR_SET_CHILD_SUBREAPER, 1)
        except OSError as error:  # an emulator's: without it what a program leaves behind is init's, not ours
            if error.errno != EINVAL:
                raise
        self._record({"ev": "shim", "pid": os.getpid()})
        self._poll.register(self._listener.fileno(), select.POLLIN)
        self._poll.register(self._wake_r, select.POLLIN)
        while not (self._ending and not self._runs and not self._sessions.busy):
            for fd, event in self._poll.poll(self._wait_ms()):
                self._ready(fd, event)
            self._reap()
            self._expire()
            self._end_if_forgotten()
        kill_children()
        self._record({"ev": "end"})
        os.unlink("shim.sock")

    # -- input ------------------------------------------------------------------------------------------------

    def _ready(self, fd: int, event: int) -> None:
        if fd == self._listener.fileno():
            self._accept()
        elif fd == self._wake_r:
            os.read(fd, 4096)
        elif fd in self._pipes:
            self._read_output(fd)
        elif fd in self._controls:
            self._read_control(fd)
        elif fd in self._exec_pipes:
            self._read_exec(fd)
        elif fd in self._launches:
            self._hear_launch(fd)
        elif self._sessions.owns(fd):
            self._go_on(self._sessions.ready(fd, event))
        elif fd in self._clients:
            self._serve(fd, event)

    def _accept(self) -> None:
        fd, _ = self._listener._accept()  # type: ignore[attr-defined]  # the C half of socket.accept
        sock = _socket.socket(fileno=fd)
        sock.setblocking(False)
        os.set_inheritable(fd, False)
        self._clients[fd] = Client(sock)
        self._poll.register(fd, select.POLLIN)
        self._send(fd, self._snapshot())

    def _read_output(self, fd: int) -> bool:
        run = self._pipes[fd]
        try:
            data = os.read(fd, READ_SIZE)
        except BlockingIOError:
            return False
        except OSError:  # a terminal that nobody has open any more
            data = b""
        if data:
            run.log.feed(run.streams[fd], data)
            self._sessions.feed(run.name, run.streams[fd], data)
            if self._sessions.holds_up(run.name):
                self._hold_up(run)
            return True
        self._close_pipe(fd)
        return False

    def _hold_up(self, run: Run) -> None:
        """Take no more of a container's output until those who listen have what there is."""
        if not run.paused:
            run.paused = True
            for fd in run.streams:
                self._poll.unregister(fd)

    def _go_on(self, container: str) -> None:
        run = self._runs.get(container)
        if run is not None and run.paused and not self._sessions.holds_up(container):
            run.paused = False
            for fd in run.streams:
                self._poll.register(fd, select.POLLIN)

    def _close_pipe(self, fd: int) -> None:
        run = self._pipes.pop(fd)
        run.streams.pop(fd)
        if not run.paused:
            self._poll.unregister(fd)
        if fd != run.stdin:  # a terminal's other end stays until the container ends: closing it would hang up
            os.close(fd)

    def _read_control(self, fd: int) -> bool:
        run = self._controls[fd]
        assert run.control is not None, run.name
        try:
            data = run.control.recv(READ_SIZE)
            messages = [decode(line) for line in run.lines.feed(data)]
        except BlockingIOError:
            return False
        except (OSError, ValueError):  # gone, or the pack itself scribbles on the channel: no more reports
            data, messages = b"", []
        for message in messages:
            self._hear(run, message)
        if not data:
            self._poll.unregister(fd)
            del self._controls[fd]
            run.control.close()
            run.control = None
        return bool(data)

    def _hear(self, run: Run, message: dict[str, Any]) -> None:
        kind = message.get("type")
        if kind == "called" and not run.view["called"]:
            run.view["called"] = time.time_ns()
            self._tell({"ev": "called", **run.view})
        elif kind == "failed":
            reason = str(message.get("reason"))
            run.report = {
                "reason": reason if reason in REPORTED else "Error",
                "message": str(message.get("message", ""))[:MESSAGE_MAX],
            }

    def _serve(self, fd: int, event: int) -> None:
        client = self._clients[fd]
        try:
            if event & select.POLLOUT:
                self._flush(fd, client)
            if event & ~select.POLLOUT:
                data, ancillary, _, _ = client.sock.recvmsg(
                    READ_SIZE, _socket.CMSG_SPACE(4 * STREAMS_MAX), _socket.MSG_CMSG_CLOEXEC
                )
                for _level, _type, raw in ancillary:
                    client.fds += [int.from_bytes(raw[at : at + 4], sys.byteorder) for at in range(0, len(raw), 4)]
                if not data:
                    return self._drop(fd)
                for line in client.lines.feed(data):
                    self._obey(fd, decode(line))
        except BlockingIOError:
            return None
        except (OSError, ValueError):
            self._drop(fd)
        return None

    # -- commands ---------------------------------------------------------------------------------------------

    def _obey(self, fd: int, command: dict[str, Any]) -> None:
        kind = command.get("cmd")
        run = self._runs.get(str(command.get("container", "")))
        if kind == "start":
            self._start(fd, command["spec"])
        elif kind == "stop" and run is not None:
            self._stop(run, float(command["grace_s"]), str(command.get("reason", "Stopped")))
        elif kind == "exec":
            self._exec(fd, command)
        elif kind in ("run", "attach"):
            self._open_session(fd, run, command)
        elif kind == "end_input":
            self._input_ended(self._sessions.listener(fd))
        elif kind == "status":
            self._send(fd, self._snapshot())
        elif kind == "shutdown":
            self._ending = True  # at once, or when the last process has ended

    def _start(self, fd: int, spec: dict[str, Any]) -> None:
        if spec["name"] in self._runs or self._ending:
            return self._send(fd, {"ev": "refused", "name": spec["name"], "attempt": spec["attempt"]})
        try:
            run = Run(spec)
            ours, theirs = open_streams(run)
            pair = _socket.socketpair() if spec.get("control") else None
            control = pair[1].fileno() if pair else None
            tty, joined = bool(spec.get("tty")), self._shared_with(spec)
            begun = spawn(spec, theirs, control, tty=tty, joined=joined)
            run.pid, run.init, why = begun.pid, begun.init, begun.why
        except OSError as error:  # no room for a log, no process to be had: the pod's others go on
            refusal = {"ev": "refused", "name": spec["name"], "attempt": spec["attempt"]}
            return self._send(fd, {**refusal, "message": str(error)})
        run.keep_namespaces()
        for fd in {fd for fd in theirs if fd is not None}:
            os.close(fd)
        for reader, stream in ours.items():
            os.set_blocking(reader, False)
            run.streams[reader] = stream
            self._pipes[reader] = run
            self._poll.register(reader, select.POLLIN)
        if pair:
            pair[1].close()
            self._attach_control(run, pair[0])
        if why:
            run.report = {"reason": "InitError", "message": f"{spec['argv'][0]}: {why}"[:MESSAGE_MAX]}
        now = time.time_ns()
        run.view.update(pid=run.pid, started=now, called=now if not pair and not why else 0)
        timeout = spec.get("deadline_s")
        run.deadline_at = time.monotonic() + timeout if timeout else None
        self._runs[run.name] = run
        self._views[run.name] = run.view
        self._record({"ev": "started", **run.view})
        return self._tell({"ev": "started", **run.view})

    def _shared_with(self, spec: dict[str, Any]) -> dict[str, int]:
        """The namespaces that the pod's containers have in common, if one of them runs. Raises OSError when they cannot."""
        sandbox = spec.get("sandbox", {})
        shared = sandbox.get("shared", ())
        for run in self._runs.values():
            if run.namespaces:
                theirs = run.spec.get("sandbox", {})
                if "user" in shared and any(sandbox.get(one) != theirs.get(one) for one in AS_WHOM):
                    raise OSError(
                        f"it shares its user with container {run.name}, which has another runAsUser or runAsGroup"
                    )
                return {name: run.namespaces[name] for name in shared if name in run.namespaces}
        return {}

    def _attach_control(self, run: Run, sock: _socket.socket) -> None:
        sock.setblocking(False)
        run.control = sock
        self._controls[sock.fileno()] = run
        self._poll.register(sock.fileno(), select.POLLIN)

    def _stop(self, run: Run, grace_s: float, reason: str) -> None:
        """Ask once, kill at the end of the grace; a later request can only shorten it."""
        kill_at = time.monotonic() + grace_s
        first = run.kill_at is None
        if first:
            run.stop_reason = reason
        run.kill_at = kill_at if run.kill_at is None else min(run.kill_at, kill_at)
        if not first or grace_s <= 0:
            return
        if run.control is not None and run.view["called"]:
            try:
                line = encode({"type": "shutdown", "reason": reason, "graceMs": int(grace_s * 1000)})
                run.control.send(line)
                return
            except OSError:
                pass  # a channel that is full or closed: the signal still works
        try:
            os.kill(run.pid, _signal.SIGTERM)
        except ProcessLookupError:
            pass

    def _host_stops(self) -> None:
        self._ending = True
        for run in self._runs.values():
            self._stop(run, HOST_STOP_GRACE_S, NODE_SHUTDOWN)

    def _exec(self, fd: int, command: dict[str, Any]) -> None:
        run = self._runs.get(str(command["container"]))
        if run is None or not run.has_namespaces or len(self._execs) >= EXEC_RUNNING_MAX:
            running = run is not None and run.has_namespaces
            why = "too many commands at once" if running else "container is not running"
            return self._send(fd, {"ev": "executed", "id": command["id"], "code": 126, "output": why})
        reader, writer = os.pipe2(os.O_CLOEXEC)
        spec = {**run.spec, "argv": command["argv"], "env": plain_environment(run.spec)}
        try:
            begun = launch(spec, (None, writer, writer), joined=run.namespaces)
        except OSError as error:
            os.close(reader)
            return self._send(fd, {"ev": "executed", "id": command["id"], "code": 126, "output": str(error)})
        finally:
            os.close(writer)
        os.set_blocking(reader, False)
        started = Exec(fd, command["id"], begun, time.monotonic() + float(command["timeout_s"]))
        self._execs.append(started)
        self._exec_pipes[reader] = started
        self._poll.register(reader, select.POLLIN)
        return self._follow(begun, lambda: None)

    def _follow(self, begun: Launch, then: Callable[[], None]) -> None:
        """Go on meanwhile: in a container without processor time to spare a command may take its time to begin."""
        os.set_blocking(begun.fd, False)
        self._launches[begun.fd] = begun, then
        self._poll.register(begun.fd, select.POLLIN)

    def _hear_launch(self, fd: int) -> None:
        begun, then = self._launches[fd]
        if begun.hear():
            self._let_be(begun)
            then()

    def _let_be(self, begun: Launch) -> None:
        """Listen no more. What has not become its program by now ends by itself, for want of a listener."""
        if self._launches.pop(begun.fd, None) is not None:
            self._poll.unregister(begun.fd)
            os.close(begun.fd)

    def _open_session(self, fd: int, run: Run | None, command: dict[str, Any]) -> None:
        client = self._clients[fd]
        client.is_session = True
        fds, client.fds = client.fds, []
        spec = run.spec if run is not None and run.has_namespaces else None
        if command["cmd"] == "run":
            return self._sessions.run(fd, spec, command, fds, run.namespaces if run is not None else {})
        return self._sessions.listen(fd, spec, command, fds, run.stdin if run is not None else None)

    def _read_exec(self, fd: int) -> None:
        started = self._exec_pipes[fd]
        try:
            data = os.read(fd, READ_SIZE)
        except BlockingIOError:
            return
        started.output = (started.output + data)[:EXEC_OUTPUT_MAX]
        if not data:
            self._poll.unregister(fd)
            del self._exec_pipes[fd]
            os.close(fd)

    # -- time and children ------------------------------------------------------------------------------------

    def _wait_ms(self) -> int | None:
        times = [at for run in self._runs.values() for at in (run.kill_at, run.deadline_at) if at is not None]
        times += [started.deadline for started in self._execs if not started.timed_out]
        times += self._sessions.deadlines()
        if self._state.save_at is not None:
            times.append(self._state.save_at)
        if self._idle_since is not None:
            times.append(self._idle_since + self._idle_end_s)
        if not times:
            return None
        return max(0, int((min(times) - time.monotonic()) * 1000) + 1)

    def _expire(self) -> None:
        now = time.monotonic()
        for run in self._runs.values():
            if run.deadline_at is not None and now >= run.deadline_at:
                run.deadline_at = None
                seconds = run.spec["deadline_s"]
                run.report = {"reason": "DeadlineExceeded", "message": f"ran longer than its timeout of {seconds} s"}
                self._stop(run, DEADLINE_GRACE_S, "DeadlineExceeded")
            if run.kill_at is not None and now >= run.kill_at:
                run.kill_at = now + 1.0  # a process in uninterruptible sleep is asked again
                signal_group(run.pid, _signal.SIGKILL)
        for started in self._execs:
            if now >= started.deadline and not started.timed_out:
                started.timed_out = True
                kill_child(started.launch.pid)
        self._sessions.expire(now)
        self._state.save_again(now, self._views.values())

    def _end_if_forgotten(self) -> None:
        """With nothing to run and nobody connected, what is on record is all there is: the file outlives us."""
        if self._runs or self._clients:
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = time.monotonic()
        elif time.monotonic() >= self._idle_since + self._idle_end_s:
            self._ending = True

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            code = os.waitstatus_to_exitcode(status)
            for fd in list(self._launches):  # it may have put another in its place
                self._hear_launch(fd)
            run = next((run for run in self._runs.values() if run.pid == pid), None)
            if run is not None:
                self._finish(run, code)
            elif not self._sessions.reaped(pid, code):
                for started in [one for one in self._execs if one.launch.pid == pid]:
                    self._finish_exec(started, code)

    def _finish(self, run: Run, code: int) -> None:
        if run.init:
            signal_group(run.init, _signal.SIGKILL)
        kill_rest(run.pid, run.spec.get("cgroups", []), run.spec["execution"])
        for fd in list(run.streams):
            for _ in range(DRAIN_READS_MAX):
                if not self._read_output(fd):
                    break
            if fd in self._pipes:
                self._close_pipe(fd)
        for _ in range(DRAIN_READS_MAX):
            if run.control is None or not self._read_control(run.control.fileno()):
                break
        if run.control is not None:
            self._poll.unregister(run.control.fileno())
            del self._controls[run.control.fileno()]
            run.control.close()
            run.control = None
        if run.stdin is not None:
            os.close(run.stdin)
        run.log.close()
        run.drop_namespaces()
        del self._runs[run.name]
        run.view.update(self._verdict(run, code), state="exited", exited=time.time_ns())
        self._sessions.container_ended(run.name, run.view["code"])
        self._record({"ev": "exited", **run.view})
        self._tell({"ev": "exited", **run.view})

    def _verdict(self, run: Run, code: int) -> dict[str, Any]:
        verdict: dict[str, Any] = {
            "code": 128 - code if code < 0 else code,
            "signal": max(0, -code),
            "reason": run.report.get("reason", ""),
            "message": run.report.get("message", ""),
        }
        if code != 0 and oom_count(run.spec) > run.ooms:
            verdict["reason"] = "OOMKilled"
        elif verdict["reason"] == "DeadlineExceeded" and code == 0:
            verdict["code"] = DEADLINE_EXIT
        elif code != 0 and run.stop_reason == NODE_SHUTDOWN and verdict["reason"] in ("", "Error"):
            verdict["reason"] = NODE_SHUTDOWN
        elif run.stop_reason in OWN_FAULTS and verdict["reason"] in ("", "Error"):
            verdict |= {"reason": run.stop_reason, "message": OWN_FAULTS[run.stop_reason]}
        return verdict

    def _finish_exec(self, started: Exec, code: int) -> None:
        self._execs.remove(started)
        self._let_be(started.launch)
        signal_group(started.launch.pid, _signal.SIGKILL)
        for fd in [fd for fd, owner in self._exec_pipes.items() if owner is started]:
            self._read_exec(fd)
            if fd in self._exec_pipes:
                self._poll.unregister(fd)
                del self._exec_pipes[fd]
                os.close(fd)
        output = "timed out" if started.timed_out else started.launch.why or started.output.decode("utf-8", "replace")
        if started.client in self._clients:
            reply = {"ev": "executed", "id": started.number, "code": code, "output": output}
            self._send(started.client, {**reply, "timed_out": started.timed_out})

    # -- output -----------------------------------------------------------------------------------------------

    def _snapshot(self) -> dict[str, Any]:
        return {"ev": "snapshot", "pid": os.getpid(), "sessions": True, "runs": list(self._views.values())}

    def _record(self, entry: dict[str, Any]) -> None:
        if why := self._state.record(entry, self._views.values()):
            self._tell({"ev": "unsaved", "message": why})

    def _tell(self, event: dict[str, Any]) -> None:
        for fd in [fd for fd, client in self._clients.items() if not client.is_session]:
            self._send(fd, event)

    def _send(self, fd: int, event: dict[str, Any], fds: list[int] | None = None) -> None:
        client = self._clients.get(fd)
        if client is None:
            return None
        client.out += encode(event)
        if fds:
            try:
                self._send_with(client, fds)
            except OSError:
                return self._drop(fd)
        if len(client.out) > CLIENT_BACKLOG_MAX:
            return self._drop(fd)
        try:
            return self._flush(fd, client)
        except OSError:
            return self._drop(fd)

    def _send_with(self, client: Client, fds: list[int]) -> None:
        """Descriptors travel with a byte; they go with the first of the line, which a new session's socket has room for."""
        packed = b"".join([fd.to_bytes(4, sys.byteorder) for fd in fds])
        sent = client.sock.sendmsg([client.out], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, packed)])
        client.out = client.out[sent:]

    def _flush(self, fd: int, client: Client) -> None:
        try:
            while client.out:
                client.out = client.out[client.sock.send(client.out) :]
        except BlockingIOError:
            pass
        self._poll.modify(fd, select.POLLIN | (select.POLLOUT if client.out else 0))

    def _drop(self, fd: int) -> None:
        client = self._clients.pop(fd, None)
        if client is None:
            return
        self._poll.unregister(fd)
        client.sock.close()
        for left in client.fds:
            os.close(left)
        if client.is_session:
            listener = self._sessions.hung_up(fd)
            self._input_ended(listener)
            if listener is not None:
                self._go_on(listener.container)

    def _input_ended(self, listener: Listener | None) -> None:
        """With stdinOnce the first who writes to a container is the last: its input ends with theirs."""
        run = self._runs.get(listener.container) if listener is not None and listener.feeds else None
        if run is not None and run.stdin is not None and run.spec.get("stdin_once") and not run.spec.get("tty"):
            os.close(run.stdin)
            run.stdin = None


def main(pod_dir: str, idle_end_s: float) -> None:
    """Listen in `pod_dir`, detach from whoever started us, and serve."""
    os.chdir(pod_dir)
    os.umask(0o077)
    os.makedirs(STAGING, exist_ok=True)
    leave_session_keys()
    while os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC) < FIRST_FREE_FD - 1:
        pass
    try:
        os.unlink("shim.sock")
    except FileNotFoundError:
        pass
    listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    listener.bind("shim.sock")
    listener.listen(16)
    if os.fork() != 0:
        os._exit(0)
    os.setsid()
    null = os.open("/dev/null", os.O_RDWR)
    errors = os.open("shim.err", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for source, target in ((null, 0), (null, 1), (errors, 2)):
        os.dup2(source, target)
    # The launcher's descriptors must not live as long as we do: a pipe held here would hang whoever reads it.
    os.closerange(max(errors, null, listener.fileno()) + 1, 1024)
    Shim(listener, idle_end_s).run()
