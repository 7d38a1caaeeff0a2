"""The parent of a server in several processes: starts the keeper and then the workers, and starts again what dies.

It is no part of what they do: it has the port's number reserved, passes on the signal to stop, and says `ready` once all
are. Its children are copies of it, so that what the program has loaded is in memory once. When it is killed they end as
well, by the kernel's word (prctl(2), PR_SET_PDEATHSIG): nothing is left that holds the port or the data directory.

There is no event loop here: a process that forks must have neither threads nor a loop.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import gc
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog

from ..auth.files import private_directory
from ..running import EXIT_ERROR, EXIT_OK, CannotServe, explained, in_a_loop, own, say_ready
from ..settings import Settings
from ..store.remote import SharedRevision
from .keeper import folder_of
from .roles import keep, work

RESTART_DELAY_FIRST_S: Final = 0.05
RESTART_DELAY_MAX_S: Final = 10.0
"""A process that dies is back at once; one that goes on dying is not tried all the time."""
STABLE_AFTER_S: Final = 30.0
"""A process that lived so long has nothing to do with how the last one ended."""
STOP_GRACE_S: Final = 12.0
"""Between the signal to stop and the end by force. Longer than a worker lets its requests take."""
STOPS: Final = (signal.SIGTERM, signal.SIGINT)
PR_SET_PDEATHSIG, PR_SET_NAME = 1, 15

log = structlog.get_logger(__name__)

OnReady = Callable[[], None]
Start = Callable[[OnReady], Coroutine[Any, Any, None]]


@dataclass(slots=True)
class Child:
    """One process that is to be there."""

    name: str
    start: Start
    pid: int = 0
    """0 while there is none."""
    ready: int = -1
    """Where it says that it is ready, until it has."""
    is_ready: bool = False
    was_ready: bool = False
    """Once: from then on its death is an accident, before it is a start that failed."""
    began_s: float = 0.0
    due_s: float = 0.0
    """When it is to be started again."""
    delay_s: float = field(default=RESTART_DELAY_FIRST_S)


def supervise(settings: Settings) -> int:
    """Run the server until a signal; the program's exit code."""
    try:
        with explained(settings), _reserved(settings) as reserved:
            own(settings.data_dir)
            _hold(folder_of(settings.data_dir))
            return Supervisor(reserved).run()
    except CannotServe as error:
        sys.stderr.write(f"stark-apiserver: {error}\n")
        return EXIT_ERROR


def _hold(folder: Path) -> None:
    """Take the place where the processes meet, for as long as any of them lives. Raises OSError, CannotServe."""
    private_directory(folder)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise CannotServe(
            f"{folder.parent} is in use by another process: stop that process or choose another --data-dir"
        ) from error


