"""Which groups there are, and how many of each have a place.

Built from objects alone: a group is its PodGroup, and a member has a place when the pod has a node, or when it is
assumed to get one. So after a restart a group of which some were bound and others were not is seen at once.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from stark.crds.annotations import POD_GROUP
from stark.crds.pod_groups import PodGroup
from stark.crds.podfacts import group_of, has_place
from stark.crds.pods import Pod


@dataclass(frozen=True, slots=True)
class Gang:
    """How many make the group, and how long room is kept for it."""

    min_member: int
    timeout_s: float


class Gangs:
    """Groups by `namespace/name`, and the members that have a place."""

    def __init__(self) -> None:
        self._gangs: dict[str, Gang] = {}
        self._placed: dict[str, set[str]] = {}
        self._group_of: dict[str, str] = {}
        self._reserved_until: dict[str, float] = {}

    def set_group(self, group: PodGroup) -> bool:
        """A group as it is now. True when that changes anything."""
        gang = Gang(group.spec.min_member, group.spec.schedule_timeout_seconds)
        if self._gangs.get(group.key) == gang:
            return False
        self._gangs[group.key] = gang
        return True

    def drop_group(self, key: str) -> None:
        """The group is gone."""
        self._gangs.pop(key, None)
        self._reserved_until.pop(key, None)

    def get(self, group: str) -> Gang | None:
        """The group, if there is one of that name."""
        return self._gangs.get(group)

    def count(self, pod: Pod) -> str:
        """Count a pod as it is now. Returns the group whose number has changed by that, or nothing."""
        if not has_place(pod) or POD_GROUP not in pod.metadata.labels:
            return self.leave(pod.uid)
        return self.join(pod.uid, group_of(pod))

    def join(self, uid: str, group: str) -> str:
        """The pod has, or is assumed to get, a place. Returns the group, if that is news."""
        if self._group_of.get(uid) == group:
            return ""
        self.leave(uid)
        self._group_of[uid] = group
        self._placed.setdefault(group, set()).add(uid)
        return group

    def leave(self, uid: str) -> str:
        """The pod has no place any more. Returns the group that has lost it, if any."""
        group = self._group_of.pop(uid, "")
        if group:
            members = self._placed[group]
            members.discard(uid)
            if not members:
                del self._placed[group]
        return group

    def missing(self, group: str) -> int:
        """How many more need a place before any may be bound alone."""
        gang = self._gangs.get(group)
        return max(0, gang.min_member - len(self._placed.get(group, ()))) if gang is not None else 0

    def is_begun(self, group: str) -> bool:
        """Whether some members have a place and too few: the others must follow at once."""
        return group in self._placed and self.missing(group) > 0

    def begun(self) -> Collection[str]:
        """All such groups."""
        return [group for group in self._placed if self.missing(group) > 0]

    # --- room that is kept for a group ---

    def reserve(self, group: str, now: float) -> None:
        """Room is being made for the group: from now on its time runs, if it did not already."""
        gang = self._gangs.get(group)
        if gang is not None:
            self._reserved_until.setdefault(group, now + gang.timeout_s)

    def release(self, group: str) -> None:
        """No room is kept for the group any more."""
        self._reserved_until.pop(group, None)

    def overdue(self, now: float) -> Collection[str]:
        """Groups for which room has been kept for too long."""
        return [group for group, until in self._reserved_until.items() if until <= now]

    def next_overdue(self) -> float | None:
        """When the next one will be."""
        return min(self._reserved_until.values(), default=None)
