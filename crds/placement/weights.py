"""How much each score counts, and the policies: named choices of weights.

A cluster chooses a policy and may change single weights of it (ClusterConfig `schedulingPolicy`, `schedulingWeights`).
The numbers of `spread` are those of kube-scheduler's default profile, as far as it has the score.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..cluster import ClusterConfigSpec, SchedulingPolicy


@dataclass(frozen=True, slots=True)
class Weights:
    """What 100 points of each score count for, 0 to 100. 0 leaves the score out."""

    least_allocated: int = 1
    most_allocated: int = 0
    balanced_allocation: int = 1
    best_fit: int = 0
    fewest_pods: int = 1
    pod_topology_spread: int = 2
    inter_pod_affinity: int = 2
    node_affinity: int = 2
    taint_toleration: int = 3
    pack_preference: int = 100
    """More than all others together, so that a pack which also runs in browsers goes to a server while there is one."""
    spreads_by_default: bool = True
    """Whether the pods of an owner are spread over nodes and zones although they do not ask for it."""

    @classmethod
    def of(cls, config: ClusterConfigSpec) -> Weights:
        """What the cluster's configuration says."""
        given = config.scheduling_weights.model_dump(exclude_none=True)
        return replace(POLICIES[config.scheduling_policy], **given)


_PACKED = Weights(least_allocated=0, balanced_allocation=0, fewest_pods=0, spreads_by_default=False)

POLICIES: Mapping[SchedulingPolicy, Weights] = {
    "spread": Weights(),
    "leastLoaded": Weights(balanced_allocation=0, fewest_pods=0),
    "balanced": Weights(balanced_allocation=4, fewest_pods=0),
    "binpack": replace(_PACKED, most_allocated=1),
    "bestFit": replace(_PACKED, best_fit=1),
}
