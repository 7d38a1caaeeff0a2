"""Commands with somebody at the other end, and listeners to a container's own program: what exec and attach need.

A session is a connection of its own. Its descriptors come with its first line, so that the bytes go between the program
and the agent and never through us; only a listener's share of a container's output is copied, because the log is ours.
The connection's end is the session's: a command that still runs is hung up on, and killed if it stays.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # see process.py
import os
import select
import time

from .process import Launch, kill_session, launch, signal_group

TYPE_CHECKING = False  # `typing` itself would cost the shim a megabyte
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

SESSIONS_MAX = 64  # of one pod, at a time
HANGUP_GRACE_S = 5.0  # from the hang-up to the kill
HARNESS = "STARK_HARNESS"  # what a runtime's harness is told, and no program finds in its environment
TERM = "xterm"  # what a program in a terminal finds, as container runtimes have it
STALL_MAX_S = 30.0  # how long a listener that does not read may hold up the container's output; then it is dropped


class Command:
    """A command that runs beside a container."""

    def __init__(self, client: int, container: str, launch: Launch) -> None:
        self.client = client
        self.container = container
        self.launch = launch
        self.kill_at: float | None = None


class Listener:
    """Somebody who gets a container's output from now on."""

    def __init__(self, client: int, container: str, pipes: dict[str, int], *, feeds: bool) -> None:
        self.client = client
        self.container = container
        self.pipes = pipes
        self.feeds = feeds
        """It also writes to the container's standard input."""
        self.pending: dict[int, bytes] = {}
        self.stalled_at: float | None = None
        self.code: int | None = None
        """Set when the container has ended, and only pending output keeps the session."""


