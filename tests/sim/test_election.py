"""Elections on virtual time: under partitions, lost answers, pauses and wrong clocks there are never two leaders.

The store of leases is simulated, because it is the network to it that has to fail; the electors are the real ones.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

import pytest

from stark.client.election import ElectionSettings, Elector, Term
from stark.client.errors import AlreadyExists, Conflict, Fenced, NotFound, Unavailable
from stark.crds.coordination import Lease
from tests.support.virtual_time import Stuck, virtual_now, virtual_run


@dataclass
class LeaseStore:
    """One lease with compare-and-swap, as the API server stores it."""

    lease: Lease | None = None
    version: int = 0

    def store(self, lease: Lease) -> Lease:
        self.version += 1
        meta = lease.metadata.model_copy(update={"resource_version": str(self.version)})
        self.lease = lease.model_copy(update={"metadata": meta})
        return self.lease


@dataclass
class Wire:
    """One candidate's connection: slow, sometimes cut, sometimes losing the answer after the write happened."""

    store: LeaseStore
    rng: random.Random
    latency_s: float = 0.05
    cut: bool = False
    lossy: bool = False

    async def get(self, kind: type[Lease], name: str, namespace: str | None = None) -> Lease:
        await self._travel()
        if self.store.lease is None:
            raise NotFound(name)
        found = self.store.lease
        await self._travel()
        return found

    async def create(self, obj: Lease) -> Lease:
        await self._travel()
        if self.store.lease is not None:
            raise AlreadyExists(obj.metadata.name)
        made = self.store.store(obj)
        await self._travel()
        return made

    async def update(self, obj: Lease) -> Lease:
        await self._travel()
        if self.store.lease is None:
            raise NotFound(obj.metadata.name)
        if obj.metadata.resource_version != self.store.lease.metadata.resource_version:
            raise Conflict(obj.metadata.name)
        changed = self.store.store(obj)
        await self._travel()
        return changed

    async def _travel(self) -> None:
        await asyncio.sleep(self.latency_s * self.rng.uniform(0.2, 3))
        if self.cut:
            await asyncio.sleep(self.rng.choice((0.1, 30.0)))  # refused at once, or silent until a timeout
            raise Unavailable("partition")
        if self.lossy and self.rng.random() < 0.3:
            raise Unavailable("the answer was lost")


async def _stopped(pause_s: float) -> bool:
    """A process that is stopped and continued: it learns only afterwards whether it was cancelled meanwhile."""
    pause = asyncio.ensure_future(asyncio.sleep(pause_s))
    cancelled = False
    while not pause.done():
        try:
            await asyncio.shield(pause)
        except asyncio.CancelledError:
            cancelled = True
    return cancelled


@dataclass
class World:
    """The candidates and the record of who acted when."""

    store: LeaseStore = field(default_factory=LeaseStore)
    acts: list[tuple[float, str, int]] = field(default_factory=list)
    working: set[str] = field(default_factory=set)

    def elector(self, name: str, wire: Wire, skew_s: float = 0.0, **settings: float) -> Elector:
        return Elector(
            wire,
            "stark-test",
            name,
            settings=ElectionSettings(**settings),
            wall_clock=lambda: virtual_now(timedelta(seconds=skew_s)),
        )

    async def lead(self, name: str, term: Term, pauses: random.Random | None = None) -> None:
        """Act ten times a second, sometimes after a pause of the whole process, always asking the fence first."""
        self.working.add(name)
        try:
            while True:
                stopped = pauses is not None and pauses.random() < 0.01
                cancelled = await _stopped(pauses.uniform(5, 40)) if stopped and pauses else False
                await asyncio.sleep(0 if stopped else 0.1)
                try:
                    term.remaining_s()
                    self.acts.append((asyncio.get_running_loop().time(), name, term.epoch))
                except Fenced:
                    pass  # what the client does with a write: it is not sent
                if cancelled:
                    raise asyncio.CancelledError
        finally:
            self.working.discard(name)

    def assert_one_leader_at_a_time(self) -> None:
        for (at, name, epoch), (later, other, other_epoch) in zip(self.acts, self.acts[1:], strict=False):
            if name != other:
                assert other_epoch > epoch, f"{other} acts at {later:.2f} in epoch {other_epoch}, {name} at {at:.2f}"


