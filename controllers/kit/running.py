"""Running controllers: shared informers, one election each, a queue and workers for each term.

Informers run whether we lead or not, so that a new leader starts with a warm cache. Queue and workers live for one
term. A term that ends cancels its reconciles, and the fence on the controller's client stops what they still try.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Sequence
from functools import partial
from typing import Any

import structlog
from prometheus_client import Counter, Gauge, Histogram

from stark.client.api import Client
from stark.client.election import ElectionSettings, Elector, Term
from stark.client.errors import AlreadyExists, Conflict, Fenced
from stark.client.informer import Change
from stark.client.queue import ShutDown, WorkQueue

from .controller import RECONCILE_TIMEOUT_S, Builder, Clock, Context, Controller, Source, utc_now
from .informers import InformerFactory
from .outcome import Outcome, RequeueAfter
from .recorder import Recorder

log = logging.getLogger(__name__)

RECONCILES = Counter("controller_reconcile", "Reconciles by their result", ["controller", "result"])
SECONDS = Histogram(
    "controller_reconcile_seconds", "How long a reconcile took", ["controller"], buckets=(0.001, 0.01, 0.1, 1, 10, 60)
)
LEADING = Gauge("leader_election_master_status", "1 while this process leads", ["name"])


class Leadership:
    """The fence of one controller: open while its term lasts. Without elections it is always open."""

    def __init__(self, *, elected: bool) -> None:
        self._elected = elected
        self.term: Term | None = None

    def remaining_s(self) -> float:
        """Seconds for which writes may be sent. Raises Fenced when we do not lead."""
        if not self._elected:
            return float("inf")
        if self.term is None:
            raise Fenced("this process does not lead: the write is not sent")
        return self.term.remaining_s()


class Runner:
    """One controller in this process: builds it, waits for leadership, works its queue."""

    def __init__(
        self,
        name: str,
        builder: Builder,
        api: Client,
        informers: InformerFactory,
        *,
        election: ElectionSettings | None = None,
        identity: str = "",
        workers: int | None = None,
        clock: Clock = utc_now,
    ) -> None:
        self.name = name
        self._election, self._identity = election, identity or uuid.uuid4().hex
        self._api, self._informers = api, informers
        self._leadership = Leadership(elected=election is not None)
        self.recorder = Recorder(api, name, clock=clock)
        fenced = api.fenced(self._leadership.remaining_s)
        self.controller: Controller = builder(Context(fenced, informers, self.recorder, clock))
        self._sources = tuple(self.controller.sources())
        self._workers = workers or self.controller.workers
        self._queue: WorkQueue | None = None

    @property
    def leading(self) -> bool:
        """Whether this process works for this controller now."""
        return self._queue is not None

    @property
    def queue(self) -> WorkQueue | None:
        """The queue of the present term, None while not leading."""
        return self._queue

    async def run(self) -> None:
        """Run until cancelled."""
        for source in self._sources:
            source.informer.subscribe(partial(self._changed, source))
        async with asyncio.TaskGroup() as group:
            group.create_task(self.recorder.run(), name=f"{self.name} events")
            if self._election is None:
                await self._work(None)
                return
            elector = Elector(self._api, f"stark-{self.name}", self._identity, settings=self._election)
            await elector.run(self._work)

    async def _work(self, term: Term | None) -> None:
        """One term."""
        for source in self._sources:
            await source.informer.synced()
        queue = WorkQueue(self.name)
        self._leadership.term, self._queue = term, queue
        LEADING.labels(self.name).set(1)
        log.info("controller started", extra={"controller": self.name})
        try:
            async with asyncio.TaskGroup() as group:
                self._add_all(queue, self._sources)
                for number in range(self._workers):
                    group.create_task(self._worker(queue), name=f"{self.name} worker {number}")
                group.create_task(self._resync(queue), name=f"{self.name} resync")
                group.create_task(self.controller.lead(queue), name=f"{self.name} lead")
        finally:
            queue.shut_down()
            self._leadership.term, self._queue = None, None
            LEADING.labels(self.name).set(0)

    async def _worker(self, queue: WorkQueue) -> None:
        while True:
            try:
                key = await queue.get()
            except ShutDown:
                return
            try:
                await self._reconcile(queue, key)
            finally:
                queue.done(key)

    async def _reconcile(self, queue: WorkQueue, key: str) -> None:
        began = asyncio.get_running_loop().time()
        with structlog.contextvars.bound_contextvars(controller=self.name, key=key, traceId=uuid.uuid4().hex):
            try:
                async with asyncio.timeout(RECONCILE_TIMEOUT_S):
                    outcome = await self.controller.reconcile(key)
                result = self._settle(queue, key, outcome)
            except Exception as error:
                result = self._retry(queue, key, error)
        RECONCILES.labels(self.name, result).inc()
        SECONDS.labels(self.name).observe(asyncio.get_running_loop().time() - began)

    def _settle(self, queue: WorkQueue, key: str, outcome: Outcome) -> str:
        queue.forget(key)
        if isinstance(outcome, RequeueAfter):
            queue.add_after(key, outcome.delay_s)
            return "requeue_after"
        return "success"

    def _retry(self, queue: WorkQueue, key: str, error: Exception) -> str:
        if isinstance(error, Fenced):
            return "fenced"  # the term is over; the next leader looks at every key
        delay_s = queue.add_rate_limited(key)
        extra = {"failures": queue.failures(key), "retryInS": delay_s}
        if isinstance(error, Conflict | AlreadyExists):
            # Somebody else wrote, or our cache was behind: normal, and the retry sees the newer object.
            log.debug("reconcile met a conflict", extra={**extra, "detail": str(error)})
            return "conflict"
        log.warning("reconcile failed", extra=extra, exc_info=error)
        return "error"

    async def _resync(self, queue: WorkQueue) -> None:
        while True:
            await asyncio.sleep(self.controller.resync_s)
            self._add_all(queue, [source for source in self._sources if source.keys is None])

    def _changed(self, source: Source[Any], change: Change[Any]) -> None:
        queue = self._queue
        if queue is None:
            return  # whoever starts a term looks at every key anyway
        if source.keys is None:
            queue.add(change.key)
            return
        for cached in (change.before, change.after):
            if cached is not None:
                for key in source.keys(cached.object):
                    queue.add(key)

    @staticmethod
    def _add_all(queue: WorkQueue, sources: Sequence[Source[Any]]) -> None:
        for source in sources:
            if source.keys is None:
                own = source.informer.keys()
                for key in own:
                    queue.add(key)
                continue
            for obj in source.informer.list():
                for key in source.keys(obj):
                    queue.add(key)


async def run_controllers(informers: InformerFactory, runners: Sequence[Runner]) -> None:
    """Run controllers and the informers that they share, until cancelled or one of them fails for good."""
    async with asyncio.TaskGroup() as group:
        group.create_task(informers.run(), name="informers")
        for runner in runners:
            group.create_task(runner.run(), name=runner.name)
