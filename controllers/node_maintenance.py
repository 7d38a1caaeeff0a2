"""Drain the nodes that operators take out of service, for as long as it takes, and say how far it is.

Reads Nodes and Pods; writes the taint and the condition of maintenance, and asks for evictions. Disruption budgets are
asked about each pod: one that is held is asked for again later. Pods of DaemonSets stay, because they would come back at
once; pods that no controller makes again are left to people.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from stark.client.api import PatchType
from stark.client.errors import ApiError, Conflict, Fenced, NotFound, TooManyRequests
from stark.client.indexes import FieldIndex
from stark.crds.conditions import find_condition
from stark.crds.draining import DrainPlan, DrainRules, budget_complaint, eviction_of, plan_drain
from stark.crds.meta import to_wire
from stark.crds.nodes import Node, NodeCondition, Taint
from stark.crds.nodestate import DRAINED, DRAINING, MAINTENANCE, MAINTENANCE_CONDITION, TAINT_MAINTENANCE
from stark.crds.pods import Pod

from .kit import DONE, Context, Controller, Outcome, RequeueAfter, Source

log = logging.getLogger(__name__)

BY_NODE = "spec.nodeName"
RETRY_S = 5.0
"""Between two attempts at a pod that its budget holds; kubectl's rhythm."""
EVICTED_AT_ONCE_MAX = 16
RULES = DrainRules(ignore_daemon_sets=True, force=False, delete_empty_dir=True)
TAINT = Taint(key=TAINT_MAINTENANCE, effect="NoSchedule")


@dataclass(frozen=True, slots=True)
class Progress:
    """What a round of evictions came to: why pods are held, by `<namespace>/<name>`."""

    held: dict[str, str]


def wanted_taints(node: Node, *, in_maintenance: bool) -> list[Taint] | None:
    """The node's taints as they should be; None when they are."""
    has = any((taint.key, taint.effect) == (TAINT.key, TAINT.effect) for taint in node.spec.taints)
    if has == in_maintenance:
        return None
    kept = [taint for taint in node.spec.taints if (taint.key, taint.effect) != (TAINT.key, TAINT.effect)]
    return [*kept, TAINT] if in_maintenance else kept


def wanted_condition(node: Node, plan: DrainPlan | None, progress: Progress, now: datetime) -> NodeCondition | None:
    """What the node should say of it; None when it says so. `plan` is None when there is no maintenance."""
    old = find_condition(node.status.conditions, MAINTENANCE_CONDITION)
    if plan is None:
        if old is None or old.status == "False":
            return None
        status, reason, message = "False", "InService", "The node is in service."
    else:
        left = len(plan.go) + len(plan.unmanaged)
        status, reason = "True", DRAINING if left else DRAINED
        message = _told(plan, progress) if left else "The node's pods are gone."
        if old is not None and (old.status, old.reason, old.message) == (status, reason, message):
            return None
    since = old.last_transition_time if old is not None and old.status == status else None
    return NodeCondition.model_validate(
        {
            "type": MAINTENANCE_CONDITION,
            "status": status,
            "reason": reason,
            "message": message,
            "lastTransitionTime": since or now,
        }
    )


def _told(plan: DrainPlan, progress: Progress) -> str:
    left = len(plan.go) + len(plan.unmanaged)
    parts = ["1 pod is left" if left == 1 else f"{left} pods are left"]
    if progress.held:
        pod, why = sorted(progress.held.items())[0]
        parts.append(f"{len(progress.held)} held by disruption budgets, e.g. {pod}: {why}")
    if plan.unmanaged:
        names = sorted(f"{pod['metadata'].get('namespace')}/{pod['metadata']['name']}" for pod in plan.unmanaged)
        parts.append(f"no controller makes {names[0]}{' and others' if len(names) > 1 else ''} again: delete by hand")
    return "; ".join(parts)


class NodeMaintenance(Controller):
    """See the module."""

    name = "node-maintenance"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._api = context.api
        self._nodes = context.informers.of(Node)
        self._pods = context.informers.of(Pod, indexers={BY_NODE: FieldIndex(BY_NODE)})

    def sources(self) -> Sequence[Source[Any]]:
        """Nodes, and the pods on them."""
        return (Source(self._nodes), Source(self._pods, self._maintained))

    def _maintained(self, pod: Pod) -> Iterable[str]:
        node = self._nodes.get(pod.spec.node_name) if pod.spec.node_name else None
        return (node.metadata.name,) if node is not None and MAINTENANCE in node.metadata.annotations else ()

    async def reconcile(self, key: str) -> Outcome:
        """Taint it, evict what may go, say what is left."""
        node = self._nodes.get(key)
        if node is None:
            return DONE
        in_maintenance = MAINTENANCE in node.metadata.annotations
        node = await self._taint(node, in_maintenance=in_maintenance)
        plan, progress = None, Progress({})
        if in_maintenance:
            pods = [to_wire(pod) for pod in self._pods.by_index(BY_NODE, key)]
            plan = plan_drain(pods, RULES)
            progress = await self._evict(node, plan)
        condition = wanted_condition(node, plan, progress, self._context.clock())
        if condition is not None:
            await self._tell(node, condition)
        return RequeueAfter(RETRY_S) if plan is not None and plan.go else DONE

    async def _taint(self, node: Node, *, in_maintenance: bool) -> Node:
        taints = wanted_taints(node, in_maintenance=in_maintenance)
        if taints is None:
            return node
        body = [taint.model_dump(mode="json", by_alias=True, exclude_none=True) for taint in taints]
        meta = {"uid": node.uid, "resourceVersion": node.metadata.resource_version}
        return await self._api.patch(Node, node.metadata.name, {"metadata": meta, "spec": {"taints": body}})

    async def _evict(self, node: Node, plan: DrainPlan) -> Progress:
        held: dict[str, str] = {}
        pods = [pod for pod in plan.go if not pod["metadata"].get("deletionTimestamp")]
        for first in range(0, len(pods), EVICTED_AT_ONCE_MAX):
            async with asyncio.TaskGroup() as group:
                for pod in pods[first : first + EVICTED_AT_ONCE_MAX]:
                    group.create_task(self._evict_one(pod, held))
        return Progress(held)

    async def _evict_one(self, pod: Any, held: dict[str, str]) -> None:
        meta = pod["metadata"]
        try:
            await self._api.evict(meta["name"], meta["namespace"], eviction_of(pod))
        except (NotFound, Conflict):
            return  # gone already, or a namesake has taken its place
        except TooManyRequests as error:
            held[f"{meta['namespace']}/{meta['name']}"] = budget_complaint(error.status) or error.message
        except Fenced:
            raise
        except ApiError as error:
            log.warning("a pod could not be evicted", extra={"podId": meta["uid"], "detail": error.message})
            held[f"{meta['namespace']}/{meta['name']}"] = error.message

    async def _tell(self, node: Node, condition: NodeCondition) -> None:
        old = find_condition(node.status.conditions, MAINTENANCE_CONDITION)
        body = condition.model_dump(mode="json", by_alias=True, exclude_none=True)
        patch = {"metadata": {"uid": node.uid}, "status": {"conditions": [body]}}
        await self._api.patch(Node, node.metadata.name, patch, type=PatchType.STRATEGIC, subresource="status")
        if old is None or old.reason != condition.reason:
            text = f"Node {node.metadata.name}: {condition.message}"
            self._context.recorder.event(node, "Normal", f"Maintenance{condition.reason}", text)


def build(context: Context) -> Controller:
    """For the catalog."""
    return NodeMaintenance(context)
