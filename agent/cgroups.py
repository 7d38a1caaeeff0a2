"""Control groups, version 2 or 1: what a container may use is written to the kernel, and what it was killed for read.

Capabilities are probed by doing: a group is made, limited and removed. Where that fails the agent says so on its Node
and falls back to rlimits and heap flags. A group is `<base>/<pod uid>/<container>`; its members are processes only.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .settings import PIDS_MAX

log = logging.getLogger(__name__)

ROOT = Path("/sys/fs/cgroup")
GROUP = "stark"
CPU_PERIOD_US = 100_000
CPU_QUOTA_MIN_US = 1_000  # the kernel refuses less
REMOVE_ATTEMPTS = 20
REMOVE_PAUSE_S = 0.05  # a killed member leaves its group some milliseconds later
V1_CONTROLLERS = ("memory", "cpu", "pids")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one container is granted; None is no limit. CPU in thousandths of a core, memory in bytes."""

    cpu_limit_milli: int | None = None
    cpu_request_milli: int | None = None
    memory_bytes: int | None = None
    pids: int = PIDS_MAX


@dataclass(frozen=True, slots=True)
class Group:
    """One container's group: the files a process enters it by, and the file that counts its OOM kills."""

    procs: tuple[str, ...] = ()
    oom_file: str = ""


