"""Counters as the kernel keeps them: CPU time since a beginning, and memory in use now.

A container is counted by its control group where there is one, else by its tree of processes. Processes are all read in
one pass over /proc, because asking for each container's children would read the whole of it once a container.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from ..cgroups import Cgroups

PROC: Final = Path("/proc")
TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")

# Of /proc/<pid>/stat, counted from the state, which follows the name in parentheses (proc_pid_stat(5)).
PARENT, OWN_TICKS, CHILDREN_TICKS, RESIDENT = 1, slice(11, 13), slice(13, 15), 21


@dataclass(frozen=True, slots=True)
class Counters:
    """CPU seconds used so far, and bytes that cannot be had back without writing or swapping (the working set)."""

    cpu_s: float
    memory_bytes: int


class Processes:
    """All processes of this machine at one moment."""

    def __init__(self, found: dict[int, tuple[int, Counters]]) -> None:
        self._counters = {pid: counters for pid, (_, counters) in found.items()}
        self._children: dict[int, list[int]] = {}
        for pid, (parent, _) in found.items():
            self._children.setdefault(parent, []).append(pid)

    @classmethod
    def look(cls, proc: Path = PROC) -> Processes:
        """Read them; one that ends meanwhile is left out."""
        found: dict[int, tuple[int, Counters]] = {}
        for name in os.listdir(proc):
            if not name.isdigit():
                continue
            try:
                fields = (proc / name / "stat").read_text().rpartition(")")[2].split()
                found[int(name)] = (int(fields[PARENT]), _counters_of(fields))
            except (OSError, ValueError, IndexError):
                continue
        return cls(found)

    def tree(self, root: int) -> Counters | None:
        """A process with all its descendants; None when it is no more."""
        if root not in self._counters:
            return None
        members, waiting = [], [root]
        while waiting:
            members.append(waiting.pop())
            waiting += self._children.get(members[-1], ())
        return _sum(self._counters[pid] for pid in members)


def _counters_of(fields: list[str]) -> Counters:
    """Of one process. The time of children that ended and were waited for is their parent's, so that none is lost."""
    ticks = sum(map(int, (*fields[OWN_TICKS], *fields[CHILDREN_TICKS])))
    return Counters(ticks / TICKS_PER_S, int(fields[RESIDENT]) * PAGE_BYTES)


def _sum(counters: Iterable[Counters]) -> Counters:
    held = list(counters)
    return Counters(sum(c.cpu_s for c in held), sum(c.memory_bytes for c in held))


def container_counters(cgroups: Cgroups, uid: str, container: str, root: int, processes: Processes) -> Counters | None:
    """What a container has used; None when nothing of it is there. Its group knows what ended processes used, too."""
    tree = processes.tree(root)
    group = cgroups.usage(uid, container)
    if group is None:
        return tree
    cpu_s, memory_bytes = group
    if cpu_s is None:  # version 1 without the cpuacct controller beside cpu
        return None if tree is None else Counters(tree.cpu_s, memory_bytes)
    return Counters(cpu_s, memory_bytes)


NOT_BUSY = frozenset({"idle", "iowait", "guest", "guest_nice"})
"""Of /proc/stat: waiting, and what user and nice have counted already."""


def node_counters() -> Counters:
    """What the whole machine has used."""
    times = psutil.cpu_times()._asdict()
    # Only what counts is added up: taking the idle time from the sum of everything leaves a rest that is not monotonic.
    return Counters(sum(spent for name, spent in times.items() if name not in NOT_BUSY), _node_working_set())


def _node_working_set(meminfo: Path = PROC / "meminfo") -> int:
    """All memory but the free and the file pages nobody touched lately: the kubelet's figure of a root group."""
    try:
        lines = (line.partition(":") for line in meminfo.read_text().splitlines())
        kib = {name: int(rest.split()[0]) for name, _, rest in lines}
        return (kib["MemTotal"] - kib["MemFree"] - kib["Inactive(file)"]) * 1024
    except (OSError, ValueError, KeyError, IndexError):
        memory = psutil.virtual_memory()
        return int(memory.total - memory.available)
