"""How crowded each row's places are for one class of pods: the score of its soft spread constraints.

Rows of which all constraints say the same are in one *cell*: those in the same zone, say, whose nodes have equally many
of the pods that are counted. A placement moves a row or two to another cell; points are computed once a cell, of which
there are few, and looked up for all rows at once. A constraint with few places distinguishes rows by their place, one
with many by the count of their place, because most of those are 0.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from stark.crds.placement.neighbours import place_factor
from stark.crds.placement.relations import Spread
from stark.crds.placement.scores import SCORE_MAX

from .topology import Flags, Ints, Tally

Floats = npt.NDArray[np.float64]
UNKNOWN = -1
"""The turn of rows about which nobody knows whether they are those of the last time."""
PLACES_MAX = 64
"""Places up to which a constraint distinguishes rows by their place."""
HEIGHT_MIN = 8
"""Counts that are told apart at first where a constraint distinguishes rows by them; twice as many when they occur."""
CELLS_MAX = 4_096
POPULATED_MAX = 256
"""With more cells than that, or more that have rows, it is computed for each row anew each time."""


class Axis:
    """One constraint: how it distinguishes rows. The last of its codes is for rows that have no such place."""

    def __init__(self, spread: Spread, tally: Tally) -> None:
        self.spread = spread
        self.tally = tally
        self.factor = 0.0
        self.version = -1
        """Of the places, when rows were put into cells."""
        self.seen = 0
        """How far in the changes of the tally."""
        self.stride = 1
        self.height = HEIGHT_MIN
        self._worth: list[float] | None = None

    @property
    def is_by_place(self) -> bool:
        """Whether the codes are places; else they are counts."""
        return self.tally.places.size <= PLACES_MAX

    @property
    def codes(self) -> int:
        """How many there are."""
        return (self.tally.places.size if self.is_by_place else self.height) + 1

    def begin(self) -> None:
        """Rows are put into cells now."""
        self.version, self.seen = self.tally.places.version, self.tally.now
        while not self.is_by_place and self.height <= int(self.tally.by_place().max()):
            self.height *= 2
        self._worth = None

    def code_of(self, rows: int) -> Ints:
        """The codes of the first `rows`."""
        places = self.tally.places.of_row[:rows]
        codes: Ints = places if self.is_by_place else self.tally.by_place().take(places)
        return np.where(places < 0, self.codes - 1, codes)

    def compare(self, scored: Flags) -> None:
        """These rows are compared: what one pod counts for follows from how many places they have."""
        places = self.tally.places
        seen = np.zeros(places.size + 1, np.bool_)
        seen[places.of_row[: len(scored)][scored]] = True
        self.factor = place_factor(int(np.count_nonzero(seen[:-1])))
        self._worth = None

    def worth(self) -> list[float]:
        """What each code is worth. A node without the label is not crowded."""
        if not self.is_by_place and self._worth is not None:
            return self._worth
        counts = self.tally.by_place().tolist()[:-1] if self.is_by_place else range(self.height)
        factor, least = self.factor, self.spread.max_skew - 1
        self._worth = [count * factor + least for count in counts]
        self._worth.append(0.0)
        return self._worth

    def worth_by_row(self, rows: int) -> Floats:
        """The same for each of the first `rows`."""
        places = self.tally.places.of_row[:rows]
        exact = np.multiply(self.tally.by_place().take(places), self.factor, dtype=np.float64)
        exact += self.spread.max_skew - 1
        exact[places < 0] = 0.0
        return exact


class Crowding:
    """The soft constraints of a class. Asked about the same rows again, only what has changed is computed."""

    def __init__(self, soft: Sequence[tuple[Spread, Tally]], *, needs_labels: bool) -> None:
        self._axes = [Axis(spread, tally) for spread, tally in soft]
        self._needs_labels = needs_labels
        self._may: Flags = np.zeros(0, np.bool_)
        self._turn = UNKNOWN
        self._scored: Flags = self._may
        self._cells: Ints | None = None
        """The cell of each row; None when there would be too many."""
        self._populations: Counter[int] = Counter()
        """How many scored rows are in each cell."""
        self._points: Ints = np.zeros(0, np.int64)
        """By cell. A row that is not scored though it may take the pod lacks a label: its cell has no scored rows, ever, and
        no points."""

    def points(self, may: Flags, turn: int, worth: int) -> Ints | None:
        """For each row 0 to 100, times `worth`; None when all are equal. What it says of other rows than those that `may`
        take the pod means nothing. `turn`: the same number as the last time says that `may` is the same, too."""
        if not self._axes:
            return None
        is_same = turn == self._turn if turn != UNKNOWN else np.array_equal(may, self._may)
        if not is_same or len(may) != len(self._may) or self._are_elsewhere():
            self._compare(may)
        else:
            self._follow()
        self._turn = turn
        if self._cells is None or len(self._populations) > POPULATED_MAX:
            return self._points_by_row(worth)
        return self._points.take(self._cells) if self._price(worth) else None

    # --- which rows are compared, and which cell they are in ---

    def _are_elsewhere(self) -> bool:
        return any(axis.version != axis.tally.places.version for axis in self._axes)

    def _compare(self, may: Flags) -> None:
        """From now on these rows are compared."""
        is_known = len(may) == len(self._may) and not self._are_elsewhere()
        scored = self._may = may.copy()
        if self._needs_labels:
            scored = may.copy()
            for axis in self._axes:
                scored &= axis.tally.places.of_row[: len(may)] >= 0
        self._scored = scored
        for axis in self._axes:
            axis.compare(scored)
        if is_known:
            self._follow()
        else:
            self._begin()
        if self._cells is not None:
            self._populate(self._cells)

    def _populate(self, cells: Ints) -> None:
        numbers, counts = np.unique(cells[self._scored], return_counts=True)
        self._populations = Counter(dict(zip(numbers.tolist(), counts.tolist(), strict=True)))

    def _begin(self) -> None:
        """Put every row into its cell."""
        for axis in self._axes:
            axis.begin()
        total = math.prod(axis.codes for axis in self._axes)
        if total > CELLS_MAX:
            self._cells = None
            return
        rows, stride = len(self._may), total
        cells: Ints = np.zeros(rows, np.int64)
        for axis in self._axes:
            stride //= axis.codes
            axis.stride = stride
            cells += axis.code_of(rows) * stride
        self._cells, self._points = cells, np.zeros(total, np.int64)
        self._populate(cells)

    def _follow(self) -> None:
        """Move the rows whose counts have changed."""
        for axis in self._axes:
            tally = axis.tally
            if axis.seen == tally.now or self._cells is None:
                continue
            changed = tally.since(axis.seen)
            axis.seen = tally.now
            if axis.is_by_place:
                continue
            if changed is None:
                self._begin()
                return
            counts = tally.by_place()
            for place in set(changed):
                if (count := counts.item(place)) >= axis.height:
                    self._begin()
                    return
                for row in tally.places.rows_at(place).tolist():
                    self._move(self._cells, axis, row, count)

    def _move(self, cells: Ints, axis: Axis, row: int, code: int) -> None:
        before = cells.item(row)
        after = before + (code - before // axis.stride % axis.codes) * axis.stride
        cells[row] = after
        if self._scored.item(row):
            self._populations[after] += 1
            self._populations[before] -= 1
            if not self._populations[before]:
                del self._populations[before]

    # --- what that is worth ---

    def _price(self, worth: int) -> bool:
        """Give every cell with scored rows its points. False when they are all equal, so that none are needed."""
        by_axis = [(axis.stride, axis.codes, axis.worth()) for axis in self._axes]
        crowded: dict[int, int] = {}
        for cell in self._populations:
            exact = 0.0
            for stride, codes, values in by_axis:
                exact += values[cell // stride % codes]
            crowded[cell] = int(exact + 0.5)
        levels = crowded.values()
        least, most = min(levels, default=0), max(levels, default=0)
        if not levels or (least == most and not self._needs_labels):
            return False
        points = self._points
        for cell, level in crowded.items():
            points[cell] = SCORE_MAX * (most + least - level) // most * worth if most else SCORE_MAX * worth
        return True

    def _points_by_row(self, worth: int) -> Ints | None:
        exact: Floats = np.full(len(self._may), 0.0)
        for axis in self._axes:
            exact += axis.worth_by_row(len(exact))
        exact += 0.5
        crowded: Ints = exact.astype(np.int64)
        among = crowded[self._scored]
        if not len(among):
            return None
        least, most = int(among.min()), int(among.max())
        if not most:
            return np.where(self._scored, SCORE_MAX * worth, 0)
        # What is not compared may be more crowded.
        points: Ints = SCORE_MAX * (most + least - np.minimum(crowded, most)) // most * worth
        return np.where(self._scored, points, 0)
