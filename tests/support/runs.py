"""One supervisor and the runs it is told to make, without an agent."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from stark.agent.runtimes import Program, Runtime
from stark.agent.supervisor.link import ShimLink, SupervisorError, View, start_supervisor
from tests.support.agents import nothing_left

WAIT_S = 20.0


def program(bundle: Path, **given: Any) -> Program:
    """A program with unremarkable values for what is not given."""
    values: dict[str, Any] = {
        "bundle": bundle,
        "pack_id": "pack-id",
        "pack_name": "tried",
        "pack_version": "1.2.3",
        "runtime_tag": "node",
        "entrypoint": "default",
        "timeout_ms": None,
        "metadata": {"team": "blue"},
        "args": [],
        "command": [],
        "pod_uid": "pod-uid",
        "execution": str(uuid.uuid4()),
        "memory_bytes": None,
        "memory_enforced": False,
    }
    return Program(**{**values, **given})


class Bench:
    """A pod's folder, its supervisor, and everything it said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.events: list[View] = []
        self.lost = asyncio.Event()
        self._news = asyncio.Condition()
        self._pending: set[asyncio.Task[None]] = set()
        self.link = ShimLink(self._hear, self.lost.set)

    def _hear(self, event: View) -> None:
        self.events.append(event)
        task = asyncio.ensure_future(self._wake())
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)

    async def _wake(self) -> None:
        async with self._news:
            self._news.notify_all()

    async def event(self, kind: str, container: str = "main") -> View:
        """The first event of the kind for the container that has not been asked for yet."""

        def found() -> View | None:
            return next((e for e in self.events if e["ev"] == kind and e.get("name") == container), None)

        async with self._news:
            await asyncio.wait_for(self._news.wait_for(lambda: found() is not None), WAIT_S)
        event = found()
        assert event is not None
        self.events.remove(event)
        return event

    def start(self, runtime: Runtime, what: Program, container: str = "main", attempt: int = 0, **more: Any) -> None:
        """Start a run through a runtime."""
        invocation = runtime.invoke(what)
        env = {"PATH": "/usr/bin:/bin", "STARK_EXECUTION_ID": what.execution, **more.pop("env", {}), **invocation.env}
        limits = [*more.pop("rlimits", []), *invocation.rlimits]
        self.start_argv(
            invocation.argv, container, attempt, control=invocation.control, env=env, rlimits=limits,
            execution=what.execution, **more,
        )  # fmt: skip

    def start_argv(self, argv: list[str], container: str = "main", attempt: int = 0, **more: Any) -> None:
        """Start a run of any command."""
        work = self.folder / "work" / container
        work.mkdir(parents=True, exist_ok=True)
        spec = {
            "name": container,
            "attempt": attempt,
            "execution": str(uuid.uuid4()),
            "argv": argv,
            "env": {"PATH": "/usr/bin:/bin"},
            "cwd": str(work),
            "log": str(self.log(container, attempt)),
            "log_max_bytes": 1 << 20,
            "log_max_files": 3,
            **more,
        }
        self.link.start(spec)

    def log(self, container: str = "main", attempt: int = 0) -> Path:
        return self.folder / f"{container}-{attempt}.log"

    def output(self, container: str = "main", attempt: int = 0, stream: str = "") -> str:
        """What the run wrote, without the stamps."""
        lines = self.log(container, attempt).read_text().splitlines()
        parts = [line.split(" ", 3) for line in lines]
        return "\n".join(part[3] for part in parts if stream in ("", part[1]))


@asynccontextmanager
async def bench(folder: Path) -> AsyncIterator[Bench]:
    """A supervisor for a test; whatever it still runs at the end is killed."""
    os.makedirs(folder, exist_ok=True)
    async with nothing_left(folder):
        await start_supervisor(folder)
        made = Bench(folder)
        await made.link.connect(folder)
        try:
            yield made
        finally:
            try:
                for name in {e["name"] for e in made.events if "name" in e} | {"main"}:
                    made.link.stop(name, 0.0, "TestEnds")
                made.link.shut_down()
                await asyncio.wait_for(made.lost.wait(), WAIT_S)
            except SupervisorError:
                pass
            await made.link.close()
