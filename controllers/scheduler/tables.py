"""The numbers behind `Snapshot.choose`: columns of what nodes have and take, and a row of preferences for each class of
pods.

Filling a table is numpy over all nodes at once; keeping one up to date is plain Python on one node, by the very
functions that define the rules and scores. Both must give the same number, which the property tests check. Scores that
are normalised over the feasible nodes, and rules about other pods, are put on top for each decision, again by numpy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from stark.crds.placement import scores
from stark.crds.placement.facts import AMOUNT_MAX, Demand, NodeState, Offer, Where
from stark.crds.placement.filters import Refused, Rule, admits, fits, fixed_rejection, is_selected, is_tolerated
from stark.crds.placement.scores import FIT_MAX, HUNDREDTHS, SCORE_MAX, TIE_MAX
from stark.crds.placement.weights import Weights

from .around import Around
from .crowding import UNKNOWN
from .topology import Flags, Ints

Floats = npt.NDArray[np.float64]
Rows = slice | Ints
FORBIDDEN = -(1 << 62)
"""So far below zero that no points added to it make it a preference."""
TIE_BITS = 20
RANK_BITS = 17
RANK_MAX = (1 << RANK_BITS) - 1
"""Nodes that the packed key can tell apart; a cluster has fewer nodes than that."""
POINTS_SHIFT = TIE_BITS + RANK_BITS
TIE = TIE_MAX << RANK_BITS
"""No tie lost, in a key."""
POINT = HUNDREDTHS << POINTS_SHIFT
"""One point of a score, in a key."""


class Numbers(NamedTuple):
    """What is known of some rows; cpu (thousandths) and memory (bytes) stand one below the other, so that one numpy
    operation does both."""

    free: Ints
    """What is not asked for by pods; a third row is for the number of pods."""
    left: Ints
    """What is left by what counts in scores."""
    taken: Ints
    """What is asked for by pods."""
    fewest: Ints
    """The score `fewest_pods`."""
    capacity: Ints
    divisors: Ints
    """The capacities, or 1 where there is none."""
    fractions: Floats
    """The capacities that make fractions; infinite for a node that does not tell one of them."""


FREE, LEFT, TAKEN, FEWEST = slice(0, 3), slice(3, 5), slice(5, 7), 7
MOVING = slice(0, 8)
CAPACITY, DIVISORS = slice(8, 10), slice(10, 12)


class Columns:
    """One value a row and property. A row without a node has room for no pod."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self._amounts: Ints = np.zeros((DIVISORS.stop, rows), np.int64)
        self._amounts[DIVISORS] = 1
        self._fractions: Floats = np.full((2, rows), np.inf)
        self._offers: list[Offer | None] = [None] * rows
        """Whose capacities the row has: they change rarely."""
        self.free_extended: dict[str, Ints] = {}
        """By the name of the resource, of those that some node has."""

    def set(self, row: int, node: NodeState | None) -> None:
        """Copy one node's numbers; None when the row has no node any more."""
        for free in self.free_extended.values():
            free[row] = 0
        if node is None:
            self._amounts[FREE.stop - 1, row] = 0
            return
        offer = node.offer
        for name, amount in offer.extended.items():
            if name not in self.free_extended:
                self.free_extended[name] = np.zeros(self.rows, np.int64)
            self.free_extended[name][row] = _bounded(amount - node.extended[name])
        cpu, memory = offer.milli_cpu, offer.memory
        free_cpu, free_memory = _bounded(cpu - node.milli_cpu), _bounded(memory - node.memory)
        self._amounts[MOVING, row] = (
            free_cpu,
            free_memory,
            offer.pods - node.pods,
            _bounded(cpu - node.scored_milli_cpu),
            _bounded(memory - node.scored_memory),
            cpu - free_cpu,
            memory - free_memory,
            scores.fewest_pods(node),
        )
        if self._offers[row] is not offer:
            self._offers[row] = offer
            self._amounts[CAPACITY, row] = cpu, memory
            self._amounts[DIVISORS, row] = max(cpu, 1), max(memory, 1)
            self._fractions[:, row] = (cpu, memory) if cpu > 0 and memory > 0 else np.inf

    def of(self, rows: Rows) -> Numbers:
        """The numbers of these rows."""
        some: Ints
        if isinstance(rows, slice):
            some, fractions = self._amounts[:, rows], self._fractions[:, rows]
        else:
            some, fractions = self._amounts.take(rows, 1), self._fractions.take(rows, 1)
        return Numbers(some[FREE], some[LEFT], some[TAKEN], some[FEWEST], some[CAPACITY], some[DIVISORS], fractions)

    def lacking(self, demand: Demand) -> Mapping[str, Flags]:
        """The rows in which something does not fit, by the reason people read."""
        cpu, memory, pods = self._amounts[FREE]
        found: dict[str, Flags] = {"Too many pods": pods <= 0}
        if demand.milli_cpu:
            found["Insufficient cpu"] = cpu < demand.milli_cpu
        if demand.memory:
            found["Insufficient memory"] = memory < demand.memory
        for name, amount in demand.extended:
            free = self.free_extended.get(name)
            found[f"Insufficient {name}"] = np.ones(self.rows, np.bool_) if free is None else free < amount
        return found