@contextlib.contextmanager
def _reserved(settings: Settings) -> Iterator[Settings]:
    """The settings with the port that is ours. Raises OSError when another program has it."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    address = (settings.host, settings.port)
    with socket.socket(family) as probe:
        # Who shares a port is not asked whether others may: another server of ours must be noticed before.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
        probe.listen(1)
    with socket.socket(family) as ours:
        # Bound and not listening: no connection comes here, and nobody is given the number.
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        ours.bind(address)
        yield replace(settings, port=int(ours.getsockname()[1]))


class Supervisor:
    """Owns the processes."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._shared = SharedRevision.create()
        self._keeper = Child("keeper", partial(keep, settings, self._shared))
        self._workers = [
            Child(f"worker-{index}", partial(work, settings, index, self._shared)) for index in range(settings.workers)
        ]
        self._is_stopping = False
        self._is_announced = False
        self._killed_at_s = 0.0
        self._wakeup = self._woken = -1

    def run(self) -> int:
        """Until a signal, or a start that fails."""
        self._woken, self._wakeup = os.pipe()
        for end in (self._woken, self._wakeup):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, *STOPS):
            signal.signal(number, self._on_signal)
        # What is loaded is shared with the children for as long as nobody writes to it, and counting references does.
        gc.collect()
        gc.freeze()
        self._fork(self._keeper)
        while True:
            self._wait()
            if not self._reap():
                return self._give_up()
            if self._is_stopping:
                if self._stopped():
                    for number in STOPS:
                        signal.signal(number, signal.SIG_IGN)  # All is done; there is nothing left to hurry.
                    return EXIT_OK
                continue
            self._look()

    # What happens.

    def _on_signal(self, number: int, _frame: object) -> None:
        if number == signal.SIGCHLD:
            return
        if self._is_stopping:
            for child in self._children():
                self._send(child, signal.SIGKILL)
            return
        self._is_stopping = True
        self._killed_at_s = time.monotonic() + STOP_GRACE_S
        for worker in self._workers:
            self._send(worker, signal.SIGTERM)

    def _wait(self) -> None:
        """Until a signal, a word from a child, or the time to start one."""
        due = [child.due_s for child in self._children() if not child.pid and child.due_s]
        if self._is_stopping:
            due = [self._killed_at_s]
        timeout_s = max(min(due) - time.monotonic(), 0) if due else None
        saying = [child for child in self._children() if child.ready >= 0]
        heard, _, _ = select.select([self._woken, *(child.ready for child in saying)], [], [], timeout_s)
        with contextlib.suppress(BlockingIOError):
            os.read(self._woken, 4_096)
        for child in saying:
            if child.ready in heard:
                child.is_ready = bool(os.read(child.ready, 1))
                child.was_ready |= child.is_ready
                os.close(child.ready)
                child.ready = -1

    def _reap(self) -> bool:
        """Take note of those who have ended. False when one could not even start."""
        for child in self._children():
            if not child.pid or os.waitpid(child.pid, os.WNOHANG)[0] == 0:
                continue
            child.pid, child.is_ready = 0, False
            if child.ready >= 0:
                os.close(child.ready)
                child.ready = -1
            if self._is_stopping:
                continue
            if not child.was_ready:
                return False
            now_s = time.monotonic()
            if now_s - child.began_s > STABLE_AFTER_S:
                child.delay_s = RESTART_DELAY_FIRST_S
            child.due_s = now_s + child.delay_s
            child.delay_s = min(2 * child.delay_s, RESTART_DELAY_MAX_S)
            log.error("a process of the server has ended, it is started again", process=child.name)
        return True

    def _look(self) -> None:
        """Start what is to be there and is not; say that all are."""
        now_s = time.monotonic()
        for child in self._children():
            if child.pid or (child.due_s and child.due_s > now_s):
                continue
            # The first worker makes what every cluster has; the others find it there.
            before = {self._keeper.name: (), self._workers[0].name: (self._keeper,)}
            if all(other.was_ready for other in before.get(child.name, (self._keeper, self._workers[0]))):
                self._fork(child)
        if not self._is_announced and all(child.is_ready for child in self._children()):
            self._is_announced = True
            host = self._settings.host
            host = "127.0.0.1" if host in ("", "0.0.0.0", "::") else f"[{host}]" if ":" in host else host
            say_ready(f"https://{host}:{self._settings.port}")

    def _stopped(self) -> bool:
        """Whether all have ended: first the workers, then the keeper, and by force who takes too long."""
        if time.monotonic() >= self._killed_at_s:
            log.error("processes of the server do not stop, they are killed")
            for child in self._children():
                self._send(child, signal.SIGKILL)
            self._killed_at_s = time.monotonic() + STOP_GRACE_S
        if any(worker.pid for worker in self._workers):
            return False
        if self._keeper.pid and not self._keeper.due_s:
            self._keeper.due_s = 1.0  # told
            self._send(self._keeper, signal.SIGTERM)
        return not self._keeper.pid

    def _give_up(self) -> int:
        """A process could not start and has said why: end the others."""
        self._is_stopping = True
        self._killed_at_s = time.monotonic() + STOP_GRACE_S
        for worker in self._workers:
            self._send(worker, signal.SIGTERM)
        while not self._stopped():
            self._wait()
            self._reap()
        return EXIT_ERROR

    # Processes.

    def _children(self) -> list[Child]:
        return [self._keeper, *self._workers]

    def _send(self, child: Child, number: int) -> None:
        if child.pid:
            os.kill(child.pid, number)

    def _fork(self, child: Child) -> None:
        # A signal to stop finds no such process yet, or one that can be told: never one whose number nobody has noted.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
        try:
            if not self._is_stopping:
                self._fork_unhurried(child)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)

    def _fork_unhurried(self, child: Child) -> None:
        ours, theirs = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        parent, child.due_s, child.began_s = os.getpid(), 0.0, time.monotonic()
        child.pid = os.fork()
        if child.pid:
            os.close(theirs)
            child.ready = ours
            return
        code = EXIT_ERROR
        try:
            os.close(ours)
            self._become_child(parent, child.name)
            structlog.contextvars.bind_contextvars(process=child.name)
            code = in_a_loop(child.start(partial(os.write, theirs, b"1")))  # type: ignore[arg-type]
        except BaseException:
            # What nobody foresaw: there is no interpreter above that would say it.
            traceback.print_exc()
        finally:
            # Nothing of the parent's is this process's to clean up.
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def _become_child(self, parent: int, name: str) -> None:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, *STOPS):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
        for end in (self._woken, self._wakeup, *(child.ready for child in self._children() if child.ready >= 0)):
            os.close(end)
        if sys.platform == "linux":
            ours = ctypes.CDLL(None)
            ours.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
            ours.prctl(PR_SET_NAME, f"stark-{name}".encode())  # what `ps -o comm` and `top` show
        if os.getppid() != parent:
            os._exit(EXIT_ERROR)  # It was killed before it could be said.
