"""Webhooks of admission (admissionregistration.k8s.io/v1): programs that are asked about every write that a rule names."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from .callbacks import WebhookClientConfig
from .fields import DEFAULT_EMPTY, LIST_ATOMIC, Int32, list_map
from .labels import LabelSelector
from .meta import KubeObject, Model, ResourceDef

MATCH_CONDITIONS_MAX = 64
"""Conditions of one webhook, as in Kubernetes."""
TIMEOUT_DEFAULT_S = 10
TIMEOUT_MAX_S = 30

Operation = Literal["*", "CREATE", "UPDATE", "DELETE", "CONNECT"]
RuleScope = Literal["*", "Cluster", "Namespaced"]
FailurePolicy = Literal["Fail", "Ignore"]
MatchPolicy = Literal["Equivalent", "Exact"]


class RuleWithOperations(Model):
    """Which writes a webhook is asked about."""

    operations: list[Operation] = Field(default_factory=list, json_schema_extra=LIST_ATOMIC)
    """CREATE, UPDATE, DELETE, CONNECT, or `*` alone."""
    api_groups: list[str] = Field(default_factory=list, json_schema_extra=LIST_ATOMIC)
    """API groups, the core group as an empty string; or `*` alone."""
    api_versions: list[str] = Field(default_factory=list, json_schema_extra=LIST_ATOMIC)
    """API versions, or `*` alone."""
    resources: list[str] = Field(default_factory=list, json_schema_extra=LIST_ATOMIC)
    """`pods`, `pods/status`, `pods/*` (pods and their subresources), `*/scale`, `*` (no subresources), `*/*` (all)."""
    scope: RuleScope = "*"
    """Cluster for objects without a namespace, and namespaces themselves; Namespaced for all others."""


class MatchCondition(Model):
    """A CEL expression that must hold for a request to concern the webhook."""

    name: str
    """What messages call it; a qualified name."""
    expression: str
    """CEL over `object`, `oldObject` and `request`; its value is a boolean."""


class Webhook(Model):
    """What both kinds of webhook have."""

    name: str
    """A name of at least three parts, such as `policy.example.com`; unique in the configuration."""
    client_config: WebhookClientConfig
    """How it is reached."""
    rules: list[RuleWithOperations] = Field(default_factory=list, json_schema_extra=LIST_ATOMIC)
    """Which writes it is asked about: those that any rule names. Never writes of these configurations themselves."""
    failure_policy: FailurePolicy = "Fail"
    """What a webhook that cannot be asked means: Fail refuses the write, Ignore lets it pass."""
    match_policy: MatchPolicy = "Equivalent"
    """Equivalent also matches a write in another version of a named kind, and converts; Exact does not."""
    namespace_selector: LabelSelector = Field(default_factory=LabelSelector, json_schema_extra=DEFAULT_EMPTY)
    """Labels of the object's namespace, or of a namespace itself; objects without namespace always match."""
    object_selector: LabelSelector = Field(default_factory=LabelSelector, json_schema_extra=DEFAULT_EMPTY)
    """Labels of the object before or after the write. Who writes the object writes these too: no means of enforcement."""
    side_effects: Literal["None", "NoneOnDryRun"]
    """Whether being asked changes anything: None never, NoneOnDryRun not when `dryRun` is set."""
    timeout_seconds: Int32 = TIMEOUT_DEFAULT_S
    """Seconds for one question, from 1 to 30."""
    admission_review_versions: list[str] = Field(json_schema_extra=LIST_ATOMIC)
    """Versions of AdmissionReview it reads; v1 must be among them."""
    match_conditions: list[MatchCondition] = Field(
        default_factory=list, max_length=MATCH_CONDITIONS_MAX, json_schema_extra=list_map("name")
    )
    """Conditions that must all hold after rules and selectors have matched."""


class MutatingWebhook(Webhook):
    """A webhook that may change what is written."""

    reinvocation_policy: Literal["Never", "IfNeeded"] = "Never"
    """IfNeeded asks it once more when something after it has changed the object."""


class ValidatingWebhook(Webhook):
    """A webhook that may refuse what is written."""


class MutatingWebhookConfiguration(KubeObject):
    """Webhooks that are asked one after the other, and may change what is written or refuse it."""

    RESOURCE: ClassVar[ResourceDef] = ResourceDef(
        group="admissionregistration.k8s.io",
        version="v1",
        kind="MutatingWebhookConfiguration",
        plural="mutatingwebhookconfigurations",
        namespaced=False,
        categories=("api-extensions",),
    )

    webhooks: list[MutatingWebhook] = Field(default_factory=list, json_schema_extra=list_map("name"))
    """The webhooks, in the order in which they are asked; configurations are taken in the order of their names."""


class ValidatingWebhookConfiguration(KubeObject):
    """Webhooks that are asked all at once, after every change, and may refuse what is written."""

    RESOURCE: ClassVar[ResourceDef] = ResourceDef(
        group="admissionregistration.k8s.io",
        version="v1",
        kind="ValidatingWebhookConfiguration",
        plural="validatingwebhookconfigurations",
        namespaced=False,
        categories=("api-extensions",),
    )

    webhooks: list[ValidatingWebhook] = Field(default_factory=list, json_schema_extra=list_map("name"))
    """The webhooks."""
