"""What a runtime is asked: which version is here, how to invoke a program, and what its exit means."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

VERSION_TIMEOUT_S = 10.0  # an interpreter that does not tell its version by then is not usable


@dataclass(frozen=True, slots=True)
class Program:
    """One run of one pack, before anybody knows how to run it."""

    bundle: Path
    pack_id: str
    pack_name: str
    pack_version: str
    runtime_tag: str
    entrypoint: str
    timeout_ms: int | None
    metadata: Mapping[str, Any]
    args: Sequence[str]
    command: Sequence[str]
    pod_uid: str
    execution: str
    memory_bytes: int | None
    """The memory limit; None without one."""
    memory_enforced: bool
    """Whether a cgroup enforces it; otherwise the runtime must do what it can."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """A process: what to execute, what to add to its environment, whether it speaks on descriptor 3."""

    argv: list[str]
    env: dict[str, str] = field(default_factory=dict)
    control: bool = False
    """A harness reports `called` itself; without one the start is the call."""
    rlimits: list[tuple[int, int, int]] = field(default_factory=list)


class Runtime(Protocol):
    """Promises, kept by the contract suite for every implementation:

    - The entry point's end is the process's end: success is exit 0, failure any other.
    - A bundle that cannot be loaded ends with exit 65 and reason PackLoadError, and the message says why.
    - A stop request reaches the program, which may finish its work within the grace.
    - Arguments and environment arrive unchanged; nothing of the agent's own environment does.
    """

    tag: str
    """The label and pack runtime it serves: node, python, binary."""
    needs: tuple[Path, ...]
    """Files that the pods' users must be able to reach; if they cannot, pods run as the agent's own user."""

    async def version(self) -> str | None:
        """The version on this machine, as a label value; None when it cannot run here."""

    def invoke(self, program: Program) -> Invocation:
        """How to run the program."""

    def explain(self, code: int, signal: int, tail: str) -> str:
        """A better reason for a failed exit than its code, from the last lines of output; empty when there is none."""


def harness_settings(program: Program) -> str:
    """What a harness is told, as the value of STARK_HARNESS."""
    return json.dumps(
        {
            "bundle": str(program.bundle),
            "entrypoint": program.entrypoint,
            "args": list(program.args),
            "context": {
                "executionId": program.execution,
                "podId": program.pod_uid,
                "packId": program.pack_id,
                "packName": program.pack_name,
                "packVersion": program.pack_version,
                "runtimeTag": program.runtime_tag,
                "timeout": program.timeout_ms,
                "metadata": dict(program.metadata),
            },
        }
    )


def reachable_for_others(path: Path) -> bool:
    """Whether a process of another user could get to `path`: every folder above it lets others through."""
    return all(folder.stat().st_mode & 0o001 for folder in path.resolve().parents)


def label_value(text: str) -> str:
    """The text as a label value: at most 63 letters, digits, `-`, `_` and `.`."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", text).strip("-_.")[:63].strip("-_.")
