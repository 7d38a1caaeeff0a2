"""How fast nodes' pods may be moved away: slowly, and more slowly or not at all when much vanishes at once.

One dead node is a dead node. Most nodes of a zone dead at once are more likely a broken network, and evicting all their
pods would turn an outage of ours into one of everybody's. When nothing is left alive anywhere there is no place to move
to either.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from stark.crds.annotations import ZONE
from stark.crds.conditions import is_true
from stark.crds.nodes import Node

from .settings import NodeSettings

EXCLUDED = "node.kubernetes.io/exclude-disruption"
"""Label of nodes that do not count when much vanishes at once, whatever its value."""
REGION = "topology.kubernetes.io/region"


class State(Enum):
    """How much of a zone is gone."""

    NORMAL = "Normal"
    PARTIAL = "PartialDisruption"
    FULL = "FullDisruption"


@dataclass(frozen=True, slots=True)
class Census:
    """How many nodes of a zone are well, and how many are not."""

    well: int = 0
    unwell: int = 0

    @property
    def size(self) -> int:
        """All nodes of the zone."""
        return self.well + self.unwell


def zone_of(node: Node) -> str:
    """The failure domain of a node; nodes without labels share one."""
    labels = node.metadata.labels
    return f"{labels.get(REGION, '')}:{labels.get(ZONE, '')}"


class Zones:
    """The nodes counted by zone. Kept current node by node: when thousands are lost, each of them asks for the counts."""

    def __init__(self) -> None:
        self.counts: dict[str, Census] = {}
        self._known: dict[str, tuple[str, bool]] = {}

    def note(self, node: Node) -> None:
        """How the node is now. One that is often switched off may say so (KEP-1143), and counts for nothing here."""
        counts = EXCLUDED not in node.metadata.labels
        is_well = is_true(node.status.conditions, "Ready")
        self._put(node.metadata.name, (zone_of(node), is_well) if counts else None)

    def forget(self, name: str) -> None:
        """The node is gone."""
        self._put(name, None)

    def _put(self, name: str, now: tuple[str, bool] | None) -> None:
        before = self._known.pop(name, None)
        if now is not None:
            self._known[name] = now
        if before != now:
            for place, by in ((before, -1), (now, 1)):
                if place is not None:
                    self._shift(*place, by)

    def _shift(self, zone: str, well: bool, by: int) -> None:
        before = self.counts.pop(zone, Census())
        after = Census(before.well + by * well, before.unwell + by * (not well))
        if after.size:
            self.counts[zone] = after


def state_of(zone: Census, settings: NodeSettings) -> State:
    """How much of the zone is gone."""
    if zone.unwell and not zone.well:
        return State.FULL
    mostly = zone.unwell >= settings.unhealthy_min and zone.unwell / zone.size >= settings.unhealthy_share
    return State.PARTIAL if mostly else State.NORMAL


def all_lost(zones: Mapping[str, Census], settings: NodeSettings) -> bool:
    """No node anywhere is well: it is more likely that we see nothing than that nothing is there."""
    return bool(zones) and all(state_of(zone, settings) is State.FULL for zone in zones.values())


def rate_per_s(zones: Mapping[str, Census], zone: str, settings: NodeSettings) -> float:
    """How many nodes of the zone may be evicted per second."""
    if all_lost(zones, settings):
        return 0.0
    counts = zones.get(zone, Census())
    if state_of(counts, settings) is not State.PARTIAL:
        # A zone that is gone as a whole, while others live, is really gone: its pods move at the usual pace.
        return settings.eviction_rate_per_s
    return settings.secondary_rate_per_s if counts.size > settings.large_zone else 0.0


@dataclass(slots=True)
class Bucket:
    """Lets one node through, then the next one when the rate allows. Times in seconds of a steady clock."""

    last_at: float | None = None

    def wait_s(self, rate: float, now: float) -> float | None:
        """Seconds until the next one may go: 0 now, None not at this rate."""
        if rate <= 0:
            return None
        return 0.0 if self.last_at is None else max(0.0, self.last_at + 1 / rate - now)

    def take(self, now: float) -> None:
        """One goes."""
        self.last_at = now


@dataclass(slots=True)
class Pace:
    """Which node's turn it is, zone by zone. Times in seconds of a steady clock."""

    _buckets: dict[str, Bucket] = field(default_factory=dict)
    _is_stopped: bool = False
    _quiet_until: float = float("-inf")

    def stop(self) -> None:
        """No node is well. When the first one is back, the others get the time to follow it that a node may be silent."""
        self._is_stopped = True

    def turn_in_s(self, zone: str, rate: float, grace_s: float, now: float) -> float | None:
        """Seconds until a node of the zone may be evicted; 0: now, and the next one later. None: not at this rate."""
        if self._is_stopped:
            self._is_stopped, self._quiet_until = False, now + grace_s
        if now < self._quiet_until:
            return self._quiet_until - now
        bucket = self._buckets.setdefault(zone, Bucket())
        wait_s = bucket.wait_s(rate, now)
        if wait_s == 0:
            bucket.take(now)
        return wait_s
