"""Room kept for pods for which others make way.

A nominated pod stands in the snapshot as if it were on its node already, under a uid of its own, so that nobody takes
the room that is being made. Only pods of a higher priority may look through it, and the pod itself.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from stark.crds.placement.facts import Demand
from stark.crds.placement.making_way import GHOST

from .queue import Waiting
from .residents import Residents
from .snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Nomination:
    """Where a pod will be when others have gone."""

    uid: str
    key: str
    node: str
    priority: int
    demand: Demand

    @property
    def ghost(self) -> str:
        """The uid under which it takes room."""
        return GHOST + self.uid


class Nominations:
    """By pod and by node."""

    def __init__(self, snapshot: Snapshot, residents: Residents) -> None:
        self._snapshot = snapshot
        self._residents = residents
        self._by_uid: dict[str, Nomination] = {}
        self._by_node: dict[str, dict[str, Nomination]] = {}

    def __len__(self) -> int:
        return len(self._by_uid)

    def get(self, uid: str) -> Nomination | None:
        """The pod's nomination."""
        return self._by_uid.get(uid)

    def on(self, node: str) -> Collection[Nomination]:
        """Those of a node."""
        return self._by_node.get(node, {}).values()

    def nodes(self) -> Collection[str]:
        """Nodes on which room is kept."""
        return list(self._by_node)

    def keep(self, waiting: Waiting, node: str) -> None:
        """Keep room for the pod there, and nowhere else."""
        self.drop(waiting.uid)
        found = Nomination(waiting.uid, waiting.key, node, waiting.priority, waiting.demand)
        self._by_uid[found.uid] = found
        self._by_node.setdefault(node, {})[found.uid] = found
        self._snapshot.place(found.ghost, node, found.demand)
        self._residents.touch(node)

    def drop(self, uid: str) -> Nomination | None:
        """Keep no room any more."""
        found = self._by_uid.pop(uid, None)
        if found is None:
            return None
        there = self._by_node[found.node]
        del there[uid]
        if not there:
            del self._by_node[found.node]
        self._snapshot.remove(found.ghost)
        self._residents.touch(found.node)
        return found

    def lift(self, uid: str) -> None:
        """Look through the pod's own nomination, until `lower`."""
        if (found := self._by_uid.get(uid)) is not None:
            self._snapshot.remove(found.ghost)

    def lower(self, uid: str) -> None:
        """The end of `lift`."""
        if (found := self._by_uid.get(uid)) is not None:
            self._snapshot.place(found.ghost, found.node, found.demand)

    def transparent(self, node: str, uid: str, priority: int) -> set[str]:
        """Uids of the room kept on a node that does not count for this pod: its own, and that of lower pods."""
        return {each.ghost for each in self.on(node) if each.priority < priority or each.uid == uid}
