"""Make room for a pod: delete the pods that are in its way, once it has been told where it will be.

In that order, so that a crash in between costs nobody: a nomination without victims on their way out is decided anew,
while pods deleted for nobody would be gone for nothing. Every victim is told why by the condition DisruptionTarget before
it is deleted, with its own grace.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime

from stark.client.api import Client, PatchType
from stark.client.errors import ApiError, Conflict, NotFound
from stark.crds.placement.victims import Resident
from stark.crds.podfacts import DEFAULT_SCHEDULER
from stark.crds.pods import Pod, PodCondition

from ..kit import Context
from . import metrics
from .core import Preempt

log = logging.getLogger(__name__)

AT_ONCE_MAX = 16
"""Victims of one pod that are deleted at the same time."""
MESSAGE = f"{DEFAULT_SCHEDULER}: preempting to accommodate a higher priority pod"


def disruption(now: datetime) -> PodCondition:
    """What a victim is told (KEP-3329)."""
    return PodCondition(
        type="DisruptionTarget",
        status="True",
        reason="PreemptionByScheduler",
        message=MESSAGE,
        last_transition_time=now.replace(microsecond=0),
    )


async def make_way(context: Context, preempt: Preempt) -> bool:
    """Delete the victims. False when one of them could not be asked, so that the decision must be made anew."""
    room = asyncio.Semaphore(AT_ONCE_MAX)

    async def one(victim: Resident) -> bool:
        async with room:
            return await _delete(context, victim, preempt)

    metrics.PREEMPTIONS.inc()
    metrics.VICTIMS.observe(len(preempt.victims))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(victim)) for victim in preempt.victims]
    return all(task.result() for task in tasks)


async def _delete(context: Context, victim: Resident, preempt: Preempt) -> bool:
    body = disruption(context.clock()).model_dump(mode="json", by_alias=True, exclude_none=True)
    patch = {"metadata": {"uid": victim.uid}, "status": {"conditions": [body]}}
    api: Client = context.api
    try:
        told = await api.patch(
            Pod, victim.name, patch, victim.namespace, type=PatchType.STRATEGIC, subresource="status"
        )
        await api.delete(Pod, victim.name, victim.namespace, uid=victim.uid)
    except (NotFound, Conflict):
        return True  # it is gone already, or a namesake is in its place
    except ApiError as error:
        log.warning("a pod was not preempted", extra={"podId": victim.key, "detail": str(error)})
        return False
    text = f"Preempted by pod {preempt.refuse.pod.uid} on node {preempt.refuse.nominated}"
    context.recorder.event(told, "Normal", "Preempted", text)
    log.info("pod preempted", extra={"podId": victim.key, "nodeId": preempt.refuse.nominated})
    return True
