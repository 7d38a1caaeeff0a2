"""The cluster as the scheduler sees it, kept up to date one change at a time, and the answer to "which node?".

Truth is one `NodeState` a node. Beside it stands one row of numbers for each class of pods lately seen: the preference
for every node, below zero where the pod may not go. A change of a node, also one by our own placement, is written into
a log; before a class is asked it brings the nodes in the log up to date. So a decision costs one recomputed number and
one search for the largest, instead of a look at every node. What depends on other pods is counted by place (`topology`,
`relating`) and applied to all rows at once. `crds/placement/judging` is the same answer by the plain definition; the
property tests hold the two against each other.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass

import numpy as np

from stark.crds.placement.facts import Demand, HostPort, NodeState, Offer, Where
from stark.crds.placement.filters import PORTS_TAKEN, Refused, Rule, rejection
from stark.crds.placement.judging import Refusal
from stark.crds.placement.weights import Weights

from .relating import Carried, Relating
from .tables import RANK_MAX, ClassTable, Columns, FixedTable, ranks
from .topology import Flags

CLASSES_MAX = 256
"""Classes whose table is kept; the one unused for longest goes. 256 tables of 5,000 nodes are 10 MB."""
LOG_MAX = 20_000
"""Changes kept for classes that were not asked lately; a class that is further behind is computed anew."""
CATCH_UP_MAX = 1_000
"""Changes after which a table is computed as a whole."""
ONE_BY_ONE_MAX = 8
"""Rows up to which plain Python is quicker than numpy's overhead."""
ROWS_MIN = 64

