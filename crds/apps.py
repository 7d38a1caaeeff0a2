"""Deployments, ReplicaSets, DaemonSets, StatefulSets and ControllerRevisions (apps/v1), and the Scale that some share."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from .conditions import Condition
from .fields import DEFAULT_EMPTY, PRESERVE_UNKNOWN, RETAIN_KEYS, Count, Int64, IntOrString, list_map, written
from .labels import SELECTOR_MARKS, LabelSelector
from .meta import KubeObject, Model, ResourceDef, Time
from .pods import PodTemplateSpec

PROGRESS_DEADLINE_SECONDS = 600
REVISION_HISTORY_LIMIT = 10
SCALE_PATHS = {
    "specReplicasPath": ".spec.replicas",
    "statusReplicasPath": ".status.replicas",
    "labelSelectorPath": ".spec.selector",
}
"""Where the scale subresource finds its numbers. The selector is a LabelSelector, given as a string in Scale's status."""


class RollingUpdateDeployment(Model):
    """How far a rollout may stray from the desired count."""

    max_unavailable: IntOrString = "25%"
    """Pods that may be missing: a number, or a percentage of the desired count rounded down."""
    max_surge: IntOrString = "25%"
    """Pods that may be too many: a number, or a percentage of the desired count rounded up."""


class DeploymentStrategy(Model):
    """How old pods give way to new ones."""

    type: Literal["RollingUpdate", "Recreate"] = "RollingUpdate"
    """RollingUpdate replaces them bit by bit, Recreate stops all of them first."""
    rolling_update: RollingUpdateDeployment | None = None
    """For RollingUpdate; default 25% missing and 25% too many."""


class DeploymentSpec(Model):
    """How many pods of which kind, and how to get from one kind to another."""

    replicas: Count = 1
    """Pods wanted. 0 means none."""
    selector: LabelSelector = Field(json_schema_extra=SELECTOR_MARKS)
    """Pods that belong to it; must match the template's labels; cannot be changed."""
    template: PodTemplateSpec
    """What its pods look like; a change begins a rollout."""
    strategy: DeploymentStrategy = Field(
        default_factory=DeploymentStrategy, json_schema_extra={**RETAIN_KEYS, **DEFAULT_EMPTY}
    )
    """How old pods give way to new ones."""
    min_ready_seconds: Count = 0
    """Seconds a pod must be ready before it counts as available."""
    revision_history_limit: Count = REVISION_HISTORY_LIMIT
    """Old ReplicaSets kept for rollback."""
    paused: bool | None = None
    """While true a change of the template begins no rollout."""
    progress_deadline_seconds: Count = PROGRESS_DEADLINE_SECONDS
    """Seconds without progress after which the rollout is reported as failed; must exceed minReadySeconds."""


class DeploymentCondition(Condition):
    """A conclusion about a deployment: Available, Progressing, ReplicaFailure, CrashLoop."""

    last_update_time: Time | None = None
    """When it was last judged."""


class DeploymentStatus(Model):
    """How far the rollout is."""

    observed_generation: Int64 | None = None
    """metadata.generation of the spec this status is about."""
    replicas: Count | None = None
    """Pods there are, old and new."""
    updated_replicas: Count | None = None
    """Pods of the current template."""
    ready_replicas: Count | None = None
    """Pods that are ready."""
    available_replicas: Count | None = None
    """Pods that have been ready for minReadySeconds."""
    unavailable_replicas: Count | None = None
    """Pods still missing for full availability."""
    terminating_replicas: Count | None = None
    """Pods that are on their way out."""
    conditions: list[DeploymentCondition] = Field(default_factory=list, json_schema_extra=list_map("type"))
    """Conclusions, one of each type."""
    collision_count: Count | None = None
    """How often a ReplicaSet's name was taken; part of the hash that names the next one."""


class Deployment(KubeObject):
    """Keeps a number of equal pods, and replaces them when their template changes."""

    RESOURCE: ClassVar[ResourceDef] = ResourceDef(
        group="apps",
        version="v1",
        kind="Deployment",
        plural="deployments",
        namespaced=True,
        short_names=("deploy",),
        categories=("all",),
        subresources=("status", "scale"),
        extra={"scale": SCALE_PATHS},
    )

    spec: DeploymentSpec
    """What is wanted."""
    status: DeploymentStatus = Field(default_factory=DeploymentStatus)
    """How far it is."""


class ReplicaSetSpec(Model):
    """How many pods of which kind."""

    replicas: Count = 1
    """Pods wanted."""
    selector: LabelSelector = Field(json_schema_extra=SELECTOR_MARKS)
    """Pods that belong to it; must match the template's labels; cannot be changed."""
    template: PodTemplateSpec | None = None
    """What its pods look like."""
    min_ready_seconds: Count = 0
    """Seconds a pod must be ready before it counts as available."""


