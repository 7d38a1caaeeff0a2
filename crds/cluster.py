"""Settings of the whole cluster (stark.dev/v1 ClusterConfig): one object, which administrators change while it runs."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from .fields import DEFAULT_EMPTY, WRITTEN, Int32, Quantity, written
from .meta import Column, KubeObject, Model, ResourceDef
from .pods import TERMINATION_GRACE_PERIOD_SECONDS

CLUSTER_CONFIG_NAME = "cluster"
"""The name of the only object there may be."""
RESTART_PERIOD_MAX_S = 300
"""The longest wait before a restart that may be asked for: Kubernetes' default and limit."""
RESOURCES_MAX = 16
"""Kinds of resources that have a default."""


def limit(default: int) -> Any:
    """A number of things of which there must be room for one."""
    return Field(default=default, ge=1, json_schema_extra={WRITTEN: True})


SchedulingPolicy = Literal["spread", "leastLoaded", "balanced", "binpack", "bestFit"]
IsolationClass = Literal["process", "strict"]
SchedulingWeight = Annotated[int, Field(ge=0, le=100, json_schema_extra={"format": "int32"})]


class DefaultResources(Model):
    """What a container gets that says nothing of a resource; a namespace's LimitRange overrules it."""

    requests: dict[str, Quantity] = Field(default_factory=dict, max_length=RESOURCES_MAX)
    """What it is given room for, e.g. `cpu: 100m` and `memory: 128Mi`."""
    limits: dict[str, Quantity] = Field(default_factory=dict, max_length=RESOURCES_MAX)
    """What it may use at most, e.g. `cpu: 500m` and `memory: 512Mi`; not below the request."""


class SchedulingWeights(Model):
    """What 100 points of a score count for, 0 to 100; 0 leaves the score out. What is not given is the policy's."""

    least_allocated: SchedulingWeight | None = None
    """Room left for cpu and memory."""
    most_allocated: SchedulingWeight | None = None
    """Cpu and memory already given out."""
    balanced_allocation: SchedulingWeight | None = None
    """Cpu and memory given out to equal parts."""
    best_fit: SchedulingWeight | None = None
    """The smallest sum of what is left of cpu and memory, as fractions; among equals the fewest free cpus."""
    fewest_pods: SchedulingWeight | None = None
    """100 points less 10 for every pod on the node."""
    pod_topology_spread: SchedulingWeight | None = None
    """Spread constraints that are no condition, and the spreading of an owner's pods."""
    inter_pod_affinity: SchedulingWeight | None = None
    """Preferred pod affinity and anti-affinity, the pod's own and that of pods already placed."""
    node_affinity: SchedulingWeight | None = None
    """Preferred node affinity."""
    taint_toleration: SchedulingWeight | None = None
    """Few PreferNoSchedule taints that the pod does not tolerate."""
    pack_preference: SchedulingWeight | None = None
    """Servers before browsers, for packs that run on both."""


class ClusterConfigSpec(Model):
    """What holds for all."""

    enable_public_registration: bool = written(False)
    """Whether anybody may make themselves a user, by `/auth/register`."""
    max_pods: Int32 = limit(150_000)
    """Pods in the cluster, finished ones included; one more is refused. Kubernetes' bound for what it is tested with."""
    max_nodes: Int32 = limit(5_000)
    """Nodes in the cluster; one more is refused. Kubernetes' bound for what it is tested with."""
    max_pods_per_node: Int32 = limit(110)
    """Pods the scheduler puts on one node, if the node itself does not say less."""
    scheduling_policy: SchedulingPolicy = written("spread")
    """How a node is chosen of those that may run a pod. `spread`: with room left, few pods, and an owner's pods apart;
    `leastLoaded`: with most room left; `balanced`: with cpu and memory used alike; `binpack`: the fullest that has room;
    `bestFit`: the one with the least left over."""
    scheduling_weights: SchedulingWeights = Field(default_factory=SchedulingWeights, json_schema_extra=DEFAULT_EMPTY)
    """Single weights in place of the policy's."""
    enable_preemption: bool = written(True)
    """Whether pods of a lower priority are stopped for one that fits nowhere; see docs/scheduling.md."""
    default_termination_grace_period_seconds: Int32 = Field(
        default=TERMINATION_GRACE_PERIOD_SECONDS, ge=0, json_schema_extra={WRITTEN: True}
    )
    """What a pod that says nothing gets to stop; pods and templates that are there keep theirs."""
    default_isolation: IsolationClass | None = None
    """The class of isolation that new pods must have that ask for none: `process` or `strict`. Default: `process` on nodes
    that can give it, and on others what they have; see docs/isolation.md."""
    default_resources: DefaultResources = Field(default_factory=DefaultResources, json_schema_extra=DEFAULT_EMPTY)
    """What containers that say nothing ask for. Nothing by default, as in Kubernetes."""
    node_heartbeat_interval_seconds: Int32 = limit(10)
    """How often an agent says that it is alive. Agents look at it once a minute."""
    node_heartbeat_timeout_seconds: Int32 = limit(30)
    """How long a node may be silent before it counts as lost; longer than the interval."""
    node_suspect_seconds: Int32 | None = Field(default=None, ge=1)
    """How long a node may be silent before it is suspect; between the interval and the time-out. Default: two thirds of
    the time-out."""
    default_toleration_seconds: Int32 = Field(default=120, ge=0, json_schema_extra={WRITTEN: True})
    """How long a pod that says nothing of it stays on a node that is not ready or unreachable, from when that is known."""
    initial_container_restart_period_seconds: Int32 = Field(
        default=10, ge=1, le=RESTART_PERIOD_MAX_S, json_schema_extra={WRITTEN: True}
    )
    """How long an agent waits before the second restart of a container that keeps ending; each further wait is twice as
    long. The first restart is immediate. Agents look at it once a minute, and a node may have its own."""
    max_container_restart_period_seconds: Int32 = Field(
        default=RESTART_PERIOD_MAX_S, ge=1, le=RESTART_PERIOD_MAX_S, json_schema_extra={WRITTEN: True}
    )
    """How long an agent waits at most (KEP-4603); when it is less than the initial wait, that is as short. Ten minutes of
    running begin anew."""
    autoscaler_period_seconds: Int32 = limit(15)
    """How often each HorizontalPodAutoscaler looks at what its pods use."""
    autoscaler_scale_down_window_seconds: Int32 = limit(300)
    """How long the highest recommendation is followed before an autoscaler gives up pods, where its `behavior` says no
    other time."""


class ClusterConfig(KubeObject):
    """The settings of the cluster; there is one such object, named `cluster`."""

    RESOURCE: ClassVar[ResourceDef] = ResourceDef(
        group="stark.dev",
        version="v1",
        kind="ClusterConfig",
        plural="clusterconfigs",
        namespaced=False,
        categories=("stark",),
        columns=(
            Column("Registration", "boolean", ".spec.enablePublicRegistration", "Whether anybody may register."),
            Column("Age", "date", ".metadata.creationTimestamp", "Time since it was made."),
        ),
    )

    spec: ClusterConfigSpec = Field(default_factory=ClusterConfigSpec, json_schema_extra=DEFAULT_EMPTY)
    """What holds for all."""
