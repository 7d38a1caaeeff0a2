"""The numbers behind `Snapshot.choose`: columns of what nodes have and take, and a row of preferences for each class of
pods.

Filling a table is numpy over all nodes at once; keeping one up to date is plain Python on one node, by the very
functions that define the rules and scores. Both must give the same number, which the property tests check.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from stark.crds.placement.facts import Demand, NodeState, Where
from stark.crds.placement.filters import allowed, fits

from .scores import (
    OWNED_BITS,
    OWNED_MAX,
    RANK_BITS,
    RELUCTANCE_MAX,
    SCORE_BITS,
    SCORE_MAX,
    owned,
    preference,
    reluctance,
    share,
)

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Rows = slice | Ints
FORBIDDEN = -1
RANK_MAX = (1 << RANK_BITS) - 1


class Columns:
    """One value a row and property. A row without a node has room for no pod."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
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
            self.free_extended[name][row] = amount - node.extended[name]
        self.free_pods[row] = offer.pods - node.pods
        self.free_milli_cpu[row] = offer.milli_cpu - node.milli_cpu
        self.free_memory[row] = offer.memory - node.memory
        self.milli_cpu[row] = offer.milli_cpu
        self.memory[row] = offer.memory
        self.scored_milli_cpu[row] = node.scored_milli_cpu
        self.scored_memory[row] = node.scored_memory


class FixedTable:
    """What the fixed rules and the reluctance say for one `Where`: FORBIDDEN or the reluctance, for each row."""

    def __init__(self, where: Where, nodes: Iterable[NodeState], rows: int) -> None:
        self.where = where
        self.values: Ints = np.full(rows, FORBIDDEN, np.int64)
        for node in nodes:
            self.set(node.row, node)

    def set(self, row: int, node: NodeState | None) -> None:
        """Judge one node anew."""
        may = node is not None and allowed(self.where, node.offer)
        self.values[row] = reluctance(self.where, node.offer) if may and node else FORBIDDEN


class ClassTable:
    """For each row the packed preference of one class of pods, FORBIDDEN where they may not go."""

    def __init__(self, demand: Demand, fixed: FixedTable, ranks: Ints, *, fills: bool = False) -> None:
        self.demand = demand
        self._fills = fills
        self.fixed = fixed
        self.ranks = ranks
        self.keys: Ints = np.full(len(ranks), FORBIDDEN, np.int64)
        self.seen = 0
        """How far in the snapshot's log of changes this table has been brought."""

    def fill(self, columns: Columns, rows: Rows, ports_taken: Flags | None, owned: Ints | None) -> None:
        """Compute many rows at once. For each of `rows`: whether a wanted port is taken, and how many pods of the same
        owner are there; None when that is no question."""
        demand = self.demand
        fixed = self.fixed.values[rows]
        may = (fixed >= 0) & (columns.free_pods[rows] > 0)
        if demand.milli_cpu:
            may &= columns.free_milli_cpu[rows] >= demand.milli_cpu
        if demand.memory:
            may &= columns.free_memory[rows] >= demand.memory
        for name, amount in demand.extended:
            free = columns.free_extended.get(name)
            may &= free[rows] >= amount if free is not None else False
        if ports_taken is not None:
            may &= ~ports_taken
        cpu = _free_shares(columns.milli_cpu[rows], columns.scored_milli_cpu[rows] + demand.scored_milli_cpu)
        memory = _free_shares(columns.memory[rows], columns.scored_memory[rows] + demand.scored_memory)
        spare = (cpu + memory) // 2
        key = (RELUCTANCE_MAX - fixed) << SCORE_BITS | (SCORE_MAX - spare if self._fills else spare)
        key = key << OWNED_BITS | OWNED_MAX
        if owned is not None:
            key -= np.minimum(owned, OWNED_MAX)
        self.keys[rows] = np.where(may, key << RANK_BITS | self.ranks[rows], FORBIDDEN)

    def set(self, row: int, node: NodeState | None) -> None:
        """Compute one row."""
        reluctant = self.fixed.values.item(row)
        demand = self.demand
        if node is None or reluctant < 0 or not fits(demand, node):
            self.keys[row] = FORBIDDEN
            return
        key = preference(reluctant, share(demand, node, fills=self._fills), owned(demand, node))
        self.keys[row] = key << RANK_BITS | self.ranks.item(row)

    def best(self) -> int | None:
        """The row with the largest preference; None when all are forbidden."""
        row = int(self.keys.argmax())
        return row if self.keys.item(row) >= 0 else None


def ranks(ordered_rows: list[int], rows: int) -> Ints:
    """For each row a number that is larger the earlier the row is in `ordered_rows`."""
    values = np.zeros(rows, np.int64)
    values[ordered_rows] = RANK_MAX - np.arange(len(ordered_rows))
    return values


def _free_shares(capacity: Ints, taken: Ints) -> Ints:
    some = np.maximum(capacity, 1)
    return np.where((capacity > 0) & (capacity >= taken), (capacity - taken) * SCORE_MAX // some, 0)
