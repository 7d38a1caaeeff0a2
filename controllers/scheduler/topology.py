"""How many pods of a group there are in each place, kept up to date one placement at a time.

A place is a value of one label of nodes. `Places` numbers the values, so that what is known of places is applied to all
nodes by one numpy look-up: `counts[places.of_row]`. A `Tally` is a count a place; a `Crowd` is all placed pods that no
rule can tell apart. A placement changes the tallies of its crowd by a number each, whatever the size of the cluster.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from stark.crds.placement.facts import Demand, NodeState
from stark.crds.placement.relations import NamespaceLabels, Profile, Relations

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
NOWHERE = -1
"""The place of a row whose node has no such label, or of no node. As an index it is the spare last entry, always 0."""
PLACES_MIN = 16
CHANGES_MAX = 1_000
"""Changes of a tally that are remembered, for those who keep something that was computed from it."""


class Places:
    """The values of one label, numbered. Numbers that no node has any more are given out again."""

    def __init__(self, key: str, rows: int) -> None:
        self.key = key
        self.of_row: Ints = np.full(rows, NOWHERE, np.int64)
        self.size = PLACES_MIN
        """Numbers below this are in use or may come into use."""
        self.version = 0
        """Changes with any node's place."""
        self._numbers: dict[str, int] = {}
        self._values: dict[int, str] = {}
        self._nodes: Counter[int] = Counter()
        self._free = list(reversed(range(PLACES_MIN)))
        self._by_place: tuple[Ints, list[int]] | None = None
        """The rows in the order of their places, and where each place begins; None when that has changed."""

    def rows_at(self, place: int) -> Ints:
        """The rows whose node is in that place."""
        if self._by_place is None:
            order = np.argsort(self.of_row, kind="stable")
            starts = np.searchsorted(self.of_row[order], np.arange(self.size + 1))
            self._by_place = order, starts.tolist()
        rows, begins = self._by_place
        found: Ints = rows[begins[place] : begins[place + 1]]
        return found

    def set(self, row: int, node: NodeState | None) -> bool:
        """Say where a row is now. True when it is somewhere else than before."""
        value = node.offer.labels.get(self.key) if node is not None else None
        before = self.of_row.item(row)
        if (self._values.get(before) if before >= 0 else None) == value:
            return False
        self.version += 1
        self._by_place = None
        self.of_row[row] = NOWHERE if value is None else self._enter(value)
        if before >= 0:
            self._leave(before)
        return True

    def resize(self, rows: int) -> None:
        """More rows."""
        of_row = np.full(rows, NOWHERE, np.int64)
        of_row[: len(self.of_row)] = self.of_row
        self.of_row = of_row
        self.version += 1
        self._by_place = None

    def _enter(self, value: str) -> int:
        number = self._numbers.get(value)
        if number is None:
            if not self._free:
                self._free = list(reversed(range(self.size, 2 * self.size)))
                self.size *= 2
            number = self._numbers[value] = self._free.pop()
            self._values[number] = value
        self._nodes[number] += 1
        return number

    def _leave(self, number: int) -> None:
        self._nodes[number] -= 1
        if not self._nodes[number]:
            del self._nodes[number], self._numbers[self._values.pop(number)]
            self._free.append(number)


class Kind(NamedTuple):
    """What a pod is to others and what it says about them. Pods of one kind count alike."""

    profile: Profile
    relations: Relations


def kind_of(demand: Demand) -> Kind:
    """The pod's kind."""
    return Kind(demand.profile, demand.relations)


