"""The numbers behind `Snapshot.choose`: columns of what nodes have and take, and a row of preferences for each class of
pods.

Filling a table is numpy over all nodes at once; keeping one up to date is plain Python on one node, by the very
functions that define the rules and scores. Both must give the same number, which the property tests check. Scores that
are normalised over the feasible nodes, and rules about other pods, are put on top for each decision, again by numpy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np

from stark.crds.placement import scores
from stark.crds.placement.facts import AMOUNT_MAX, Demand, NodeState, Offer, Where
from stark.crds.placement.filters import Refused, Rule, admits, fits, fixed_rejection, is_selected, is_tolerated
from stark.crds.placement.scores import FIT_MAX, HUNDREDTHS, SCORE_MAX, TIE_MAX
from stark.crds.placement.weights import Weights

from .around import Around
from .topology import Flags, Ints

Rows = slice | Ints
FORBIDDEN = -1
TIE_BITS = 20
RANK_BITS = 17
RANK_MAX = (1 << RANK_BITS) - 1
"""Nodes that the packed key can tell apart; a cluster has fewer nodes than that."""
POINTS_SHIFT = TIE_BITS + RANK_BITS


class Columns:
    """One value a row and property. A row without a node has room for no pod."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.pods: Ints = np.zeros(rows, np.int64)
        self.free_pods: Ints = np.zeros(rows, np.int64)
        self.free_milli_cpu: Ints = np.zeros(rows, np.int64)
        self.free_memory: Ints = np.zeros(rows, np.int64)
        self.milli_cpu: Ints = np.zeros(rows, np.int64)
        self.memory: Ints = np.zeros(rows, np.int64)
        self.scored_milli_cpu: Ints = np.zeros(rows, np.int64)
        self.scored_memory: Ints = np.zeros(rows, np.int64)
        self.free_extended: dict[str, Ints] = {}
        """By the name of the resource, of those that some node has."""

    def set(self, row: int, node: NodeState | None) -> None:
        """Copy one node's numbers; None when the row has no node any more."""
        for free in self.free_extended.values():
            free[row] = 0
        if node is None:
            self.free_pods[row] = 0
            return
        offer = node.offer
        for name, amount in offer.extended.items():
            if name not in self.free_extended:
                self.free_extended[name] = np.zeros(self.rows, np.int64)
            self.free_extended[name][row] = _bounded(amount - node.extended[name])
        self.pods[row] = node.pods
        self.free_pods[row] = offer.pods - node.pods
        self.free_milli_cpu[row] = _bounded(offer.milli_cpu - node.milli_cpu)
        self.free_memory[row] = _bounded(offer.memory - node.memory)
        self.milli_cpu[row] = offer.milli_cpu
        self.memory[row] = offer.memory
        self.scored_milli_cpu[row] = _bounded(node.scored_milli_cpu)
        self.scored_memory[row] = _bounded(node.scored_memory)

    def lacking(self, demand: Demand) -> Mapping[str, Flags]:
        """The rows in which something does not fit, by the reason people read."""
        found: dict[str, Flags] = {"Too many pods": self.free_pods <= 0}
        if demand.milli_cpu:
            found["Insufficient cpu"] = self.free_milli_cpu < demand.milli_cpu
        if demand.memory:
            found["Insufficient memory"] = self.free_memory < demand.memory
        for name, amount in demand.extended:
            free = self.free_extended.get(name)
            found[f"Insufficient {name}"] = np.ones(self.rows, np.bool_) if free is None else free < amount
        return found


