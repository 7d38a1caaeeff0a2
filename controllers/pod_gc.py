"""Take away pods that nobody will ever take away: those bound to nodes that are gone or out of service, and the oldest of
too many finished ones.

A pod's end is never forced while its node's agent may still speak for it: a node that is gone has no incarnation any
more, and of one that an operator has tainted as out of service (KEP-2268) the present one must have been revoked.

Reads Pods and Nodes, deletes Pods. A node must have been missing for a while, and be missing at the server too, before
its pods are given up: a node that is registered anew finds them again. It looks at everything now and then instead of
at each change.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stark.client.api import PatchType
from stark.client.errors import ApiError, Conflict, Fenced, NotFound
from stark.client.queue import WorkQueue
from stark.crds.conditions import is_true
from stark.crds.incarnations import read_incarnation
from stark.crds.nodes import Node
from stark.crds.nodestate import TAINT_OUT_OF_SERVICE
from stark.crds.podfacts import is_finished
from stark.crds.pods import Pod

from .kit import DONE, Context, Controller, Outcome, Source

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PodGcSettings:
    """When pods are given up."""

    period_s: float = 20.0
    """How often everything is looked at."""
    quarantine_s: float = 40.0
    """How long a node must be gone before its pods are given up; as long as a node may be silent."""
    finished_max: int = 12_500
    """Finished pods that are kept; they are history for people, and history has to end."""


@dataclass(frozen=True, slots=True)
class Plan:
    """`orphans` are on nodes that are gone, `surplus` finished and too many, `stranded` wait for a machine that is off."""

    orphans: Sequence[Pod] = ()
    surplus: Sequence[Pod] = ()
    stranded: Sequence[Pod] = ()


def plan(pods: Iterable[Pod], gone: Collection[str], finished_max: int, off: Collection[str] = ()) -> Plan:
    """Which pods to give up, given the names of nodes that are gone for good, and of those that are known to be off."""
    every = list(pods)
    orphans = [pod for pod in every if pod.spec.node_name in gone]
    lost = {pod.uid for pod in orphans}
    finished = [pod for pod in every if is_finished(pod) and pod.uid not in lost]
    too_many = max(0, len(finished) - finished_max)
    stranded = [
        pod
        for pod in every
        if pod.spec.node_name in off and pod.metadata.deletion_timestamp is not None and pod.uid not in lost
    ]
    return Plan(orphans, sorted(finished, key=_age)[:too_many], stranded)


def is_off(node: Node) -> bool:
    """Whether somebody who can know says that its machine is off, and its agent is heard no more."""
    tainted = any(taint.key == TAINT_OUT_OF_SERVICE for taint in node.spec.taints)
    life = read_incarnation(node.uid, node.metadata.annotations)
    return tainted and not is_true(node.status.conditions, "Ready") and (life.is_fenced or not life.number)


def _age(pod: Pod) -> tuple[float, str]:
    created = pod.metadata.creation_timestamp
    return (created.timestamp() if created else 0.0, pod.key)


def missing_since(
    pods: Iterable[Pod], nodes: Collection[str], known: Mapping[str, float], now: float
) -> dict[str, float]:
    """Since when the nodes that pods name have been missing. A node that is back is forgotten."""
    named = {pod.spec.node_name for pod in pods if pod.spec.node_name}
    return {name: known.get(name, now) for name in named if name not in nodes}


class PodGc(Controller):
    """See the module."""

    name = "pod-gc"

    def __init__(self, context: Context, settings: PodGcSettings | None = None) -> None:
        self._context = context
        self._api = context.api
        self._settings = settings or PodGcSettings()
        self._pods = context.informers.of(Pod)
        self._nodes = context.informers.of(Node)

    def sources(self) -> Sequence[Source[Any]]:
        """The two caches that must be filled; they bring no keys."""
        return (Source(self._pods, lambda _: ()), Source(self._nodes, lambda _: ()))

    async def reconcile(self, key: str) -> Outcome:
        """Never asked: there are no keys."""
        return DONE

    async def lead(self, queue: WorkQueue) -> None:
        """Look at everything, again and again."""
        missing: dict[str, float] = {}
        while True:
            missing = await self._sweep(missing)
            await asyncio.sleep(self._settings.period_s)

    async def _sweep(self, missing: Mapping[str, float]) -> dict[str, float]:
        pods, now = self._pods.list(), asyncio.get_running_loop().time()
        missing = missing_since(pods, set(self._nodes.keys()), missing, now)
        gone = set()
        for name, since in missing.items():
            if now - since >= self._settings.quarantine_s and await self._is_gone(name):
                gone.add(name)
        off = {node.metadata.name for node in self._nodes.list() if is_off(node)}
        step = plan(pods, gone, self._settings.finished_max, off)
        for pod in step.orphans:
            await self._give_up(pod, orphan=True)
        for pod in step.stranded:
            await self._give_up(pod, orphan=True, why="PodGC: node is out of service")
        for pod in step.surplus:
            await self._give_up(pod, orphan=False)
        return dict(missing)

    async def _is_gone(self, name: str) -> bool:
        try:
            await self._api.get(Node, name)
        except NotFound:
            return True
        except ApiError:
            return False
        return False

    async def _give_up(self, pod: Pod, *, orphan: bool, why: str = "PodGC: node no longer exists") -> None:
        meta = pod.metadata
        try:
            if orphan and not is_finished(pod):
                # Its owner shall see it as failed whatever happens to our second write.
                await self._api.patch(
                    Pod,
                    meta.name,
                    self._failure(pod, why),
                    meta.namespace,
                    type=PatchType.STRATEGIC,
                    subresource="status",
                )
            await self._api.delete(Pod, meta.name, meta.namespace, uid=pod.uid, grace_period_s=0)
        except (NotFound, Conflict):
            return  # gone already, or changed: the next sweep looks again
        except Fenced:
            raise
        except ApiError as error:
            log.warning("a pod could not be given up", extra={"podId": pod.key, "detail": str(error)})
            return
        log.info("pod given up", extra={"podId": pod.key, "nodeId": pod.spec.node_name, "orphan": orphan})

    def _failure(self, pod: Pod, why: str) -> dict[str, Any]:
        condition = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "DeletionByPodGC",
            "message": why,
            "lastTransitionTime": self._context.clock().strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        return {"metadata": {"uid": pod.uid}, "status": {"phase": "Failed", "conditions": [condition]}}


def build(context: Context) -> Controller:
    """For the catalog."""
    return PodGc(context)