@pytest.mark.parametrize("seed", range(12))
def test_there_are_never_two_leaders_whatever_the_network_and_the_clocks_do(seed: int) -> None:
    async def main() -> None:
        rng = random.Random(seed)
        world = World()
        names = ["ann", "bob", "cid"]
        wires = {name: Wire(world.store, random.Random(f"{seed}{name}")) for name in names}
        async with asyncio.TaskGroup() as group:
            tasks = []
            for name in names:
                elector = world.elector(name, wires[name], skew_s=rng.uniform(-3600, 3600))
                pauses = random.Random(f"{name}{seed}")
                lead = partial(world.lead, name, pauses=pauses)
                tasks.append(group.create_task(elector.run(lead)))
            for _ in range(40):
                await asyncio.sleep(rng.uniform(1, 30))
                for wire in wires.values():
                    wire.cut, wire.lossy = rng.random() < 0.3, rng.random() < 0.3
                    wire.latency_s = rng.choice((0.01, 0.1, 1.5))
            for wire in wires.values():
                wire.cut, wire.lossy, wire.latency_s = False, False, 0.01
            healed_at = asyncio.get_running_loop().time()
            await asyncio.sleep(120)
            for task in tasks:
                task.cancel()
        world.assert_one_leader_at_a_time()
        assert any(at > healed_at for at, _, _ in world.acts), "somebody leads when the network is well"

    virtual_run(main())


def test_a_leader_that_is_cut_off_stops_before_another_one_starts() -> None:
    async def main() -> None:
        world = World()
        ann, bob = (Wire(world.store, random.Random(name)) for name in ("ann", "bob"))
        async with asyncio.TaskGroup() as group:
            first = group.create_task(world.elector("ann", ann).run(lambda term: world.lead("ann", term)))
            await asyncio.sleep(5)
            second = group.create_task(world.elector("bob", bob).run(lambda term: world.lead("bob", term)))
            await asyncio.sleep(30)
            assert world.working == {"ann"}
            ann.cut = True
            cut_at = asyncio.get_running_loop().time()
            await asyncio.sleep(10.1)
            assert world.working == set(), "cancelled by the renew deadline"
            await asyncio.sleep(15)
            assert world.working == {"bob"}
            first.cancel()
            second.cancel()
        began = next(at for at, name, _ in world.acts if name == "bob")
        # At worst bob saw the last renewal one jittered retry late (4.4 s), and looks again one such retry after its end.
        assert 10.6 < began - cut_at < 24
        world.assert_one_leader_at_a_time()

    virtual_run(main())


def test_stopping_releases_the_lease_so_that_the_next_one_starts_within_a_few_seconds() -> None:
    async def main() -> None:
        world = World()
        ann, bob = (Wire(world.store, random.Random(name)) for name in ("ann", "bob"))
        async with asyncio.TaskGroup() as group:
            first = group.create_task(world.elector("ann", ann).run(lambda term: world.lead("ann", term)))
            await asyncio.sleep(5)
            second = group.create_task(world.elector("bob", bob).run(lambda term: world.lead("bob", term)))
            await asyncio.sleep(5)
            first.cancel()
            await asyncio.sleep(5)
            assert world.working == {"bob"}
            second.cancel()
        epochs = {name: epoch for _, name, epoch in world.acts}
        assert epochs["bob"] == epochs["ann"] + 1

    virtual_run(main())


def test_work_that_fails_releases_the_lease_and_the_failure_is_seen() -> None:
    async def main() -> None:
        world = World()

        async def fail(term: Term) -> None:
            raise RuntimeError("broken")

        with pytest.raises(RuntimeError, match="broken"):
            await world.elector("ann", Wire(world.store, random.Random(1))).run(fail)
        assert world.store.lease is not None
        assert world.store.lease.spec.holder_identity == ""

    virtual_run(main())


def test_a_term_that_is_over_refuses_writes() -> None:
    async def main() -> None:
        term = Term("ann", 3, ends_at=10.0)
        assert term.remaining_s() == pytest.approx(10)
        await asyncio.sleep(10)
        assert not term.valid
        with pytest.raises(Fenced, match="epoch 3"):
            term.remaining_s()

    virtual_run(main())


@pytest.mark.parametrize(
    ("duration", "deadline", "retry"),
    [
        pytest.param(10, 10, 2, id="a deadline that is not shorter than the lease"),
        pytest.param(15, 2, 2, id="a retry that is not shorter than the deadline"),
    ],
)
def test_settings_that_could_give_two_leaders_are_refused(duration: float, deadline: float, retry: float) -> None:
    with pytest.raises(ValueError, match="lease duration"):
        ElectionSettings(duration, deadline, retry)


def test_virtual_time_tells_when_everything_waits_for_ever() -> None:
    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Stuck):
        virtual_run(main())