class Sessions:
    """All of one pod. `send(client, event, fds)`, `drop(client)` and `follow(launch, then)` are the shim's."""

    def __init__(
        self,
        poll: select.poll,
        send: Callable[..., None],
        drop: Callable[[int], None],
        follow: Callable[[Launch, Callable[[], None]], None],
    ) -> None:
        self._poll = poll
        self._send = send
        self._drop = drop
        self._follow = follow
        self._commands: list[Command] = []
        self._listeners: dict[int, Listener] = {}
        self._pipes: dict[int, Listener] = {}

    @property
    def busy(self) -> bool:
        """Whether somebody still waits for an end."""
        return bool(self._commands or self._listeners)

    # -- beginning ------------------------------------------------------------------------------------------------

    def run(
        self,
        client: int,
        spec: dict[str, Any] | None,
        command: dict[str, Any],
        fds: list[int],
        joined: dict[str, int],
    ) -> None:
        """Run a command as the container whose specification is `spec`, in its namespaces, with its ends of pipes or of
        a terminal.
        """
        why = self._refusal(spec)
        if not why and spec is not None:
            given = dict(zip(command["streams"], fds, strict=False))
            own(spec, fds)
            tty = bool(command.get("tty"))
            out = given.get("stdout", given.get("tty"))
            err = given.get("stderr", given.get("tty"))
            stdin = given.get("stdin", given.get("tty"))
            null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
            env = {**({"TERM": TERM} if tty else {}), **plain_environment(spec)}
            stdin, out, err = [null if one is None else one for one in (stdin, out, err)]
            spec = {**spec, "argv": command["argv"], "env": env}
            try:
                started = Command(client, spec["name"], launch(spec, (stdin, out, err), tty=tty, joined=joined))
                self._commands.append(started)
                self._follow(started.launch, lambda: self._begun(started))
            except OSError as error:
                why = str(error)
            os.close(null)
        for fd in fds:
            os.close(fd)
        if why:
            self._send(client, {"ev": "failed", "message": why})

    def _begun(self, command: Command) -> None:
        """It runs, or cannot."""
        if command not in self._commands:
            return None  # it was killed on the way
        why = command.launch.why
        if not why:
            return self._send(command.client, {"ev": "running", "pid": command.launch.pid})
        self._commands.remove(command)
        # Python's name for the error is of no interest to whoever typed the command.
        return self._send(command.client, {"ev": "failed", "message": why.partition("Error: ")[2] or why})

    def listen(
        self, client: int, spec: dict[str, Any] | None, command: dict[str, Any], fds: list[int], stdin: int | None
    ) -> None:
        """Hand a container's output on from now on. `stdin` is our end of its input or terminal: handed over, too, when
        it is asked for; that of a terminal always, since its size is set there.
        """
        why = self._refusal(spec)
        if why or spec is None:
            for fd in fds:
                os.close(fd)
            return self._send(client, {"ev": "failed", "message": why})
        for fd in fds:
            os.set_blocking(fd, False)
        feeds = bool(command.get("stdin")) and bool(spec.get("stdin")) and stdin is not None
        listener = Listener(client, spec["name"], dict(zip(command["streams"], fds, strict=False)), feeds=feeds)
        self._listeners[client] = listener
        for fd in fds:
            self._pipes[fd] = listener
        given = [stdin] if stdin is not None and (feeds or spec.get("tty")) else []
        return self._send(client, {"ev": "running", "stdin": feeds}, given)

    def _refusal(self, spec: dict[str, Any] | None) -> str:
        if spec is None:
            return "container is not running"
        return "too many sessions" if len(self._commands) + len(self._listeners) >= SESSIONS_MAX else ""

    # -- output of containers -------------------------------------------------------------------------------------

    def feed(self, container: str, stream: str, data: bytes) -> None:
        """Something that the container wrote, for everybody who listens."""
        for listener in [one for one in self._listeners.values() if one.container == container]:
            fd = listener.pipes.get(stream)
            if fd is None:
                continue
            if fd in listener.pending:
                listener.pending[fd] += data
            else:
                self._write(listener, fd, data)

    def holds_up(self, container: str) -> bool:
        """Whether somebody has to read before more of the container's output is taken."""
        return any(one.pending for one in self._listeners.values() if one.container == container)

    def listener(self, client: int) -> Listener | None:
        """The listener at the other end of a connection."""
        return self._listeners.get(client)

    def owns(self, fd: int) -> bool:
        """Whether the descriptor is a listener's pipe."""
        return fd in self._pipes

    def ready(self, fd: int, event: int) -> str:
        """A listener reads again, or has gone; the container's name."""
        listener = self._pipes[fd]
        if fd not in listener.pending:
            pass  # news of a descriptor that had this number before
        elif event & select.POLLOUT:
            self._poll.unregister(fd)
            self._write(listener, fd, listener.pending.pop(fd))
            self._end_if_done(listener)
        else:
            self._lose(listener)
        return listener.container

    def _write(self, listener: Listener, fd: int, data: bytes) -> None:
        try:
            written = os.write(fd, data)
        except BlockingIOError:
            written = 0
        except OSError:
            return self._lose(listener)
        if written == len(data):
            if not listener.pending:
                listener.stalled_at = None
            return None
        listener.pending[fd] = data[written:]
        if written or listener.stalled_at is None:
            listener.stalled_at = time.monotonic()
        return self._poll.register(fd, select.POLLOUT)

    # -- end ------------------------------------------------------------------------------------------------------

    def container_ended(self, container: str, code: int) -> None:
        """Commands in it are killed; listeners get the rest of its output and then its end."""
        for command in self._commands:
            if command.container == container:
                kill_session(command.launch.pid)
        for listener in [one for one in self._listeners.values() if one.container == container]:
            listener.code = code
            self._end_if_done(listener)

    def _end_if_done(self, listener: Listener) -> None:
        if listener.code is not None and not listener.pending and listener.client in self._listeners:
            self._forget(listener)
            self._send(listener.client, {"ev": "ended", "code": listener.code})

    def reaped(self, pid: int, code: int) -> bool:
        """A child has ended; whether it was a session's command."""
        command = next((one for one in self._commands if one.launch.pid == pid), None)
        if command is None:
            return False
        self._commands.remove(command)
        if command.kill_at is None:
            self._send(command.client, {"ev": "ended", "code": 128 - code if code < 0 else code})
        return True

    def hung_up(self, client: int) -> Listener | None:
        """The session's connection is gone; the listener it was, if it was one."""
        for command in self._commands:
            if command.client == client and command.kill_at is None:
                command.kill_at = time.monotonic() + HANGUP_GRACE_S
                signal_group(command.launch.pid, _signal.SIGHUP)
                signal_group(command.launch.pid, _signal.SIGCONT)
        listener = self._listeners.get(client)
        if listener is not None:
            self._forget(listener)
        return listener

    def _lose(self, listener: Listener) -> None:
        """It cannot be written to: its connection ends, and with it, by way of `hung_up`, the listener."""
        self._drop(listener.client)

    def _forget(self, listener: Listener) -> None:
        for fd in listener.pipes.values():
            if fd in listener.pending:
                self._poll.unregister(fd)
            del self._pipes[fd]
            os.close(fd)
        listener.pending.clear()
        del self._listeners[listener.client]

    # -- time -----------------------------------------------------------------------------------------------------

    def deadlines(self) -> list[float]:
        """When `expire` has something to do, by the monotonic clock."""
        kills = [command.kill_at for command in self._commands if command.kill_at is not None]
        stalls = [one.stalled_at + STALL_MAX_S for one in self._listeners.values() if one.stalled_at is not None]
        return kills + stalls

    def expire(self, now: float) -> None:
        """Kill what did not take the hang-up for an end, and drop who holds up a container."""
        for command in self._commands:
            if command.kill_at is not None and now >= command.kill_at:
                command.kill_at = now + 1.0  # a process in uninterruptible sleep is asked again
                kill_session(command.launch.pid)
        for listener in list(self._listeners.values()):
            if listener.stalled_at is not None and now >= listener.stalled_at + STALL_MAX_S:
                self._lose(listener)


def plain_environment(spec: dict[str, Any]) -> dict[str, str]:
    """What commands beside a container find in their environment: what its program does, but not what its harness does."""
    return {name: value for name, value in spec["env"].items() if name != HARNESS}


def own(spec: dict[str, Any], fds: list[int]) -> None:
    """Let the container's user open its own streams again, by /dev/stdout or the terminal's name."""
    if spec.get("uid") is None:
        return
    for fd in fds:
        try:
            os.fchown(fd, spec["uid"], -1)
        except OSError:
            continue  # a kind of descriptor that has no owner
