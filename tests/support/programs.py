"""Our programs as processes of their own: started as a user starts them, ready when they say so, stopped for sure."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

READY_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 15.0


@dataclass(slots=True)
class Program:
    """One running process. `url` is what its `ready` line said."""

    process: asyncio.subprocess.Process
    log: Path
    url: str = ""

    def last_words(self) -> str:
        """The end of its log, for a test that fails."""
        return self.log.read_text()[-4000:]

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and give the exit code; killed, and AssertionError, when it does not end."""
        if self.process.returncode is None:
            self.process.send_signal(number)
        try:
            return await asyncio.wait_for(self.process.wait(), STOP_TIMEOUT_S)
        except TimeoutError:
            self.process.kill()
            await self.process.wait()
            raise AssertionError(f"it did not stop:\n{self.last_words()}") from None


@asynccontextmanager
async def program(module: str, *arguments: str | Path, log: Path) -> AsyncIterator[Program]:
    """`python -m <module> <arguments>`, from its `ready` line on; stderr goes to `log`."""
    with log.open("ab") as sink:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", module, *map(str, arguments), stdout=asyncio.subprocess.PIPE, stderr=sink
        )
    running = Program(process, log)
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), READY_TIMEOUT_S)
        word, _, rest = line.decode().strip().partition(" ")
        assert word == "ready", f"{module} said {line!r}:\n{running.last_words()}"
        running.url = rest.split(" ")[0]
        yield running
    finally:
        await running.stop()


@asynccontextmanager
async def apiserver(data_dir: Path, listen: str = "127.0.0.1:0") -> AsyncIterator[Program]:
    """The API server on `data_dir`, which then has `admin.kubeconfig` and `controllers.kubeconfig`."""
    arguments = ("--data-dir", data_dir, "--listen", listen)
    async with program("stark.apiserver", *arguments, log=data_dir.parent / "apiserver.log") as running:
        yield running
