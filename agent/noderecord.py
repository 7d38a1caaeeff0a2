"""The agent's own Node and Lease: registered, kept current, and given back to the operators where it is theirs.

Labels the agent finds out itself are corrected at every start; other labels, taints and cordoning are never touched
after the first registration.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from prometheus_client import Counter

from stark.client.api import Client, PatchType
from stark.client.backoff import Backoff
from stark.client.errors import ApiError, Conflict, NotFound, Superseded
from stark.crds.annotations import (
    ACCEPT_PUBLIC_PACKS,
    ARCH,
    HOSTNAME,
    ISOLATION,
    ISOLATION_PREFIX,
    NODE_RUNTIMES,
    NODE_TYPE,
    NODE_TYPE_SERVER,
    OS,
    runtime_label,
)
from stark.crds.cluster import CLUSTER_CONFIG_NAME, ClusterConfig, ClusterConfigSpec
from stark.crds.conditions import find_condition
from stark.crds.coordination import Lease, LeaseSpec
from stark.crds.events import Event, EventSource
from stark.crds.incarnations import HOLDER, INCARNATION, Incarnation, claimed, read_incarnation, revoked
from stark.crds.isolation import CLASSES
from stark.crds.meta import ObjectMeta, to_wire
from stark.crds.nodes import (
    DaemonEndpoint,
    Node,
    NodeAddress,
    NodeCondition,
    NodeDaemonEndpoints,
    NodeSpec,
    NodeStatus,
    Taint,
)
from stark.crds.pods import ObjectReference
from stark.crds.quantity import format_milli_cpu

from .host import Pressure, PressureHold, architecture, cpu_milli, memory_bytes, pressure, system_info
from .membership import Membership
from .settings import AgentSettings

log = logging.getLogger(__name__)

LEASE_NAMESPACE = "kube-node-lease"
CONFIG_PERIOD_S = 60.0
"""How often the cluster's settings are looked at, at most."""
REGISTER_RETRY_MAX_S = 5.0
ANSWER_S = 10.0
"""How long the answer to a report may take: on a connection that the network has forgotten none ever comes, and the node
would count as lost while its agent waits. The kubelet's figure."""
HELD_PAUSE_S = 5.0
"""Between two looks at whether the agent that is this node has gone."""
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")

BEATS = Counter("stark_agent_heartbeats", "Lease renewals", ["outcome"])


def parse_taint(text: str) -> Taint:
    """`key[=value]:Effect`. Raises ValueError."""
    head, colon, effect = text.rpartition(":")
    key, _, value = head.partition("=")
    if not colon or not key or effect not in EFFECTS:
        raise ValueError(f"{text!r} is not a taint: write key[=value]:Effect with one of {', '.join(EFFECTS)}")
    return Taint.model_validate({"key": key, "effect": effect, **({"value": value} if value else {})})


@dataclass(frozen=True, slots=True)
class Facts:
    """What the agent found out about its machine at start."""

    address: str
    port: int
    runtimes: dict[str, str]
    """Version by runtime."""
    isolation: dict[str, str]
    """How limits and users are enforced, for people."""
    classes: frozenset[str] = frozenset()
    """The classes of isolation that pods can have here."""


def own_labels(settings: AgentSettings, facts: Facts) -> dict[str, str | None]:
    """The labels the agent answers for; None takes a label away."""
    labels: dict[str, str | None] = {runtime_label(name): facts.runtimes.get(name) for name in NODE_RUNTIMES}
    labels |= {ISOLATION_PREFIX + name: "true" if name in facts.classes else None for name in CLASSES}
    return {
        **labels,
        HOSTNAME: settings.name,
        ARCH: architecture(),
        OS: "linux",
        NODE_TYPE: NODE_TYPE_SERVER,
        **settings.labels,
    }


def node_amounts(settings: AgentSettings) -> dict[str, str]:
    """What the node has for pods."""
    memory = settings.memory_mib << 20 if settings.memory_mib is not None else memory_bytes()
    return {
        "cpu": format_milli_cpu(settings.cpu_milli if settings.cpu_milli is not None else cpu_milli()),
        "memory": f"{memory >> 10}Ki",
        "pods": str(settings.pods_max),
        **settings.resources,
    }


