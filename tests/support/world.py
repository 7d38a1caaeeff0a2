"""A small world for the planners: objects with versions, caches that lag, processes that die, and nodes with programs.

It is a model of what planners are told and of what becomes of their plans, not a second API server: there is no admission,
no schema and no wire, and no controller runs here, only its pure decisions (see `world_actors`). Time is virtual, every
fault comes from one seeded die, and a history that failed once is found again by its seed.

    world = World(seed=7)
    world.add(deployment(3))
    world.run(60)           # a minute: nodes run pods, actors look, plan and write

Faults are on from the start: caches lag by some events (stale), wake-ups get lost until the next resync (missed) or come
twice (repeated). `world.kill_after` names writes after which the process that made them dies and starts anew.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar

from stark.crds.meta import KubeObject, controller_of
from stark.crds.pods import Pod

from .workloads import NOW

K = TypeVar("K", bound=KubeObject)

TICK_S = 1.0
RESYNC_S = 30.0
"""How often every key is looked at although nothing woke it: what bounds the harm of a missed event."""


class Conflict(Exception):
    """The object has changed since it was read, or is gone, or there already."""


class Killed(Exception):
    """The process is no more: its write was its last one."""


@dataclass(frozen=True)
class Faults:
    """How likely each is, for each event and actor."""

    lag: float = 0.3
    """An actor's cache stays behind for this tick."""
    missed: float = 0.05
    """An event wakes nobody."""
    repeated: float = 0.1
    """A key is looked at twice in a row."""


NO_FAULTS = Faults(0, 0, 0)


class Actor(Protocol):
    """A controller's decisions and how they are carried out here. One instance is one life of its process."""

    name: str
    kinds: Sequence[type[KubeObject]]
    """What its cache holds."""

    def keys(self, obj: KubeObject) -> Iterable[str]:
        """Which keys an event of this object wakes."""
        ...

    def reconcile(self, key: str, view: View, hands: Hands) -> float | None:
        """Look, plan, write. Seconds until the key is to be looked at again, if it says so."""
        ...


class View:
    """One process's cache: of each kind it knows all events up to some point, and not of all kinds up to the same."""

    def __init__(self, world: World, kinds: Sequence[type[KubeObject]]) -> None:
        self._world = world
        self._at = {kind: len(world.log[kind]) for kind in kinds}
        self._objects = {kind: dict(world.objects[kind]) for kind in kinds}

    def catch_up(self, kind: type[KubeObject], upto: int | None = None) -> list[KubeObject]:
        """Hear events, all of them or those up to a place in the log; the objects they were about."""
        log = self._world.log[kind]
        end = len(log) if upto is None else max(self._at[kind], min(upto, len(log)))
        heard = log[self._at[kind] : end]
        for before, after in heard:
            if after is not None:
                self._objects[kind][after.key] = after
            elif before is not None:
                self._objects[kind].pop(before.key, None)
        self._at[kind] = end
        return [each for pair in heard for each in pair if each is not None]

    def behind(self, kind: type[KubeObject]) -> int:
        """Events that it has not heard."""
        return len(self._world.log[kind]) - self._at[kind]

    def has_heard(self, kind: type[KubeObject], place: int) -> bool:
        """Whether the cache shows the log up to a place: how a controller knows that it sees its own writes."""
        return self._at[kind] >= place

    def get(self, kind: type[K], key: str) -> K | None:
        """The object as this process knows it."""
        found = self._objects[kind].get(key)
        assert found is None or isinstance(found, kind)
        return found

    def all(self, kind: type[K]) -> list[K]:
        """All of a kind."""
        return [obj for obj in self._objects[kind].values() if isinstance(obj, kind)]

    def owned(self, kind: type[K], owner: KubeObject) -> list[K]:
        """What the owner controls."""
        found = []
        for obj in self.all(kind):
            controller = controller_of(obj)
            if controller is not None and controller.uid == owner.uid:
                found.append(obj)
        return found


