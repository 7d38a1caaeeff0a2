"""The agent's own Node and Lease: registered, kept current, and given back to the operators where it is theirs.

Labels the agent finds out itself are corrected at every start; other labels, taints and cordoning are never touched
after the first registration.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from prometheus_client import Counter

from stark.client.api import Client, PatchType
from stark.client.backoff import Backoff
from stark.client.errors import AlreadyExists, ApiError, NotFound
from stark.crds.annotations import (
    ACCEPT_PUBLIC_PACKS,
    ARCH,
    HOSTNAME,
    NODE_RUNTIMES,
    NODE_TYPE,
    NODE_TYPE_SERVER,
    OS,
    PREFIX,
    runtime_label,
)
from stark.crds.cluster import CLUSTER_CONFIG_NAME, ClusterConfig, ClusterConfigSpec
from stark.crds.conditions import find_condition
from stark.crds.coordination import Lease, LeaseSpec
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
from stark.crds.quantity import format_milli_cpu

from .host import Pressure, architecture, cpu_milli, memory_bytes, pressure, system_info
from .settings import AgentSettings

log = logging.getLogger(__name__)

LEASE_NAMESPACE = "kube-node-lease"
ISOLATION = PREFIX + "isolation"
"""Annotation of nodes, written by the agent: how limits and users are enforced there, as JSON."""
CONFIG_PERIOD_S = 60.0
"""How often the cluster's settings are looked at, at most."""
REGISTER_RETRY_MAX_S = 5.0
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


def own_labels(settings: AgentSettings, facts: Facts) -> dict[str, str | None]:
    """The labels the agent answers for; None takes a label away."""
    labels: dict[str, str | None] = {runtime_label(name): facts.runtimes.get(name) for name in NODE_RUNTIMES}
    return {
        **labels,
        HOSTNAME: settings.name,
        ARCH: architecture(),
        OS: "linux",
        NODE_TYPE: NODE_TYPE_SERVER,
        **settings.labels,
    }


def node_status(settings: AgentSettings, facts: Facts, seen: Node | None, now: datetime, low: Pressure) -> NodeStatus:
    """What the agent reports; transition times move only when a condition changes."""
    memory = settings.memory_mib << 20 if settings.memory_mib is not None else memory_bytes()
    amounts = {
        "cpu": format_milli_cpu(settings.cpu_milli if settings.cpu_milli is not None else cpu_milli()),
        "memory": f"{memory >> 10}Ki",
        "pods": str(settings.pods_max),
    }
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


class NodeRecord:
    """Keeps Node and Lease. `on_registered` is called after the first success."""

    def __init__(
        self, settings: AgentSettings, facts: Facts, client: Client, on_registered: Callable[[], None]
    ) -> None:
        self._settings = settings
        self._facts = facts
        self._client = client
        self._on_registered = on_registered
        self._name = settings.name
        self._written_at = float("-inf")
        self._config, self._config_asked_s = ClusterConfigSpec(), float("-inf")
        self._node_uid = ""

    @property
    def node_uid(self) -> str:
        """The Node's uid; empty before it is registered."""
        return self._node_uid

    async def run(self) -> None:
        """Register, then report until cancelled."""
        backoff = Backoff(max_s=REGISTER_RETRY_MAX_S)
        while True:
            try:
                await self.register()
                break
            except ApiError as error:
                log.warning("node is not registered yet", extra={"error": error.message})
                await asyncio.sleep(backoff.next_s())
        self._on_registered()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._heartbeats())
            group.create_task(self._statuses())

    async def register(self) -> None:
        """Create the Node, or correct what is ours of one that exists; then its status. Raises ApiError."""
        labels = own_labels(self._settings, self._facts)
        annotations = {ISOLATION: json.dumps(self._facts.isolation, sort_keys=True)}
        if self._settings.accept_public_packs is not None:
            annotations[ACCEPT_PUBLIC_PACKS] = "true" if self._settings.accept_public_packs else "false"
        given = {key: value for key, value in labels.items() if value is not None}
        node = Node(
            metadata=ObjectMeta(name=self._name, labels=given, annotations=annotations),
            spec=NodeSpec(taints=[parse_taint(text) for text in self._settings.taints]),
        )
        try:
            seen = await self._client.create(node)
            log.info("node registered", extra={"labels": given})
        except AlreadyExists:
            patch = {"metadata": {"labels": labels, "annotations": annotations}}
            seen = await self._client.patch(Node, self._name, patch)
        self._node_uid = seen.uid
        await self._write(seen)

    async def _heartbeats(self) -> None:
        while True:
            try:
                await self._renew()
                BEATS.labels("sent").inc()
            except ApiError as error:
                BEATS.labels("failed").inc()
                log.warning("heartbeat was not sent", extra={"error": error.message})
            await asyncio.sleep(await self._heartbeat_period_s())

    async def _heartbeat_period_s(self) -> float:
        """Our own setting; else the cluster's, as it was when we last looked."""
        if self._settings.lease_period_s is not None:
            return self._settings.lease_period_s
        now_s = time.monotonic()
        if now_s - self._config_asked_s >= CONFIG_PERIOD_S:
            self._config_asked_s = now_s
            try:
                self._config = (await self._client.get(ClusterConfig, CLUSTER_CONFIG_NAME)).spec
            except ApiError as error:
                log.debug("the cluster's settings were not read", extra={"error": error.message})
        return float(self._config.node_heartbeat_interval_seconds)

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

    async def _statuses(self) -> None:
        while True:
            await asyncio.sleep(self._settings.status_period_s)
            try:
                seen = await self._client.get(Node, self._name)
                if seen.uid != self._node_uid:
                    self._node_uid = seen.uid
                await self._write(seen)
            except NotFound:
                await self._register_again()
            except ApiError as error:
                log.warning("node status was not written", extra={"error": error.message})

    async def _register_again(self) -> None:
        """Somebody deleted the Node while its agent lives: that means a fresh start, not a farewell."""
        try:
            await self.register()
        except ApiError as error:
            log.warning("node is not registered again yet", extra={"error": error.message})

    async def _write(self, seen: Node) -> None:
        low = await asyncio.to_thread(pressure, self._settings.data_dir)
        status = node_status(self._settings, self._facts, seen, datetime.now(UTC), low)
        stale = time.monotonic() - self._written_at > self._settings.status_refresh_s
        if not stale and _gist(status) == _gist(seen.status):
            return
        body = to_wire(Node(metadata=ObjectMeta(name=self._name), status=status))["status"]
        await self._client.patch(Node, self._name, {"status": body}, type=PatchType.STRATEGIC, subresource="status")
        self._written_at = time.monotonic()
