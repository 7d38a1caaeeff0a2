"""Other people's programs: found, run, and their failure told in one sentence after their own last words."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import CommandError

ESBUILD_VERSION = "0.28.2"
"""What npx fetches where a project has no esbuild of its own."""
RUN_TIMEOUT_S = 1800.0
"""Installing over a slow line takes minutes, not hours."""
LAST_LINES = 30


def run(argv: Sequence[str], cwd: Path, what: str, env: Mapping[str, str] | None = None) -> str:
    """The standard output of a program. Raises CommandError after having shown what it said last."""
    try:
        done = subprocess.run(
            argv,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=RUN_TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError as error:
        raise CommandError(f"{what} takes {argv[0]}, which is not installed: install it, then try again") from error
    except subprocess.TimeoutExpired as error:
        raise CommandError(f"{what} did not end within {RUN_TIMEOUT_S:g} s: {' '.join(argv)}") from error
    if done.returncode != 0:
        said = (done.stdout + done.stderr).rstrip().splitlines()
        print("\n".join(said[-LAST_LINES:]), file=sys.stderr)
        raise CommandError(f"{what} failed: `{' '.join(argv)}` ended with {done.returncode}; its last words are above")
    return done.stdout


def local_program(name: str, project: Path) -> str | None:
    """The program as the project, or a folder around it, has installed it with npm; else from PATH."""
    for folder in (project, *project.parents):
        found = folder / "node_modules" / ".bin" / name
        if found.exists():
            return str(found)
    return shutil.which(name)


def esbuild(project: Path) -> list[str]:
    """How to call esbuild. Raises CommandError when there is no way."""
    found = local_program("esbuild", project)
    if found:
        return [found]
    if npx := shutil.which("npx"):
        return [npx, "--yes", f"esbuild@{ESBUILD_VERSION}"]
    raise CommandError(
        f"bundling JavaScript takes esbuild: run `npm install --save-dev esbuild` in {project}, "
        "or install Node.js with npm, which fetches it by itself"
    )