class Hands:
    """One process's writes. The process dies after the write that fate has chosen."""

    def __init__(self, world: World, name: str) -> None:
        self._world, self._name = world, name
        self.wrote: dict[type[KubeObject], int] = {}
        """Kind -> place in the log of the last write, for expectations."""

    @property
    def world(self) -> World:
        """For its clock."""
        return self._world

    def create(self, obj: K) -> K:
        """Make it. Raises Conflict when it is there."""
        return self._counted(obj, self._world.create(obj))

    def put(self, obj: K) -> K:
        """Replace it, if nobody wrote since it was read. Raises Conflict."""
        return self._counted(obj, self._world.put(obj))

    def edit(self, obj: K, change: Callable[[K], K]) -> K:
        """Patch whatever is there now under that uid. Raises Conflict when it is gone."""
        live = self._world.get(type(obj), obj.key)
        if live is None or live.uid != obj.uid:
            raise Conflict(obj.key)
        return self._counted(obj, self._world.put(change(live)))

    def delete(self, obj: KubeObject) -> None:
        """Ask for its end: at once, but for pods, which a node lets go."""
        self._world.delete(obj)
        self._counted(obj, obj)

    def _counted(self, obj: KubeObject, made: K) -> K:
        kind = type(obj)
        self.wrote[kind] = len(self._world.log[kind])
        self._world.count_write(self._name)
        return made


@dataclass
class _Process:
    actor: Actor
    view: View
    hands: Hands
    dirty: set[str] = field(default_factory=set)
    timers: dict[str, float] = field(default_factory=dict)
    resync_at: float = 0.0


class Nodes(Protocol):
    """Whatever runs pods."""

    def tick(self, world: World) -> None:
        """A moment passes: bind, run, end."""
        ...


