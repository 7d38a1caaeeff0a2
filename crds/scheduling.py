"""Priority classes (scheduling.k8s.io/v1): names for how important pods are.

Admission writes the class's number into each pod, so that a class that is changed or deleted later moves nobody.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from .fields import Int32
from .meta import KubeObject, ResourceDef
from .pods import SYSTEM_PRIORITY_MAX, PreemptionPolicy

PRIORITY_MIN = -2_000_000_000
SYSTEM_PRIORITY_CLASSES = {"system-node-critical": SYSTEM_PRIORITY_MAX, "system-cluster-critical": 2_000_000_000}
"""The classes above every user's; they exist always and cannot be deleted."""


class PriorityClass(KubeObject):
    """A name for a priority, used by pods as spec.priorityClassName."""

    RESOURCE: ClassVar[ResourceDef] = ResourceDef(
        group="scheduling.k8s.io",
        version="v1",
        kind="PriorityClass",
        plural="priorityclasses",
        namespaced=False,
        short_names=("pc",),
    )

    value: Int32 = Field(ge=PRIORITY_MIN, le=SYSTEM_PRIORITY_MAX)
    """The priority: higher is scheduled first. Cannot be changed; at most 1000000000 but for the two system classes."""
    global_default: bool | None = None
    """Whether pods without a class get this one; true for at most one class."""
    description: str | None = None
    """When to use it, for people."""
    preemption_policy: PreemptionPolicy = "PreemptLowerPriority"
    """Whether its pods may take the place of lower ones. Cannot be changed."""
