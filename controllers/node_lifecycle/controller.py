"""Turn missed heartbeats into conditions, conditions into taints, and NoExecute taints into evictions.

Reads Lease, Node and Pod; writes Node status, incarnation and taints, the Ready and DisruptionTarget conditions of pods, and
deletes pods that do not tolerate. One missed beat never condemns a node: the grace period covers a lost packet, a restart,
and before the verdict the lease is read twice from the server itself, because it may be our own view that stands still, or
the server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from prometheus_client import Counter

from stark.client.api import PatchType
from stark.client.errors import Conflict, NotFound
from stark.client.indexes import FieldIndex
from stark.client.informer import Change
from stark.client.queue import WorkQueue
from stark.crds.cluster import CLUSTER_CONFIG_NAME, ClusterConfig, ClusterConfigSpec
from stark.crds.conditions import find_condition
from stark.crds.coordination import Lease
from stark.crds.incarnations import INCARNATION, read_incarnation, revoked
from stark.crds.nodes import Node, NodeCondition
from stark.crds.podfacts import is_finished, is_ready
from stark.crds.pods import Pod, PodCondition

from ..kit import DONE, Context, Controller, Outcome, RequeueAfter, Source
from .eviction import TaintAges, plan_evictions
from .health import Health, asked, beat_of, condemned_after_s, grace_s, hear, silent_conditions, suspect_condition
from .settings import NodeSettings
from .tainting import health_taint, is_tainted_for_eviction, wanted_taints
from .zones import Pace, Zones, all_lost, rate_per_s, zone_of

LEASES = "kube-node-lease"
BY_NODE = "spec.nodeName"
SUSPECT_SHARE = 2 / 3
"""Of the heartbeat's time-out: when a node becomes suspect, where the cluster's settings do not say it."""
LOST = Counter("stark_nodes_lost", "Nodes that were declared lost, and whose agents were fenced off")
EVICTED_AT_ONCE_MAX = 16
"""Pods deleted at the same time; the others of the node follow right after."""


class NodeLifecycle(Controller):
    """See the module."""

    name = "node-lifecycle"

    def __init__(self, context: Context, settings: NodeSettings | None = None) -> None:
        self._context = context
        self._api = context.api
        self._given = settings
        self._nodes = context.informers.of(Node)
        self._leases = context.informers.of(Lease, LEASES)
        self._pods = context.informers.of(Pod, indexers={BY_NODE: FieldIndex(BY_NODE)})
        self._config = context.informers.of(ClusterConfig)
        self._health: dict[str, Health] = {}
        self._pace = Pace()
        self._taints = TaintAges()
        self._zones, self._all_lost = Zones(), False
        self._queue: WorkQueue | None = None
        self._nodes.subscribe(self._changed)

    @property
    def _settings(self) -> NodeSettings:
        """What we were given; else the cluster's patience, of this moment."""
        if self._given is not None:
            return self._given
        found = self._config.get(CLUSTER_CONFIG_NAME)
        spec = found.spec if found is not None else ClusterConfigSpec()
        grace_s, suspect_s = spec.node_heartbeat_timeout_seconds, spec.node_suspect_seconds
        return NodeSettings(grace_period_s=grace_s, suspect_after_s=suspect_s or grace_s * SUSPECT_SHARE)

    def sources(self) -> Sequence[Source[Any]]:
        """Nodes, their leases, the pods on them; and the cluster's settings, which concern every node."""
        return (
            Source(self._nodes),
            Source(self._config, lambda _: [node.metadata.name for node in self._nodes.list()]),
            Source(self._leases, lambda lease: (lease.metadata.name,)),
            Source(self._pods, _node_of),
        )

    async def lead(self, queue: WorkQueue) -> None:
        """Remember where nodes are asked about."""
        self._queue = queue

    def _changed(self, change: Change[Node]) -> None:
        if change.new is not None:
            self._count(change.new)
        else:
            self._zones.forget(change.key)

    def _count(self, node: Node) -> None:
        """Note how the node is. When no node is well any more, or one is again, it concerns all of them."""
        self._zones.note(node)
        are_lost = all_lost(self._zones.counts, self._settings)
        if are_lost != self._all_lost:
            self._all_lost, names = are_lost, self._nodes.keys()
            if self._queue is not None:
                for name in names:
                    self._queue.add(name)

    async def reconcile(self, key: str) -> Outcome:
        """Judge the node, taint it, and evict what has to go."""
        node = self._nodes.get(key)
        if node is None:
            self._health.pop(key, None)
            self._taints.forget(key)
            return DONE
        node, quiet_s = await self._judge(node)
        self._count(node)
        evict, wait_s = self._may_evict(node)
        node = await self._taint(node, evict=evict)
        if health_taint(node.status.conditions) is not None and not _says_false(node):
            await self._tell_pods(node)
        evictions_s = await self._evict(node)
        waits = [wait for wait in (quiet_s, wait_s, evictions_s) if wait is not None]
        return RequeueAfter(min(waits)) if waits else DONE

    # --- conditions ---

    async def _judge(self, node: Node) -> tuple[Node, float | None]:
        """The node with the conditions it deserves, and when to look again."""
        name = node.metadata.name
        now = asyncio.get_running_loop().time()
        lease = self._leases.get(f"{LEASES}/{name}")
        health = self._health[name] = hear(self._health.get(name), node, beat_of(node, lease), now)
        settings = self._settings
        allowed_s, silent_s = grace_s(node, settings), now - health.heard_at
        suspect_s = min(settings.suspect_after_s, allowed_s)
        if silent_s < suspect_s:
            return await self._suspect(node, None), suspect_s - silent_s
        conditions = silent_conditions(node, self._context.clock())
        is_held = read_incarnation(node.uid, node.metadata.annotations).holder is not None
        if conditions is None and not is_held:
            return node, None
        live, now = await self._live_lease(name), asyncio.get_running_loop().time()
        if beat_of(node, live) != health.beat:
            # Our view stood still, not the node.
            self._health[name] = Health(node.uid, beat_of(node, live), now)
            return node, suspect_s
        apart_s = allowed_s - suspect_s
        health = self._health[name] = asked(health, now, apart_s)
        wait_s = condemned_after_s(health, now, allowed_s, apart_s)
        if wait_s > 0:
            return await self._suspect(node, silent_s), wait_s
        node = await self._declare_lost(node, conditions or node.status.conditions)
        return node, None

    async def _suspect(self, node: Node, silent_s: float | None) -> Node:
        conditions = suspect_condition(node, silent_s=silent_s, now=self._context.clock())
        if conditions is None:
            return node
        if silent_s is not None:
            text = f"Node {node.metadata.name} has said nothing for {silent_s:.0f} s"
            self._context.recorder.event(node, "Warning", "NodeSuspect", text)
        return await self._write_conditions(node, conditions, {})

    async def _declare_lost(self, node: Node, conditions: Sequence[NodeCondition]) -> Node:
        """In one commit with the verdict, the agent's life as the node ends: what it says from now on is refused."""
        ended = revoked(node.metadata.annotations)
        node = await self._write_conditions(node, conditions, ended)
        name = node.metadata.name
        LOST.inc()
        text = f"Node {name} status is now: NodeNotReady; incarnation {ended[INCARNATION]} waits for its agent"
        self._context.recorder.event(node, "Normal", "NodeNotReady", text)
        return node

    async def _live_lease(self, name: str) -> Lease | None:
        try:
            return await self._api.get(Lease, name, LEASES)
        except NotFound:
            return None

    async def _write_conditions(
        self, node: Node, conditions: Sequence[NodeCondition], annotations: Mapping[str, str | None]
    ) -> Node:
        body = [each.model_dump(mode="json", by_alias=True, exclude_none=True) for each in conditions]
        # With the resourceVersion: if the agent speaks up at this moment, its word counts.
        meta = {**_precondition(node), **({"annotations": annotations} if annotations else {})}
        patch = {"metadata": meta, "status": {"conditions": body}}
        name = node.metadata.name
        return await self._api.patch(Node, name, patch, type=PatchType.STRATEGIC, subresource="status")

    # --- taints ---

    def _may_evict(self, node: Node) -> tuple[bool, float | None]:
        """Whether the node's pods may be moved away because it is unwell, and else when to ask again."""
        if health_taint(node.status.conditions) is None:
            return False, None
        settings = self._settings
        if self._all_lost:
            self._pace.stop()
            return False, settings.stopped_recheck_s
        if is_tainted_for_eviction(node):
            return True, None
        zone, now = zone_of(node), asyncio.get_running_loop().time()
        rate = rate_per_s(self._zones.counts, zone, settings)
        wait_s = self._pace.turn_in_s(zone, rate, settings.grace_period_s, now)
        return wait_s == 0, settings.stopped_recheck_s if wait_s is None else wait_s or None

    async def _taint(self, node: Node, *, evict: bool) -> Node:
        taints = wanted_taints(node, node.status.conditions, evict=evict, now=self._context.clock())
        if taints is None:
            return node
        body = [taint.model_dump(mode="json", by_alias=True, exclude_none=True) for taint in taints]
        # A patch replaces the whole list, so it must be written against exactly the version that was read.
        patch = {"metadata": _precondition(node), "spec": {"taints": body}}
        return await self._api.patch(Node, node.metadata.name, patch)

    # --- pods ---

    async def _tell_pods(self, node: Node) -> None:
        """Nobody knows how the pods of a silent node are: they are not ready, so that nobody counts on them."""
        now = self._context.clock()
        for pod in self._pods.by_index(BY_NODE, node.metadata.name):
            if not is_ready(pod) or is_finished(pod):
                continue
            condition = PodCondition(type="Ready", status="False", reason="NodeNotReady", last_transition_time=now)
            await self._condition(pod, condition)
            self._context.recorder.event(pod, "Warning", "NodeNotReady", "Node is not ready")

    async def _evict(self, node: Node) -> float | None:
        now, name = self._context.clock(), node.metadata.name
        taints = self._taints.aged(name, node.spec.taints, now, asyncio.get_running_loop().time())
        if not taints:
            self._taints.forget(name)
            return None
        pods = [pod for pod in self._pods.by_index(BY_NODE, name) if not is_finished(pod)]
        step = plan_evictions(taints, pods, now)
        for first in range(0, len(step.now), EVICTED_AT_ONCE_MAX):
            async with asyncio.TaskGroup() as group:
                for pod in step.now[first : first + EVICTED_AT_ONCE_MAX]:
                    group.create_task(self._delete(pod))
        return step.recheck_after_s

    async def _delete(self, pod: Pod) -> None:
        text = "Taint manager: deleting due to NoExecute taint"
        condition = PodCondition(
            type="DisruptionTarget",
            status="True",
            reason="DeletionByTaintManager",
            message=text,
            last_transition_time=self._context.clock(),
        )
        await self._condition(pod, condition)
        try:
            await self._api.delete(Pod, pod.metadata.name, pod.metadata.namespace, uid=pod.uid)
        except (NotFound, Conflict):
            return  # gone already, or a namesake has taken its place
        self._context.recorder.event(pod, "Normal", "TaintManagerEviction", f"Marking for deletion Pod {pod.key}")

    async def _condition(self, pod: Pod, condition: PodCondition) -> None:
        body = condition.model_dump(mode="json", by_alias=True, exclude_none=True)
        patch = {"metadata": {"uid": pod.uid}, "status": {"conditions": [body]}}
        meta = pod.metadata
        try:
            await self._api.patch(Pod, meta.name, patch, meta.namespace, type=PatchType.STRATEGIC, subresource="status")
        except (NotFound, Conflict):
            return  # gone already, or a namesake has taken its place


def _precondition(node: Node) -> dict[str, str | None]:
    return {"uid": node.uid, "resourceVersion": node.metadata.resource_version}


def _says_false(node: Node) -> bool:
    """The agent itself says that it is not ready; then it also knows how its pods are."""
    ready = find_condition(node.status.conditions, "Ready")
    return ready is not None and ready.status == "False"


def _node_of(pod: Pod) -> Iterable[str]:
    return (pod.spec.node_name,) if pod.spec.node_name else ()


def build(context: Context) -> Controller:
    """For the catalog."""
    return NodeLifecycle(context)
