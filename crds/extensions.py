"""CustomResourceDefinitions (apiextensions.k8s.io/v1): kinds that users add while the server runs."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from .callbacks import WebhookClientConfig
from .conditions import Condition
from .fields import (
    DEFAULT_EMPTY,
    DNS_LABEL_PATTERN,
    LIST_ATOMIC,
    PRESERVE_UNKNOWN,
    Int32,
    Int64,
    list_map,
)
from .meta import KubeObject, Model, ResourceDef

VERSIONS_MAX = 64
SELECTABLE_FIELDS_MAX = 8


class CustomResourceDefinitionNames(Model):
    """What the kind is called."""

    plural: str = Field(min_length=1, max_length=63, pattern=DNS_LABEL_PATTERN)
    """Name in URLs; metadata.name is `<plural>.<group>`."""
    singular: str | None = Field(default=None, max_length=63)
    """Name of one object on the command line; default the kind in lower case."""
    short_names: list[str] = Field(default_factory=list, json_schema_extra=LIST_ATOMIC)
    """Abbreviations on the command line."""
    kind: str = Field(min_length=1, max_length=63)
    """Name in objects, CamelCase."""
    list_kind: str | None = Field(default=None, max_length=63)
    """Name of a list of them; default the kind followed by `List`."""
    categories: list[str] = Field(default_factory=list, json_schema_extra=LIST_ATOMIC)
    """Groups of kinds that are listed together, e.g. `all`."""


class CustomResourceValidation(Model):
    """What objects of one version look like."""

    open_api_v3_schema: dict[str, Any] | None = Field(default=None, json_schema_extra=PRESERVE_UNKNOWN)
    """A structural OpenAPI v3 schema."""


class CustomResourceSubresourceScale(Model):
    """Where the scale subresource finds its numbers."""

    spec_replicas_path: str
    """JSON path below .spec of the wanted count."""
    status_replicas_path: str
    """JSON path below .status of the present count."""
    label_selector_path: str | None = None
    """JSON path below .status or .spec of the pods' selector as a string."""


class CustomResourceSubresources(Model):
    """Which subresources are served."""

    status: dict[str, Any] | None = Field(default=None, json_schema_extra=PRESERVE_UNKNOWN)
    """When there, `.status` is written only through the status subresource."""
    scale: CustomResourceSubresourceScale | None = None
    """When there, the scale subresource is served."""


class CustomResourceColumnDefinition(Model):
    """One column of the table of `kubectl get`."""

    name: str
    """Heading."""
    type: str
    """OpenAPI type: integer, number, string, boolean or date."""
    format: str | None = None
    """OpenAPI format, e.g. int32."""
    description: str | None = None
    """For people."""
    priority: Int32 | None = None
    """Columns above 0 are shown only by `-o wide`."""
    json_path: str
    """JSON path of the value."""


class SelectableField(Model):
    """One path that field selectors may use."""

    json_path: str
    """JSON path of a string, integer or boolean."""


class CustomResourceDefinitionVersion(Model):
    """One version of the kind."""

    name: str = Field(min_length=1, max_length=63, pattern=DNS_LABEL_PATTERN)
    """E.g. `v1`, `v1beta1`."""
    served: bool
    """Whether the API offers it."""
    storage: bool
    """Whether objects are stored in it; true for exactly one."""
    deprecated: bool | None = None
    """Whether its use is answered with a warning."""
    deprecation_warning: str | None = None
    """That warning's text."""
    schema_: CustomResourceValidation | None = Field(default=None, alias="schema")
    """What its objects look like."""
    subresources: CustomResourceSubresources | None = None
    """Which subresources are served."""
    additional_printer_columns: list[CustomResourceColumnDefinition] = Field(
        default_factory=list, json_schema_extra=LIST_ATOMIC
    )
    """Columns of `kubectl get`; default the age."""
    selectable_fields: list[SelectableField] = Field(
        default_factory=list, max_length=SELECTABLE_FIELDS_MAX, json_schema_extra=LIST_ATOMIC
    )
    """Paths that field selectors may use beside metadata.name and metadata.namespace."""


class WebhookConversion(Model):
    """A webhook that converts between versions."""

    client_config: WebhookClientConfig | None = None
    """How it is reached."""
    conversion_review_versions: list[str] = Field(default_factory=list, json_schema_extra=LIST_ATOMIC)
    """Versions of ConversionReview it reads, the preferred one first."""


class CustomResourceConversion(Model):
    """How objects are converted between versions."""

    strategy: Literal["None", "Webhook"] = "None"
    """None changes only apiVersion."""
    webhook: WebhookConversion | None = None
    """For Webhook."""


class CustomResourceDefinitionSpec(Model):
    """The kind: its group, names, scope and versions."""

    group: str = Field(min_length=1, max_length=253)
    """API group, a DNS name such as `stable.example.com`."""
    names: CustomResourceDefinitionNames
    """What it is called."""
    scope: Literal["Cluster", "Namespaced"]
    """Whether its objects live in namespaces."""
    versions: list[CustomResourceDefinitionVersion] = Field(max_length=VERSIONS_MAX, json_schema_extra=LIST_ATOMIC)
    """All versions, of which one is stored."""
    conversion: CustomResourceConversion = Field(
        default_factory=CustomResourceConversion, json_schema_extra=DEFAULT_EMPTY
    )
    """How objects are converted between versions."""
    preserve_unknown_fields: bool | None = None
    """Only false is allowed."""


class CustomResourceDefinitionStatus(Model):
    """Whether it is served."""

    conditions: list[Condition] = Field(default_factory=list, json_schema_extra=list_map("type"))
    """NamesAccepted, Established, NonStructuralSchema, Terminating."""
    accepted_names: CustomResourceDefinitionNames | None = None
    """The names under which it is served."""
    stored_versions: list[str] = Field(default_factory=list, json_schema_extra=LIST_ATOMIC)
    """Every version that was ever stored and may still be in the store."""
    observed_generation: Int64 | None = None
    """metadata.generation of the spec this status is about."""


class CustomResourceDefinition(KubeObject):
    """A kind that a user added."""

    RESOURCE: ClassVar[ResourceDef] = ResourceDef(
        group="apiextensions.k8s.io",
        version="v1",
        kind="CustomResourceDefinition",
        plural="customresourcedefinitions",
        namespaced=False,
        short_names=("crd", "crds"),
        categories=("api-extensions",),
        subresources=("status",),
    )

    spec: CustomResourceDefinitionSpec
    """The kind."""
    status: CustomResourceDefinitionStatus = Field(default_factory=CustomResourceDefinitionStatus)
    """Whether it is served."""
