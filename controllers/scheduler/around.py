"""The rules about other pods as arithmetic on tallies: what `crds/placement/neighbours` defines, for all rows at once.

An `Around` belongs to one class of pods. It holds the tallies that matter to the class and makes of them masks of rows
and points for rows. Nothing here looks at a pod, and nothing loops over nodes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from stark.crds.placement.filters import Rule
from stark.crds.placement.neighbours import APART_REFUSED, KEPT_AWAY, NEAR_REFUSED, SKEWED, UNLABELLED
from stark.crds.placement.relations import Spread
from stark.crds.placement.scores import SCORE_MAX

from .crowding import Crowding
from .topology import Flags, Ints, Tally

Refusing = tuple[Rule, str, Flags]
"""A rule, its reason, and the rows it says no to."""


@dataclass(slots=True)
class Constraint:
    """A spread constraint of the class and what is counted for it."""

    spread: Spread
    tally: Tally
    itself: int = 0
    """1 when the pod is one of those it counts."""
    _seen: tuple[int, int] = (-1, -1)
    _present: Flags = field(default_factory=lambda: np.zeros(0, np.bool_))

    def present(self) -> Flags:
        """The places that have counted nodes."""
        places = self.tally.places
        if self._seen != (places.version, self.tally.version):
            self._seen = (places.version, self.tally.version)
            rows = self.tally.rows
            self._present = np.zeros(places.size + 1, np.bool_)
            self._present[places.of_row if rows is None else places.of_row[rows]] = True
            self._present[-1] = False
        return self._present

    def fewest(self) -> int:
        """The count of the place with the fewest pods."""
        present = self.present()
        counts = self.tally.by_place()[present]
        return int(counts.min()) if len(counts) and len(counts) >= self.spread.min_domains else 0


@dataclass(slots=True)
class Around:
    """What matters to a class."""

    near: Sequence[Tally] = ()
    meets_itself: bool = False
    """The pod is one of those it must be near to."""
    apart: Sequence[Tally] = ()
    kept: Sequence[Tally] = ()
    """Placed pods that want this one away."""
    worth: Sequence[tuple[int, Tally]] = ()
    hard: Sequence[Constraint] = ()
    soft: Sequence[Constraint] = ()
    needs_labels: bool = False
    """The soft constraints are the pod's own: a node without one of their labels gets no points."""
    crowding: Crowding = field(init=False)

    def __post_init__(self) -> None:
        soft = [(each.spread, each.tally) for each in self.soft]
        self.crowding = Crowding(soft, needs_labels=self.needs_labels)

    def tallies(self) -> Iterator[Tally]:
        """All of them."""
        yield from self.near
        yield from self.apart
        yield from self.kept
        yield from (tally for _, tally in self.worth)
        yield from (each.tally for each in (*self.hard, *self.soft))

    @property
    def forbids(self) -> bool:
        """Whether there is any rule, and not only scores."""
        return bool(self.near or self.apart or self.kept or self.hard)

    # --- what forbids ---

    def refusing(self, rows: int) -> Iterator[Refusing]:
        """Each rule in its order over the first `rows`; of a row that several refuse the first one counts."""
        for each in self.hard:
            yield Rule.SPREAD, UNLABELLED, each.tally.places.of_row[:rows] < 0
            bound = each.spread.max_skew + each.fewest() - each.itself
            yield Rule.SPREAD, SKEWED, each.tally.per_row(rows) > bound
        if self.near:
            yield Rule.AFFINITY, NEAR_REFUSED, ~self._is_near(rows)
        for tally in self.apart:
            yield Rule.AFFINITY, APART_REFUSED, tally.per_row(rows) > 0
        for tally in self.kept:
            if tally.total:
                yield Rule.AFFINITY, KEPT_AWAY, tally.per_row(rows) > 0

    def _is_near(self, rows: int) -> Flags:
        alone = self.is_alone()
        near = np.ones(rows, np.bool_)
        for tally in self.near:
            near &= (tally.places.of_row[:rows] >= 0) if alone else (tally.per_row(rows) > 0)
        return near

    def is_alone(self) -> bool:
        """Nobody is there yet of those it must be near to, and it will be the first."""
        return self.meets_itself and not any(tally.total for tally in self.near)

    def refusal_at(self, row: int) -> tuple[Rule, Sequence[str]] | None:
        """The first rule that refuses one row."""
        for each in self.hard:
            place = each.tally.places.of_row.item(row)
            if place < 0:
                return Rule.SPREAD, (UNLABELLED,)
            if each.tally.at(row) + each.itself - each.fewest() > each.spread.max_skew:
                return Rule.SPREAD, (SKEWED,)
        alone = self.is_alone()
        for tally in self.near:
            if tally.places.of_row.item(row) < 0 or not (alone or tally.at(row)):
                return Rule.AFFINITY, (NEAR_REFUSED,)
        for tallies, reason in ((self.apart, APART_REFUSED), (self.kept, KEPT_AWAY)):
            if any(tally.at(row) for tally in tallies):
                return Rule.AFFINITY, (reason,)
        return None

    def allowed(self, may: Flags) -> Flags:
        """The rows of `may` that no rule refuses."""
        for _, _, refused in self.refusing(len(may)):
            may &= ~refused
        return may

    # --- what is better ---

    def worth_points(self, may: Flags, unit: int) -> Ints | None:
        """Points of pod affinity, times `unit`; None when all rows are equal."""
        if not self.worth:
            return None
        rows = len(may)
        raw: Ints = np.zeros(rows, np.int64)
        for weight, tally in self.worth:
            if tally.total or weight == 1:
                raw += weight * tally.per_row(rows)
        among = raw if may.all() else raw[may]
        if not len(among) or (least := int(among.min())) == (most := int(among.max())):
            return None
        points: Ints = (SCORE_MAX * ((raw - least) / (most - least))).astype(np.int64)
        points *= unit
        return points