def node_status(settings: AgentSettings, facts: Facts, seen: Node | None, now: datetime, low: Pressure) -> NodeStatus:
    """What the agent reports; transition times move only when a condition changes."""
    amounts = node_amounts(settings)
    verdicts = [
        ("MemoryPressure", low.memory, "MemoryIsLow", "HasSufficientMemory", "memory"),
        ("DiskPressure", low.disk, "DiskIsLow", "HasNoDiskPressure", "disk space"),
        ("PIDPressure", low.pids, "PIDsAreLow", "HasSufficientPID", "process ids"),
    ]
    conditions = [
        _condition(
            seen, now, name, "True" if bad else "False", reason if bad else good, f"agent has {_enough(bad)} {of}"
        )
        for name, bad, reason, good, of in verdicts
    ]
    conditions.append(_condition(seen, now, "Ready", "True", "AgentReady", "agent is posting ready status"))
    return NodeStatus(
        capacity=amounts,
        allocatable=amounts,
        conditions=conditions,
        addresses=[
            NodeAddress(type="InternalIP", address=facts.address),
            NodeAddress(type="Hostname", address=settings.name),
        ],
        daemon_endpoints=NodeDaemonEndpoints(kubelet_endpoint=DaemonEndpoint(port=facts.port)),
        node_info=system_info(),
    )


def _enough(bad: bool) -> str:
    return "too little" if bad else "sufficient"


def _condition(seen: Node | None, now: datetime, type_: str, status: Any, reason: str, message: str) -> NodeCondition:
    old = find_condition(seen.status.conditions, type_) if seen is not None else None
    since = old.last_transition_time if old is not None and old.status == status else None
    return NodeCondition(
        type=type_,
        status=status,
        reason=reason,
        message=message,
        last_heartbeat_time=now,
        last_transition_time=since or now,
    )


def gist_differs(own: NodeStatus, seen: NodeStatus) -> bool:
    """Whether a status is worth writing. Amounts that somebody else reports, such as devices, are none of our business."""
    amounts = {name: amount for name, amount in seen.capacity.items() if name in own.capacity}
    return _gist(own) != _gist(seen.model_copy(update={"capacity": amounts}))


def _gist(status: NodeStatus) -> tuple[object, ...]:
    """What makes a status worth writing: everything but the times."""
    conditions = {(c.type, c.status, c.reason) for c in status.conditions}
    known = {"MemoryPressure", "DiskPressure", "PIDPressure", "Ready"}
    endpoint = status.daemon_endpoints.kubelet_endpoint if status.daemon_endpoints else None
    return (
        frozenset(c for c in conditions if c[0] in known),
        tuple(sorted(status.capacity.items())),
        tuple((a.type, a.address) for a in status.addresses),
        endpoint.port if endpoint else 0,
    )


class HeldByAnother(Exception):
    """Another agent is this node."""


class Pods(Protocol):
    """What the node's record needs of the pods."""

    async def surrender(self, *, everything: bool) -> None:
        """End what the API server no longer has for this node, or all, and return when it has ended. Raises ApiError."""
        ...

    def heard(self) -> None:
        """The API server took a heartbeat."""
        ...