class World:
    """Everything there is."""

    def __init__(
        self,
        seed: int,
        actors: Sequence[Callable[[], Actor]],
        nodes: Nodes,
        *,
        faults: Faults | None = None,
    ) -> None:
        self.dice = random.Random(seed)
        self.faults = faults or Faults()
        self.seconds = 0.0
        """Since the beginning; nobody sets this clock."""
        self.skew = timedelta(0)
        """By how much the wall clock is wrong now."""
        self.objects: dict[type[KubeObject], dict[str, KubeObject]] = defaultdict(dict)
        self.log: dict[type[KubeObject], list[tuple[KubeObject | None, KubeObject | None]]] = defaultdict(list)
        self.nodes = nodes
        self.writes: dict[str, int] = defaultdict(int)
        """Actor -> writes so far, over all lives of its process."""
        self.kill_after: set[tuple[str, int]] = set()
        """(actor, number of the write) after which its process dies."""
        self.deaths = 0
        self._version = 0
        self._making = list(actors)
        self._processes = [self._start(make) for make in self._making]

    # -- time -----------------------------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        """The wall clock."""
        return NOW + timedelta(seconds=self.seconds) + self.skew

    def run(self, seconds: float, meanwhile: Callable[[World], None] | None = None) -> None:
        """Let time pass; `meanwhile` is called at each tick."""
        end = self.seconds + seconds
        while self.seconds < end:
            self.seconds += TICK_S
            if meanwhile is not None:
                meanwhile(self)
            self.nodes.tick(self)
            self._act()

    def until(self, what: str, holds: Callable[[], bool], limit_s: float = 3_600) -> None:
        """Let time pass until it holds."""
        end = self.seconds + limit_s
        while not holds():
            assert self.seconds < end, f"not within {limit_s} s: {what}"
            self.run(TICK_S)

    # -- objects --------------------------------------------------------------------------------------------------

    def get(self, kind: type[K], key: str) -> K | None:
        """What is stored."""
        found = self.objects[kind].get(key)
        assert found is None or isinstance(found, kind)
        return found

    def one(self, kind: type[K], key: str) -> K:
        """What is stored and must be there."""
        found = self.get(kind, key)
        assert found is not None, key
        return found

    def all(self, kind: type[K]) -> list[K]:
        """All of a kind."""
        return [obj for obj in self.objects[kind].values() if isinstance(obj, kind)]

    def create(self, obj: K) -> K:
        """Store a new object."""
        meta = obj.metadata
        number = self._next()
        name = meta.name or f"{meta.generate_name}{number:05d}"
        named = {"name": name, "generate_name": None, "uid": f"uid-{number}", "generation": 1}
        made = obj.model_copy(
            update={"metadata": meta.model_copy(update={**named, "creation_timestamp": self._whole()})}
        )
        if made.key in self.objects[type(obj)]:
            raise Conflict(made.key)
        return self._store(None, made, number)

    def put(self, obj: K) -> K:
        """Replace an object, if its resourceVersion is the stored one's; a spec that changed is a new generation."""
        known = self.get(type(obj), obj.key)
        if known is None or known.metadata.resource_version != obj.metadata.resource_version:
            raise Conflict(obj.key)
        generation = (known.metadata.generation or 0) + (_spec(known) != _spec(obj))
        changed = obj.model_copy(update={"metadata": obj.metadata.model_copy(update={"generation": generation})})
        return known if changed == known else self._store(known, changed, self._next())

    def delete(self, obj: KubeObject) -> None:
        """Ask for the end of it. Raises Conflict when it is another one or gone."""
        known = self.objects[type(obj)].get(obj.key)
        if known is None or known.uid != obj.uid:
            raise Conflict(obj.key)
        if isinstance(known, Pod) and known.spec.node_name:
            if known.metadata.deletion_timestamp is None:
                meta = known.metadata.model_copy(update={"deletion_timestamp": self._whole()})
                self._store(known, known.model_copy(update={"metadata": meta}), self._next())
            return
        self.remove(known)

    def remove(self, obj: KubeObject) -> None:
        """It is no more."""
        self.objects[type(obj)].pop(obj.key, None)
        self.log[type(obj)].append((obj, None))

    def _store(self, known: KubeObject | None, obj: K, version: int) -> K:
        meta = obj.metadata.model_copy(update={"resource_version": str(version)})
        stored = obj.model_copy(update={"metadata": meta})
        self.objects[type(obj)][stored.key] = stored
        self.log[type(obj)].append((known, stored))
        return stored

    def _next(self) -> int:
        self._version += 1
        return self._version

    def _whole(self) -> datetime:
        return self.now.replace(microsecond=0)

    # -- processes ------------------------------------------------------------------------------------------------

    def count_write(self, actor: str) -> None:
        """A process has written. Raises Killed when that was its last write."""
        self.writes[actor] += 1
        if (actor, self.writes[actor]) in self.kill_after:
            raise Killed(actor)

    def kill(self, actor: str) -> None:
        """A process dies between two writes, with all it remembers, and another one takes its place."""
        for index, process in enumerate(self._processes):
            if process.actor.name == actor:
                self._restart(index)

    def _start(self, make: Callable[[], Actor]) -> _Process:
        actor = make()
        process = _Process(actor, View(self, actor.kinds), Hands(self, actor.name))
        process.dirty.update(self._all_keys(process))
        process.resync_at = self.seconds + RESYNC_S
        return process

    def _restart(self, index: int) -> None:
        self.deaths += 1
        self._processes[index] = self._start(self._making[index])

    def _all_keys(self, process: _Process) -> set[str]:
        kinds = process.actor.kinds
        return {key for kind in kinds for obj in process.view.all(kind) for key in process.actor.keys(obj)}

    def _act(self) -> None:
        for index in self.dice.sample(range(len(self._processes)), len(self._processes)):
            try:
                self._turn(self._processes[index])
            except Killed:
                self._restart(index)

    def _turn(self, process: _Process) -> None:
        self._hear(process)
        due = {key for key, at in process.timers.items() if at <= self.seconds}
        for key in due:
            del process.timers[key]
        if self.seconds >= process.resync_at:
            process.resync_at = self.seconds + RESYNC_S
            due |= self._all_keys(process)
        keys = sorted(process.dirty | due)
        process.dirty.clear()
        for key in keys:
            self._reconcile(process, key)
            if self.dice.random() < self.faults.repeated:
                self._reconcile(process, key)

    def _hear(self, process: _Process) -> None:
        for kind in process.actor.kinds:
            waiting = process.view.behind(kind)
            if not waiting:
                continue
            lags = self.dice.random() < self.faults.lag
            upto = len(self.log[kind]) - self.dice.randint(0, waiting) if lags else None
            for obj in process.view.catch_up(kind, upto):
                if self.dice.random() >= self.faults.missed:
                    process.dirty.update(process.actor.keys(obj))

    def _reconcile(self, process: _Process, key: str) -> None:
        try:
            again_s = process.actor.reconcile(key, process.view, process.hands)
        except Conflict:
            process.dirty.add(key)
            return
        if again_s is not None:
            process.timers[key] = self.seconds + max(again_s, 0.0)


def _spec(obj: KubeObject) -> Any:
    return getattr(obj, "spec", None)
