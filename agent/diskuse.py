"""Which pods go because of the disk: those beyond their own limits, and one at a time while the node runs out of it.

What counts is what the kubelet counts: a container's log and what it wrote in its working directory, and the pod's
emptyDirs and temporary files. Folders in memory count as memory. Everything here decides; `evicting` measures and acts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from stark.crds.podcontainers import every_container, is_sidecar, peak
from stark.crds.pods import Container, Pod
from stark.crds.quantity import byte_count, format_bytes

Kind = Literal["requests", "limits"]
RESOURCE = "ephemeral-storage"
SYSTEM_PRIORITY = 2_000_000_000
"""From here on a pod is critical: it never goes for the node's sake."""


@dataclass(frozen=True, slots=True)
class PodUsage:
    """What one pod has on the disk, in bytes."""

    containers: Mapping[str, int] = field(default_factory=dict)
    """Log and working directory, by container."""
    volumes: Mapping[str, int] = field(default_factory=dict)
    """emptyDirs on the disk."""
    temporary: int = 0

    @property
    def total(self) -> int:
        """All of it."""
        return sum(self.containers.values()) + sum(self.volumes.values()) + self.temporary


def is_limited(pod: Pod) -> bool:
    """Whether it may have only so much on the disk."""
    return any(_amount(one, "limits") is not None for one in every_container(pod.spec)) or any(
        volume.empty_dir is not None and volume.empty_dir.size_limit for volume in pod.spec.volumes
    )


def beyond_limits(pod: Pod, usage: PodUsage) -> str | None:
    """Why the pod must go by its own spec, in the kubelet's words; None when it need not."""
    for volume in pod.spec.volumes:
        limit = volume.empty_dir.size_limit if volume.empty_dir is not None else None
        if limit and byte_count(limit) and usage.volumes.get(volume.name, 0) > byte_count(limit):
            return f'Usage of EmptyDir volume "{volume.name}" exceeds the limit "{limit}". '
    if any(_amount(one, "limits") is not None for one in every_container(pod.spec)):
        whole = _whole(pod, "limits")
        if usage.total > whole:
            return f"Pod ephemeral local storage usage exceeds the total limit of containers {format_bytes(whole)}. "
    for container in every_container(pod.spec):
        limit = _amount(container, "limits")
        if limit is not None and usage.containers.get(container.name, 0) > byte_count(limit):
            return f'Container {container.name} exceeded its local ephemeral storage limit "{limit}". '
    return None


def first_to_go(pods: Sequence[Pod], usage: Mapping[str, PodUsage]) -> Pod | None:
    """The pod that makes way when the disk runs out: beyond its request, then least important, then the biggest."""

    def order(pod: Pod) -> tuple[bool, int, int]:
        used = usage[pod.uid].total
        request = _whole(pod, "requests")
        return used <= request, pod.spec.priority or 0, request - used

    movable = [pod for pod in pods if (pod.spec.priority or 0) < SYSTEM_PRIORITY and pod.uid in usage]
    return min(movable, key=order, default=None)


def low_message(pod: Pod, usage: PodUsage, threshold: int, available: int) -> str:
    """The kubelet's message for a pod that goes for the node's sake."""
    text = (
        f"The node was low on resource: {RESOURCE}. "
        f"Threshold quantity: {format_bytes(threshold)}, available: {format_bytes(available // 1024 * 1024)}. "
    )
    for container in every_container(pod.spec):
        used, request = usage.containers.get(container.name, 0), _amount(container, "requests") or "0"
        if used > byte_count(request):
            text += (
                f"Container {container.name} was using {format_bytes(used)}, request is {request}, "
                f"has larger consumption of {RESOURCE}. "
            )
    return text


def _amount(container: Container, kind: Kind) -> str | None:
    resources = container.resources
    return getattr(resources, kind).get(RESOURCE) if resources is not None else None


def _whole(pod: Pod, kind: Kind) -> int:
    """The pod's amount in bytes."""
    initial = [(byte_count(_amount(one, kind) or "0"), is_sidecar(one)) for one in pod.spec.init_containers]
    return peak(initial, [byte_count(_amount(one, kind) or "0") for one in pod.spec.containers])
