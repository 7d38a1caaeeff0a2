"""How patient we are with nodes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """Times in seconds, rates per second."""

    grace_period_s: float = 40.0
    """How long a node may be silent, where the cluster's settings (ClusterConfig) do not say it."""
    suspect_after_s: float = 25.0
    """How long it may be silent before it is suspect, where the cluster's settings do not say it: two missed beats."""
    startup_grace_s: float = 60.0
    """How long a new node may take until its agent first says that it is ready."""
    eviction_rate_per_s: float = 0.1
    """Nodes of one zone whose pods are moved away, per second: one in ten seconds leaves time to notice a mistake."""
    secondary_rate_per_s: float = 0.01
    """The same while most of a large zone is gone: then the fault is more likely ours or the network's."""
    large_zone: int = 50
    """Nodes from which a zone is large. In a smaller one nothing is evicted while most of it is gone."""
    unhealthy_share: float = 0.55
    """The share of unhealthy nodes from which most of a zone counts as gone."""
    unhealthy_min: int = 3
    """Fewer unhealthy nodes than that never make a zone count as mostly gone."""
    stopped_recheck_s: float = 10.0
    """How often a node that may not be evicted now is looked at again."""
