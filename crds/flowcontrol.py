"""Priority and fairness (flowcontrol.apiserver.k8s.io/v1, KEP-1040): which requests share which part of the server.

A FlowSchema says which requests it is about, to which priority level they belong and what tells their flows apart. A
PriorityLevelConfiguration says how large a part of the server its requests have, and what happens to those that find
no seat.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from .conditions import Condition
from .fields import LIST_ATOMIC, LIST_SET, Int32, list_map, written
from .meta import KubeObject, Model, ResourceDef

GROUP = "flowcontrol.apiserver.k8s.io"

SHARES = 30
QUEUES = 64
HAND_SIZE = 8
QUEUE_LENGTH_LIMIT = 50
MATCHING_PRECEDENCE = 1_000
MATCHING_PRECEDENCE_MAX = 10_000
DANGLING = "Dangling"
"""Condition of a FlowSchema: its priority level does not exist, so it is not used."""


class QueuingConfiguration(Model):
    """Where requests wait. A flow is dealt a hand of queues and waits in the one with the least work."""

    queues: Int32 = QUEUES
    """Number of queues."""
    hand_size: Int32 = HAND_SIZE
    """Queues that one flow may use. The larger, the rarer a small flow finds all of its queues full of a large one's."""
    queue_length_limit: Int32 = QUEUE_LENGTH_LIMIT
    """Requests that may wait in one queue; one more is refused."""


class LimitResponse(Model):
    """What happens to a request that finds no seat."""

    type: Literal["Queue", "Reject"]
    """Whether it waits, or is refused at once."""
    queuing: QueuingConfiguration | None = None
    """Where it waits; only for Queue."""


class LimitedPriorityLevelConfiguration(Model):
    """How many seats the level has, and what happens when they are taken."""

    nominal_concurrency_shares: Int32 = SHARES
    """Its part of the server's seats, in proportion to the shares of all levels."""
    limit_response: LimitResponse
    """What happens to a request that finds no seat."""
    lendable_percent: Int32 = written(0)
    """Percentage of its seats that others may borrow while it does not need them."""
    borrowing_limit_percent: Int32 | None = None
    """How much it may borrow, as a percentage of its own seats; any number when absent."""


class ExemptPriorityLevelConfiguration(Model):
    """A level that is never limited may still own seats, which it lends."""

    nominal_concurrency_shares: Int32 = written(0)
    """Its part of the server's seats."""
    lendable_percent: Int32 = written(0)
    """Percentage of them that others may borrow."""


class PriorityLevelConfigurationSpec(Model):
    """What the level's requests have and may."""

    type: Literal["Exempt", "Limited"]
    """Exempt is never limited; only the level `exempt` is."""
    limited: LimitedPriorityLevelConfiguration | None = None
    """For Limited: how many seats, and what when they are taken."""
    exempt: ExemptPriorityLevelConfiguration | None = None
    """For Exempt: what it lends."""


class PriorityLevelConfigurationStatus(Model):
    """What was concluded about the level."""

    conditions: list[Condition] = Field(default_factory=list, json_schema_extra=list_map("type"))
    """Nothing at present."""


class PriorityLevelConfiguration(KubeObject):
    """A part of the server for some of the requests."""

    RESOURCE: ClassVar[ResourceDef] = ResourceDef(
        group=GROUP,
        version="v1",
        kind="PriorityLevelConfiguration",
        plural="prioritylevelconfigurations",
        namespaced=False,
        subresources=("status",),
    )

    spec: PriorityLevelConfigurationSpec
    """What its requests have and may."""
    status: PriorityLevelConfigurationStatus = Field(default_factory=PriorityLevelConfigurationStatus)
    """What was concluded about it."""


class PriorityLevelConfigurationReference(Model):
    """Names a level."""

    name: str
    """Name of the PriorityLevelConfiguration."""


class FlowDistinguisherMethod(Model):
    """What tells the flows of a schema apart."""

    type: Literal["ByUser", "ByNamespace"]
    """The name of the user who asks, or the namespace that is asked about."""


class UserSubject(Model):
    """A user."""

    name: str
    """Name of the user, or `*`."""


class GroupSubject(Model):
    """The members of a group."""

    name: str
    """Name of the group, or `*`."""


class ServiceAccountSubject(Model):
    """A service account."""

    namespace: str
    """Its namespace."""
    name: str
    """Its name, or `*` for all of the namespace."""


class Subject(Model):
    """Whose requests; the field that `kind` names says who it is."""

    kind: Literal["User", "Group", "ServiceAccount"]
    """What it is."""
    user: UserSubject | None = None
    """For User."""
    group: GroupSubject | None = None
    """For Group."""
    service_account: ServiceAccountSubject | None = None
    """For ServiceAccount."""


class ResourcePolicyRule(Model):
    """Requests for resources. All of its parts must match."""

    verbs: list[str] = Field(json_schema_extra=LIST_SET)
    """Verbs, or `*`."""
    api_groups: list[str] = Field(json_schema_extra=LIST_SET)
    """API groups, or `*`."""
    resources: list[str] = Field(json_schema_extra=LIST_SET)
    """Resources and subresources (`pods`, `pods/status`), or `*`."""
    cluster_scope: bool | None = None
    """Whether requests without a namespace match."""
    namespaces: list[str] = Field(default_factory=list, json_schema_extra=LIST_SET)
    """Namespaces in which requests match, or `*`."""


class NonResourcePolicyRule(Model):
    """Requests for paths that are no resource's."""

    verbs: list[str] = Field(json_schema_extra=LIST_SET)
    """HTTP methods in lower case, or `*`."""
    non_resource_urls: list[str] = Field(alias="nonResourceURLs", json_schema_extra=LIST_SET)
    """Paths, prefixes that end in `/*`, or `*`."""


class PolicyRulesWithSubjects(Model):
    """Requests of any of these subjects that match any of these rules."""

    subjects: list[Subject] = Field(json_schema_extra=LIST_ATOMIC)
    """Whose requests."""
    resource_rules: list[ResourcePolicyRule] = Field(default_factory=list, json_schema_extra=LIST_ATOMIC)
    """Which requests for resources."""
    non_resource_rules: list[NonResourcePolicyRule] = Field(default_factory=list, json_schema_extra=LIST_ATOMIC)
    """Which requests for other paths."""


class FlowSchemaSpec(Model):
    """Which requests, and where they belong."""

    priority_level_configuration: PriorityLevelConfigurationReference
    """The level they belong to."""
    matching_precedence: Int32 = MATCHING_PRECEDENCE
    """Of the schemas that match a request the one with the lowest number is used, by name among equals."""
    distinguisher_method: FlowDistinguisherMethod | None = None
    """What tells their flows apart; without it they are one."""
    rules: list[PolicyRulesWithSubjects] = Field(default_factory=list, json_schema_extra=LIST_ATOMIC)
    """Which requests."""


class FlowSchemaStatus(Model):
    """What was concluded about the schema."""

    conditions: list[Condition] = Field(default_factory=list, json_schema_extra=list_map("type"))
    """Dangling: whether its level does not exist."""


class FlowSchema(KubeObject):
    """Requests that belong together."""

    RESOURCE: ClassVar[ResourceDef] = ResourceDef(
        group=GROUP,
        version="v1",
        kind="FlowSchema",
        plural="flowschemas",
        namespaced=False,
        subresources=("status",),
    )

    spec: FlowSchemaSpec
    """Which requests, and where they belong."""
    status: FlowSchemaStatus = Field(default_factory=FlowSchemaStatus)
    """What was concluded about it."""