class Tally:
    """A count for every place. `worth` says what a pod of a kind adds, 0 for those that are not meant."""

    def __init__(self, places: Places, worth: Callable[[Kind, NamespaceLabels], int]) -> None:
        self.places = places
        self.worth = worth
        self.counts: Ints = np.zeros(places.size + 1, np.int64)
        self.total = 0
        """Sum of all counts. 0 means that a tally of pods is empty; one of worths may have cancelled out."""
        self.rows: Flags | None = None
        """The rows whose pods are counted; None for all."""
        self.version = 0
        """Changes with `rows`."""
        self.crowds: set[Crowd] = set()
        """Those that add to it."""
        self._changed: list[int] = []
        self._changed_start = 0

    def limit(self, rows: Flags | None) -> None:
        """Count only the pods of these rows. Pods of rows that change sides must not be counted meanwhile."""
        self.rows = rows
        self.version += 1

    def add(self, row: int, amount: int) -> None:
        """Count a pod, or take one away, on a row's node."""
        place = self.places.of_row.item(row)
        if place < 0 or (self.rows is not None and not self.rows.item(row)):
            return
        if place >= len(self.counts) - 1:
            self._grow()
        self.counts[place] += amount
        self.total += amount
        self._changed.append(place)
        if len(self._changed) > CHANGES_MAX:
            self._changed_start += len(self._changed)
            self._changed.clear()

    @property
    def now(self) -> int:
        """How many changes of counts there have been."""
        return self._changed_start + len(self._changed)

    def since(self, seen: int) -> Sequence[int] | None:
        """The places whose counts have changed after that many changes; None when nobody knows any more."""
        return self._changed[seen - self._changed_start :] if seen >= self._changed_start else None

    def by_place(self) -> Ints:
        """The count of each place, and the spare last entry."""
        if len(self.counts) <= self.places.size:
            self._grow()
        return self.counts

    def per_row(self, rows: int) -> Ints:
        """The count of the place of each of the first `rows`; 0 where one has none."""
        return self.by_place().take(self.places.of_row[:rows])

    def at(self, row: int) -> int:
        """The count of one row's place; 0 when it has none."""
        place = self.places.of_row.item(row)
        return self.counts.item(place) if 0 <= place < len(self.counts) - 1 else 0

    def _grow(self) -> None:
        counts = np.zeros(self.places.size + 1, np.int64)
        counts[: len(self.counts) - 1] = self.counts[:-1]
        self.counts = counts


class Crowd:
    """The placed pods of one kind: how many on each row, and what each adds to which tallies."""

    def __init__(self) -> None:
        self.rows: Counter[int] = Counter()
        self.adds: list[tuple[Tally, int]] = []


class Crowds:
    """All placed pods by kind, and all tallies."""

    def __init__(self, namespaces: NamespaceLabels) -> None:
        self._namespaces = namespaces
        self._crowds: dict[Kind, Crowd] = {}
        self._tallies: list[Tally] = []

    def place(self, kind: Kind, row: int) -> bool:
        """One more pod. True when it is the first of its kind."""
        crowd = self._crowds.get(kind)
        is_first = crowd is None
        if crowd is None:
            crowd = self._crowds[kind] = Crowd()
            for tally in self._tallies:
                self._join(kind, crowd, tally)
        crowd.rows[row] += 1
        for tally, each in crowd.adds:
            tally.add(row, each)
        return is_first

    def shift(self, kind: Kind, row: int, sign: int) -> None:
        """One pod more or less in the tallies, but not among the pods: it will be put back."""
        for tally, each in self._crowds[kind].adds:
            tally.add(row, sign * each)

    def remove(self, kind: Kind, row: int) -> bool:
        """One pod less. True when it was the last of its kind."""
        crowd = self._crowds[kind]
        left = crowd.rows[row] - 1
        if left:
            crowd.rows[row] = left
        else:
            del crowd.rows[row]
        for tally, each in crowd.adds:
            tally.add(row, -each)
        if crowd.rows:
            return False
        del self._crowds[kind]
        for tally, _ in crowd.adds:
            tally.crowds.discard(crowd)
        return True

    def _join(self, kind: Kind, crowd: Crowd, tally: Tally) -> int:
        """What each pod of the crowd adds to the tally from now on."""
        if each := tally.worth(kind, self._namespaces):
            crowd.adds.append((tally, each))
            tally.crowds.add(crowd)
        return each

    def watch(self, tally: Tally) -> None:
        """Count for a new tally from now on, beginning with what is there."""
        self._tallies.append(tally)
        for kind, crowd in self._crowds.items():
            if each := self._join(kind, crowd, tally):
                for row, count in crowd.rows.items():
                    tally.add(row, count * each)

    def forget(self, tally: Tally) -> None:
        """Count for it no more."""
        self._tallies.remove(tally)
        for crowd in tally.crowds:
            crowd.adds = [(each, amount) for each, amount in crowd.adds if each is not tally]
