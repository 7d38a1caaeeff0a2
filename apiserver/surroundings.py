"""All pods and nodes as explanations of placements need them, read once for each revision: reading costs more than judging.

Belongs to one thread. Objects that cannot be read are left out, so that one of them costs nobody their answer.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final, NamedTuple, TypeVar

from stark.crds.annotations import POD_GROUP
from stark.crds.meta import KubeObject, Undecodable, decode
from stark.crds.nodes import Node
from stark.crds.placement.facts import Demand, Offer
from stark.crds.placement.making_way import GHOST, Kept, Membership
from stark.crds.placement.reading import demand_of, offer_of, takes_room
from stark.crds.placement.victims import Resident
from stark.crds.pod_groups import PodGroup
from stark.crds.podfacts import group_of, has_place, is_gated, is_waiting
from stark.crds.pods import Pod

from .cache.entry import Entry

PODS_MAX: Final = 50_000
"""Pods that are remembered until they change."""
NODES_MAX: Final = 20_000
"""The same of nodes."""

T = TypeVar("T", bound=KubeObject)

log = logging.getLogger(__name__)


class Seen(NamedTuple):
    """What matters of a pod to others."""

    revision: int
    node: str = ""
    """Where it holds room, or where room is kept for it."""
    demand: Demand | None = None
    """What it takes there; None when that is nothing. Where it may go does not matter once it is placed: nor do packs."""
    resident: Resident | None = None
    """None for a pod that holds no room."""
    group: str = ""
    is_placed: bool = False
    """It counts for its group as one that has a node."""
    waits: bool = False
    """It counts as one that waits for one."""
    priority: int = 0


class Placed(NamedTuple):
    """Everybody but one pod."""

    demands: dict[str, tuple[str, Demand]]
    residents: dict[str, Resident]
    kept: list[Kept]


class Surroundings:
    """Pods and nodes by key, each as of the revision that was read last."""

    def __init__(self) -> None:
        self._pods: dict[str, Seen] = {}
        self._offers: dict[str, tuple[int, Offer | None]] = {}

    def placed(self, entries: Iterable[Entry], pod: Pod) -> Placed:
        """Who takes which room, as far as that concerns the pod: room kept for lower pods is free for it."""
        found = Placed({}, {}, [])
        for entry in entries:
            key, seen = entry.key, self._seen(entry)
            if key == pod.key or seen.demand is None:
                continue
            if seen.resident is not None:
                found.demands[key] = seen.node, seen.demand
                found.residents[key] = seen.resident
            elif seen.priority >= (pod.spec.priority or 0):
                found.demands[GHOST + key] = seen.node, seen.demand
                found.kept.append(Kept(seen.node, key))
        return found

    def membership(self, entries: Iterable[Entry], pod: Pod, group: PodGroup | None) -> Membership | None:
        """The group of the pod; None when it belongs to none. `group`: the one it names, if that is there."""
        name = group_of(pod)
        if not name:
            return None
        alike = [seen for entry in entries if entry.key != pod.key and (seen := self._seen(entry)).group == name]
        placed = sum(seen.is_placed for seen in alike) + has_place(pod)
        waiting = sum(seen.waits for seen in alike) + (is_waiting(pod) and not is_gated(pod))
        return Membership(name, group.spec.min_member if group is not None else None, placed + waiting, placed)

    def offers(self, entries: Sequence[Entry], pods_max: int) -> list[Offer]:
        """What the nodes offer that can be read."""
        return [offer for entry in entries if (offer := self._offer(entry, pods_max)) is not None]

    def _seen(self, entry: Entry) -> Seen:
        known = self._pods.get(entry.key)
        if known is None or known.revision != entry.revision:
            if len(self._pods) >= PODS_MAX:
                self._pods.clear()
            known = read(entry, Pod, lambda pod: _seen(entry, pod)) or Seen(entry.revision)
            self._pods[entry.key] = known
        return known

    def _offer(self, entry: Entry, pods_max: int) -> Offer | None:
        known = self._offers.get(entry.name)
        if known is None or known[0] != entry.revision:
            if len(self._offers) >= NODES_MAX:
                self._offers.clear()
            known = self._offers[entry.name] = entry.revision, read(entry, Node, offer_of)
        offer = known[1]
        return offer if offer is None or offer.pods <= pods_max else replace(offer, pods=pods_max)


def _seen(entry: Entry, pod: Pod) -> Seen:
    waits, nominated = is_waiting(pod), pod.status.nominated_node_name or ""
    holds = takes_room(pod)
    return Seen(
        entry.revision,
        pod.spec.node_name or (nominated if waits else ""),
        demand_of(pod, lambda _: None) if holds or (waits and nominated) else None,
        replace(Resident.of(pod), uid=entry.key) if holds else None,
        group_of(pod) if POD_GROUP in pod.metadata.labels else "",
        has_place(pod),
        waits and not is_gated(pod),
        pod.spec.priority or 0,
    )


R = TypeVar("R")


def read(entry: Entry, kind: type[T], reader: Callable[[T], R]) -> R | None:
    """What the reader makes of the object; None for one that cannot be read."""
    try:
        return reader(decode(entry.data, kind))
    except Undecodable as error:
        log.error("an object cannot be decoded and is left out", extra={"key": entry.key, "detail": str(error)})
    except Exception:
        # Whatever one object is like, explanations are about all the others.
        log.exception("an object cannot be read and is left out", extra={"key": entry.key})
    return None
