"""PodPlacement: where a pod would go and why. Computed when it is asked for (`pods/NAME/placement`), never stored."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from .meta import KubeObject, Model, ResourceDef


class PlacementCounts(Model):
    """How many nodes there are for the pod."""

    nodes: int = 0
    """All nodes."""
    fit: int = 0
    """Those that may run it."""
    hidden: int = 0
    """Those that the asker may not list: they are not named anywhere in the answer."""


class PlacementRefusal(Model):
    """A reason, and how many nodes gave it."""

    rule: str
    """The rule, as docs/scheduling.md lists them."""
    reason: str
    """In the scheduler's words."""
    nodes: int
    """How many nodes."""


class NodePlacement(Model):
    """What one node says about the pod."""

    name: str
    """The node."""
    fits: bool
    """Whether it may run the pod."""
    points: int | None = None
    """Of a node that may: hundredths of a point, each score by its weight. The node with the most is chosen."""
    scores: dict[str, int] = Field(default_factory=dict)
    """Of a node that may: 0 to 100 by the name of the score, as in `schedulingWeights`."""
    rule: str | None = None
    """Of a node that may not: the first rule that refuses."""
    reasons: list[str] = Field(default_factory=list)
    """Of a node that may not: why."""


class PlacementGroup(Model):
    """The PodGroup with which the pod is placed."""

    name: str
    """`namespace/name`."""
    min_member: int | None = None
    """How many make the group; absent when there is no such group."""
    members: int = 0
    """Those that are there and wait or have a node, this one included."""
    placed: int = 0
    """Those that have a node."""


class PlacementVictim(Model):
    """A pod that would have to go."""

    namespace: str
    """Its namespace."""
    name: str
    """Its name."""
    priority: int = 0
    """Its priority, which is lower than that of the pod."""


class PlacementPreemption(Model):
    """How room could be made for a pod that fits nowhere: the plan that hurts least."""

    node: str | None = None
    """Where; absent when it is a node that the asker may not list."""
    victims: list[PlacementVictim] = Field(default_factory=list)
    """Who would have to go, the most important first. None when those that are leaving already are enough."""
    hidden: int = 0
    """Others that would have to go, of which the asker may not know."""
    violations: int = 0
    """How many of all of them a PodDisruptionBudget protects."""


class PlacementKept(Model):
    """Room that is kept for another pod, for which others have made way: it counts as taken."""

    node: str
    """Where."""
    pod: str
    """`namespace/name` of the pod for which."""


class PodPlacementStatus(Model):
    """The answer."""

    node: str | None = None
    """Where the pod is. It is judged as if it were new all the same."""
    schedulable: bool
    """Whether any node may run it."""
    chosen: str | None = None
    """The node that the scheduler would choose now."""
    reason: str | None = None
    """Why there is none: Unschedulable, SchedulingGated, PodGroupNotFound, PackNotFound, PackNotReady or PackNotAllowed."""
    message: str
    """The answer in words; of a pod that fits nowhere, the scheduler's."""
    nominated: str | None = None
    """The node on which room is kept for the pod until others have left."""
    group: PlacementGroup | None = None
    """Its group, when it belongs to one."""
    preemption: PlacementPreemption | None = None
    """Who would have to make way for it; absent when it fits somewhere, or when nobody's going would help."""
    kept: list[PlacementKept] = Field(default_factory=list)
    """Room that is kept for others whose priority is not lower; 100 at most."""
    counts: PlacementCounts = Field(default_factory=PlacementCounts)
    """How many nodes."""
    refusals: list[PlacementRefusal] = Field(default_factory=list)
    """Why nodes may not, the most frequent reason first."""
    nodes: list[NodePlacement] = Field(default_factory=list)
    """Node by node, the best first; 100 at most."""


class PodPlacement(KubeObject):
    """Where a pod would go and why: read from the pod's `placement` subresource, never stored."""

    RESOURCE: ClassVar[ResourceDef] = ResourceDef(
        group="stark.dev", version="v1", kind="PodPlacement", plural="podplacements", namespaced=True
    )

    status: PodPlacementStatus
    """The answer."""
