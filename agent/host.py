"""What this machine is and has: processor, memory, system, addresses, pressure."""

from __future__ import annotations

import os
import platform
import socket
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from stark.crds.nodes import NodeSystemInfo
from stark.crds.version import VERSION

GO_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64", "riscv64": "riscv64"}
INODE_PRESSURE_FREE = 0.05  # share of its disk's inodes; kubelet's nodefs.inodesFree
PRESSURE_HOLD_S = 300.0  # pressure counts for this long after it was last seen; kubelet's eviction-pressure-transition
MEMORY_PRESSURE_FREE_BYTES = 100 << 20  # kubelet's memory.available
PIDS_PRESSURE_FREE = 0.05


@dataclass(frozen=True, slots=True)
class Pressure:
    """Which of the machine's resources run out."""

    memory: bool
    disk: bool
    pids: bool


def architecture() -> str:
    """Go's name of the processor."""
    machine = platform.machine()
    return GO_ARCHITECTURES.get(machine, machine)


def cpu_milli() -> int:
    """Thousandths of a core that this process may use: an agent in a container sees its share."""
    return len(os.sched_getaffinity(0)) * 1000


def memory_bytes() -> int:
    """All of the machine's memory."""
    return int(psutil.virtual_memory().total)


@dataclass(frozen=True, slots=True)
class DiskSpace:
    """What is free where the data directory lies, in bytes, and below what it is low."""

    free: int
    threshold: int
    inodes_low: bool

    @property
    def is_low(self) -> bool:
        """Whether there is pressure."""
        return self.free < self.threshold or self.inodes_low


def disk_space(data_dir: Path, least_free: float) -> DiskSpace:
    """The state of the disk now; `least_free` is a share of it. Raises OSError."""
    disk = os.statvfs(data_dir)
    # A file system such as btrfs counts no inodes and says 0.
    inodes_low = disk.f_files > 0 and disk.f_favail < disk.f_files * INODE_PRESSURE_FREE
    return DiskSpace(disk.f_bavail * disk.f_frsize, int(disk.f_blocks * disk.f_frsize * least_free), inodes_low)


class PressureHold:
    """Pressure that comes and goes is one pressure, or pods would be placed and evicted in turn."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}

    def judge(self, low: Pressure, now_s: float) -> Pressure:
        """What counts, by what is so now and what was so a while ago."""
        for name in Pressure.__slots__:
            if getattr(low, name):
                self._last[name] = now_s
        held = {name: now_s - at < PRESSURE_HOLD_S for name, at in self._last.items()}
        return Pressure(held.get("memory", False), held.get("disk", False), held.get("pids", False))


def pressure(data_dir: Path, least_free: float) -> Pressure:
    """The state of things now."""
    return Pressure(
        memory=psutil.virtual_memory().available < MEMORY_PRESSURE_FREE_BYTES,
        disk=disk_space(data_dir, least_free).is_low,
        pids=_pids_low(),
    )


def _pids_low() -> bool:
    try:
        limit = int(Path("/proc/sys/kernel/pid_max").read_text())
        running = int(Path("/proc/loadavg").read_text().split()[3].split("/")[1])
    except (OSError, ValueError, IndexError):
        return False
    return limit - running < limit * PIDS_PRESSURE_FREE


def system_info() -> NodeSystemInfo:
    """The nodeInfo of this machine."""
    return NodeSystemInfo(
        machine_id=_first_line("/etc/machine-id"),
        system_uuid=_first_line("/sys/class/dmi/id/product_uuid").lower() or _first_line("/etc/machine-id"),
        boot_id=_first_line("/proc/sys/kernel/random/boot_id"),
        kernel_version=platform.release(),
        os_image=_os_image(),
        container_runtime_version=f"stark://{VERSION}",
        kubelet_version=f"v{VERSION}",
        kube_proxy_version="",
        operating_system="linux",
        architecture=architecture(),
    )


def address_towards(server: str) -> str:
    """Our address on the way to the API server. Nothing is sent: a connected datagram socket knows its own address."""
    parts = urlsplit(server)
    host, port = parts.hostname or "127.0.0.1", parts.port or 443
    try:
        family, _, _, _, target = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(target)
            return str(probe.getsockname()[0])
    except OSError:
        return "127.0.0.1"


def _first_line(path: str) -> str:
    try:
        return Path(path).read_text().split("\n", 1)[0].strip()
    except OSError:
        return ""


def _os_image() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        return "Linux"
