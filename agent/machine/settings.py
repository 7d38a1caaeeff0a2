"""The numbers behind the machine's decisions."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MachineSettings:
    """What the machine is told at first; the waits may change later (`Retuned`)."""

    node_ip: str = "127.0.0.1"
    """Address of the node, and so of every pod whose programs are plain processes."""
    backoff_initial_s: float = 10.0
    """Wait before the second restart; the first is immediate. Kubernetes' figure. Never above the ceiling (KEP-4603)."""
    backoff_max_s: float = 300.0
    """Ceiling of the wait: a broken program costs one start in five minutes. Kubernetes' figure."""
    backoff_reset_s: float = 600.0
    """A run this long forgives earlier failures. Kubernetes' figure, whatever the ceiling (KEP-4603)."""
    grace_max_s: float = 3600.0
    """Longest graceful stop the node grants, whatever the pod asks for."""


def next_backoff_s(previous_s: float, settings: MachineSettings) -> float:
    """The wait after `previous_s`: nothing, the initial one, then doubled up to the ceiling."""
    if previous_s <= 0:
        return min(settings.backoff_initial_s, settings.backoff_max_s)
    return min(previous_s * 2, settings.backoff_max_s)
