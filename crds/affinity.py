"""The part of a pod's spec that says near what it wants to be, and from what apart.

The models hold what core/v1 Affinity and TopologySpreadConstraint say. What it means is in `placement/`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .fields import LIST_ATOMIC, MAP_ATOMIC, Int32
from .labels import SELECTOR_MARKS, LabelSelector
from .meta import Model

NodeSelectorOperator = Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]


class NodeSelectorRequirement(Model):
    """One expression over one label or field of a node."""

    key: str
    """The label's key, or `metadata.name` among the fields."""
    operator: NodeSelectorOperator
    """How the value relates to `values`."""
    values: list[str] = Field(default_factory=list, json_schema_extra=LIST_ATOMIC)
    """At least one for In and NotIn, none for Exists and DoesNotExist, one whole number for Gt and Lt."""


class NodeSelectorTerm(Model):
    """Expressions that must all hold. A term without any matches no node."""

    match_expressions: list[NodeSelectorRequirement] = Field(default_factory=list, json_schema_extra=LIST_ATOMIC)
    """Over the node's labels."""
    match_fields: list[NodeSelectorRequirement] = Field(default_factory=list, json_schema_extra=LIST_ATOMIC)
    """Over the node's fields: only `metadata.name`, with In or NotIn and one value."""


class NodeSelector(Model):
    """Terms of which one must match."""

    node_selector_terms: list[NodeSelectorTerm] = Field(json_schema_extra=LIST_ATOMIC)
    """At least one."""


class PreferredSchedulingTerm(Model):
    """A term that makes a node better when it matches."""

    weight: Int32
    """How much better, 1 to 100; the weights of a node's matching terms are added."""
    preference: NodeSelectorTerm
    """The term."""


class NodeAffinity(Model):
    """On which nodes the pod may run, and where it would rather."""

    required_during_scheduling_ignored_during_execution: NodeSelector | None = Field(
        default=None, json_schema_extra=MAP_ATOMIC
    )
    """What a node must fulfil to be given the pod. A pod that is there stays when its node changes."""
    preferred_during_scheduling_ignored_during_execution: list[PreferredSchedulingTerm] = Field(
        default_factory=list, json_schema_extra=LIST_ATOMIC
    )
    """What makes one node better than another."""


class PodAffinityTerm(Model):
    """Which pods are meant, and what counts as the same place."""

    label_selector: LabelSelector | None = Field(default=None, json_schema_extra=SELECTOR_MARKS)
    """Labels of the pods that are meant. Absent: none are; empty: all."""
    namespaces: list[str] = Field(default_factory=list, json_schema_extra=LIST_ATOMIC)
    """Namespaces of the pods that are meant; with no namespaceSelector either, the pod's own."""
    topology_key: str
    """Label of nodes: those with the same value are one place. A node without it is no place at all."""
    namespace_selector: LabelSelector | None = Field(default=None, json_schema_extra=SELECTOR_MARKS)
    """Labels of further namespaces; empty: all of them."""
    match_label_keys: list[str] = Field(default_factory=list, json_schema_extra=LIST_ATOMIC)
    """Only pods that have this pod's values of these labels: the server adds them to the selector when a pod is made."""
    mismatch_label_keys: list[str] = Field(default_factory=list, json_schema_extra=LIST_ATOMIC)
    """Only pods that have other values of these labels: added to the selector likewise."""


class WeightedPodAffinityTerm(Model):
    """A term that counts for or against a node for every pod it finds there."""

    weight: Int32
    """How much each pod counts, 1 to 100."""
    pod_affinity_term: PodAffinityTerm
    """The term."""


class PodAffinity(Model):
    """Near which pods this one may run, and where it would rather."""

    required_during_scheduling_ignored_during_execution: list[PodAffinityTerm] = Field(
        default_factory=list, json_schema_extra=LIST_ATOMIC
    )
    """In the node's place there must be a pod that fulfils every term. The first of a group that belongs together may go
    anywhere."""
    preferred_during_scheduling_ignored_during_execution: list[WeightedPodAffinityTerm] = Field(
        default_factory=list, json_schema_extra=LIST_ATOMIC
    )
    """What makes one node better than another."""


class PodAntiAffinity(Model):
    """Far from which pods this one must run, and where it would rather not."""

    required_during_scheduling_ignored_during_execution: list[PodAffinityTerm] = Field(
        default_factory=list, json_schema_extra=LIST_ATOMIC
    )
    """In the node's place there must be no pod that a term finds. It also keeps later pods away that it finds."""
    preferred_during_scheduling_ignored_during_execution: list[WeightedPodAffinityTerm] = Field(
        default_factory=list, json_schema_extra=LIST_ATOMIC
    )
    """What makes one node worse than another."""


class Affinity(Model):
    """Which nodes and which neighbours a pod must, or would rather, have."""

    node_affinity: NodeAffinity | None = None
    """Nodes."""
    pod_affinity: PodAffinity | None = None
    """Pods to be near to."""
    pod_anti_affinity: PodAntiAffinity | None = None
    """Pods to be apart from."""


class TopologySpreadConstraint(Model):
    """How evenly the pods of a group lie over places."""

    max_skew: Int32
    """How many more of the pods a place may have than the place with the fewest."""
    topology_key: str
    """Label of nodes: those with the same value are one place."""
    when_unsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"]
    """Whether a node that would break the bound is forbidden, or only worse."""
    label_selector: LabelSelector | None = Field(default=None, json_schema_extra=SELECTOR_MARKS)
    """The pods that are counted, in the pod's own namespace. Absent: none."""
    min_domains: Int32 | None = None
    """With fewer places than this the fewest counts as none; for DoNotSchedule only. Default 1."""
    node_affinity_policy: Literal["Honor", "Ignore"] | None = None
    """Whether nodes that the pod's nodeSelector or nodeAffinity forbids are left out of the count. Default: Honor."""
    node_taints_policy: Literal["Honor", "Ignore"] | None = None
    """Whether nodes with taints that the pod does not tolerate are left out of the count. Default: Ignore."""
    match_label_keys: list[str] = Field(default_factory=list, json_schema_extra=LIST_ATOMIC)
    """Only pods that have this pod's values of these labels: the server adds them to the selector when a pod is made."""
