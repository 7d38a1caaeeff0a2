"""The cluster as the scheduler sees it, kept up to date one change at a time, and the answer to "which node?".

Truth is one `NodeState` a node. Beside it stands one row of numbers for each class of pods lately seen: the preference
for every node, below zero where the pod may not go. A change of a node, also one by our own placement, is written into
a log; before a class is asked it brings the nodes in the log up to date. So a decision costs one recomputed number and
one search for the largest, instead of a look at every node. `scan` is the same answer by the plain definition; the
property tests hold the two against each other.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from stark.crds.placement.facts import Demand, NodeState, Offer, Where
from stark.crds.placement.filters import Rule, rejection

from .scores import NODES_MAX, prefer
from .tables import ClassTable, Columns, FixedTable, ranks

CLASSES_MAX = 256
"""Classes whose table is kept; the one unused for longest goes. 256 tables of 5,000 nodes are 10 MB."""
LOG_MAX = 20_000
"""Changes kept for classes that were not asked lately; a class that is further behind is computed anew."""
CATCH_UP_MAX = 1_000
"""Changes after which a table is computed as a whole."""
ONE_BY_ONE_MAX = 8
"""Rows up to which plain Python is quicker than numpy's overhead."""
ROWS_MIN = 64


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why no node would do: how many nodes gave which reason, and which rules they belong to."""

    nodes: int
    reasons: Mapping[str, int]
    rules: frozenset[Rule]

    @property
    def message(self) -> str:
        """The sentence people know from kube-scheduler."""
        if not self.nodes:
            return "no nodes available to schedule pods"
        counted = sorted(f"{count} {reason}" for reason, count in self.reasons.items())
        return f"0/{self.nodes} nodes are available: {', '.join(counted)}."


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a pod is, or is assumed to be, and what it takes there."""

    node: str
    demand: Demand


