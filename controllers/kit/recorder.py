"""Kubernetes Events for the people who look at an object: what happened to it, counted when it happens again.

`event` never waits and never fails: events are a courtesy. At the limit they are dropped and counted. The same thing
happening again patches the count of the event that is there, and one noisy object gets a few events, not a flood.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, NoReturn, Protocol

from prometheus_client import Counter

from stark.client.errors import ApiError, NotFound
from stark.crds.events import Event, EventSource
from stark.crds.meta import KubeObject, ObjectMeta
from stark.crds.pods import ObjectReference

log = logging.getLogger(__name__)

BACKLOG_MAX = 20_000
"""Events not yet sent; one more is dropped, because waiting would stop the controller."""
TOGETHER_MAX = 32
"""Events under way at once. Many at a time cost the server half of what as many cost it one by one."""
DEFER_MAX_S = 2.0
"""How long events wait while there is more important work; then as many as go together are sent all the same."""
REMEMBERED_MAX = 4_096  # different events whose count we can raise; the one longest unused is forgotten first
BURST = 25.0  # events of one object and component that are sent at once; client-go's number
REFILL_PER_S = 1 / 300  # and one more every five minutes
MESSAGE_MAX = 1_024  # characters; the API server takes no more

DROPPED = Counter("events_dropped", "Events that were not sent", ["component", "cause"])


class EventWriter(Protocol):
    """What recording needs of the client."""

    async def make(self, obj: Event) -> None:
        """Create it."""
        ...

    async def patch(self, kind: type[Event], name: str, patch: Any, namespace: str | None = None) -> Event:
        """Change part of it. Raises NotFound."""
        ...


@dataclass(frozen=True, slots=True)
class _Happening:
    """What makes two events the same one."""

    reference: ObjectReference
    type: Literal["Normal", "Warning"]
    reason: str
    message: str

    @property
    def identity(self) -> tuple[str | None, ...]:
        r = self.reference
        return (r.kind, r.namespace, r.name, r.uid, self.type, self.reason, self.message)


@dataclass(slots=True)
class _Sent:
    name: str
    namespace: str
    count: int


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class Recorder:
    """Sends events in the name of one component. Run `run` as a task; until then they wait."""

    def __init__(
        self,
        api: EventWriter,
        component: str,
        *,
        instance: str = "",
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        backlog_max: int = BACKLOG_MAX,
    ) -> None:
        self._api = api
        self._component = component
        self._instance = instance or socket.gethostname()
        self._clock = clock
        self._backlog: asyncio.Queue[tuple[_Happening, datetime]] = asyncio.Queue(backlog_max)
        self._busy: Callable[[], bool] = lambda: False
        self._sent: OrderedDict[tuple[str | None, ...], _Sent] = OrderedDict()
        self._buckets: OrderedDict[tuple[str | None, ...], _Bucket] = OrderedDict()

    def event(self, obj: KubeObject, type_: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        """Tell that `reason` (one CamelCase word) happened to `obj`; `message` is a sentence for people."""
        meta = obj.metadata
        reference = ObjectReference(
            api_version=obj.RESOURCE.api_version,
            kind=obj.RESOURCE.kind,
            namespace=meta.namespace,
            name=meta.name,
            uid=meta.uid,
            resource_version=meta.resource_version,
        )
        happening = _Happening(reference, type_, reason, message[:MESSAGE_MAX])
        if not self._admit(reference):
            DROPPED.labels(self._component, "spam").inc()
            return
        try:
            self._backlog.put_nowait((happening, self._clock()))
        except asyncio.QueueFull:
            DROPPED.labels(self._component, "backlog").inc()

    def defer_while(self, busy: Callable[[], bool]) -> None:
        """Let what `busy` speaks of go first: what events tell about matters more than that they are told."""
        self._busy = busy

    async def run(self) -> NoReturn:
        """Send what was recorded, until cancelled."""
        while True:
            first = await self._backlog.get()
            if self._busy():
                await self._give_way()
            taken = [first]
            while len(taken) < TOGETHER_MAX and not self._backlog.empty():
                taken.append(self._backlog.get_nowait())
            # What is told of one object is told in its order.
            told: dict[str | None, list[tuple[_Happening, datetime]]] = {}
            for happening, at in taken:
                told.setdefault(happening.reference.uid, []).append((happening, at))
            try:
                async with asyncio.TaskGroup() as group:
                    for one in told.values():
                        group.create_task(self._tell(one))
            finally:
                for _ in taken:
                    self._backlog.task_done()

    async def _give_way(self) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + DEFER_MAX_S
        while self._busy() and loop.time() < until:  # noqa: ASYNC110 - being busy has no event
            await asyncio.sleep(DEFER_MAX_S / 20)

    async def _tell(self, happenings: Sequence[tuple[_Happening, datetime]]) -> None:
        for happening, at in happenings:
            try:
                await self._send(happening, at)
            except ApiError as error:
                DROPPED.labels(self._component, "refused").inc()
                log.info("an event was not recorded", extra={"reason": happening.reason, "detail": str(error)})

    async def flush(self, timeout_s: float = 1.0) -> None:
        """Wait until all is sent, or the time is over; for a clean exit."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._backlog.join()
        except TimeoutError:
            return

    async def _send(self, happening: _Happening, at: datetime) -> None:
        sent = self._sent.get(happening.identity)
        if sent is not None:
            self._sent.move_to_end(happening.identity)
            body = {"count": sent.count + 1, "lastTimestamp": at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}
            try:
                await self._api.patch(Event, sent.name, body, sent.namespace)
            except NotFound:
                del self._sent[happening.identity]  # it expired meanwhile: start a new one
            else:
                sent.count += 1
                return
        first = self._first(happening, at)
        await self._api.make(first)
        self._sent[happening.identity] = _Sent(first.metadata.name, first.metadata.namespace or "default", 1)
        if len(self._sent) > REMEMBERED_MAX:
            self._sent.popitem(last=False)

    def _first(self, happening: _Happening, at: datetime) -> Event:
        reference = happening.reference
        # Events about cluster-scoped objects live in `default`, as Kubernetes has it.
        namespace = reference.namespace or "default"
        # client-go's form, so that two events of one object cannot meet: the name, and the time in hexadecimal.
        name = f"{reference.name}.{int(at.timestamp() * 1e6) * 1000:x}"
        return Event(
            metadata=ObjectMeta(name=name, namespace=namespace),
            involved_object=reference,
            type=happening.type,
            reason=happening.reason,
            message=happening.message,
            source=EventSource(component=self._component, host=self._instance),
            first_timestamp=at,
            last_timestamp=at,
            count=1,
            reporting_component=self._component,
            reporting_instance=self._instance,
        )

    def _admit(self, reference: ObjectReference) -> bool:
        key = (reference.kind, reference.namespace, reference.name, reference.uid)
        now = asyncio.get_running_loop().time()
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = _Bucket(BURST, now)
            if len(self._buckets) > REMEMBERED_MAX:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(key)
        bucket.tokens = min(BURST, bucket.tokens + (now - bucket.at) * REFILL_PER_S)
        bucket.at = now
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True