class ReplicaSetStatus(Model):
    """How many pods there are."""

    replicas: Count = written(0)
    """Pods there are."""
    fully_labeled_replicas: Count | None = None
    """Pods that have all labels of the template."""
    ready_replicas: Count | None = None
    """Pods that are ready."""
    available_replicas: Count | None = None
    """Pods that have been ready for minReadySeconds."""
    terminating_replicas: Count | None = None
    """Pods that are on their way out."""
    observed_generation: Int64 | None = None
    """metadata.generation of the spec this status is about."""
    conditions: list[Condition] = Field(default_factory=list, json_schema_extra=list_map("type"))
    """Conclusions, one of each type."""


class ReplicaSet(KubeObject):
    """Keeps a number of equal pods."""

    RESOURCE: ClassVar[ResourceDef] = ResourceDef(
        group="apps",
        version="v1",
        kind="ReplicaSet",
        plural="replicasets",
        namespaced=True,
        short_names=("rs",),
        categories=("all",),
        subresources=("status", "scale"),
        selectable_fields=("status.replicas",),
        extra={"scale": SCALE_PATHS},
    )

    spec: ReplicaSetSpec
    """What is wanted."""
    status: ReplicaSetStatus = Field(default_factory=ReplicaSetStatus)
    """What there is."""


class RollingUpdateDaemonSet(Model):
    """How far a rollout may stray from a pod on every node."""

    max_unavailable: IntOrString = 1
    """Nodes that may be without an available pod: a number, or a percentage of the nodes rounded up."""


class DaemonSetUpdateStrategy(Model):
    """How old pods give way to new ones."""

    type: Literal["RollingUpdate", "OnDelete"] = "RollingUpdate"
    """RollingUpdate replaces them bit by bit, OnDelete replaces those that somebody deletes."""
    rolling_update: RollingUpdateDaemonSet | None = None
    """For RollingUpdate; default one node at a time."""


class DaemonSetSpec(Model):
    """Which pod runs on every node, and how to get from one kind to another."""

    selector: LabelSelector = Field(json_schema_extra=SELECTOR_MARKS)
    """Pods that belong to it; must match the template's labels; cannot be changed."""
    template: PodTemplateSpec
    """What its pods look like; its nodeSelector and tolerations say on which nodes."""
    update_strategy: DaemonSetUpdateStrategy = Field(
        default_factory=DaemonSetUpdateStrategy, json_schema_extra=DEFAULT_EMPTY
    )
    """How old pods give way to new ones."""
    min_ready_seconds: Count = 0
    """Seconds a pod must be ready before it counts as available."""
    revision_history_limit: Count = REVISION_HISTORY_LIMIT
    """Old templates kept for rollback, as ControllerRevisions."""


class DaemonSetStatus(Model):
    """On how many nodes it runs."""

    current_number_scheduled: Count = written(0)
    """Nodes that should have a pod and have one."""
    number_misscheduled: Count = written(0)
    """Nodes that should have none and have one."""
    desired_number_scheduled: Count = written(0)
    """Nodes that should have a pod."""
    number_ready: Count = written(0)
    """Of those, nodes whose pod is ready."""
    observed_generation: Int64 | None = None
    """metadata.generation of the spec this status is about."""
    updated_number_scheduled: Count | None = None
    """Nodes whose pod is of the current template."""
    number_available: Count | None = None
    """Nodes whose pod has been ready for minReadySeconds."""
    number_unavailable: Count | None = None
    """Nodes without such a pod."""


class DaemonSet(KubeObject):
    """Keeps one pod on every node that will have it."""

    RESOURCE: ClassVar[ResourceDef] = ResourceDef(
        group="apps",
        version="v1",
        kind="DaemonSet",
        plural="daemonsets",
        namespaced=True,
        short_names=("ds",),
        categories=("all",),
        subresources=("status",),
    )

    spec: DaemonSetSpec
    """What is wanted."""
    status: DaemonSetStatus = Field(default_factory=DaemonSetStatus)
    """How far it is."""


class RollingUpdateStatefulSet(Model):
    """How far a rollout goes, and how fast."""

    partition: Count = 0
    """Pods with an ordinal below it keep their template: 0 rolls out to all of them."""
    max_unavailable: IntOrString | None = None
    """Pods that may be unavailable during the rollout: a number, or a percentage of the pods rounded up. Default 1."""


