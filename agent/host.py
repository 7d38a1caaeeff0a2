"""What this machine is and has: processor, memory, system, addresses, pressure."""

from __future__ import annotations

import os
import platform
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from stark.crds.nodes import NodeSystemInfo
from stark.crds.version import VERSION

GO_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64", "riscv64": "riscv64"}
DISK_PRESSURE_FREE = (
    0.10  # share of the data directory's disk below which there is pressure; kubelet's nodefs.available
)
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


def pressure(data_dir: Path) -> Pressure:
    """The state of things now."""
    disk = shutil.disk_usage(data_dir)
    return Pressure(
        memory=psutil.virtual_memory().available < MEMORY_PRESSURE_FREE_BYTES,
        disk=disk.free < disk.total * DISK_PRESSURE_FREE,
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
