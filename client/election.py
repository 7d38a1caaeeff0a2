"""One leader at a time, by a Lease, without trusting anybody's wall clock.

A candidate takes the lease when it has watched it stay unchanged, on its own clock, for the lease's whole duration.
A leader acts only until `renew_deadline_s` after it *sent* its last successful renewal. Since the renewal was stored
after it was sent, and the deadline is shorter than the duration, the leader has stopped before anyone else can start,
whatever the network does. `Term.remaining_s` is that rule as a fence for every write, so that even a process that was
stopped and continued sends nothing late.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from stark.crds.coordination import Lease, LeaseSpec
from stark.crds.meta import ObjectMeta

from .errors import AlreadyExists, ApiError, Conflict, Fenced, NotFound

log = logging.getLogger(__name__)

RELEASE_TIMEOUT_S = 2.0  # giving the lease back saves the next leader a wait; it is not worth a slow exit
JITTER = 1.2  # client-go's: candidates try after one to 2.2 retry periods, so that they do not all try at once


@dataclass(frozen=True, slots=True)
class ElectionSettings:
    """The three times of an election, client-go's defaults."""

    lease_duration_s: float = 15.0
    """How long others leave an unrenewed lease alone. Longer survives longer outages of the API server, and makes a
    crashed leader's work wait longer."""
    renew_deadline_s: float = 10.0
    """How long after its last renewal a leader acts. The rest of the duration is what its last requests may take."""
    retry_period_s: float = 2.0
    """How often a leader renews and a candidate looks. Five tries fit into the deadline."""

    def __post_init__(self) -> None:
        if not self.lease_duration_s > self.renew_deadline_s > self.retry_period_s > 0:
            raise ValueError(f"need lease duration > renew deadline > retry period > 0: {self}")


class Leases(Protocol):
    """What an election needs of the client."""

    async def get(self, kind: type[Lease], name: str, namespace: str | None = None) -> Lease:
        """Read it. Raises NotFound."""
        ...

    async def create(self, obj: Lease) -> Lease:
        """Make it. Raises AlreadyExists."""
        ...

    async def update(self, obj: Lease) -> Lease:
        """Replace it at its resource version. Raises Conflict."""
        ...


class Term:
    """One leadership. `epoch` rises with every change of leader; the term ends when it is not renewed in time."""

    def __init__(self, holder: str, epoch: int, ends_at: float) -> None:
        self.holder = holder
        self.epoch = epoch
        self._ends_at = ends_at
        self._over = False

    @property
    def valid(self) -> bool:
        """Whether the leader may act at this moment."""
        return not self._over and asyncio.get_running_loop().time() < self._ends_at

    def remaining_s(self) -> float:
        """Seconds for which the leader may still act without another renewal. Raises Fenced when there are none."""
        left_s = self._ends_at - asyncio.get_running_loop().time()
        if self._over or left_s <= 0:
            raise Fenced(f"{self.holder} leads no more (epoch {self.epoch}): the write is not sent")
        return left_s

    def _extend(self, ends_at: float) -> None:
        self._ends_at = max(self._ends_at, ends_at)

    def _finish(self) -> None:
        self._over = True


