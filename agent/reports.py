"""Telling the API server: pods' statuses (only the newest counts), final deletions, and Events.

A status that could not be written is written when the server is back. An Event that cannot be sent, or comes when too
many wait, is lost: they are hints for people, and must never hold up work.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from prometheus_client import Counter

from stark.client.api import Client, PatchType
from stark.client.backoff import Backoff
from stark.client.errors import ApiError, Conflict, Forbidden, Invalid, NotFound, Superseded
from stark.client.kinds import kind_of, unstructured
from stark.crds.events import Event, EventSource
from stark.crds.meta import ObjectMeta
from stark.crds.pods import ObjectReference, Pod, PodStatus

from .machine import Emit
from .machine.status import OWN_CONDITIONS
from .membership import Membership

log = logging.getLogger(__name__)

WRITERS = 4  # statuses on the way at a time; a node has about a hundred pods
ANY_POD = unstructured(kind_of(Pod).resource)  # nobody reads the answer, so it need not be understood
EVENTS_WAITING_MAX = 500
EVENTS_KNOWN_MAX = 512  # repetitions are counted on the same Event while it is among the last so many
RETRY_MAX_S = 10.0
REFUSED_PAUSE_S = 10.0  # between attempts at a status that the server refuses
COMPONENT = "stark-agent"

WRITES = Counter("stark_agent_status_writes", "Pod statuses written", ["outcome"])
DROPPED = Counter("stark_agent_events_dropped", "Kubernetes Events that were not sent")


@dataclass(slots=True)
class _Job:
    name: str
    namespace: str
    status: PodStatus | None = None
    annotations: dict[str, str] = field(default_factory=dict)
    delete: bool = False


def status_patch(uid: str, status: PodStatus, annotations: dict[str, str]) -> dict[str, Any]:
    """A strategic merge patch of the status subresource: the agent's own conditions, and nobody else's."""
    body = status.model_dump(mode="json", by_alias=True, exclude_none=True)
    foreign = {c.type for c in status.conditions} - {*OWN_CONDITIONS, "PodScheduled"}
    # A merge leaves standing what it does not name: a condition that came true would keep the reason it was false for.
    unsaid = {"reason": None, "message": None}
    body["conditions"] = [{**unsaid, **c} for c in body["conditions"] if c["type"] not in foreign]
    for absent in ("reason", "message"):
        body.setdefault(absent, None)
    metadata: dict[str, Any] = {"uid": uid}
    if annotations:
        metadata["annotations"] = annotations
    return {"metadata": metadata, "status": body}


class StatusWriter:
    """Writes each pod's newest status, then deletes the pod if that was asked for. Waits while we are not the node."""

    def __init__(self, client: Client, membership: Membership) -> None:
        self._client = client
        self._membership = membership
        self._jobs: OrderedDict[str, _Job] = OrderedDict()
        self._active: set[str] = set()
        self._changed = asyncio.Condition()

    async def write(self, uid: str, pod: Pod, status: PodStatus, annotations: dict[str, str]) -> None:
        """Take a status; one that still waits is replaced."""
        async with self._changed:
            job = self._job(uid, pod)
            job.status, job.annotations = status, annotations
            self._changed.notify()

    async def delete(self, uid: str, pod: Pod) -> None:
        """Delete the pod for good once its last status is written."""
        async with self._changed:
            self._job(uid, pod).delete = True
            self._changed.notify()

    async def drained(self) -> None:
        """Return when nothing waits and nothing is on the way."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._jobs and not self._active)

    async def run(self) -> None:
        """Write until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(WRITERS):
                group.create_task(self._work())

    def _job(self, uid: str, pod: Pod) -> _Job:
        job = self._jobs.get(uid)
        if job is None:
            job = self._jobs[uid] = _Job(pod.metadata.name, pod.metadata.namespace or "")
        return job

    def _next(self) -> str | None:
        return next((uid for uid in self._jobs if uid not in self._active), None)

    async def _work(self) -> None:
        backoff = Backoff(max_s=RETRY_MAX_S)
        while True:
            await self._membership.current.wait()
            async with self._changed:
                await self._changed.wait_for(lambda: self._next() is not None)
                uid = self._next()
                assert uid is not None, "the condition was waited for"
                job = self._jobs.pop(uid)
                self._active.add(uid)
            pause_s, again = 0.0, False
            try:
                await self._carry_out(uid, job)
                backoff.reset()
            except Superseded as error:  # said for a life that is over: whether it is still so, the next one says
                WRITES.labels("fenced").inc()
                self._membership.refused(error)
                again = True
            except (NotFound, Conflict):  # gone, or another pod of that name: nobody is interested any more
                WRITES.labels("obsolete").inc()
            except ApiError as error:
                WRITES.labels("failed").inc()
                refused = isinstance(error, Invalid | Forbidden)
                pause_s = REFUSED_PAUSE_S if refused else backoff.next_s()
                log.warning("pod status was not written", extra={"podId": uid, "error": error.message})
            if pause_s:
                await asyncio.sleep(pause_s)
            async with self._changed:
                if pause_s or again:
                    self._put_back(uid, job)
                self._active.discard(uid)
                self._changed.notify_all()

    def _put_back(self, uid: str, job: _Job) -> None:
        """What failed is tried again, unless something newer has come meanwhile."""
        newer = self._jobs.get(uid)
        if newer is None:
            self._jobs[uid] = job
            return
        newer.delete = newer.delete or job.delete
        newer.status, newer.annotations = newer.status or job.status, {**job.annotations, **newer.annotations}

    async def _carry_out(self, uid: str, job: _Job) -> None:
        if job.status is not None:
            patch = status_patch(uid, job.status, job.annotations)
            await self._client.patch(
                ANY_POD, job.name, patch, job.namespace, type=PatchType.STRATEGIC, subresource="status"
            )
            WRITES.labels("written").inc()
            job.status = None
        if job.delete:
            await self._client.delete(Pod, job.name, job.namespace, grace_period_s=0, uid=uid)


