"""The priority levels that are in force, and the flows of requests through them.

`Levels.apply` takes the objects as they are now; levels that stay keep their seats and their queues. A level that is removed
serves those it has to their end. Where mandatory objects are missing, the ones that come with us are used.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ..request import User
from ..routes import Asked
from .borrowing import Bounds, Shares, bounds_of, divide, smoothed
from .classification import Schema, in_order
from .counts import Counts
from .dealing import deal, flow_hash
from .demand import Observed
from .objects import CATCH_ALL, MANDATORY
from .queueset import QueueSet, Queuing, Ticket
from .widths import SEATS_MAX

FLOWS_MAX: Final = 8_192
"""Classifications that are remembered. Past that all are forgotten: they are quick to find again."""
PATH_REMEMBERED_MAX: Final = 512
"""Characters of a path beyond which its classification is not remembered: clients choose them, and we would keep them."""
WIDEST_PART: Final = 0.15
"""Of a level's own seats, the part that one request may take at most, as in Kubernetes."""
EXEMPT_TYPE: Final = "Exempt"
FLOW_SCHEMA_UID: Final = "X-Kubernetes-PF-FlowSchema-UID"
PRIORITY_LEVEL_UID: Final = "X-Kubernetes-PF-PriorityLevel-UID"

Object = Mapping[str, Any]


@dataclass(slots=True, eq=False)
class Level:
    """A priority level at work."""

    name: str
    uid: str
    shares: Shares
    queues: QueueSet
    bounds: Bounds
    smooth: float = 0.0
    observed: Observed = field(default_factory=Observed)
    counts: dict[str, Counts] = field(default_factory=dict)
    """By flow schema."""

    @property
    def seats_max(self) -> int:
        """Seats of its widest request."""
        if self.shares.is_exempt:
            return SEATS_MAX
        return max(1, min(SEATS_MAX, math.ceil(self.bounds.nominal * WIDEST_PART)))


class Flow:
    """Requests that are queued together: one schema, one user or namespace."""

    __slots__ = ("_hand", "_hash", "_queuing", "counts", "headers", "level", "seats_max")

    def __init__(self, level: Level, schema: Schema, distinguisher: str) -> None:
        self.level = level
        self.seats_max = level.seats_max
        self.counts = level.counts.setdefault(schema.name, Counts())
        uids = ((FLOW_SCHEMA_UID, schema.uid), (PRIORITY_LEVEL_UID, level.uid))
        self.headers: Mapping[str, str] = {name: uid for name, uid in uids if uid}
        self._hash = flow_hash(schema.name, distinguisher)
        self._queuing: Queuing | None = None
        self._hand: Sequence[int] = ()

    def hand(self, queuing: Queuing) -> Sequence[int]:
        """The queues it may use."""
        if queuing is not self._queuing:
            self._queuing = queuing
            self._hand = deal(self._hash, queuing.queues, queuing.hand_size)
        return self._hand