ClassKey = tuple[Demand, tuple[Carried, ...]]
"""Pods of one class: of the same shape, and meant by the same terms of placed pods."""


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a pod is, or is assumed to be, and what it takes there."""

    node: str
    demand: Demand


class Snapshot:
    """Nodes, what is placed on them, and tables of preferences."""

    def __init__(self) -> None:
        self._weights = Weights()
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
        self._classes: OrderedDict[ClassKey, ClassTable] = OrderedDict()
        self._relating = Relating(ROWS_MIN)
        self._ports_on: dict[HostPort, set[int]] = {}
        """The rows in which a host port is taken."""
        self._owners_on: dict[str, dict[int, int]] = {}
        """For each owner the rows that have pods of it, and how many."""
        self._refusals: dict[ClassKey, Refusal] = {}
        self._log: list[int] = []
        self._log_start = 0

    def configure(self, weights: Weights) -> None:
        """How much each score counts from now on."""
        if weights != self._weights:
            self._weights = weights
            self._forget_classes()

    @property
    def weights(self) -> Weights:
        """How much each score counts."""
        return self._weights

    # --- what is there ---

    def set_node(self, offer: Offer) -> bool:
        """Add a node or change what it offers. True when that changed anything."""
        node = self._nodes.get(offer.name)
        if node is None:
            self._add_node(offer)
            return True
        if node.offer == offer:
            return False
        # Where its pods count, and whether, follows from labels and taints.
        self._relating.shift(node.row, node.residents.values(), -1)
        node.offer = offer
        self._judge(node.row, node)
        self._relating.shift(node.row, node.residents.values(), 1)
        self._changed(node.row)
        return True

    def remove_node(self, name: str) -> None:
        """Forget a node. What was placed there is remembered: the node may come back before its pods are gone."""
        node = self._nodes.pop(name, None)
        if node is None:
            return
        for demand in node.residents.values():
            self._relating.remove(demand, node.row)
        for rows in (self._ports_on.get(port) for port in node.ports):
            assert rows is not None, node.ports
            rows.discard(node.row)
        for owner in node.owners:
            del self._owners_on[owner][node.row]
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
        state = self._nodes.get(node)
        there = self._by_node.get(node)
        if there is None:
            there = self._by_node[node] = {}
            if state is not None:
                state.residents = there
        there[uid] = demand
        if state is not None:
            state.take(demand)
            self._note(state, demand)
            self._relating.place(demand, state.row)
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
            self._note(state, placed.demand)
            self._relating.remove(placed.demand, state.row)
            self._changed(state.row)
        return placed

    def placed(self, uid: str) -> Placed | None:
        """Where the pod is bound or assumed."""
        return self._placed.get(uid)

    def pods_on(self, name: str) -> Mapping[str, Demand]:
        """The pods bound to or assumed on a node, by uid."""
        return self._by_node.get(name, {})

    def set_namespace(self, name: str, labels: Mapping[str, str]) -> bool:
        """A namespace's labels, which terms may ask for. True when that changed anything."""
        if self._relating.namespaces.get(name) == labels:
            return False
        self._relating.namespaces[name] = labels
        self._recount()
        return True

    def drop_namespace(self, name: str) -> None:
        """The namespace is gone."""
        if self._relating.namespaces.pop(name, None) is not None:
            self._recount()

    @property
    def namespaces(self) -> Mapping[str, Mapping[str, str]]:
        """The labels of every namespace."""
        return self._relating.namespaces

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
        row = self._table(self._key(demand)).best(len(self._rows))
        if row is None:
            return None
        node = self._rows[row]
        assert node is not None, row
        return node.offer.name

    def refusal(self, demand: Demand) -> Refusal:
        """Why no node takes the pod. Kept until something changes."""
        key = self._key(demand)
        known = self._refusals.get(key)
        if known is None:
            if len(self._refusals) >= CLASSES_MAX:
                self._refusals.clear()
            known = self._refusals[key] = self._refuse(key)
        return known

    def judge_alone(self, demand: Demand) -> Callable[[str, Collection[str]], bool] | None:
        """What `rejection` says, as yes or no and much quicker, where no other node's pods matter to the pod; None when
        they do. To be asked before anything changes here but what is placed."""
        table = self._table(self._key(demand))
        around = table.around
        if around is not None and (around.hard or around.near or around.apart or around.kept):
            return None
        nodes, may = self._nodes, table.fixed.allowed.item

        def judge(name: str, without: Collection[str]) -> bool:
            state = nodes.get(name)
            return state is not None and may(state.row) and fits_without(demand, state, without)

        return judge

    def curable(self, demand: Demand) -> list[str]:
        """The nodes that would perhaps take the pod when pods left them: only such rules refuse it there."""
        key = self._key(demand)
        table = self._table(key)
        may = table.fixed.allowed.copy()
        for _, found in self._refusing(key, table):
            for refused in found.values():
                may &= ~refused
        rows = np.flatnonzero(table.fixed.allowed & ~may)
        return [node.offer.name for row in rows.tolist() if (node := self._rows[row]) is not None]

    def rejection(self, demand: Demand, name: str, without: Collection[str] = ()) -> Refused | None:
        """Judge one node as if the pods `without` (by uid, wherever they are) had left; None when it takes the pod."""
        state = self._nodes[name]
        with self._less(without):
            key = self._key(demand)
            table = self._table(key)
            if (refused := table.fixed.refusal_of(state.row)) is not None:
                return refused
            here = self._state_without(state, without)
            if (refused := rejection(demand, here)) is not None:
                return refused
            return table.around.refusal_at(state.row) if table.around is not None else None

    @contextmanager
    def _less(self, uids: Collection[str]) -> Iterator[None]:
        """Some pods are not counted by place for a while. What nodes have taken stays, and so do all tables."""
        gone = [placed for uid in uids if (placed := self._placed.get(uid)) is not None]
        known = [(state.row, each.demand) for each in gone if (state := self._nodes.get(each.node)) is not None]
        for row, demand in known:
            self._relating.shift(row, (demand,), -1)
        try:
            yield
        finally:
            for row, demand in known:
                self._relating.shift(row, (demand,), 1)

    def _state_without(self, state: NodeState, uids: Collection[str]) -> NodeState:
        leaving = [state.residents[uid] for uid in uids if uid in state.residents]
        if not leaving:
            return state
        here = copy(state)
        here.ports, here.owners, here.extended = Counter(state.ports), Counter(state.owners), Counter(state.extended)
        for demand in leaving:
            here.take(demand, -1)
        return here

    # --- why not ---

    def _refuse(self, key: ClassKey) -> Refusal:
        table = self._table(key)
        reasons, rules = Counter(+table.fixed.reasons), set(+table.fixed.rules)
        left = table.fixed.allowed.copy()
        for rule, found in self._refusing(key, table):
            gone = np.zeros(len(left), np.bool_)
            for reason, refused in found.items():
                here = left & refused
                if count := int(np.count_nonzero(here)):
                    reasons[reason] += count
                    rules.add(rule)
                    gone |= here
            left &= ~gone
        return Refusal(len(self._nodes), reasons, frozenset(rules))

    def _refusing(self, key: ClassKey, table: ClassTable) -> Iterator[tuple[Rule, Mapping[str, Flags]]]:
        """The rules after the fixed ones in their order, each with the rows it refuses by reason."""
        self._sync_columns()
        demand = key[0]
        if (taken := self._ports_taken(demand)) is not None:
            yield Rule.PORTS, {PORTS_TAKEN: taken}
        yield Rule.RESOURCES, self._columns.lacking(demand)
        if table.around is not None:
            for rule, reason, refused in table.around.refusing(self._columns.rows):
                yield rule, {reason: refused}

    # --- tables ---

    def _key(self, demand: Demand) -> ClassKey:
        if self._ranks_stale:
            self._rank()
        return demand.shape, self._relating.meaning(demand.profile)

    def _note(self, state: NodeState, demand: Demand) -> None:
        """Remember on which rows ports and owners are, after a pod came or went."""
        row = state.row
        for port in demand.ports:
            rows = self._ports_on.setdefault(port, set())
            (rows.add if port in state.ports else rows.discard)(row)
            if not rows:
                del self._ports_on[port]
        if demand.owner:
            counts = self._owners_on.setdefault(demand.owner, {})
            if count := state.owners.get(demand.owner, 0):
                counts[row] = count
            else:
                counts.pop(row, None)
                if not counts:
                    del self._owners_on[demand.owner]

    def _add_node(self, offer: Offer) -> None:
        assert len(self._nodes) < RANK_MAX, len(self._nodes)
        row = self._free_rows.pop() if self._free_rows else len(self._rows)
        node = NodeState(offer, row)
        node.residents = self._by_node.get(offer.name, {})
        self._nodes[offer.name] = node
        if row == len(self._rows):
            self._rows.append(node)
        else:
            self._rows[row] = node
        if row >= self._columns.rows:
            self._grow()
        self._judge(row, node)
        for demand in node.residents.values():
            node.take(demand)
            self._note(node, demand)
            self._relating.place(demand, row)
        self._ranks_stale = True
        self._changed(row)

    def _grow(self) -> None:
        """Twice as many rows. The tables are made anew, which doubling makes rare enough."""
        self._forget_classes()
        self._columns = Columns(2 * self._columns.rows)
        self._stale_columns.update(range(len(self._rows)))
        self._fixed.clear()
        self._relating.resize(self._columns.rows)

    def _rank(self) -> None:
        """Ties go to the first name, so every table's keys contain the node's place among the names."""
        ordered = sorted(self._nodes.values(), key=lambda node: node.offer.name)
        self._ranks = ranks([node.row for node in ordered], self._columns.rows)
        self._forget_classes()
        self._ranks_stale = False

    def _judge(self, row: int, node: NodeState | None) -> None:
        for table in self._fixed.values():
            table.set(row, node)
        self._relating.set_row(row, node)

    def _recount(self) -> None:
        """Who is meant by whom may be different now."""
        self._forget_classes()
        self._relating.forget_meanings()

    def _forget_classes(self) -> None:
        while self._classes:
            self._forget_class(next(iter(self._classes)))
        self._refusals.clear()

    def _forget_class(self, key: ClassKey) -> None:
        self._relating.release(self._classes.pop(key).around)

    def _changed(self, row: int) -> None:
        if self._refusals:
            self._refusals.clear()
        self._stale_columns.add(row)
        self._log.append(row)
        if len(self._log) > LOG_MAX:
            self._log_start += len(self._log)
            self._log.clear()

    def _table(self, key: ClassKey) -> ClassTable:
        """The class's table, up to date."""
        table = self._classes.get(key)
        if table is None:
            return self._new_class(key)
        self._classes.move_to_end(key)
        self._catch_up(table)
        return table

    def _new_class(self, key: ClassKey) -> ClassTable:
        while len(self._classes) >= CLASSES_MAX:
            self._forget_class(next(iter(self._classes)))
        demand, meaning = key
        fixed = self._fixed_table(demand.where)
        by_default = self._weights.spreads_by_default
        around = self._relating.around(demand, meaning, fixed, self._nodes.values(), by_default=by_default)
        table = ClassTable(demand, fixed, self._ranks, self._weights, around)
        self._fill(table)
        self._classes[key] = table
        return table

    def _fill(self, table: ClassTable) -> None:
        """Compute every row of the table."""
        self._sync_columns()
        table.fill(self._columns, slice(None), self._ports_taken(table.demand))
        if owned := self._owners_on.get(table.demand.owner):
            table.separate(owned, owned)
        table.seen = self._log_start + len(self._log)

    def _ports_taken(self, demand: Demand) -> Flags | None:
        """The rows in which a port of the demand is taken; None when it has none."""
        if not demand.ports:
            return None
        taken = np.zeros(self._columns.rows, np.bool_)
        for port in demand.ports:
            if rows := self._ports_on.get(port):
                taken[list(rows)] = True
        return taken

    def _catch_up(self, table: ClassTable) -> None:
        end = self._log_start + len(self._log)
        if table.seen == end:
            return
        if table.seen < self._log_start or end - table.seen > CATCH_UP_MAX:
            self._fill(table)
            return
        behind = set(self._log[table.seen - self._log_start :])
        if len(behind) > ONE_BY_ONE_MAX:
            self._fill_some(table, behind)
        else:
            for row in behind:
                table.set(row, self._rows[row])
        table.seen = end

    def _fill_some(self, table: ClassTable, rows: set[int]) -> None:
        self._sync_columns()
        demand, ports = table.demand, None
        if demand.ports:
            taken = [there for port in demand.ports if (there := self._ports_on.get(port))]
            ports = np.array([any(row in there for there in taken) for row in rows], np.bool_)
        table.fill(self._columns, np.fromiter(rows, np.int64, len(rows)), ports)
        if owned := self._owners_on.get(demand.owner):
            table.separate(owned, rows & owned.keys())

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
                for user in [key for key, known in self._classes.items() if known.fixed is gone]:
                    self._forget_class(user)
            table = self._fixed[where] = FixedTable(where, self._nodes.values(), self._columns.rows)
        self._fixed.move_to_end(where)
        return table


def fits_without(demand: Demand, state: NodeState, uids: Collection[str]) -> bool:
    """Whether ports and resources are left for the pod when the pods of those uids have gone."""
    gone = [placed for uid in uids if (placed := state.residents.get(uid)) is not None]
    offer = state.offer
    if state.pods - len(gone) + 1 > offer.pods:
        return False
    if demand.milli_cpu and state.milli_cpu + demand.milli_cpu - sum([d.milli_cpu for d in gone]) > offer.milli_cpu:
        return False
    if demand.memory and state.memory + demand.memory - sum([d.memory for d in gone]) > offer.memory:
        return False
    for name, amount in demand.extended:
        freed = sum(value for each in gone for other, value in each.extended if other == name)
        if state.extended[name] + amount - freed > offer.extended.get(name, 0):
            return False
    return all(state.ports[port] <= sum(port in each.ports for each in gone) for port in demand.ports)