def _bounded(amount: int) -> int:
    """Pods that were bound by hand may take more than any node has; how much more changes no answer."""
    return amount if -AMOUNT_MAX <= amount <= AMOUNT_MAX else max(-AMOUNT_MAX, min(AMOUNT_MAX, amount))


class FixedTable:
    """What the fixed rules, and the scores about fixed properties, say for one `Where`, for each row."""

    def __init__(self, where: Where, nodes: Iterable[NodeState], rows: int) -> None:
        self.where = where
        self.allowed: Flags = np.zeros(rows, np.bool_)
        self.on_server: Ints = np.zeros(rows, np.int64)
        """Points of the pack's preference."""
        self.soft_taints: Ints = np.zeros(rows, np.int64)
        self.wished: Ints = np.zeros(rows, np.int64)
        self.reasons: Counter[str] = Counter()
        self.rules: Counter[Rule] = Counter()
        self._refused: list[Refused | None] = [None] * rows
        self._offers: list[Offer | None] = [None] * rows
        self._selected: Flags | None = None
        self._tolerated: Flags | None = None
        self.tainted = 0
        """Allowed rows with soft taints: while there are none, that score is the same for all."""
        self._base: Ints = np.zeros(0, np.int64)
        self._base_of: tuple[Ints, int] | None = None
        for node in nodes:
            self.set(node.row, node)

    def set(self, row: int, node: NodeState | None) -> None:
        """Judge one node anew."""
        offer = node.offer if node is not None else None
        refused = fixed_rejection(self.where, offer) if offer is not None else None
        self._recount(row, refused)
        may = offer is not None and refused is None
        self.tainted -= bool(self.soft_taints.item(row))
        self.allowed[row] = may
        self.on_server[row] = scores.pack_preference(self.where, offer) if may and offer else 0
        self.soft_taints[row] = scores.soft_taints(self.where, offer) if may and offer else 0
        self.wished[row] = scores.wished(self.where, offer) if may and offer and self.where.preferred else 0
        self.tainted += bool(self.soft_taints.item(row))
        self._offers[row] = offer
        if self._base_of is not None and row < len(self._base):
            self._base[row] = self._base_at(row, *self._base_of)
        if self._selected is not None:
            self._selected[row] = self._is_selected(offer)
        if self._tolerated is not None:
            self._tolerated[row] = self._is_tolerated(offer)

    def base(self, ranks: Ints, preference: int) -> Ints:
        """What every key of a row is made upon: the points of the pack's preference, no tie lost, and the node's rank.
        FORBIDDEN for rows that are not allowed. Kept up to date until somebody asks for other ranks or another weight."""
        known = self._base_of
        if known is None or known[0] is not ranks or known[1] != preference:
            points = self.on_server * (preference * POINT) + TIE
            self._base = np.where(self.allowed, points + ranks, FORBIDDEN)
            self._base_of = ranks, preference
        return self._base

    def _base_at(self, row: int, ranks: Ints, preference: int) -> int:
        if not self.allowed.item(row):
            return FORBIDDEN
        return preference * POINT * self.on_server.item(row) + TIE + ranks.item(row)

    def _is_selected(self, offer: Offer | None) -> bool:
        return offer is not None and not is_selected(self.where, offer)

    def _is_tolerated(self, offer: Offer | None) -> bool:
        return offer is not None and not is_tolerated(self.where, offer) and not admits(self.where, offer)

    def _recount(self, row: int, refused: Refused | None) -> None:
        for sign, what in ((-1, self._refused[row]), (1, refused)):
            if what is not None:
                self.rules[what[0]] += sign
                for reason in what[1]:
                    self.reasons[reason] += sign
        self._refused[row] = refused

    def counted(self, *, honors_affinity: bool, honors_taints: bool) -> Flags | None:
        """The rows whose pods a spread constraint counts by its policies; None for all."""
        masks: list[Flags] = []
        if honors_affinity and (self.where.selector or self.where.required is not None):
            if self._selected is None:
                self._selected = np.array([self._is_selected(offer) for offer in self._offers], np.bool_)
            masks.append(self._selected)
        if honors_taints:
            if self._tolerated is None:
                self._tolerated = np.array([self._is_tolerated(offer) for offer in self._offers], np.bool_)
            masks.append(self._tolerated)
        if not masks:
            return None
        both: Flags = np.logical_and.reduce(masks)
        return both

    def refusal_of(self, row: int) -> Refused | None:
        """What the fixed rules say of one row."""
        return self._refused[row]

    @property
    def is_even(self) -> bool:
        """Whether the scores that are normalised over the feasible nodes cannot tell them apart."""
        return not self.where.preferred and not self.tainted


