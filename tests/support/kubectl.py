"""Stock kubectl, also at a minor version of one's choice where several are installed side by side.

`kubectl.1.33` and the like are looked for on the PATH and beside the `kubectl` that the PATH leads to.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


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
