"""The list of runtimes. A new one is a module here and a line in `ALL`."""

from __future__ import annotations

import asyncio

from .base import Runtime
from .binary import BinaryRuntime
from .node import NodeRuntime
from .python import PythonRuntime

ALIASES = {"universal": "node", "isomorphic": "node"}
"""Packs for node and browser alike run in node where there is one."""


def _all() -> list[Runtime]:
    return [NodeRuntime(), PythonRuntime(), BinaryRuntime()]


async def detect() -> dict[str, tuple[Runtime, str]]:
    """The runtimes that work on this machine, by tag, each with its version."""
    runtimes = _all()
    versions = await asyncio.gather(*(runtime.version() for runtime in runtimes))
    return {r.tag: (r, version) for r, version in zip(runtimes, versions, strict=True) if version}


def runtime_for(tag: str, available: dict[str, tuple[Runtime, str]]) -> Runtime | None:
    """The runtime for a pack's tag; None when this machine has none."""
    found = available.get(ALIASES.get(tag, tag))
    return found[0] if found else None