class Levels:
    """All of them, by name."""

    def __init__(self, seats: int, now_s: float) -> None:
        self._seats = seats
        self._schemas: list[Schema] = []
        self._flows: dict[tuple[Any, ...], Flow] = {}
        self.by_name: dict[str, Level] = {}
        self.fair_fraction = 0.0
        self._divided_s = now_s
        self.apply(MANDATORY, now_s)

    def apply(self, objects: Iterable[Object], now_s: float) -> Sequence[Ticket]:
        """Use these PriorityLevelConfigurations and FlowSchemas from now on. Gives requests that are dispatched by it."""
        given = {(obj["kind"], obj["metadata"]["name"]): obj for obj in (*MANDATORY, *objects)}
        specs = {name: obj for (kind, name), obj in given.items() if kind == "PriorityLevelConfiguration"}
        bounds = bounds_of({name: _shares(obj) for name, obj in specs.items()}, self._seats)
        known, self.by_name = self.by_name, {}
        dispatched: list[Ticket] = []
        for name, obj in specs.items():
            self.by_name[name] = level = known.get(name) or _level(obj, bounds[name], now_s)
            dispatched += _update(level, obj, bounds[name], now_s)
        schemas = (Schema.of(obj) for (kind, _), obj in given.items() if kind == "FlowSchema")
        self._schemas = in_order(schema for schema in schemas if schema.level in self.by_name)
        self._flows.clear()
        self._forget_counts()
        return dispatched

    def _forget_counts(self) -> None:
        """Of schemas that are gone, once their last request is."""
        names = {schema.name for schema in self._schemas}
        for level in self.by_name.values():
            kept = {name: it for name, it in level.counts.items() if name in names or it.executing or it.waiting}
            level.counts = kept

    def flow_of(self, user: User, asked: Asked) -> Flow:
        """Where a request belongs. The catch-all is for everybody, so there is always a place."""
        path = "" if asked.plural else asked.path
        key = (user.name, user.groups, asked.verb, asked.group, asked.plural, asked.subresource, asked.namespace, path)
        flow = self._flows.get(key)
        return flow if flow is not None else self._classify(user, asked, key)

    def _classify(self, user: User, asked: Asked, key: tuple[Any, ...]) -> Flow:
        found = next((schema for schema in self._schemas if schema.matches(user, asked)), None)
        # Somebody in no group at all: even the schema for everybody names groups.
        schema = found or next(schema for schema in self._schemas if schema.name == CATCH_ALL)
        flow = Flow(self.by_name[schema.level], schema, schema.distinguish(user, asked))
        if len(asked.path) <= PATH_REMEMBERED_MAX:
            if len(self._flows) >= FLOWS_MAX:
                self._flows.clear()
            self._flows[key] = flow
        return flow

    def divide(self, now_s: float) -> Sequence[Ticket]:
        """Give each level seats by what it wanted since the last time. Gives requests that are dispatched by it."""
        period_s, self._divided_s = now_s - self._divided_s, now_s
        levels = self.by_name
        for level in levels.values():
            level.observed = level.queues.demand.take(now_s)
            level.smooth = smoothed(level.smooth, level.observed, period_s)
        exempt = frozenset(name for name, level in levels.items() if level.shares.is_exempt)
        seats, self.fair_fraction = divide(
            {name: level.bounds for name, level in levels.items()},
            {name: level.observed for name, level in levels.items()},
            {name: level.smooth for name, level in levels.items()},
            exempt,
        )
        dispatched: list[Ticket] = []
        for name, level in levels.items():
            if name not in exempt and level.queues.limit != seats[name]:
                dispatched += level.queues.resize(seats[name], now_s)
        return dispatched


def _shares(obj: Object) -> Shares:
    spec = obj["spec"]
    if spec["type"] == EXEMPT_TYPE:
        exempt = spec.get("exempt") or {}
        return Shares(exempt.get("nominalConcurrencyShares", 0), exempt.get("lendablePercent", 0), 0, is_exempt=True)
    limited = spec["limited"]
    return Shares(
        limited["nominalConcurrencyShares"], limited.get("lendablePercent", 0), limited.get("borrowingLimitPercent")
    )


def _queuing(obj: Object) -> Queuing | None:
    given = ((obj["spec"].get("limited") or {}).get("limitResponse") or {}).get("queuing")
    return Queuing(given["queues"], given["handSize"], given["queueLengthLimit"]) if given else None


def _level(obj: Object, bounds: Bounds, now_s: float) -> Level:
    shares = _shares(obj)
    limit = math.inf if shares.is_exempt else bounds.nominal
    return Level(obj["metadata"]["name"], "", shares, QueueSet(limit, _queuing(obj), now_s), bounds)


def _update(level: Level, obj: Object, bounds: Bounds, now_s: float) -> Sequence[Ticket]:
    """What changed of a level. Its seats start from its own ones when these changed, and are divided anew soon."""
    level.uid, level.shares = obj["metadata"].get("uid") or "", _shares(obj)
    dispatched = list(level.queues.reshape(_queuing(obj), now_s))
    if bounds != level.bounds:
        level.bounds = bounds
        if not level.shares.is_exempt:
            dispatched += level.queues.resize(bounds.nominal, now_s)
    return dispatched