class ClassTable:
    """For each row the packed preference of one class of pods, FORBIDDEN where they may not go."""

    def __init__(
        self, demand: Demand, fixed: FixedTable, ranks: Ints, weights: Weights, around: Around | None = None
    ) -> None:
        self.demand = demand
        self.fixed = fixed
        self.weights = weights
        self.around = around
        self.keys: Ints = np.full(len(ranks), FORBIDDEN, np.int64)
        self.may: Flags = np.zeros(len(ranks), np.bool_)
        """The rows that are not forbidden."""
        self.feasible = 0
        """How many they are."""
        self.turns = 0
        """How often any row has become forbidden, or stopped being so."""
        self.seen = 0
        """How far in the snapshot's log of changes this table has been brought."""
        self._base = fixed.base(ranks, weights.pack_preference)
        # A pod that asks for nothing fits even where too much is taken.
        self._needs = _column(demand.milli_cpu or -AMOUNT_MAX, demand.memory or -AMOUNT_MAX, 1)
        self._asked = _column(demand.milli_cpu, demand.memory)
        self._scored = _column(demand.scored_milli_cpu, demand.scored_memory)

    # --- the part about the node alone ---

    def fill(self, columns: Columns, rows: Rows, ports_taken: Flags | None) -> None:
        """Compute many rows at once. `ports_taken`: for each of `rows` whether a wanted port is; None when that is no
        question. See also `separate`."""
        numbers = columns.of(rows)
        cpu, memory, pods = numbers.free >= self._needs
        may: Flags = cpu & memory
        may &= pods
        for name, amount in self.demand.extended:
            free = columns.free_extended.get(name)
            may &= free[rows] >= amount if free is not None else False
        if ports_taken is not None:
            may &= ~ports_taken
        keys = self._local_points(numbers)
        keys += self._base[rows] if isinstance(rows, slice) else self._base.take(rows)
        if self.weights.best_fit:
            keys -= np.clip(numbers.free[0], 0, TIE_MAX) << RANK_BITS
        keys = np.where(may, keys, FORBIDDEN)
        may = keys >= 0
        self.keys[rows] = keys
        if np.count_nonzero(may ^ self.may[rows]):
            self.may[rows] = may
            self._turn()

    def separate(self, owned: Mapping[int, int], rows: Iterable[int]) -> None:
        """Ties are lost to those of `rows` that have pods of the same owner, as many as `owned` says. Once after each
        `fill` of them."""
        if not self.weights.best_fit:
            for row in rows:
                if self.may.item(row):
                    self.keys[row] -= min(owned[row], TIE_MAX) << RANK_BITS

    def _turn(self) -> None:
        self.turns += 1
        self.feasible = int(np.count_nonzero(self.may))

    def _local_points(self, numbers: Numbers) -> Ints:
        """`scores.local_points` of many rows, in the unit of keys."""
        weights = self.weights
        points: Ints = numbers.fewest * weights.fewest_pods
        if weights.least_allocated:
            points += _times(weights.least_allocated, _mean(_free_shares(numbers, self._scored)))
        if weights.most_allocated:
            points += _times(weights.most_allocated, _mean(_taken_shares(numbers, self._scored)))
        if weights.balanced_allocation and (self.demand.milli_cpu or self.demand.memory):
            points += _times(weights.balanced_allocation, _balance(numbers, self._asked))
        points *= POINT
        if weights.best_fit:
            cpu, memory = _left_over(numbers, self._asked)
            points += (FIT_MAX - cpu - memory) * (weights.best_fit << POINTS_SHIFT)
        return points

    def set(self, row: int, node: NodeState | None) -> None:
        """Compute one row."""
        demand, weights, base = self.demand, self.weights, self._base.item(row)
        may = node is not None and base >= 0 and fits(demand, node)
        if node is not None and may:
            lost = TIE_MAX - scores.tie(demand, node, weights)
            points = scores.local_points(demand, node, weights)
            self.keys[row] = base + (points << POINTS_SHIFT) - (lost << RANK_BITS)
        else:
            self.keys[row] = FORBIDDEN
        if may is not self.may.item(row):
            self.may[row] = may
            self._turn()

    # --- the part about all feasible nodes together ---

    def best(self, rows: int) -> int | None:
        """The row with the largest preference among the first `rows`; None when all are forbidden."""
        if not self.feasible:
            return None
        keys = self.keys[:rows]
        if self.around is not None or not self.fixed.is_even:
            keys = self._composed(keys)
        row = int(keys.argmax())
        return row if keys.item(row) >= 0 else None

    def _composed(self, keys: Ints) -> Ints:
        may, count, turn = self.may[: len(keys)], self.feasible, self.turns
        if self.around is not None and self.around.forbids:
            may, turn = self.around.allowed(may.copy()), UNKNOWN
            if not (count := int(np.count_nonzero(may))):
                return np.full(1, FORBIDDEN, np.int64)
        for part in self._normalised(may, turn):
            keys = keys + part
        return keys if count == len(keys) else np.where(may, keys, FORBIDDEN)

    def _normalised(self, may: Flags, turn: int) -> Iterator[Ints]:
        """What the normalised scores add to the keys; those that are the same for all rows are left out."""
        weights, fixed, around, rows = self.weights, self.fixed, self.around, len(may)
        wished = left = worth = spread = None
        if fixed.where.preferred:
            wished = _in_proportion(fixed.wished[:rows], may, weights.node_affinity * POINT)
        if fixed.tainted:
            taken_off = _in_proportion(fixed.soft_taints[:rows], may, weights.taint_toleration * POINT)
            left = None if taken_off is None else SCORE_MAX * weights.taint_toleration * POINT - taken_off
        if around is not None and weights.inter_pod_affinity:
            worth = around.worth_points(may, weights.inter_pod_affinity * POINT)
        if around is not None and weights.pod_topology_spread:
            spread = around.crowding.points(may, turn, weights.pod_topology_spread * POINT)
        return (part for part in (wished, left, worth, spread) if part is not None)


