"""Agents in tests: as a real process or as a task, with a check at the end that nothing of theirs is left running."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import yaml

from stark.agent.app import Agent
from stark.agent.settings import AgentSettings
from stark.client.config import ClientConfig
from tests.support.agent_api import NODE

WAIT_S = 20.0


def alive(pid: int) -> bool:
    """Whether there is such a process, and more of it than its exit code."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def until(what: str, holds: Callable[[], Any], timeout_s: float = WAIT_S) -> Any:
    """Wait until `holds()` is true; it is asked often because it is cheap."""
    deadline = time.monotonic() + timeout_s
    while not (found := holds()):
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        await asyncio.sleep(0.02)
    return found


def processes_of(data_dir: Path) -> list[psutil.Process]:
    """Every live process whose command line, directory or environment mentions the data directory."""
    mark = str(data_dir)
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                continue
            where = [*process.cmdline(), process.cwd(), *process.environ().values()]
        except psutil.Error:
            continue
        if any(mark in text for text in where):
            found.append(process)
    return found


def workload_of(uid: str) -> list[psutil.Process]:
    """The processes whose environment names the pod."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("STARK_POD_ID") == uid and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def supervisor_of(uid: str) -> psutil.Process | None:
    """The pod's supervisor."""
    for process in psutil.process_iter():
        try:
            line = process.cmdline()
        except psutil.Error:
            continue
        if "supervisor.shim" in " ".join(line) and any(part.endswith(uid) for part in line):
            return process
    return None


def groups_of(uid: str) -> list[Path]:
    """The control groups of the pod's container `main`. Others' groups may go while this looks."""
    return sorted(Path(folder) for folder, _, _ in os.walk("/sys/fs/cgroup") if folder.endswith(f"/{uid}/main"))


@asynccontextmanager
async def nothing_left(data_dir: Path) -> AsyncIterator[None]:
    """Asserts at the end that no process of the data directory lives; kills what does, so that a failure stays alone."""
    yield
    for _ in range(100):
        if not (left := processes_of(data_dir)):
            return
        await asyncio.sleep(0.05)
    lines = []
    for process in left:
        try:
            lines.append(process.cmdline())
            process.kill()
        except psutil.Error:
            continue
    assert not lines, lines


@asynccontextmanager
async def running_agent(config: ClientConfig, data_dir: Path, **settings: Any) -> AsyncIterator[Agent]:
    """An agent as a task of this loop, registered; stopped with its pods at the end."""
    options = {"on_stop": "stop", "name": NODE, "backoff_initial_s": 0.3, "status_period_s": 1.0, **settings}
    agent = Agent(AgentSettings(data_dir=data_dir, **options), config)
    stop = asyncio.Event()
    async with nothing_left(data_dir):
        task = asyncio.create_task(agent.run(stop))
        waiting = asyncio.create_task(agent.registered.wait())
        await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED, timeout=WAIT_S)
        waiting.cancel()
        try:
            if task.done():
                await task
            yield agent
        finally:
            stop.set()
            await asyncio.wait_for(task, 60)


class AgentProcess:
    """An agent as a process, for what only a process can suffer."""

    def __init__(self, config: ClientConfig, data_dir: Path, *options: str) -> None:
        self.data_dir = data_dir
        self._kubeconfig = data_dir.parent / "agent.kubeconfig"
        context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
        body = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": config.server}}],
            "users": [{"name": "u", "user": {}}],
            "contexts": [context],
        }
        self._kubeconfig.write_text(yaml.safe_dump(body))
        self._options = options
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Return when its node is registered, or at once when nobody could tell."""
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "stark.agent", "--kubeconfig", str(self._kubeconfig), "--data-dir", str(self.data_dir),
            "--name", NODE, "--backoff", "0.3", *self._options, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip

    async def registered(self) -> None:
        """Wait for its ready line."""
        assert self.process is not None
        assert self.process.stdout is not None
        line = await asyncio.wait_for(self.process.stdout.readline(), WAIT_S)
        assert b"ready" in line, line

    async def end(self, number: signal.Signals) -> int:
        """Signal it, and its exit code."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(number)
        code = await asyncio.wait_for(self.process.wait(), 40)
        # The transport of the pipe is closed by its end of file, which comes a moment after the exit.
        assert self.process.stdout is not None
        await self.process.stdout.read()
        return code
