"""Agents without hands: nodes that report every pod given to them as running and ready, through the real API.

Everything about scheduling, rollouts and garbage can be seen with them; nothing is started. A pod whose image is in
`broken` never becomes ready, one whose image is in `crashing` has ended three times already. A node in `silent` says and
does nothing, as if its cable were cut.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from stark.client.api import Client, PatchType
from stark.client.errors import ApiError, Conflict, NotFound
from stark.client.informer import Change, Informer
from stark.crds.coordination import Lease, LeaseSpec
from stark.crds.meta import ObjectMeta, decode
from stark.crds.nodes import Node
from stark.crds.pods import Pod

LEASES = "kube-node-lease"
BEAT_S = 0.25


class Hollow:
    """A few hollow nodes."""

    def __init__(self, api: Client) -> None:
        self._api = api
        self._pods = Informer(api, Pod)
        self._work: asyncio.Queue[str] = asyncio.Queue()
        self.nodes: set[str] = set()
        self.silent: set[str] = set()
        self.broken: set[str] = set()
        self.crashing: set[str] = set()
        self.most_pods = 0
        """The most pods that were there at the same time."""

    async def join(self, name: str, *, cpu: str = "4", labels: dict[str, str] | None = None) -> None:
        """A node comes."""
        amounts = {"cpu": cpu, "memory": "8Gi", "pods": "110"}
        body = {
            "metadata": {
                "name": name,
                "labels": {
                    "kubernetes.io/hostname": name,
                    "kubernetes.io/arch": "amd64",
                    "stark.dev/runtime-node": "22",
                    "stark.dev/runtime-container": "1",
                    **(labels or {}),
                },
            },
            "status": {"capacity": amounts, "allocatable": amounts, "conditions": [self._ready()]},
        }
        self.nodes.add(name)
        await self._api.create(decode(body, Node))

    def _ready(self) -> dict[str, str]:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {
            "type": "Ready",
            "status": "True",
            "reason": "AgentReady",
            "lastHeartbeatTime": now,
            "lastTransitionTime": now,
        }

    async def come_back(self, name: str) -> None:
        """The cable is plugged in again, and the agent says how it is."""
        self.silent.discard(name)
        body = {"status": {"conditions": [self._ready()]}}
        await self._api.patch(Node, name, body, type=PatchType.STRATEGIC, subresource="status")
        for key in list(self._pods.keys()):
            self._work.put_nowait(key)

    async def run(self) -> None:
        """Until cancelled."""
        self._pods.subscribe(self._noticed)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pods.run())
            group.create_task(self._beat())
            for _ in range(4):
                group.create_task(self._serve())

    def _noticed(self, change: Change[Pod]) -> None:
        self.most_pods = max(self.most_pods, len(self._pods))
        self._work.put_nowait(change.key)

    async def _beat(self) -> None:
        while True:
            for name in sorted(self.nodes - self.silent):
                meta = ObjectMeta(name=name, namespace=LEASES)
                spec = LeaseSpec(holder_identity=name, lease_duration_seconds=40, renew_time=datetime.now(UTC))
                try:
                    await self._api.update(Lease(metadata=meta, spec=spec))
                except ApiError:
                    continue
            await asyncio.sleep(BEAT_S)

    async def _serve(self) -> None:
        while True:
            pod = self._pods.get(await self._work.get())
            if pod is None or pod.spec.node_name not in self.nodes - self.silent:
                continue
            try:
                await self._handle(pod)
            except (NotFound, Conflict):
                continue

    async def _handle(self, pod: Pod) -> None:
        meta = pod.metadata
        if meta.deletion_timestamp is not None:
            await self._api.delete(Pod, meta.name, meta.namespace, uid=pod.uid, grace_period_s=0)
            return
        if pod.status.phase != "Pending":
            return
        image = pod.spec.containers[0].image
        good = image not in self.broken | self.crashing
        condition: dict[str, Any] = {**self._ready(), "status": "True" if good else "False"}
        del condition["reason"], condition["lastHeartbeatTime"]
        status = {"phase": "Running", "podIP": "127.0.0.1", "hostIP": "127.0.0.1", "conditions": [condition]}
        if image in self.crashing:
            status["containerStatuses"] = [_crashed(pod)]
        body = {"metadata": {"uid": pod.uid}, "status": status}
        await self._api.patch(Pod, meta.name, body, meta.namespace, type=PatchType.STRATEGIC, subresource="status")


def _crashed(pod: Pod) -> dict[str, Any]:
    """A container that waits to be restarted for the third time."""
    moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    ended = {"exitCode": 1, "reason": "Error", "startedAt": moment, "finishedAt": moment}
    return {
        "name": pod.spec.containers[0].name,
        "ready": False,
        "restartCount": 2,
        "image": pod.spec.containers[0].image,
        "imageID": "",
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": ended},
    }


@asynccontextmanager
async def hollow(api: Client, nodes: Sequence[str] = ("n1", "n2", "n3")) -> AsyncIterator[Hollow]:
    """Hollow nodes that have joined and run."""
    agents = Hollow(api)
    task = asyncio.create_task(agents.run())
    try:
        for name in nodes:
            await agents.join(name)
        yield agents
    finally:
        task.cancel()
        await asyncio.wait({task})