def cpu_shares(milli: int | None) -> int:
    """The v1 weight of a CPU request, as Kubernetes computes it: 1024 for a core, at least 2."""
    return max(2, (milli or 0) * 1024 // 1000)


def cpu_weight(milli: int | None) -> int:
    """The v2 weight (1 to 10000) of a CPU request, from the v1 weight, as Kubernetes converts it."""
    return 1 + (cpu_shares(milli) - 2) * 9999 // 262142


def cpu_quota_us(milli: int) -> int:
    """Microseconds of CPU in each period."""
    return max(CPU_QUOTA_MIN_US, milli * CPU_PERIOD_US // 1000)


class Cgroups:
    """The groups of this agent's pods. `version` is 2, 1 or 0 (none can be made here)."""

    def __init__(self, version: int, bases: dict[str, Path], why: str = "") -> None:
        self.version = version
        self._bases = bases
        self.why = why

    @classmethod
    def probe(cls, root: Path = ROOT) -> Cgroups:
        """What this machine and our rights allow."""
        refused = []
        for version, bases in _candidates(root):
            try:
                for base in bases.values():
                    base.mkdir(parents=True, exist_ok=True)
                found = cls(version, bases)
                if version == 2:
                    _delegate(bases["unified"])
                trial = f"probe-{os.getpid()}"
                found.create(trial, "probe", Limits(500, 100, 64 << 20))
                found.remove(trial)
                return found
            except OSError as error:
                refused.append(f"v{version}: {error}")
        return cls(0, {}, "; ".join(refused) or "no control group file system is mounted")

    @property
    def described(self) -> str:
        """For the Node's annotation: how limits are enforced here."""
        return f"cgroup v{self.version}" if self.version else f"rlimits only ({self.why})"

    def create(self, pod_uid: str, container: str, limits: Limits) -> Group:
        """Make (or make again) the group with these limits. Raises OSError when the kernel refuses."""
        if self.version == 0:
            return Group()
        folders = {name: base / pod_uid / container for name, base in self._bases.items()}
        for name, folder in folders.items():
            folder.mkdir(parents=True, exist_ok=True)
            if self.version == 2:
                _delegate(folder.parent)
            for file, value in self._settings(name, folder, limits):
                (folder / file).write_text(value)
        procs = tuple(str(folder / "cgroup.procs") for folder in folders.values())
        if self.version == 2:
            return Group(procs, str(folders["unified"] / "memory.events"))
        return Group(procs, str(folders["memory"] / "memory.oom_control"))

    def remove(self, pod_uid: str) -> None:
        """Kill what is left in the pod's groups and remove them."""
        for base in self._bases.values():
            pod = base / pod_uid
            for folder in [*_children(pod), pod]:
                _remove(folder)

    def members(self, pod_uid: str) -> set[int]:
        """Processes in the pod's groups."""
        found: set[int] = set()
        for base in self._bases.values():
            for folder in _children(base / pod_uid):
                found |= _members(folder)
        return found

    @property
    def counts_cpu(self) -> bool:
        """Whether groups know the CPU time of all that ran in them: version 1 does with cpuacct mounted beside cpu."""
        return self.version == 2 or (self.version == 1 and (self._bases["cpu"] / "cpuacct.usage").exists())

    def usage(self, pod_uid: str, container: str) -> tuple[float | None, int] | None:
        """CPU seconds used so far (None when they are not counted) and bytes of working set; None without a group."""
        try:
            if self.version == 2:
                folder = self._bases["unified"] / pod_uid / container
                cpu_s = _field(folder / "cpu.stat", "usage_usec") / 1e6
                return cpu_s, _working_set(folder, "memory.current", "inactive_file")
            if self.version == 1:
                memory = self._bases["memory"] / pod_uid / container
                held = _working_set(memory, "memory.usage_in_bytes", "total_inactive_file")
                accounting = self._bases["cpu"] / pod_uid / container / "cpuacct.usage"
                return (int(accounting.read_text()) / 1e9 if self.counts_cpu else None), held
        except (OSError, ValueError):
            pass
        return None

    def _settings(self, controller: str, folder: Path, limits: Limits) -> Iterable[tuple[str, str]]:
        quota = cpu_quota_us(limits.cpu_limit_milli) if limits.cpu_limit_milli is not None else None
        if controller == "unified":
            yield "cpu.max", f"{'max' if quota is None else quota} {CPU_PERIOD_US}"
            yield "cpu.weight", str(cpu_weight(limits.cpu_request_milli))
            yield "memory.max", "max" if limits.memory_bytes is None else str(limits.memory_bytes)
            if (folder / "memory.swap.max").exists():
                yield "memory.swap.max", "max" if limits.memory_bytes is None else "0"
            yield "memory.oom.group", "1"
            yield "pids.max", str(limits.pids)
        elif controller == "cpu":
            yield "cpu.cfs_period_us", str(CPU_PERIOD_US)
            yield "cpu.cfs_quota_us", "-1" if quota is None else str(quota)
            yield "cpu.shares", str(cpu_shares(limits.cpu_request_milli))
        elif controller == "pids":
            yield "pids.max", str(limits.pids)
        elif controller == "memory":
            value = "-1" if limits.memory_bytes is None else str(limits.memory_bytes)
            swap = (folder / "memory.memsw.limit_in_bytes").exists()
            # Memory plus swap can never be below memory: which is written first depends on the direction of change.
            lowering = limits.memory_bytes is not None and swap and _is_lower(folder, limits.memory_bytes)
            names = ["memory.limit_in_bytes", *(["memory.memsw.limit_in_bytes"] if swap else [])]
            for name in names if lowering else reversed(names):
                yield name, value


def _field(file: Path, name: str) -> int:
    """A number of a file of names and numbers. Raises OSError, ValueError."""
    words = file.read_text().split()
    return int(words[words.index(name) + 1])


def _working_set(folder: Path, usage: str, inactive: str) -> int:
    """Memory in use without the file pages nobody touched lately, as the kubelet reports it. Raises OSError, ValueError."""
    held = int((folder / usage).read_text())
    try:
        return max(0, held - _field(folder / "memory.stat", inactive))
    except ValueError:
        return held  # a kernel that does not tell


def _is_lower(folder: Path, limit: int) -> bool:
    return limit <= int((folder / "memory.limit_in_bytes").read_text())


def _candidates(root: Path) -> Iterable[tuple[int, dict[str, Path]]]:
    """Where groups might be made, best first: a delegated v2 subtree, the v2 root, the v1 hierarchies below our own."""
    own = _own_groups()
    if (root / "cgroup.controllers").exists():
        mine = own.get("", "/").lstrip("/")
        if Path(mine).name == "agent":  # systemd's DelegateSubgroup=agent: the level above is ours
            yield 2, {"unified": root / Path(mine).parent / "pods"}
        yield 2, {"unified": root / f"{GROUP}.slice"}
    if all((root / name / "cgroup.procs").exists() for name in V1_CONTROLLERS):
        yield 1, {name: root / name / own.get(name, "/").lstrip("/") / GROUP for name in V1_CONTROLLERS}
        yield 1, {name: root / name / GROUP for name in V1_CONTROLLERS}


def _own_groups() -> dict[str, str]:
    """Our own group by controller; the v2 one under the empty name."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return {}
    groups: dict[str, str] = {}
    for line in lines:
        _, controllers, path = line.split(":", 2)
        groups.update(dict.fromkeys(controllers.split(","), path))
    return groups


def _delegate(folder: Path) -> None:
    """Let children of a v2 group, and of the groups above it as far as needed, have the three controllers."""
    for level in (folder.parent, folder):
        control = level / "cgroup.subtree_control"
        missing = {"cpu", "memory", "pids"} - set(control.read_text().split())
        if missing:
            control.write_text(" ".join(f"+{name}" for name in sorted(missing)))


def _children(folder: Path) -> list[Path]:
    try:
        return [child for child in folder.iterdir() if child.is_dir()]
    except OSError:
        return []


def _members(folder: Path) -> set[int]:
    try:
        return {int(word) for word in (folder / "cgroup.procs").read_text().split()} - {0}  # somebody out of our sight
    except OSError:
        return set()


def _remove(folder: Path) -> None:
    for _ in range(REMOVE_ATTEMPTS):
        for pid in _members(folder):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)
        try:
            folder.rmdir()
            return
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(REMOVE_PAUSE_S)
    log.warning("control group cannot be removed", extra={"path": str(folder)})
