"""Leases (coordination.k8s.io/v1): a short-lived claim that must be renewed; for leadership and for nodes' heartbeats."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from .fields import DEFAULT_EMPTY, Count, Int32
from .meta import KubeObject, MicroTime, Model, ResourceDef


class LeaseSpec(Model):
    """Who claims, until when."""

    holder_identity: str | None = None
    """Who holds it."""
    lease_duration_seconds: Int32 | None = Field(default=None, ge=1)
    """Seconds after renewTime at which others may take it."""
    acquire_time: MicroTime | None = None
    """When the holder got it."""
    renew_time: MicroTime | None = None
    """When the holder last confirmed it."""
    lease_transitions: Count | None = None
    """How often it changed hands; a fencing token for what the holder does."""


class Lease(KubeObject):
    """A claim with an end."""

    RESOURCE: ClassVar[ResourceDef] = ResourceDef(
        group="coordination.k8s.io", version="v1", kind="Lease", plural="leases", namespaced=True
    )

    spec: LeaseSpec = Field(default_factory=LeaseSpec, json_schema_extra=DEFAULT_EMPTY)
    """Who claims, until when."""