class StatefulSetUpdateStrategy(Model):
    """How old pods give way to new ones."""

    type: Literal["RollingUpdate", "OnDelete"] = "RollingUpdate"
    """RollingUpdate replaces them from the highest ordinal down, OnDelete replaces those that somebody deletes."""
    rolling_update: RollingUpdateStatefulSet | None = None
    """For RollingUpdate; default all of them, one at a time."""


class StatefulSetOrdinals(Model):
    """How its pods are numbered."""

    start: Count = 0
    """The lowest ordinal."""


class StatefulSetSpec(Model):
    """How many pods of which kind, each with a name of its own that stays."""

    replicas: Count = 1
    """Pods wanted. 0 means none."""
    selector: LabelSelector = Field(json_schema_extra=SELECTOR_MARKS)
    """Pods that belong to it; must match the template's labels; cannot be changed."""
    template: PodTemplateSpec
    """What its pods look like; a change begins a rollout."""
    service_name: str | None = None
    """The Service that its pods' `subdomain` names; cannot be changed. There is no DNS: see spec.subdomain of pods."""
    pod_management_policy: Literal["OrderedReady", "Parallel"] = "OrderedReady"
    """OrderedReady makes and stops one pod after the other, each when the one before it is available; Parallel does not
    wait. Cannot be changed."""
    update_strategy: StatefulSetUpdateStrategy = Field(
        default_factory=StatefulSetUpdateStrategy, json_schema_extra=DEFAULT_EMPTY
    )
    """How old pods give way to new ones."""
    min_ready_seconds: Count = 0
    """Seconds a pod must be ready before it counts as available."""
    revision_history_limit: Count = REVISION_HISTORY_LIMIT
    """Old templates kept for rollback, as ControllerRevisions."""
    ordinals: StatefulSetOrdinals | None = None
    """How its pods are numbered; default from 0."""


class StatefulSetStatus(Model):
    """How many of its pods there are, and how far the rollout is."""

    observed_generation: Int64 | None = None
    """metadata.generation of the spec this status is about."""
    replicas: Count = written(0)
    """Pods there are."""
    ready_replicas: Count | None = None
    """Pods that are ready."""
    current_replicas: Count | None = None
    """Pods of `currentRevision`."""
    updated_replicas: Count | None = None
    """Pods of `updateRevision`."""
    current_revision: str | None = None
    """The ControllerRevision that pods are rolled out from."""
    update_revision: str | None = None
    """The ControllerRevision of the present template."""
    collision_count: Count | None = None
    """How often a ControllerRevision's name was taken; part of the hash that names the next one."""
    conditions: list[Condition] = Field(default_factory=list, json_schema_extra=list_map("type"))
    """Conclusions, one of each type."""
    available_replicas: Count = written(0)
    """Pods that have been ready for minReadySeconds."""


class StatefulSet(KubeObject):
    """Keeps a number of pods that are numbered: each has a name of its own, and at most one pod ever has it."""

    RESOURCE: ClassVar[ResourceDef] = ResourceDef(
        group="apps",
        version="v1",
        kind="StatefulSet",
        plural="statefulsets",
        namespaced=True,
        short_names=("sts",),
        categories=("all",),
        subresources=("status", "scale"),
        extra={"scale": SCALE_PATHS},
    )

    spec: StatefulSetSpec
    """What is wanted."""
    status: StatefulSetStatus = Field(default_factory=StatefulSetStatus)
    """How far it is."""


class ControllerRevision(KubeObject):
    """What a controller's object looked like at a time: the old templates of a DaemonSet or StatefulSet, to go back to."""

    RESOURCE: ClassVar[ResourceDef] = ResourceDef(
        group="apps", version="v1", kind="ControllerRevision", plural="controllerrevisions", namespaced=True
    )

    data: dict[str, Any] | None = Field(default=None, json_schema_extra=PRESERVE_UNKNOWN)
    """The state; of a DaemonSet or StatefulSet, the strategic merge patch that puts the template back. Cannot be changed."""
    revision: Int64 = Field(ge=0)
    """Higher is newer. Going back to a state gives it the highest number."""


class ScaleSpec(Model):
    """How many are wanted."""

    replicas: Count = 0
    """Pods wanted."""


class ScaleStatus(Model):
    """How many there are."""

    replicas: Count = written(0)
    """Pods there are."""
    selector: str | None = None
    """Which pods, as the query string of a list request."""


class Scale(KubeObject):
    """The count of another object by itself: its `scale` subresource, never stored."""

    RESOURCE: ClassVar[ResourceDef] = ResourceDef(
        group="autoscaling", version="v1", kind="Scale", plural="scales", namespaced=True
    )

    spec: ScaleSpec = Field(default_factory=ScaleSpec)
    """How many are wanted."""
    status: ScaleStatus = Field(default_factory=ScaleStatus)
    """How many there are."""
