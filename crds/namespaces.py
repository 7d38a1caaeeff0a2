"""Namespaces: rooms in which names of objects are unique, and which are emptied before they go."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from .conditions import Condition
from .fields import DEFAULT_EMPTY, LIST_ATOMIC, list_map
from .meta import KubeObject, Model, ResourceDef

NamespacePhase = Literal["Active", "Terminating"]


class NamespaceSpec(Model):
    """What must happen before the namespace goes."""

    finalizers: list[str] = Field(default_factory=list, json_schema_extra=LIST_ATOMIC)
    """Who still has to clean up; `kubernetes` is the namespace controller, which deletes what is inside."""


class NamespaceStatus(Model):
    """Where in its life it is."""

    phase: NamespacePhase | None = None
    """Terminating: being emptied, nothing new may be created inside."""
    conditions: list[Condition] = Field(default_factory=list, json_schema_extra=list_map("type"))
    """Why it cannot be emptied, when it cannot."""


class Namespace(KubeObject):
    """A room for names."""

    RESOURCE: ClassVar[ResourceDef] = ResourceDef(
        group="",
        version="v1",
        kind="Namespace",
        plural="namespaces",
        namespaced=False,
        short_names=("ns",),
        subresources=("status", "finalize"),
        selectable_fields=("status.phase",),
    )

    spec: NamespaceSpec = Field(default_factory=NamespaceSpec, json_schema_extra=DEFAULT_EMPTY)
    """Finalizers."""
    status: NamespaceStatus = Field(default_factory=NamespaceStatus)
    """Its phase."""
