"""Packs for Python: one child per container, started through the harness."""

from __future__ import annotations

import resource
import shutil
import sys
from pathlib import Path

from ..base import Invocation, Program, harness_settings, reachable_for_others
from ..versions import version_of

HARNESS = Path(__file__).with_name("harness.py")


class PythonRuntime:
    """Runs zipapps and single source files, isolated (`-I`) from the agent's own packages."""

    tag = "python"

    def __init__(self, executable: str | None = None) -> None:
        self._executable = executable or _default_executable()
        self.needs: tuple[Path, ...] = (Path(self._executable), HARNESS)

    async def version(self) -> str | None:
        """E.g. `3.11.7`."""
        return await version_of(self._executable, "--version")

    def invoke(self, program: Program) -> Invocation:
        """The harness under python; output is unbuffered, so that logs are in time and survive a kill."""
        return Invocation(
            argv=[self._executable, "-I", "-u", "-B", str(HARNESS)],
            env={"STARK_HARNESS": harness_settings(program)},
            control=True,
            rlimits=data_limit(program),
        )

    def explain(self, code: int, signal: int, tail: str) -> str:
        """The harness says what it knows; a library may have turned the error into its own."""
        return "OOMKilled" if code == 1 and tail.rstrip().endswith("MemoryError") else ""


def _default_executable() -> str:
    """The interpreter under the agent's virtual environment, or the system's where other users cannot reach that one.

    Never the virtual environment's own: a pack would come to depend on our libraries.
    """
    base = getattr(sys, "_base_executable", None) or sys.executable
    system = shutil.which("python3", path="/usr/local/bin:/usr/bin:/bin")
    return base if system is None or reachable_for_others(Path(base)) else system


def data_limit(program: Program) -> list[tuple[int, int, int]]:
    """RLIMIT_DATA in place of a cgroup. (RLIMIT_AS would count mapped files and break many programs.)"""
    if program.memory_bytes is None or program.memory_enforced:
        return []
    return [(resource.RLIMIT_DATA, program.memory_bytes, program.memory_bytes)]
