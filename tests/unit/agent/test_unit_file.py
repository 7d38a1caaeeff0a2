"""The agent's systemd unit: pods survive it, and nothing in it keeps the agent from its work."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

from stark.agent import __file__ as agent_root

UNIT = Path(agent_root).resolve().parent.parent / "manifests" / "systemd" / "stark-agent.service"
OWN_MOUNTS = (
    "ProtectSystem", "ProtectHome", "PrivateTmp", "PrivateDevices", "ProtectControlGroups", "ProtectProc",
    "ProtectKernelTunables", "ProtectKernelModules", "ProtectKernelLogs", "ReadOnlyPaths", "InaccessiblePaths",
)  # fmt: skip
NEEDED = (
    "SYS_ADMIN", "SETUID", "SETGID", "CHOWN", "FOWNER", "FSETID", "DAC_OVERRIDE", "KILL", "SYS_PTRACE", "SYS_RESOURCE",
    "NET_ADMIN", "SYS_CHROOT", "SETPCAP", "MKNOD",
)  # fmt: skip


@pytest.fixture(scope="module")
def service() -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    section = ""
    for line in UNIT.read_text().splitlines():
        if line.startswith("["):
            section = line
        elif line and not line.startswith("#"):
            name, _, value = line.partition("=")
            assert name.isalpha(), line
            if section == "[Service]":
                found[name].append(value)
    return found


def test_pods_outlive_the_unit_and_have_groups_of_the_agents_own(service: dict[str, list[str]]) -> None:
    assert service["KillMode"] == ["process"]
    assert service["Delegate"] == ["yes"]
    assert service["Restart"] == ["always"]


def test_an_agent_and_the_supervisors_that_it_takes_over_see_the_same_mounts(service: dict[str, list[str]]) -> None:
    assert not [name for name in OWN_MOUNTS if name in service]


def test_the_agent_keeps_what_it_needs_and_gives_up_what_it_does_not(service: dict[str, list[str]]) -> None:
    assert all(line.startswith("~") for line in service["CapabilityBoundingSet"])
    dropped = {name for line in service["CapabilityBoundingSet"] for name in line[1:].split()}
    assert not {f"CAP_{name}" for name in NEEDED} & dropped
    assert {"CAP_SYS_MODULE", "CAP_SYS_BOOT", "CAP_SYS_TIME", "CAP_SYS_RAWIO"} <= dropped
