"""One supervised child process: started, its output kept in rotated files, restarted when it dies, stopped with grace.

A child never outlives us: the kernel sends it SIGTERM when we die, whatever killed us (prctl(2), PR_SET_PDEATHSIG).
It gets a session of its own, so that Ctrl-C in the terminal reaches only us and the children stop in the right order.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

LOG_BYTES_MAX = 10 * 1024 * 1024
LOG_FILES_MAX = 3
TAIL_LINES = 20
LINE_BYTES_MAX = 1024 * 1024
STOP_GRACE_S = 15.0
"""Time a child gets between SIGTERM and SIGKILL; an agent passes most of it on to its pods."""
RESTART_DELAY_FIRST_S, RESTART_DELAY_MAX_S = 1.0, 30.0
STABLE_AFTER_S = 60.0
"""A child that ran this long starts over with the shortest restart delay."""
PR_SET_PDEATHSIG = 1
READY_LINES = ("ready", '{"ready": true')
"""How our programs say on stdout that they do their work."""


class ChildFailed(Exception):
    """The child ended before it was ready; the message is what it said last."""


class RotatedFile:
    """Appends bytes to a file, which is set aside when it is full."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)

    def write(self, data: bytes) -> None:
        """Append; a full disk loses log lines, never the child."""
        try:
            if self._file.tell() + len(data) > LOG_BYTES_MAX:
                self._rotate()
            self._file.write(data)
        except OSError:
            return

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _rotate(self) -> None:
        self._file.close()
        for number in range(LOG_FILES_MAX - 1, 0, -1):
            older = self._path.with_suffix(f"{self._path.suffix}.{number}")
            newer = self._path if number == 1 else self._path.with_suffix(f"{self._path.suffix}.{number - 1}")
            if newer.exists():
                newer.replace(older)
        self._file = self._path.open("ab", buffering=0)


class Child:
    """One program, kept running from `start` to `stop`."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        *,
        environment: Mapping[str, str] = os.environ,
        on_line: Callable[[bytes], None] | None = None,
    ) -> None:
        self.name = name
        self._command = command
        self._environment = environment
        self._log = RotatedFile(log)
        self._on_line = on_line
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._process: asyncio.subprocess.Process | None = None
        self._readers: list[asyncio.Task[None]] = []
        self._stopping = False
        self._ready = asyncio.Event()

    async def start(self) -> None:
        """Start the process. Raises ChildFailed when the program cannot be executed."""
        self._ready.clear()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                limit=LINE_BYTES_MAX,
                env=self._environment,
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )
        except OSError as error:
            raise ChildFailed(f"{self._command[0]}: {error.strerror}") from error
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._readers = [
            asyncio.create_task(self._read(stream, says_ready))
            for stream, says_ready in ((self._process.stdout, True), (self._process.stderr, False))
        ]

    async def ready(self, timeout_s: float) -> None:
        """Return when the child has said on stdout that it is ready. Raises ChildFailed."""
        assert self._process is not None
        said = asyncio.create_task(self._ready.wait())
        ended = asyncio.create_task(self._process.wait())
        try:
            await asyncio.wait({said, ended}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            said.cancel()
            ended.cancel()
        if self._ready.is_set():
            return
        await self._drained()
        if self._process.returncode is None:
            raise ChildFailed(f"{self.name} was not ready within {timeout_s:g} s; {self.last_words()}")
        raise ChildFailed(self.last_words())

    def raise_if_ended(self) -> None:
        """Raise ChildFailed when the process is gone."""
        if self._process is not None and self._process.returncode is not None:
            raise ChildFailed(f"{self.name} ended ({_ending(self._process.returncode)}): {self.last_words()}")

    async def keep_running(self) -> None:
        """Start the child again whenever it ends by itself, waiting longer each time. Returns after `stop`."""
        delay_s = RESTART_DELAY_FIRST_S
        loop = asyncio.get_running_loop()
        while not self._stopping:
            assert self._process is not None
            began = loop.time()
            code = await self._process.wait()
            await self._drained()
            if self._stopping:
                return
            if loop.time() - began > STABLE_AFTER_S:
                delay_s = RESTART_DELAY_FIRST_S
            print(
                f"{self.name} ended ({_ending(code)}), starting it again in {delay_s:g} s: {self.last_words()}",
                file=sys.stderr,
            )
            await asyncio.sleep(delay_s)  # the back-off itself
            delay_s = min(RESTART_DELAY_MAX_S, delay_s * 2)
            if not self._stopping:
                await self.start()

    async def stop(self) -> None:
        """SIGTERM, then SIGKILL when the grace is over; returns when the process is gone."""
        self._stopping = True
        process = self._process
        if process is not None and process.returncode is None:
            process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), STOP_GRACE_S)
            except TimeoutError:
                process.kill()
                await process.wait()
        await self._drained()
        self._log.close()

    def last_words(self) -> str:
        """The last line that was written for a person, or what is known otherwise."""
        for line in reversed(self._tail):
            if line and not line.startswith("{"):
                return line.removeprefix("error: ")
        return self._tail[-1] if self._tail else "it said nothing"

    async def _read(self, stream: asyncio.StreamReader, says_ready: bool) -> None:
        while True:
            try:
                line = await stream.readline()
            except ValueError:
                continue  # a line over the limit is dropped; the stream goes on after it
            if not line:
                return
            self._log.write(line)
            text = line.decode("utf-8", "replace").strip()
            self._tail.append(text)
            if says_ready and text.startswith(READY_LINES):
                self._ready.set()
            if self._on_line is not None:
                self._on_line(line)

    async def _drained(self) -> None:
        """Wait for the pipes' ends, but not for ever: a grandchild may hold them open."""
        if self._readers:
            _, late = await asyncio.wait(self._readers, timeout=1.0)
            for reader in late:
                reader.cancel()
            self._readers = []


_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def _die_with_parent() -> None:
    assert _libc is not None
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == 1:
        os._exit(1)  # the parent died between fork and prctl


def _ending(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
