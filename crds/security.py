"""What a pod and its containers are allowed and as whom they run (core/v1): the parts of securityContext."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .fields import LIST_ATOMIC, Int64
from .meta import Model

CAPABILITIES_MAX = 64
"""Names in one list; Linux has 41."""
GROUPS_MAX = 64
FSGroupChangePolicy = Literal["Always", "OnRootMismatch"]
SeccompType = Literal["RuntimeDefault", "Unconfined", "Localhost"]


class SeccompProfile(Model):
    """Which system calls a program may make."""

    type: SeccompType
    """`RuntimeDefault`: those that programs need, none that reach for the kernel; `Unconfined`: all; `Localhost`: what a
    file on the node says, for container images."""
    localhost_profile: str | None = None
    """The file, for `Localhost` alone."""


class Capabilities(Model):
    """Single rights of root, by name without `CAP_`, or `ALL`."""

    add: list[str] = Field(default_factory=list, max_length=CAPABILITIES_MAX, json_schema_extra=LIST_ATOMIC)
    """What is given. Packs get none but in isolation class `trusted`."""
    drop: list[str] = Field(default_factory=list, max_length=CAPABILITIES_MAX, json_schema_extra=LIST_ATOMIC)
    """What is taken away. Packs have none to lose but in isolation class `trusted`."""


class PodSecurityContext(Model):
    """As whom the pod's containers run, where they do not say themselves."""

    run_as_user: Int64 | None = None
    """The user id that programs see. On the node it is one of the pod's own all the same, but in class `trusted`."""
    run_as_group: Int64 | None = None
    """The group id that programs see; as `runAsUser`."""
    run_as_non_root: bool | None = None
    """Refuse to start what would run as user 0."""
    fs_group: Int64 | None = None
    """The group that the pod's volumes belong to, and that all of its containers are in. On the node it is the pod's own
    group all the same, but in class `trusted`."""
    fs_group_change_policy: FSGroupChangePolicy | None = None
    """Whether that is seen to again in a volume that has been used. None of the volumes there are outlives its pod."""
    supplemental_groups: list[Int64] = Field(default_factory=list, max_length=GROUPS_MAX, json_schema_extra=LIST_ATOMIC)
    """Groups of the node that its containers are in. Packs get them in isolation class `trusted` only."""
    seccomp_profile: SeccompProfile | None = None
    """Which system calls programs may make. Default: all, but in isolation class `strict`."""


class SecurityContext(Model):
    """What a container is allowed; it counts for more than the pod's."""

    run_as_user: Int64 | None = None
    """As the pod's."""
    run_as_group: Int64 | None = None
    """As the pod's."""
    run_as_non_root: bool | None = None
    """As the pod's."""
    read_only_root_filesystem: bool | None = None
    """Nothing can be written but volumes and devices; not even the working directory of a pack."""
    allow_privilege_escalation: bool | None = None
    """Whether a program may come to have more rights than the one that started it, by a setuid bit. Packs may not, but in
    isolation class `trusted` where this is true."""
    capabilities: Capabilities | None = None
    """Single rights of root."""
    privileged: bool | None = None
    """Everything that root may. Packs need isolation class `trusted` for it."""
    seccomp_profile: SeccompProfile | None = None
    """As the pod's."""
