"""Packs that are executables: run as they are, told to stop by SIGTERM."""

from __future__ import annotations

import os
from pathlib import Path

from .base import Invocation, Program, label_value
from .python.runtime import data_limit


class BinaryRuntime:
    """Runs a static executable for this machine's architecture."""

    tag = "binary"
    needs: tuple[Path, ...] = ()

    async def version(self) -> str | None:
        """The machine's architecture and kernel, e.g. `linux-6.8.0`."""
        system = os.uname()
        return label_value(f"{system.sysname.lower()}-{system.release}")

    def invoke(self, program: Program) -> Invocation:
        """The file itself; `command` may put other arguments first, never another program."""
        arguments = [*program.command[1:], *program.args]
        return Invocation(argv=[str(program.bundle), *arguments], rlimits=data_limit(program))

    def explain(self, code: int, signal: int, tail: str) -> str:
        """Nothing is known about arbitrary programs."""
        return ""