@dataclass(slots=True)
class _Known:
    name: str
    count: int


class EventRecorder:
    """Sends Kubernetes Events, counting repetitions."""

    def __init__(self, client: Client, node: str) -> None:
        self._client = client
        self._node = node
        self._waiting: asyncio.Queue[tuple[Emit, Pod, float]] = asyncio.Queue(EVENTS_WAITING_MAX)
        self._known: OrderedDict[Emit, _Known] = OrderedDict()

    def emit(self, event: Emit, pod: Pod) -> None:
        """Take an event, or drop it when too many wait."""
        try:
            self._waiting.put_nowait((event, pod, time.time()))
        except asyncio.QueueFull:
            DROPPED.inc()

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            event, pod, at = await self._waiting.get()
            try:
                await self._send(event, pod, datetime.fromtimestamp(at, UTC))
            except ApiError as error:
                DROPPED.inc()
                log.info("an Event was not sent", extra={"reason": event.reason, "error": error.message})

    async def _send(self, event: Emit, pod: Pod, at: datetime) -> None:
        known = self._known.get(event)
        namespace = pod.metadata.namespace or "default"
        if known is not None:
            known.count += 1
            patch = {"count": known.count, "lastTimestamp": at.strftime("%Y-%m-%dT%H:%M:%SZ")}
            try:
                await self._client.patch(Event, known.name, patch, namespace)
                return
            except NotFound:
                del self._known[event]
        name = f"{pod.metadata.name[:200]}.{int(at.timestamp() * 1e9):x}"
        await self._client.create(self._event(name, namespace, event, pod, at))
        self._known[event] = _Known(name, 1)
        if len(self._known) > EVENTS_KNOWN_MAX:
            self._known.popitem(last=False)

    def _event(self, name: str, namespace: str, event: Emit, pod: Pod, at: datetime) -> Event:
        initial = any(container.name == event.container for container in pod.spec.init_containers)
        where = f"spec.{'initContainers' if initial else 'containers'}{{{event.container}}}"
        path = {"field_path": where} if event.container else {}
        return Event(
            metadata=ObjectMeta(name=name, namespace=namespace),
            involved_object=ObjectReference(
                api_version="v1",
                kind="Pod",
                namespace=namespace,
                name=pod.metadata.name,
                uid=pod.uid,
                **({"resource_version": pod.metadata.resource_version} if pod.metadata.resource_version else {}),
                **path,
            ),
            reason=event.reason,
            message=event.message[:1024],
            source=EventSource(component=COMPONENT, host=self._node),
            first_timestamp=at,
            last_timestamp=at,
            count=1,
            type="Warning" if event.type == "Warning" else "Normal",
            reporting_component=COMPONENT,
            reporting_instance=self._node,
        )
