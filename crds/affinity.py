"""The part of a pod's spec that says where it wants to be.

The models hold what core/v1 Affinity says. What it means is in `placement/`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .fields import LIST_ATOMIC, MAP_ATOMIC, Int32
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


class Affinity(Model):
    """Which nodes a pod must, or would rather, have."""

    node_affinity: NodeAffinity | None = None
    """Nodes."""
