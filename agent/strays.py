"""Processes that belong to a pod but to no supervisor any more: found by what their environment says, and killed.

Only ever needed after a supervisor was killed on a machine without control groups: its own children die with it, but
not their children.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

PROC = Path("/proc")


def strays(pod_uid: str) -> list[int]:
    """Process ids whose environment names the pod."""
    marker = b"STARK_POD_ID=" + pod_uid.encode() + b"\0"
    found = []
    for entry in PROC.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if marker in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def kill_strays(pod_uid: str) -> int:
    """Kill them all; returns how many there were. The agent itself is never one."""
    count = 0
    for pid in strays(pod_uid):
        if pid == os.getpid():
            continue
        try:
            os.kill(pid, signal.SIGKILL)
            count += 1
        except OSError:
            continue
    return count
