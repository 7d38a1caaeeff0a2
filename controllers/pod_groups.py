"""Tell of each pod group how many of its pods there are, and how far they are.

Reads PodGroups and Pods; the only writer of a PodGroup's status. It decides nothing: the scheduler places the pods, and
goes by the pods themselves, never by what is written here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from stark.crds.conditions import Condition, find_condition, set_condition
from stark.crds.pod_groups import PodGroup, PodGroupPhase, PodGroupStatus
from stark.crds.podfacts import group_of
from stark.crds.pods import Pod

from .kit import DONE, Context, Controller, Outcome, Source

BY_GROUP = "pod-group"


def groups_of(pod: Pod) -> Iterable[str]:
    """The key of the pod's group, if it has one; also an index of pods."""
    group = group_of(pod)
    return (group,) if group else ()


def status_of(group: PodGroup, pods: Sequence[Pod], now: datetime) -> PodGroupStatus:
    """The status the group should have, given all pods that carry its name."""
    alive = [pod for pod in pods if pod.status.phase != "Failed" and pod.metadata.deletion_timestamp is None]
    scheduled = sum(bool(pod.spec.node_name) for pod in alive)
    succeeded = sum(pod.status.phase == "Succeeded" for pod in alive)
    running = sum(pod.status.phase == "Running" for pod in alive)
    return PodGroupStatus(
        observed_generation=group.metadata.generation,
        phase=_phase(group.spec.min_member, scheduled, running, succeeded),
        members=len(alive),
        scheduled=scheduled,
        running=running,
        succeeded=succeeded,
        failed=sum(pod.status.phase == "Failed" for pod in pods),
        conditions=set_condition(group.status.conditions, _condition(group, alive, scheduled), now),
    )


def _phase(needed: int, scheduled: int, running: int, succeeded: int) -> PodGroupPhase:
    if succeeded >= needed:
        return "Finished"
    if running + succeeded >= needed:
        return "Running"
    return "Scheduled" if scheduled >= needed else "Pending"


def _condition(group: PodGroup, alive: Sequence[Pod], scheduled: int) -> Condition:
    needed, seen = group.spec.min_member, group.metadata.generation
    if scheduled >= needed:
        message = f"{scheduled} pods have a node"
        return Condition(type="Scheduled", status="True", reason="Placed", message=message, observed_generation=seen)
    reason, message = "TooFewMembers", f"{len(alive)} of the {needed} members it needs are there"
    if len(alive) >= needed:
        reason, message = "Unschedulable", _why(alive) or f"{scheduled} of {needed} pods have a node"
    return Condition(type="Scheduled", status="False", reason=reason, message=message, observed_generation=seen)


def _why(pods: Iterable[Pod]) -> str:
    """What the scheduler says of the first pod that waits."""
    for pod in sorted(pods, key=lambda pod: pod.metadata.name):
        told = find_condition(pod.status.conditions, "PodScheduled")
        if told is not None and told.status == "False" and told.message:
            return told.message
    return ""


class PodGroups(Controller):
    """See the module."""

    name = "pod-group"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._groups = context.informers.of(PodGroup)
        self._pods = context.informers.of(Pod, indexers={BY_GROUP: groups_of})

    def sources(self) -> Sequence[Source[Any]]:
        """Groups, and the pods that carry a group's name."""
        return (Source(self._groups), Source(self._pods, groups_of))

    async def reconcile(self, key: str) -> Outcome:
        """Count and write down."""
        group = self._groups.get(key)
        if group is None or group.metadata.deletion_timestamp is not None:
            return DONE
        status = status_of(group, self._pods.by_index(BY_GROUP, key), self._context.clock())
        if status.model_dump(exclude_defaults=True) == group.status.model_dump(exclude_defaults=True):
            return DONE
        await self._context.api.update(group.model_copy(update={"status": status}), "status")
        if status.phase != group.status.phase:
            self._tell(group, status)
        return DONE

    def _tell(self, group: PodGroup, status: PodGroupStatus) -> None:
        if status.phase in ("Scheduled", "Running") and group.status.phase in (None, "Pending"):
            text = f"{status.scheduled} pods of the group have a node"
            self._context.recorder.event(group, "Normal", "GroupScheduled", text)
        elif status.phase == "Finished":
            text = f"{status.succeeded} pods of the group have succeeded"
            self._context.recorder.event(group, "Normal", "GroupFinished", text)


def build(context: Context) -> Controller:
    """For the catalog."""
    return PodGroups(context)
