"""Packs for Node.js: one child per container, started through the harness."""

from __future__ import annotations

import shutil
from pathlib import Path

from ..base import Invocation, Program, harness_settings
from ..versions import version_of

HARNESS = Path(__file__).with_name("harness.cjs")
HEAP_SHARE = 0.75  # of the memory limit: the rest is for buffers, code and the runtime itself
HEAP_MIN_MIB = 16


class NodeRuntime:
    """Runs CommonJS (and ECMAScript module) bundles."""

    tag = "node"

    def __init__(self, executable: str | None = None) -> None:
        self._executable = executable or shutil.which("node") or "/usr/bin/node"
        self.needs: tuple[Path, ...] = (Path(self._executable), HARNESS)

    async def version(self) -> str | None:
        """E.g. `20.20.2`."""
        return await version_of(self._executable, "--version")

    def invoke(self, program: Program) -> Invocation:
        """The harness under node; the heap is bounded whether or not a cgroup bounds the process."""
        flags = []
        if program.memory_bytes is not None:
            heap_mib = max(HEAP_MIN_MIB, int(program.memory_bytes * HEAP_SHARE) >> 20)
            flags.append(f"--max-old-space-size={heap_mib}")
        return Invocation(
            argv=[self._executable, *flags, str(HARNESS)],
            env={"STARK_HARNESS": harness_settings(program)},
            control=True,
        )

    def explain(self, code: int, signal: int, tail: str) -> str:
        """V8 aborts when its heap is full."""
        return "OOMKilled" if code == 134 and "heap out of memory" in tail else ""
