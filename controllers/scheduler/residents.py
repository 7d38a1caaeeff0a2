"""Who is on which node: what preemption must know of pods that hold room, beyond how much.

Beside the snapshot, which knows amounts, because most decisions never ask for this. Every change of a node's pods or of
what it offers is written into a log by the node's name; a search that was made before reads there what it must look at
again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from stark.crds.placement.victims import Going, Resident

LOG_MAX = 20_000
"""Changes remembered; a search that is further behind begins anew."""


class Taken(NamedTuple):
    """What some pods take together."""

    pods: int
    milli_cpu: int
    memory: int


class Notes(NamedTuple):
    """What has been worked out about a node for pods of a priority, whatever they ask for."""

    taken: dict[int, Taken]
    """By those who do not go."""
    going: dict[int, Going]


class Residents:
    """Pods by node, and the log of changes."""

    def __init__(self) -> None:
        self._by_node: dict[str, dict[str, Resident]] = {}
        self._node_of: dict[str, str] = {}
        self._priorities: Counter[int] = Counter()
        self._notes: dict[str, Notes] = {}
        self._log: list[str] = []
        self._log_start = 0
        self._is_read = False
        """Whether anybody knows the last entry, so that the next change of the same node needs another."""

    def __len__(self) -> int:
        """How many nodes have pods."""
        return len(self._by_node)

    def put(self, node: str, resident: Resident) -> None:
        """The pod is, or will be, on the node."""
        known = self.get(resident.uid)
        if known == resident and self._node_of[resident.uid] == node:
            return
        self.drop(resident.uid)
        self._by_node.setdefault(node, {})[resident.uid] = resident
        self._node_of[resident.uid] = node
        self._priorities[resident.priority] += 1
        self.touch(node)

    def drop(self, uid: str) -> str | None:
        """The pod holds no room any more. Returns where it was."""
        node = self._node_of.pop(uid, None)
        if node is None:
            return None
        there = self._by_node[node]
        gone = there.pop(uid)
        if not there:
            del self._by_node[node]
        self._priorities[gone.priority] -= 1
        if not self._priorities[gone.priority]:
            del self._priorities[gone.priority]
        self.touch(node)
        return node

    def condemn(self, uid: str) -> None:
        """It has been decided that the pod goes."""
        if (known := self.get(uid)) is not None:
            self.put(self._node_of[uid], replace(known, is_leaving=True))

    def get(self, uid: str) -> Resident | None:
        """The pod, if it holds room."""
        node = self._node_of.get(uid)
        return self._by_node[node][uid] if node is not None else None

    def node_of(self, uid: str) -> str | None:
        """Where the pod is."""
        return self._node_of.get(uid)

    def at(self, node: str) -> Mapping[str, Resident]:
        """The pods of a node, by uid."""
        return self._by_node.get(node, {})

    def below(self, priority: int) -> bool:
        """Whether there is any pod of a lower priority, anywhere."""
        return any(each < priority for each in self._priorities)

    def nodes(self) -> Sequence[str]:
        """Nodes that have pods."""
        return list(self._by_node)

    def notes(self, node: str) -> Notes:
        """To be read and written by those who look for victims. Forgotten when anything about the node changes."""
        notes = self._notes.get(node)
        if notes is None:
            notes = self._notes[node] = Notes({}, {})
        return notes

    def forget_notes(self) -> None:
        """Something changed that matters to them, and is not about a node."""
        self._notes.clear()

    def touch(self, node: str) -> None:
        """Something about the node is not what it was."""
        self._notes.pop(node, None)
        if self._log and self._log[-1] == node and not self._is_read:
            return
        self._log.append(node)
        self._is_read = False
        if len(self._log) > LOG_MAX:
            # The older half: those who look often have read it, and those who do not begin anew.
            del self._log[: LOG_MAX // 2]
            self._log_start += LOG_MAX // 2

    @property
    def now(self) -> int:
        """The end of the log."""
        self._is_read = True
        return self._log_start + len(self._log)

    def since(self, seen: int) -> Sequence[str] | None:
        """The nodes that changed after that point of the log; None when it does not go back so far."""
        return self._log[seen - self._log_start :] if seen >= self._log_start else None
