"""Agents of other architectures in tests: a real process under an emulator, in Debian's files of that architecture."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.support.up import REPO

EMULATORS = {"arm64": "aarch64", "riscv64": "riscv64"}
CPUS = {"arm64": "cortex-a72", "riscv64": "rv64"}
"""A processor without pointer authentication: emulating that makes Debian's programs ten times slower."""
ENDED_S = 30.0


def foreign_root(architecture: str) -> Path:
    """The root file system, made if there is none. Raises AssertionError with what to install."""
    done = subprocess.run(
        [REPO / "tests" / "foreign.sh", architecture], capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.split()[-1])


@contextlib.contextmanager
def foreign_agent(architecture: str, folder: Path, *options: str) -> Iterator[Path]:
    """An agent under the emulator, with its data in `folder`; yields the file of what it says. Nothing of it is left."""
    root, log = foreign_root(architecture), folder / "agent.log"
    assert shutil.which("unshare"), "run: sudo apt-get install util-linux"
    command = [
        "unshare", "-Urmpf", "--kill-child", "--map-root-user", str(REPO / "tests" / "foreign_enter.sh"),
        EMULATORS[architecture], str(root), str(folder), "/usr/bin/env", "-i", "PATH=/usr/bin", "HOME=/root",
        f"QEMU_CPU={CPUS[architecture]}", "PYTHONPATH=/stark", "PYTHONPYCACHEPREFIX=/var/pyc",
        "/usr/bin/python3", "-m", "stark.agent", "--data-dir", "/node/data", *options,
    ]  # fmt: skip
    with log.open("w") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield log
    finally:
        process.kill()  # its PID namespace ends with it, and everything within
        process.wait(ENDED_S)