class Snapshot:
    """Nodes, what is placed on them, and tables of preferences."""

    def __init__(self) -> None:
        self._fills = False
        self._nodes: dict[str, NodeState] = {}
        self._rows: list[NodeState | None] = []
        self._free_rows: list[int] = []
        self._placed: dict[str, Placed] = {}
        self._by_node: dict[str, dict[str, Demand]] = {}
        self._columns = Columns(ROWS_MIN)
        self._stale_columns: set[int] = set()
        self._ranks = ranks([], ROWS_MIN)
        self._ranks_stale = False
        self._fixed: OrderedDict[Where, FixedTable] = OrderedDict()
        self._classes: OrderedDict[Demand, ClassTable] = OrderedDict()
        self._refusals: dict[Demand, Refusal] = {}
        self._log: list[int] = []
        self._log_start = 0

    def fill_nodes(self, fills: bool) -> None:
        """Whether the fullest node is the best one from now on, instead of the emptiest."""
        if fills is not self._fills:
            self._fills = fills
            self._classes.clear()

    # --- what is there ---

    def set_node(self, offer: Offer) -> bool:
        """Add a node or change what it offers. True when that changed anything."""
        node = self._nodes.get(offer.name)
        if node is None:
            self._add_node(offer)
            return True
        if node.offer == offer:
            return False
        node.offer = offer
        self._judge(node.row, node)
        self._changed(node.row)
        return True

    def remove_node(self, name: str) -> None:
        """Forget a node. What was placed there is remembered: the node may come back before its pods are gone."""
        node = self._nodes.pop(name, None)
        if node is None:
            return
        self._rows[node.row] = None
        self._free_rows.append(node.row)
        self._judge(node.row, None)
        self._changed(node.row)

    def place(self, uid: str, node: str, demand: Demand) -> None:
        """The pod takes its demand on the node, whether it is bound there or only about to be. Idempotent."""
        before = self._placed.get(uid)
        after = Placed(node, demand)
        if before == after:
            return
        if before is not None:
            self.remove(uid)
        self._placed[uid] = after
        self._by_node.setdefault(node, {})[uid] = demand
        if (state := self._nodes.get(node)) is not None:
            state.take(demand)
            self._changed(state.row)

    def remove(self, uid: str) -> Placed | None:
        """The pod is gone, finished, or was not bound after all."""
        placed = self._placed.pop(uid, None)
        if placed is None:
            return None
        there = self._by_node[placed.node]
        del there[uid]
        if not there:
            del self._by_node[placed.node]
        if (state := self._nodes.get(placed.node)) is not None:
            state.take(placed.demand, -1)
            self._changed(state.row)
        return placed

    def placed(self, uid: str) -> Placed | None:
        """Where the pod is bound or assumed."""
        return self._placed.get(uid)

    def offer(self, name: str) -> Offer | None:
        """What the node of that name offers."""
        node = self._nodes.get(name)
        return node.offer if node is not None else None

    @property
    def nodes(self) -> Iterable[NodeState]:
        """Every node, in no particular order."""
        return self._nodes.values()

    def __len__(self) -> int:
        return len(self._nodes)

    # --- where to ---

    def choose(self, demand: Demand) -> str | None:
        """The best node for the pod; None when there is none, for which `refusal` has the reasons."""
        if self._ranks_stale:
            self._rank()
        table = self._classes.get(demand)
        if table is None:
            table = self._new_class(demand)
        else:
            self._classes.move_to_end(demand)
            self._catch_up(table)
        row = table.best()
        if row is None:
            return None
        node = self._rows[row]
        assert node is not None, row
        return node.offer.name

    def refusal(self, demand: Demand) -> Refusal:
        """Why no node takes the pod, by looking at each of them. Kept until something changes."""
        known = self._refusals.get(demand)
        if known is None:
            if len(self._refusals) >= CLASSES_MAX:
                self._refusals.clear()
            known = self._refusals[demand] = refuse(demand, self._nodes.values())
        return known

    # --- tables ---

    def _add_node(self, offer: Offer) -> None:
        assert len(self._nodes) < NODES_MAX, len(self._nodes)
        row = self._free_rows.pop() if self._free_rows else len(self._rows)
        node = NodeState(offer, row)
        for demand in self._by_node.get(offer.name, {}).values():
            node.take(demand)
        self._nodes[offer.name] = node
        if row == len(self._rows):
            self._rows.append(node)
        else:
            self._rows[row] = node
        if row >= self._columns.rows:
            self._grow()
        self._judge(row, node)
        self._ranks_stale = True
        self._changed(row)

    def _grow(self) -> None:
        """Twice as many rows. The tables are made anew, which doubling makes rare enough."""
        self._columns = Columns(2 * self._columns.rows)
        self._stale_columns.update(range(len(self._rows)))
        self._fixed.clear()

    def _rank(self) -> None:
        """Ties go to the first name, so every table's keys contain the node's place among the names."""
        ordered = sorted(self._nodes.values(), key=lambda node: node.offer.name)
        self._ranks = ranks([node.row for node in ordered], self._columns.rows)
        self._classes.clear()
        self._ranks_stale = False

    def _judge(self, row: int, node: NodeState | None) -> None:
        for table in self._fixed.values():
            table.set(row, node)

    def _changed(self, row: int) -> None:
        if self._refusals:
            self._refusals.clear()
        self._stale_columns.add(row)
        self._log.append(row)
        if len(self._log) > LOG_MAX:
            self._log_start += len(self._log)
            self._log.clear()

    def _new_class(self, demand: Demand) -> ClassTable:
        while len(self._classes) >= CLASSES_MAX:
            self._classes.popitem(last=False)
        table = ClassTable(demand, self._fixed_table(demand.where), self._ranks, fills=self._fills)
        self._fill(table)
        self._classes[demand] = table
        return table

    def _fill(self, table: ClassTable) -> None:
        """Compute every row of the table."""
        self._sync_columns()
        demand, rows = table.demand, self._columns.rows
        ports = owned = None
        if demand.ports:
            ports = np.zeros(rows, np.bool_)
            ports[[node.row for node in self._nodes.values() if not demand.ports.isdisjoint(node.ports)]] = True
        if demand.owner:
            owned = np.zeros(rows, np.int64)
            for node in self._nodes.values():
                if (count := node.owners.get(demand.owner)) is not None:
                    owned[node.row] = count
        table.fill(self._columns, slice(None), ports, owned)
        table.seen = self._log_start + len(self._log)

    def _catch_up(self, table: ClassTable) -> None:
        end = self._log_start + len(self._log)
        if table.seen == end:
            return
        if table.seen < self._log_start or end - table.seen > CATCH_UP_MAX:
            self._fill(table)
            return
        behind = set(self._log[table.seen - self._log_start :])
        if len(behind) > ONE_BY_ONE_MAX:
            self._fill_some(table, list(behind))
        else:
            for row in behind:
                table.set(row, self._rows[row])
        table.seen = end

    def _fill_some(self, table: ClassTable, rows: list[int]) -> None:
        self._sync_columns()
        demand, nodes = table.demand, [self._rows[row] for row in rows]
        ports = owned = None
        if demand.ports:
            ports = np.array([node is not None and not demand.ports.isdisjoint(node.ports) for node in nodes])
        if demand.owner:
            owned = np.array([node.owners.get(demand.owner, 0) if node else 0 for node in nodes], np.int64)
        table.fill(self._columns, np.array(rows), ports, owned)

    def _sync_columns(self) -> None:
        for row in self._stale_columns:
            self._columns.set(row, self._rows[row])
        self._stale_columns.clear()

    def _fixed_table(self, where: Where) -> FixedTable:
        table = self._fixed.get(where)
        if table is None:
            while len(self._fixed) >= CLASSES_MAX:
                _, gone = self._fixed.popitem(last=False)
                # A table that nobody keeps up to date must not be read any more.
                for user in [demand for demand, known in self._classes.items() if known.fixed is gone]:
                    del self._classes[user]
            table = self._fixed[where] = FixedTable(where, self._nodes.values(), self._columns.rows)
        self._fixed.move_to_end(where)
        return table


def scan(demand: Demand, nodes: Iterable[NodeState], *, fills: bool = False) -> str | None:
    """The best node by looking at every one: the definition that `Snapshot.choose` must agree with."""
    best: NodeState | None = None
    best_key = -1
    for node in nodes:
        if rejection(demand, node) is not None:
            continue
        key = prefer(demand, node, fills=fills)
        if best is None or key > best_key or (key == best_key and node.offer.name < best.offer.name):
            best, best_key = node, key
    return best.offer.name if best else None


def refuse(demand: Demand, nodes: Iterable[NodeState]) -> Refusal:
    """Count the reasons of nodes that all say no."""
    total = 0
    reasons: Counter[str] = Counter()
    rules: set[Rule] = set()
    for node in nodes:
        total += 1
        if (refused := rejection(demand, node)) is not None:
            rules.add(refused[0])
            reasons.update(refused[1])
    return Refusal(total, reasons, frozenset(rules))
