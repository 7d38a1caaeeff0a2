"""What to do about one object, given how its owners are and what belongs to it. Pure; the rules are Kubernetes'."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from .graph import FOREGROUND, ORPHAN, Item


class Owner(Enum):
    """How an owner is."""

    SOLID = "solid"
    """It exists and keeps what belongs to it."""
    WAITING = "waiting"
    """It is being deleted in the foreground and wants its dependents gone first."""
    GONE = "gone"
    """It does not exist: the server itself said so."""
    UNKNOWN = "unknown"
    """Nobody can say, e.g. because its kind is not served now. What may have an owner is not garbage."""


@dataclass(frozen=True, slots=True)
class Nothing:
    """It is as it should be, or somebody else's turn."""


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete the object; `propagation` says what becomes of its own dependents."""

    propagation: str
    unblock: bool = False
    """First let its owners go on without it: they wait for one another in a circle."""


@dataclass(frozen=True, slots=True)
class DropOwners:
    """Take these owners off the object; others keep it."""

    uids: frozenset[str]


@dataclass(frozen=True, slots=True)
class Orphan:
    """Take the object off its dependents, then the finalizer off the object."""

    dependents: Sequence[Item]


@dataclass(frozen=True, slots=True)
class Finish:
    """The dependents are gone: take the finalizer of foreground deletion off."""


@dataclass(frozen=True, slots=True)
class AwaitDependents:
    """Look at the dependents that block the object's deletion."""

    blocking: Sequence[Item]


Act = Nothing | Delete | DropOwners | Orphan | Finish | AwaitDependents


def plan(item: Item, owners: Mapping[str, Owner], dependents: Sequence[Item]) -> Act:
    """The one act that is due. `owners` tells the state of each of the item's owners by uid."""
    if item.deleting:
        return _plan_deleting(item, dependents)
    states = {reference.uid: owners[reference.uid] for reference in item.owners}
    if not states or Owner.UNKNOWN in states.values():
        return Nothing()
    if Owner.SOLID in states.values():
        others = frozenset(uid for uid, state in states.items() if state is not Owner.SOLID)
        return DropOwners(others) if others else Nothing()
    if Owner.WAITING in states.values() and dependents:
        circle = any(dependent.waits_for_dependents for dependent in dependents)
        return Delete("Foreground", unblock=circle)
    if ORPHAN in item.finalizers:
        return Delete("Orphan")
    return Delete("Foreground" if FOREGROUND in item.finalizers else "Background")


def _plan_deleting(item: Item, dependents: Sequence[Item]) -> Act:
    if item.orphans:
        return Orphan(dependents)
    if not item.waits_for_dependents:
        return Nothing()
    blocking = [dependent for dependent in dependents if dependent.blocks(item.uid)]
    return AwaitDependents(blocking) if blocking else Finish()
