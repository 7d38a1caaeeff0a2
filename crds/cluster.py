"""Settings of the whole cluster (stark.dev/v1 ClusterConfig): one object, which administrators change while it runs."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from .fields import DEFAULT_EMPTY, written
from .meta import Column, KubeObject, Model, ResourceDef

CLUSTER_CONFIG_NAME = "cluster"
"""The name of the only object there may be."""


class ClusterConfigSpec(Model):
    """What holds for all."""

    enable_public_registration: bool = written(False)
    """Whether anybody may make themselves a user, by `/auth/register`."""


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
