"""Who belongs to whom, by uid, as far as the informers have seen. Pure: told of objects, it says which to look at.

An owner that was never seen is not in the graph as an item, only as a name that others carry; whether it exists is for
whoever acts to ask. So a lagging informer can make us ask once too often, never delete what has an owner.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stark.crds.meta import ObjectMeta, OwnerReference, ResourceDef

ORPHAN = "orphan"
FOREGROUND = "foregroundDeletion"


@dataclass(frozen=True, slots=True)
class Item:
    """One object: how to address it, and what matters for its life."""

    resource: ResourceDef
    namespace: str
    """Empty for a cluster-scoped object."""
    name: str
    uid: str
    owners: tuple[OwnerReference, ...] = ()
    finalizers: tuple[str, ...] = ()
    deleting: bool = False

    @property
    def orphans(self) -> bool:
        """Its deletion waits until its dependents have been let go."""
        return self.deleting and ORPHAN in self.finalizers

    @property
    def waits_for_dependents(self) -> bool:
        """Its deletion waits until the dependents that block it are gone."""
        return self.deleting and FOREGROUND in self.finalizers

    def blocks(self, owner_uid: str) -> bool:
        """Whether that owner may not go before this one."""
        return any(owner.uid == owner_uid and owner.block_owner_deletion for owner in self.owners)


def item_of(resource: ResourceDef, meta: ObjectMeta) -> Item:
    """The item of an object's metadata."""
    return Item(
        resource,
        (meta.namespace or "") if resource.namespaced else "",
        meta.name,
        meta.uid or "",
        tuple(meta.owner_references),
        tuple(meta.finalizers),
        meta.deletion_timestamp is not None,
    )


def may_own(owner: Item, reference: OwnerReference, dependent: Item) -> bool:
    """Whether the item is what the reference means: a uid alone could be copied from another namespace or kind."""
    same_kind = owner.resource.kind == reference.kind and owner.resource.group == group_of(reference)
    return same_kind and owner.name == reference.name and owner.namespace in ("", dependent.namespace)


def group_of(reference: OwnerReference) -> str:
    """The API group of an owner reference; empty for the core group."""
    return reference.api_version.rpartition("/")[0]


class Graph:
    """Items by uid, and for each uid the items that name it as owner."""

    def __init__(self) -> None:
        self._items: dict[str, Item] = {}
        self._dependents: dict[str, dict[str, None]] = {}

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Item]:
        return iter(tuple(self._items.values()))

    def get(self, uid: str) -> Item | None:
        """The item, if it was seen and is not gone."""
        return self._items.get(uid)

    def dependents(self, uid: str) -> list[Item]:
        """The items that name this uid as an owner."""
        return [self._items[each] for each in self._dependents.get(uid, ())]

    def observe(self, item: Item) -> Sequence[str]:
        """An object as it is now. Returns the uids to look at."""
        before = self._items.get(item.uid)
        self._items[item.uid] = item
        old = {owner.uid for owner in before.owners} if before else set()
        new = {owner.uid for owner in item.owners}
        for uid in old - new:
            self._unlink(uid, item.uid)
        for uid in new - old:
            self._dependents.setdefault(uid, {})[item.uid] = None
        look = [item.uid] if self.needs_a_look(item) else []
        # An owner that waited may have been waiting for a reference that is not there any more.
        look += [uid for uid in old if self._waits(uid)]
        if item.waits_for_dependents and not (before and before.waits_for_dependents):
            look += self._dependents.get(item.uid, ())
        return look

    def forget(self, uid: str) -> Sequence[str]:
        """The object is gone. Returns the uids to look at: what belonged to it, and what waited for it."""
        item = self._items.pop(uid, None)
        look = list(self._dependents.get(uid, ()))
        for owner in item.owners if item else ():
            self._unlink(owner.uid, uid)
            if self._waits(owner.uid):
                look.append(owner.uid)
        return look

    def needs_a_look(self, item: Item) -> bool:
        """Whether there may be something to do about the item as it stands."""
        if item.deleting:
            return item.orphans or item.waits_for_dependents
        return any(self.get(owner.uid) is None or self._waits(owner.uid) for owner in item.owners)

    def _waits(self, uid: str) -> bool:
        item = self._items.get(uid)
        return item is not None and item.waits_for_dependents

    def _unlink(self, owner: str, dependent: str) -> None:
        there = self._dependents.get(owner)
        if there is None:
            return
        there.pop(dependent, None)
        if not there:
            del self._dependents[owner]