class NodeRecord:
    """Keeps Node and Lease. `on_registered` is called after each success, `on_config` when the cluster's settings were
    read."""

    def __init__(
        self,
        settings: AgentSettings,
        facts: Facts,
        client: Client,
        membership: Membership,
        pods: Pods,
        on_registered: Callable[[], None],
        on_config: Callable[[ClusterConfigSpec], None] = lambda _: None,
    ) -> None:
        self._membership, self._pods = membership, pods
        self._settings = settings
        self._facts = facts
        self._client = client.hasty(ANSWER_S)
        self._on_registered, self._on_config = on_registered, on_config
        self._name = settings.name
        self._hold = PressureHold()
        self._written_at = float("-inf")
        self._config, self._config_asked_s = ClusterConfigSpec(), float("-inf")
        self._node_uid = ""
        self._told = self._leaving = False
        self._claim: Incarnation | None = None
        """The life that we have last asked for; whether we got it, the answer may have failed to say."""

    @property
    def node_uid(self) -> str:
        """The Node's uid; empty before it is registered."""
        return self._node_uid

    async def run(self) -> None:
        """Be the node: join, report until that is over, join again; until cancelled, or until it was left."""
        while not self._leaving:
            node = await self._join()
            async with asyncio.TaskGroup() as group:
                reports = [group.create_task(self._heartbeats()), group.create_task(self._statuses(node))]
                await self._membership.over.wait()
                for report in reports:
                    report.cancel()

    async def leave(self) -> None:
        """Make room for another agent: our pods have ended. Raises ApiError."""
        if not self._membership.current.is_set():
            return
        seen = await self._client.get(Node, self._name)
        await self._client.patch(Node, self._name, _patch(seen, {}, revoked(seen.metadata.annotations)))
        self._leaving = True
        self._membership.fence("the agent leaves")

    async def _join(self) -> Node:
        backoff = Backoff(max_s=REGISTER_RETRY_MAX_S)
        while True:
            try:
                return await self.register()
            except HeldByAnother as error:
                await self._tell(error)
                pause_s = HELD_PAUSE_S
            except Conflict as error:
                log.info("the node changed while it was claimed", extra={"error": error.message})
                pause_s = backoff.next_s()
            except ApiError as error:
                log.warning("node is not registered yet", extra={"error": error.message})
                pause_s = backoff.next_s()
            await asyncio.sleep(pause_s)

    async def register(self) -> Node:
        """Claim the Node, created or corrected. Raises HeldByAnother, ApiError.

        What is no longer ours ends before: the claim says that whatever the node reports from here on is so.
        """
        try:
            seen = await self._client.get(Node, self._name)
        except NotFound:
            await self._pods.surrender(everything=False)
            node = await self._create()
        else:
            await self._make_way(seen)
            life = read_incarnation(seen.uid, seen.metadata.annotations)
            # One that we asked for and whose answer was lost is ours: claiming the next would end it at once.
            node = seen if life == self._claim else await self._ask_for(seen, life)
        self._node_uid, self._config_asked_s = node.uid, float("-inf")
        self._membership.claimed(read_incarnation(node.uid, node.metadata.annotations))
        return node

    async def _ask_for(self, seen: Node, life: Incarnation) -> Node:
        """Claim the life after this one. Raises HeldByAnother, ApiError."""
        holder = self._membership.holder
        self._claim = Incarnation(seen.uid, life.number + 1, holder)
        given = {**self._annotations(), **claimed(seen.metadata.annotations, holder)}
        try:
            return await self._client.patch(Node, self._name, _patch(seen, self._labels(), given))
        except Superseded as error:
            raise (HeldByAnother(error.message) if error.is_held_by_another else error) from error

    async def _make_way(self, seen: Node) -> None:
        """End what is not ours, if the node is somebody else's or nobody's. Raises HeldByAnother, ApiError."""
        holder, us = read_incarnation(seen.uid, seen.metadata.annotations).holder, self._membership.holder
        if holder is None or holder == us:
            await self._pods.surrender(everything=False)
        elif holder.installation != us.installation or self._membership.has_held:
            # Of our own installation, and we live: somebody has copied it, machine and all, and has taken over.
            await self._pods.surrender(everything=True)
            raise HeldByAnother(f"node {self._name!r} is held by another agent, {holder}; we are {us}")

    async def _create(self) -> Node:
        node = Node(
            metadata=ObjectMeta(
                name=self._name,
                labels={key: value for key, value in self._labels().items() if value is not None},
                annotations={**self._annotations(), INCARNATION: "1", HOLDER: str(self._membership.holder)},
            ),
            spec=NodeSpec(taints=[parse_taint(text) for text in self._settings.taints]),
        )
        made = await self._client.create(node)
        log.info("node registered", extra={"labels": node.metadata.labels})
        return made

    def _labels(self) -> dict[str, str | None]:
        return own_labels(self._settings, self._facts)

    def _annotations(self) -> dict[str, str]:
        annotations = {ISOLATION: json.dumps(self._facts.isolation, sort_keys=True)}
        if self._settings.accept_public_packs is not None:
            annotations[ACCEPT_PUBLIC_PACKS] = "true" if self._settings.accept_public_packs else "false"
        return annotations

    async def _tell(self, error: HeldByAnother) -> None:
        log.error("another agent is this node: nothing runs here", extra={"detail": str(error)})
        if self._told:
            return
        about = ObjectReference(kind="Node", name=self._name, uid=self._name)
        at = datetime.now(UTC)
        event = Event(
            metadata=ObjectMeta(name=f"{self._name[:200]}.{time.time_ns():x}", namespace="default"),
            involved_object=about,
            reason="IdentityHeld",
            message=str(error)[:1024],
            type="Warning",
            source=EventSource(component="stark-agent", host=self._name),
            first_timestamp=at,
            last_timestamp=at,
            count=1,
        )
        try:
            await self._client.create(event)
            self._told = True
        except ApiError as trouble:
            log.info("an Event was not sent", extra={"error": trouble.message})

    async def _heartbeats(self) -> None:
        backoff = Backoff(max_s=REGISTER_RETRY_MAX_S)
        while True:
            try:
                await self._renew()
            except Superseded as error:
                return self._membership.refused(error)
            except ApiError as error:
                BEATS.labels("failed").inc()
                log.warning("heartbeat was not sent", extra={"error": error.message})
                pause_s = backoff.next_s()
            else:
                BEATS.labels("sent").inc()
                self._pods.heard()
                backoff.reset()
                pause_s = await self._heartbeat_period_s()
            await asyncio.sleep(pause_s)

    async def _heartbeat_period_s(self) -> float:
        """Our own setting; else the cluster's, as it was when we last looked."""
        await self._look_at_config()
        own_s = self._settings.lease_period_s
        return float(self._config.node_heartbeat_interval_seconds) if own_s is None else own_s

    async def _look_at_config(self) -> None:
        now_s = time.monotonic()
        if now_s - self._config_asked_s < CONFIG_PERIOD_S:
            return
        self._config_asked_s = now_s
        try:
            self._config = (await self._client.get(ClusterConfig, CLUSTER_CONFIG_NAME)).spec
        except ApiError as error:
            log.debug("the cluster's settings were not read", extra={"error": error.message})
        else:
            self._on_config(self._config)

    async def _renew(self) -> None:
        now = datetime.now(UTC)
        spec = LeaseSpec(
            holder_identity=self._name, lease_duration_seconds=self._settings.lease_duration_s, renew_time=now
        )
        try:
            body = {"spec": spec.model_dump(mode="json", by_alias=True, exclude_unset=True)}
            await self._client.patch(Lease, self._name, body, LEASE_NAMESPACE)
        except NotFound:
            reference = {"apiVersion": "v1", "kind": "Node", "name": self._name, "uid": self._node_uid}
            meta = ObjectMeta.model_validate(
                {"name": self._name, "namespace": LEASE_NAMESPACE, "ownerReferences": [reference]}
            )
            await self._client.create(Lease(metadata=meta, spec=spec))

    async def _statuses(self, node: Node) -> None:
        """Beside the heartbeats, so that neither waits for the other. We are registered when the first is written."""
        backoff = Backoff(max_s=self._settings.status_period_s)
        seen: Node | None = node
        while True:
            try:
                await self._write(seen if seen is not None else await self._client.get(Node, self._name))
            except NotFound:
                # Somebody deleted the Node while its agent lives: that means a fresh start, not a farewell.
                return self._membership.fence("the Node was deleted")
            except Superseded as error:
                return self._membership.refused(error)
            except ApiError as error:
                log.warning("node status was not written", extra={"error": error.message})
                pause_s = backoff.next_s()
            else:
                self._on_registered()
                backoff.reset()
                pause_s = self._settings.status_period_s
            await asyncio.sleep(pause_s)
            seen = None

    async def _write(self, seen: Node) -> None:
        seen_low = await asyncio.to_thread(pressure, self._settings.data_dir, self._settings.disk_pressure_free)
        low = self._hold.judge(seen_low, time.monotonic())
        status = node_status(self._settings, self._facts, seen, datetime.now(UTC), low)
        stale = time.monotonic() - self._written_at > self._settings.status_refresh_s
        if not stale and not gist_differs(status, seen.status):
            return
        body = to_wire(Node(metadata=ObjectMeta(name=self._name), status=status))["status"]
        await self._client.patch(Node, self._name, {"status": body}, type=PatchType.STRATEGIC, subresource="status")
        self._written_at = time.monotonic()


def _patch(seen: Node, labels: Mapping[str, str | None], annotations: Mapping[str, str | None]) -> dict[str, Any]:
    """A merge patch against exactly the Node that was seen."""
    meta: dict[str, Any] = {"labels": labels, "annotations": annotations}
    if seen.metadata.resource_version:
        meta["resourceVersion"] = seen.metadata.resource_version
    return {"metadata": meta}