def _bounded(amount: int) -> int:
    """Pods that were bound by hand may take more than any node has; how much more changes no answer."""
    return max(-AMOUNT_MAX, min(AMOUNT_MAX, amount))


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
        if self._selected is not None:
            self._selected[row] = self._is_selected(offer)
        if self._tolerated is not None:
            self._tolerated[row] = self._is_tolerated(offer)

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
        self.ranks = ranks
        self.weights = weights
        self.around = around
        self.keys: Ints = np.full(len(ranks), FORBIDDEN, np.int64)
        self.seen = 0
        """How far in the snapshot's log of changes this table has been brought."""

    # --- the part about the node alone ---

    def fill(self, columns: Columns, rows: Rows, ports_taken: Flags | None, owned: Ints | None) -> None:
        """Compute many rows at once. For each of `rows`: whether a wanted port is taken, and how many pods of the same
        owner are there; None when that is no question."""
        demand = self.demand
        may = self.fixed.allowed[rows] & (columns.free_pods[rows] > 0)
        if demand.milli_cpu:
            may &= columns.free_milli_cpu[rows] >= demand.milli_cpu
        if demand.memory:
            may &= columns.free_memory[rows] >= demand.memory
        for name, amount in demand.extended:
            free = columns.free_extended.get(name)
            may &= free[rows] >= amount if free is not None else False
        if ports_taken is not None:
            may &= ~ports_taken
        points = local_points(demand, columns, rows, self.weights)
        points += self.weights.pack_preference * HUNDREDTHS * self.fixed.on_server[rows]
        tie: Ints | int = TIE_MAX
        if self.weights.best_fit:
            tie = TIE_MAX - np.clip(columns.free_milli_cpu[rows], 0, TIE_MAX)
        elif owned is not None:
            tie = TIE_MAX - np.minimum(owned, TIE_MAX)
        self.keys[rows] = np.where(may, (points << TIE_BITS | tie) << RANK_BITS | self.ranks[rows], FORBIDDEN)

    def set(self, row: int, node: NodeState | None) -> None:
        """Compute one row."""
        demand, weights = self.demand, self.weights
        if node is None or not self.fixed.allowed.item(row) or not fits(demand, node):
            self.keys[row] = FORBIDDEN
            return
        points = scores.local_points(demand, node, weights)
        points += weights.pack_preference * HUNDREDTHS * self.fixed.on_server.item(row)
        key = points << TIE_BITS | scores.tie(demand, node, weights)
        self.keys[row] = key << RANK_BITS | self.ranks.item(row)

    # --- the part about all feasible nodes together ---

    def best(self, rows: int) -> int | None:
        """The row with the largest preference among the first `rows`; None when all are forbidden."""
        keys = self.keys[:rows]
        if not rows:
            return None
        if self.around is not None or not self.fixed.is_even:
            keys = self._composed(keys)
        row = int(keys.argmax())
        return row if keys.item(row) >= 0 else None

    def _composed(self, keys: Ints) -> Ints:
        may = keys >= 0
        if self.around is not None and self.around.forbids:
            may = self.around.allowed(may)
        if not may.any():
            return np.full(1, FORBIDDEN, np.int64)
        points = self._normalised(may)
        if points is not None:
            keys = keys + points * (HUNDREDTHS << POINTS_SHIFT)
        return keys if may.all() else np.where(may, keys, FORBIDDEN)

    def _normalised(self, may: Flags) -> Ints | None:
        """The weighted sum of the normalised scores; what is the same for all rows is left out."""
        weights, around, rows = self.weights, self.around, len(may)
        parts: list[tuple[int, Ints | None]] = []
        if self.fixed.where.preferred:
            parts.append((weights.node_affinity, _in_proportion(self.fixed.wished[:rows], may)))
        if self.fixed.tainted:
            taken_off = _in_proportion(self.fixed.soft_taints[:rows], may)
            parts.append((weights.taint_toleration, None if taken_off is None else SCORE_MAX - taken_off))
        if around is not None and weights.inter_pod_affinity:
            parts.append((weights.inter_pod_affinity, around.worth_points(may)))
        if around is not None and weights.pod_topology_spread:
            parts.append((weights.pod_topology_spread, around.spread_points(may)))
        total: Ints | None = None
        for weight, points in parts:
            if weight and points is not None:
                total = weight * points if total is None else total + weight * points
        return total


def _in_proportion(raw: Ints, may: Flags) -> Ints | None:
    """100 for the largest among the feasible rows; None when they are all 0."""
    most = int(raw[may].max())
    if not most:
        return None
    shares: Ints = SCORE_MAX * np.minimum(raw, most) // most
    return shares


def local_points(demand: Demand, columns: Columns, rows: Rows, weights: Weights) -> Ints:
    """`scores.local_points` of many rows."""
    cpu, memory = columns.milli_cpu[rows], columns.memory[rows]
    points: Ints = np.zeros(len(cpu), np.int64)
    scored_cpu = columns.scored_milli_cpu[rows] + demand.scored_milli_cpu
    scored_memory = columns.scored_memory[rows] + demand.scored_memory
    if weights.least_allocated:
        points += weights.least_allocated * ((_free_shares(cpu, scored_cpu) + _free_shares(memory, scored_memory)) // 2)
    if weights.most_allocated:
        points += weights.most_allocated * (
            (_taken_shares(cpu, scored_cpu) + _taken_shares(memory, scored_memory)) // 2
        )
    # What is asked for, as opposed to what counts in scores: what pods have taken, and this one.
    taken_cpu = cpu - columns.free_milli_cpu[rows] + demand.milli_cpu
    taken_memory = memory - columns.free_memory[rows] + demand.memory
    if weights.balanced_allocation and (demand.milli_cpu or demand.memory):
        points += weights.balanced_allocation * _balance(cpu, taken_cpu, memory, taken_memory)
    if weights.fewest_pods:
        fewer = SCORE_MAX - scores.POINTS_OFF_A_POD * columns.pods[rows]
        points += weights.fewest_pods * np.maximum(0, fewer)
    points *= HUNDREDTHS
    if weights.best_fit:
        points += weights.best_fit * (FIT_MAX - _left_over(cpu, taken_cpu) - _left_over(memory, taken_memory))
    return points


def ranks(ordered_rows: list[int], rows: int) -> Ints:
    """For each row a number that is larger the earlier the row is in `ordered_rows`."""
    values = np.zeros(rows, np.int64)
    values[ordered_rows] = RANK_MAX - np.arange(len(ordered_rows))
    return values


def _free_shares(capacity: Ints, taken: Ints) -> Ints:
    some = np.maximum(capacity, 1)
    return np.where((capacity > 0) & (capacity >= taken), (capacity - taken) * SCORE_MAX // some, 0)


def _taken_shares(capacity: Ints, taken: Ints) -> Ints:
    some = np.maximum(capacity, 1)
    return np.where(capacity > 0, np.minimum(taken, capacity) * SCORE_MAX // some, 0)


def _balance(cpu: Ints, taken_cpu: Ints, memory: Ints, taken_memory: Ints) -> Ints:
    of_cpu = np.minimum(taken_cpu / np.maximum(cpu, 1), 1.0)
    of_memory = np.minimum(taken_memory / np.maximum(memory, 1), 1.0)
    alike = ((1.0 - np.abs(of_cpu - of_memory) / 2) * SCORE_MAX).astype(np.int64)
    return np.where((cpu > 0) & (memory > 0), alike, SCORE_MAX)


def _left_over(capacity: Ints, taken: Ints) -> Ints:
    half = FIT_MAX // 2
    return np.where(capacity > 0, np.maximum(0, capacity - taken) * half // np.maximum(capacity, 1), half)