class Elector:
    """One candidate for one lease. `identity` must be this process's alone."""

    def __init__(
        self,
        leases: Leases,
        name: str,
        identity: str,
        *,
        namespace: str = "kube-system",
        settings: ElectionSettings | None = None,
        wall_clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._leases = leases
        self._name, self._namespace, self._identity = name, namespace, identity
        self._settings = settings or ElectionSettings()
        self._wall_clock = wall_clock  # written into the lease for people to read; nothing is decided by it
        self._lease: Lease | None = None
        self._seen: tuple[str | None, LeaseSpec] | None = None
        self._seen_at = float("-inf")

    async def run(self, lead: Callable[[Term], Awaitable[None]]) -> None:
        """Wait for leadership and call `lead` with its term, again and again, until `lead` returns or raises.

        When the term ends, `lead` is cancelled and awaited before the next try. On cancellation the lease is
        released, after `lead` has ended.
        """
        while True:
            term = await self._acquire()
            if await self._hold(term, lead):
                return

    @property
    def leader(self) -> str:
        """Who held the lease when we last looked; empty when nobody did."""
        return (self._lease.spec.holder_identity or "") if self._lease is not None else ""

    async def _acquire(self) -> Term:
        while True:
            try:
                term = await self._claim()
            except ApiError as error:
                term = None
                log.info("the lease was not taken", extra={"lease": self._name, "detail": str(error)})
            if term is not None:
                log.info("leading", extra={"lease": self._name, "epoch": term.epoch})
                return term
            await asyncio.sleep(self._settings.retry_period_s * random.uniform(1, 1 + JITTER))

    async def _claim(self) -> Term | None:
        """Take the lease if nobody holds it; None when somebody does. Raises an ApiError."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._settings.renew_deadline_s):
                lease = await self._look()
                if lease is not None and not self._free(lease, loop.time()):
                    return None
                sent_at = loop.time()
                taken = await self._write(lease)
        except (AlreadyExists, Conflict, TimeoutError):
            return None  # another one was quicker, or we cannot know; look again later
        self._lease = taken
        return Term(self._identity, taken.spec.lease_transitions or 0, sent_at + self._settings.renew_deadline_s)

    async def _look(self) -> Lease | None:
        try:
            lease = await self._leases.get(Lease, self._name, self._namespace)
        except NotFound:
            self._lease = None
            return None
        self._lease = lease
        seen = (lease.metadata.resource_version, lease.spec)
        if seen != self._seen:
            self._seen, self._seen_at = seen, asyncio.get_running_loop().time()
        return lease

    def _free(self, lease: Lease, now: float) -> bool:
        holder = lease.spec.holder_identity
        if not holder or holder == self._identity:
            return True
        duration_s = lease.spec.lease_duration_seconds or self._settings.lease_duration_s
        return now >= self._seen_at + duration_s

    async def _write(self, lease: Lease | None) -> Lease:
        now = self._wall_clock()
        spec = lease.spec if lease is not None else LeaseSpec()
        ours = spec.holder_identity == self._identity
        transitions = spec.lease_transitions or 0
        changed = spec.model_copy(
            update={
                "holder_identity": self._identity,
                "lease_duration_seconds": math.ceil(self._settings.lease_duration_s),
                "acquire_time": spec.acquire_time if ours and spec.acquire_time else now,
                "renew_time": now,
                "lease_transitions": transitions if ours or lease is None else transitions + 1,
            }
        )
        if lease is None:
            return await self._leases.create(
                Lease(metadata=ObjectMeta(name=self._name, namespace=self._namespace), spec=changed)
            )
        return await self._leases.update(lease.model_copy(update={"spec": changed}))

    async def _hold(self, term: Term, lead: Callable[[Term], Awaitable[None]]) -> bool:
        """Lead until the term ends (False) or the work does (True; its exception is raised)."""
        work = asyncio.ensure_future(lead(term))
        try:
            ended_by_itself = await self._renew_until(term, work)
        finally:
            await self._end(term, work)
        if ended_by_itself:
            work.result()
            return True
        failure = None if work.cancelled() else work.exception()
        log.warning("leadership lost", extra={"lease": self._name, "epoch": term.epoch}, exc_info=failure)
        return False

    async def _renew_until(self, term: Term, work: asyncio.Future[None]) -> bool:
        """Renew until the work is done (True), or until the term ended or belongs to somebody else (False)."""
        while True:
            await asyncio.wait({work}, timeout=min(self._settings.retry_period_s, max(0.0, self._left_s(term))))
            if work.done():
                return True
            if not term.valid:
                return False
            try:
                async with asyncio.timeout(self._left_s(term)):
                    if not await self._renew(term):
                        return False
            except TimeoutError:
                return False
            except ApiError as error:
                log.info("the lease was not renewed", extra={"lease": self._name, "detail": str(error)})

    async def _renew(self, term: Term) -> bool:
        """Renew once; False when the lease is another's. Raises an ApiError, which is worth another try."""
        assert self._lease is not None
        sent_at = asyncio.get_running_loop().time()
        try:
            self._lease = await self._write(self._lease)
        except (Conflict, NotFound):
            # Either another one took it, or an earlier renewal of ours was stored and its answer lost.
            lease = await self._look()
            if lease is None or lease.spec.holder_identity != self._identity:
                return False
            sent_at = asyncio.get_running_loop().time()
            self._lease = await self._write(lease)
        term._extend(sent_at + self._settings.renew_deadline_s)
        return True

    async def _end(self, term: Term, work: asyncio.Future[None]) -> None:
        term._finish()
        if not work.done():
            work.cancel()
            await asyncio.wait({work})
        try:
            async with asyncio.timeout(RELEASE_TIMEOUT_S):
                await self._release()
        except (ApiError, TimeoutError) as error:
            log.info("the lease was not released", extra={"lease": self._name, "detail": str(error)})

    async def _release(self) -> None:
        """Let the next one start at once. Harmless when the lease is another's by now: the version does not match."""
        lease = self._lease
        if lease is None or lease.spec.holder_identity != self._identity:
            return
        spec = lease.spec.model_copy(
            update={"holder_identity": "", "lease_duration_seconds": 1, "renew_time": self._wall_clock()}
        )
        self._lease = await self._leases.update(lease.model_copy(update={"spec": spec}))

    @staticmethod
    def _left_s(term: Term) -> float:
        return term._ends_at - asyncio.get_running_loop().time()
