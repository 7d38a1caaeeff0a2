"""From what pods say about one another to the tallies of it: who shares which tally, and when one is no longer needed.

Terms are of two sides. A class asks about placed pods (whom am I near to?): it gets tallies of the groups its terms mean.
Placed pods carry terms that mean newcomers (who wants me away?): every carried term has tallies of its carriers.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from stark.crds.placement.facts import Demand, NodeState
from stark.crds.placement.neighbours import spread_of, worths
from stark.crds.placement.relations import Group, NamespaceLabels, PodTerm, Profile, Spread

from .around import Around, Constraint
from .tables import FixedTable
from .topology import Crowds, Flags, Kind, Places, Tally, kind_of

PROFILES_MAX = 4_096
"""Profiles for which it is remembered which carried terms mean them."""

Groups = tuple[Group, ...]


@dataclass(eq=False, slots=True)
class Carried:
    """A term that placed pods carry: how many of them want others away, and what they are worth."""

    term: PodTerm
    away: Tally | None = None
    worth: Tally | None = None
    kinds: int = 0
    """Kinds of placed pods that carry it."""


class Relating:
    """Places, tallies and carried terms of one snapshot."""

    def __init__(self, rows: int) -> None:
        self.namespaces: dict[str, Mapping[str, str]] = {}
        self.crowds = Crowds(self.namespaces)
        self._rows = rows
        self._places: dict[str, Places] = {}
        self._shared: dict[tuple[Groups, str, bool], tuple[Tally, int]] = {}
        """Tallies of groups, by whether they count pods that are leaving, and how many use each."""
        self._carried: dict[PodTerm, Carried] = {}
        self._meant: OrderedDict[Profile, tuple[Carried, ...]] = OrderedDict()
        self._private: list[tuple[Tally, Spread, Sequence[Places], FixedTable]] = []
        """Tallies that count only some rows: which, follows from the last two."""

    # --- nodes ---

    def places(self, key: str, nodes: Iterable[NodeState]) -> Places:
        """The places of a label; `nodes` are all there are, for a label that was not asked for yet."""
        found = self._places.get(key)
        if found is None:
            found = self._places[key] = Places(key, self._rows)
            for node in nodes:
                found.set(node.row, node)
        return found

    def set_row(self, row: int, node: NodeState | None) -> None:
        """A row has another node, or its node another offer. Meanwhile no pod may be counted there: see `shift`."""
        for places in self._places.values():
            places.set(row, node)
        for tally, spread, together, fixed in self._private:
            tally.limit(_counted(spread, together, fixed))

    def shift(self, row: int, residents: Iterable[Demand], sign: int) -> None:
        """Take pods of a row out of the tallies (`sign` -1), and put them back (1), when all else stays as it is."""
        for demand in residents:
            self.crowds.shift(kind_of(demand), row, sign)

    def resize(self, rows: int) -> None:
        """There are more rows now. Classes must be forgotten first."""
        assert not self._private, self._private
        assert not self._shared, self._shared
        self._rows = rows
        for places in self._places.values():
            places.resize(rows)

    def forget_meanings(self) -> None:
        """Namespaces have changed, so terms may mean others."""
        self._meant.clear()

    # --- placed pods ---

    def place(self, demand: Demand, row: int) -> None:
        """A pod is on a row's node."""
        kind = kind_of(demand)
        if self.crowds.place(kind, row) and kind.relations.carries:
            self._carry(kind, 1)

    def remove(self, demand: Demand, row: int) -> None:
        """It is no longer."""
        kind = kind_of(demand)
        if self.crowds.remove(kind, row) and kind.relations.carries:
            self._carry(kind, -1)

    def _carry(self, kind: Kind, sign: int) -> None:
        relations = kind.relations
        for term in {*relations.apart, *(term for _, term in worths(relations))}:
            carried = self._carried.get(term)
            if carried is None:
                carried = self._carried[term] = Carried(term)
                self._meant.clear()
            carried.kinds += sign
            if not carried.kinds:
                self._drop(carried)

    def _drop(self, carried: Carried) -> None:
        del self._carried[carried.term]
        self._meant.clear()
        for tally in (carried.away, carried.worth):
            if tally is not None:
                self.crowds.forget(tally)

    def meaning(self, pod: Profile) -> tuple[Carried, ...]:
        """The carried terms that mean a pod."""
        if not self._carried:
            return ()
        known = self._meant.get(pod)
        if known is None:
            if len(self._meant) >= PROFILES_MAX:
                self._meant.popitem(last=False)
            carried = self._carried.values()
            known = tuple(each for each in carried if each.term.group.has(pod, self.namespaces))
            self._meant[pod] = known
        return known

    # --- classes ---

    def around(
        self,
        demand: Demand,
        meaning: Sequence[Carried],
        fixed: FixedTable,
        nodes: Iterable[NodeState],
        *,
        by_default: bool,
    ) -> Around | None:
        """What matters to a class of pods; None when nothing does."""
        ours, me = demand.relations, demand.profile
        spread = spread_of(demand, by_default=by_default)
        if not ours and not meaning and not spread:
            return None
        share = partial(self._share, nodes=nodes)
        near = ours.near
        groups = tuple(term.group for term in near)
        hard = [each for each in spread if each.is_hard]
        soft = [each for each in spread if not each.is_hard]
        needs_labels = bool(ours.spread)
        worth = [(weight, share((term.group,), term.topology_key)) for weight, term in ours.preferred]
        worth += [(1, self._worth_of(each, nodes)) for each in meaning]
        return Around(
            near=[share(groups, key) for key in dict.fromkeys(term.topology_key for term in near)],
            meets_itself=bool(near) and all(group.has(me, self.namespaces) for group in groups),
            apart=[share((term.group,), term.topology_key) for term in ours.apart],
            kept=[self._away_of(each, nodes) for each in meaning],
            worth=worth,
            hard=[self._constraint(each, hard, me, fixed, nodes) for each in hard],
            soft=[self._constraint(each, soft if needs_labels else (), me, fixed, nodes) for each in soft],
            needs_labels=needs_labels,
        )

    def release(self, around: Around | None) -> None:
        """The class is forgotten, and with it the tallies that nobody else asks about."""
        if around is None:
            return
        mine = {id(tally) for tally in around.tallies()}
        for key, (tally, users) in list(self._shared.items()):
            if id(tally) in mine:
                uses = sum(each is tally for each in around.tallies())
                self._shared[key] = (tally, users - uses)
                if users == uses:
                    del self._shared[key]
                    self.crowds.forget(tally)
        gone = [each for each in self._private if id(each[0]) in mine]
        self._private = [each for each in self._private if id(each[0]) not in mine]
        for tally, *_ in gone:
            self.crowds.forget(tally)

    def _constraint(
        self, spread: Spread, together: Sequence[Spread], me: Profile, fixed: FixedTable, nodes: Iterable[NodeState]
    ) -> Constraint:
        itself = int(not spread.group.owner and spread.group.has(me, self.namespaces))
        places = self.places(spread.topology_key, nodes)
        others = [self.places(each.topology_key, nodes) for each in together if each is not spread]
        rows = _counted(spread, others, fixed)
        if rows is None:
            return Constraint(spread, self._share((spread.group,), places.key, nodes, counts_leaving=False), itself)
        tally = Tally(places, partial(_is_meant, (spread.group,), False))
        tally.limit(rows)
        self._private.append((tally, spread, others, fixed))
        self.crowds.watch(tally)
        return Constraint(spread, tally, itself)

    def _share(self, groups: Groups, key: str, nodes: Iterable[NodeState], *, counts_leaving: bool = True) -> Tally:
        name = (groups, key, counts_leaving)
        tally, users = self._shared.get(name) or (None, 0)
        if tally is None:
            tally = self._watched(key, nodes, partial(_is_meant, groups, counts_leaving))
        self._shared[name] = (tally, users + 1)
        return tally

    def _away_of(self, carried: Carried, nodes: Iterable[NodeState]) -> Tally:
        if carried.away is None:
            carried.away = self._watched(carried.term.topology_key, nodes, partial(_wants_away, carried.term))
        return carried.away

    def _worth_of(self, carried: Carried, nodes: Iterable[NodeState]) -> Tally:
        if carried.worth is None:
            carried.worth = self._watched(carried.term.topology_key, nodes, partial(_is_worth, carried.term))
        return carried.worth

    def _watched(self, key: str, nodes: Iterable[NodeState], worth: Callable[[Kind, NamespaceLabels], int]) -> Tally:
        tally = Tally(self.places(key, nodes), worth)
        self.crowds.watch(tally)
        return tally


def _counted(spread: Spread, together: Iterable[Places], fixed: FixedTable) -> Flags | None:
    rows = fixed.counted(honors_affinity=spread.honors_affinity, honors_taints=spread.honors_taints)
    for places in together:
        has_label = places.of_row >= 0
        rows = has_label if rows is None else rows & has_label
    return rows


def _is_meant(groups: Groups, counts_leaving: bool, kind: Kind, namespaces: NamespaceLabels) -> int:
    pod = kind.profile
    return int((counts_leaving or not pod.is_leaving) and all(group.has(pod, namespaces) for group in groups))


def _wants_away(term: PodTerm, kind: Kind, _: NamespaceLabels) -> int:
    return int(term in kind.relations.apart)


def _is_worth(term: PodTerm, kind: Kind, _: NamespaceLabels) -> int:
    return sum(worth for worth, each in worths(kind.relations) if each == term)
