"""Users (stark.dev/v1): the people who log in. What proves them, passwords and tokens, is nowhere in their objects."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from .fields import LIST_SET
from .meta import Column, KubeObject, Model, ResourceDef

UserRole = Literal["admin", "user", "node", "viewer"]
USER_ROLES: tuple[UserRole, ...] = ("admin", "user", "node", "viewer")
ROLE_GROUP_PREFIX = "stark:"
"""A user with the role `viewer` is in the group `stark:viewer`; cluster roles of these names are bound to these groups."""
EMAIL_LENGTH_MAX = 253
"""Characters: as long as a name may be, since the address is the object's name."""
EMAIL_PATTERN = (
    r"^[a-z0-9!#$&'*+=?^_`{|}~-]+(\.[a-z0-9!#$&'*+=?^_`{|}~-]+)*@"
    r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$"
)
"""An addr-spec of RFC 5322 without quoting, in lower case, and without `/` and `%`, which no object's name may have."""
DISPLAY_NAME_LENGTH_MAX = 100


class UserSpec(Model):
    """Who it is, and what they may do."""

    email: str = Field(max_length=EMAIL_LENGTH_MAX, pattern=EMAIL_PATTERN)
    """The address, in lower case: under which they log in and are known to every rule. The same as metadata.name."""
    display_name: str | None = Field(default=None, max_length=DISPLAY_NAME_LENGTH_MAX)
    """What people call them."""
    roles: list[UserRole] = Field(default_factory=list, max_length=len(USER_ROLES), json_schema_extra=LIST_SET)
    """Each makes them a member of the group `stark:<role>`."""
    disabled: bool | None = None
    """True: they are nobody, from this moment on, whatever tokens they have; all their sessions end."""


class User(KubeObject):
    """A person who may log in."""

    RESOURCE: ClassVar[ResourceDef] = ResourceDef(
        group="stark.dev",
        version="v1",
        kind="User",
        plural="users",
        namespaced=False,
        categories=("stark",),
        columns=(
            Column("Display Name", "string", ".spec.displayName", "What people call them."),
            Column("Roles", "string", ".spec.roles", "What they may do."),
            Column("Disabled", "boolean", ".spec.disabled", "Whether they are locked out."),
            Column("Age", "date", ".metadata.creationTimestamp", "Time since they were entered."),
        ),
    )

    spec: UserSpec
    """Who it is."""
