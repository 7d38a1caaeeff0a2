"""Policies of admission (admissionregistration.k8s.io/v1): rules about writes that the server judges itself, in CEL."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from .conditions import Condition
from .fields import DEFAULT_EMPTY, LIST_ATOMIC, LIST_SET, MAP_ATOMIC, Int64, list_map
from .labels import LabelSelector
from .meta import KubeObject, Model, ResourceDef
from .webhooks import MATCH_CONDITIONS_MAX, FailurePolicy, MatchCondition, MatchPolicy, RuleWithOperations

GROUP = "admissionregistration.k8s.io"
ValidationAction = Literal["Deny", "Warn", "Audit"]
NotFoundAction = Literal["Allow", "Deny"]


class NamedRuleWithOperations(RuleWithOperations):
    """Which writes, and of which objects."""

    resource_names: list[str] = Field(default_factory=list, json_schema_extra=LIST_ATOMIC)
    """Names of the objects; empty means all."""


class MatchResources(Model):
    """Which writes a policy or a binding is about."""

    namespace_selector: LabelSelector = Field(default_factory=LabelSelector, json_schema_extra=DEFAULT_EMPTY)
    """Labels of the object's namespace, or of a namespace itself; objects without namespace always match."""
    object_selector: LabelSelector = Field(default_factory=LabelSelector, json_schema_extra=DEFAULT_EMPTY)
    """Labels of the object before or after the write."""
    resource_rules: list[NamedRuleWithOperations] = Field(default_factory=list, json_schema_extra=LIST_ATOMIC)
    """Writes that match: those that any rule names. Required in a policy; none in a binding means all of the policy's."""
    exclude_resource_rules: list[NamedRuleWithOperations] = Field(default_factory=list, json_schema_extra=LIST_ATOMIC)
    """Writes that do not match, whatever the other rules say."""
    match_policy: MatchPolicy = "Equivalent"
    """Equivalent also matches a write in another version of a named kind, and converts; Exact does not."""


class ParamKind(Model):
    """The kind of the objects that a policy's parameters are."""

    api_version: str
    """Group and version, such as `rules.example.com/v1`."""
    kind: str
    """The kind."""


class Validation(Model):
    """One thing that must hold."""

    expression: str
    """CEL over `object`, `oldObject`, `request`, `params`, `namespaceObject` and `variables`; true lets the write pass."""
    message: str | None = None
    """What the client is told otherwise; required when the expression has line breaks."""
    reason: Literal["Unauthorized", "Forbidden", "Invalid", "RequestEntityTooLarge"] | None = None
    """The reason of the refusal, which decides its HTTP code; Invalid when it is not given."""
    message_expression: str | None = None
    """CEL whose value is the message; `message` is used when it has none."""


class AuditAnnotation(Model):
    """A note for the audit log."""

    key: str
    """The key in the log is `<policy>/<key>`."""
    value_expression: str
    """CEL whose value is the note: a string, or null for none."""


class Variable(Model):
    """An expression with a name, evaluated when it is first needed."""

    name: str
    """A CEL identifier; other expressions read `variables.<name>`."""
    expression: str
    """CEL; it may read the variables before it."""


class ValidatingAdmissionPolicySpec(Model):
    """What must hold of which writes."""

    param_kind: ParamKind | None = None
    """The kind of the parameters; none means that the policy has no parameters."""
    match_constraints: MatchResources | None = None
    """Which writes the policy is about; required."""
    validations: list[Validation] = Field(default_factory=list, json_schema_extra=LIST_ATOMIC)
    """What must hold. Validations or auditAnnotations are required."""
    failure_policy: FailurePolicy = "Fail"
    """What an expression without a value or a broken configuration means: Fail refuses the write, Ignore lets it pass."""
    audit_annotations: list[AuditAnnotation] = Field(default_factory=list, json_schema_extra=LIST_ATOMIC)
    """Notes for the audit log."""
    match_conditions: list[MatchCondition] = Field(
        default_factory=list, max_length=MATCH_CONDITIONS_MAX, json_schema_extra=list_map("name")
    )
    """Conditions that must all hold for the policy to be about a write."""
    variables: list[Variable] = Field(default_factory=list, json_schema_extra=list_map("name"))
    """Expressions that other expressions of the policy use."""


class ExpressionWarning(Model):
    """What is doubtful about an expression."""

    field_ref: str
    """The path of the expression, such as `spec.validations[0].expression`."""
    warning: str
    """For each kind the policy is about, what its type does not have."""


class TypeChecking(Model):
    """What came of comparing the expressions with the types of the kinds that the policy names."""

    expression_warnings: list[ExpressionWarning] = Field(default_factory=list, json_schema_extra=LIST_ATOMIC)
    """An entry for every expression with a doubt."""


class ValidatingAdmissionPolicyStatus(Model):
    """What the server found out about the policy."""

    observed_generation: Int64 | None = None
    """metadata.generation of the spec this status is about."""
    type_checking: TypeChecking | None = None
    """Set once the expressions have been compared with the types; warnings do not keep the policy from working."""
    conditions: list[Condition] = Field(default_factory=list, json_schema_extra=list_map("type"))
    """For whoever writes conditions about policies."""


class ValidatingAdmissionPolicy(KubeObject):
    """Rules about writes. It does nothing until a ValidatingAdmissionPolicyBinding names it."""

    RESOURCE: ClassVar[ResourceDef] = ResourceDef(
        group=GROUP,
        version="v1",
        kind="ValidatingAdmissionPolicy",
        plural="validatingadmissionpolicies",
        namespaced=False,
        subresources=("status",),
        categories=("api-extensions",),
    )

    spec: ValidatingAdmissionPolicySpec
    """What must hold of which writes."""
    status: ValidatingAdmissionPolicyStatus = Field(default_factory=ValidatingAdmissionPolicyStatus)
    """What the server found out about it."""


class ParamRef(Model):
    """Which objects are the parameters. The policy is evaluated once for each; all must let the write pass."""

    name: str | None = None
    """The one object; not together with `selector`."""
    namespace: str | None = None
    """Where it is; empty means the namespace of the write, for a kind that has namespaces."""
    selector: LabelSelector | None = Field(default=None, json_schema_extra=MAP_ATOMIC)
    """Labels of the objects; an empty selector means all."""
    parameter_not_found_action: NotFoundAction | None = None
    """What it means that there is none: Allow skips the binding, Deny is a failure for the policy's failurePolicy."""


class ValidatingAdmissionPolicyBindingSpec(Model):
    """Which policy holds where, with which parameters, and what a violation leads to."""

    policy_name: str
    """The policy; while there is none of that name the binding does nothing."""
    param_ref: ParamRef | None = None
    """The parameters; without it `params` is null."""
    match_resources: MatchResources | None = None
    """Narrows the writes that the policy is about."""
    validation_actions: list[ValidationAction] = Field(default_factory=list, json_schema_extra=LIST_SET)
    """Deny refuses the write, Warn sends a warning, Audit notes it in the audit log. Deny and Warn exclude each other."""


class ValidatingAdmissionPolicyBinding(KubeObject):
    """Puts a policy into force."""

    RESOURCE: ClassVar[ResourceDef] = ResourceDef(
        group=GROUP,
        version="v1",
        kind="ValidatingAdmissionPolicyBinding",
        plural="validatingadmissionpolicybindings",
        namespaced=False,
        categories=("api-extensions",),
    )

    spec: ValidatingAdmissionPolicyBindingSpec
    """Which policy holds where, with which parameters."""
