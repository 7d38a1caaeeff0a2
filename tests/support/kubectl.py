"""Stock kubectl, also at a minor version of one's choice where several are installed side by side.

`kubectl.1.33` and the like are looked for on the PATH and beside the `kubectl` that the PATH leads to.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from tests.support.apiserver import Api, api_server

SKEW = ("1.27", "1.30", "1.33")
"""The oldest, a middle and the newest version whose skew we promise."""
COMMAND_TIMEOUT_S = 30.0


def kubectl() -> Path:
    """The kubectl of this machine; the tests fail without one."""
    found = shutil.which("kubectl")
    assert found, "the tests need kubectl on the PATH: see https://kubernetes.io/docs/tasks/tools/"
    return Path(found)


def kubectl_of(minor: str) -> Path:
    """The kubectl of a minor version such as `1.30`. Skips the test where only other ones are installed."""
    name = f"kubectl.{minor}"
    on_path = shutil.which(name)
    beside = kubectl().resolve().parent / name
    if on_path is None and not beside.exists():
        pytest.skip(f"no kubectl {minor} on this machine")
    return Path(on_path) if on_path else beside


@dataclass
class Kubectl:
    """One version of kubectl with a kubeconfig of its own."""

    binary: Path
    home: Path
    api: Api

    async def __call__(self, *arguments: str, stdin: str = "", code: int = 0) -> str:
        """Its output, once its exit code has been checked."""
        process = await asyncio.create_subprocess_exec(
            str(self.binary),
            *arguments,
            env={**os.environ, "HOME": str(self.home), "KUBECONFIG": str(self.home / "admin.kubeconfig")},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(COMMAND_TIMEOUT_S):
            said = (await process.communicate(stdin.encode()))[0].decode()
        assert process.returncode == code, (arguments, said)
        return said


K = TypeVar("K", bound=Kubectl)


@asynccontextmanager
async def kubectl_on(minor: str, directory: Path, program: type[K]) -> AsyncIterator[K]:
    """A kubectl of that minor version and an API server of its own."""
    binary = kubectl_of(minor)
    async with api_server(directory) as api:
        yield program(binary, directory, api)