def _in_proportion(raw: Ints, may: Flags, unit: int) -> Ints | None:
    """100 units for the largest among the feasible rows; None when they are all 0."""
    most = int(raw[may].max())
    if not most or not unit:
        return None
    shares: Ints = SCORE_MAX * np.minimum(raw, most) // most
    shares *= unit
    return shares


def ranks(ordered_rows: list[int], rows: int) -> Ints:
    """For each row a number that is larger the earlier the row is in `ordered_rows`."""
    values = np.zeros(rows, np.int64)
    values[ordered_rows] = RANK_MAX - np.arange(len(ordered_rows))
    return values


def _column(*amounts: int) -> Ints:
    return np.array(amounts, np.int64)[:, np.newaxis]


def _times(weight: int, points: Ints) -> Ints:
    return points if weight == 1 else points * weight


def _mean(shares: Ints) -> Ints:
    cpu, memory = shares
    both: Ints = cpu + memory
    both >>= 1
    return both


def _free_shares(numbers: Numbers, scored: Ints) -> Ints:
    # Where a node has nothing, something below zero is left.
    left = numbers.left - scored
    left *= SCORE_MAX
    left //= numbers.divisors
    shares: Ints = np.maximum(left, 0, out=left)
    return shares


def _taken_shares(numbers: Numbers, scored: Ints) -> Ints:
    capacity = numbers.capacity
    taken = np.minimum(capacity - numbers.left + scored, capacity)
    return np.where(capacity > 0, taken * SCORE_MAX // numbers.divisors, 0)


def _balance(numbers: Numbers, asked: Ints) -> Ints:
    taken = numbers.taken + asked
    # Divided by infinity: a node that does not tell what it has is as balanced as can be.
    cpu, memory = np.minimum(taken / numbers.fractions, 1.0)
    apart = np.abs(cpu - memory)
    # Halves and doubles are exact, so this is what the definition says to the last bit.
    alike: Ints = ((2.0 - apart) * (SCORE_MAX / 2)).astype(np.int64)
    return alike


def _left_over(numbers: Numbers, asked: Ints) -> Ints:
    half, capacity = FIT_MAX // 2, numbers.capacity
    left = np.maximum(numbers.free[:2] - asked, 0)
    return np.where(capacity > 0, left * half // numbers.divisors, half)
