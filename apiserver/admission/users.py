"""Nobody gives a role that they do not have, nor touches a user who has one: whoever enters users could become anybody."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stark.crds.users import ROLE_GROUP_PREFIX

from ..auth.identities import is_admin
from .attributes import Attributes, Lookup
from .complaints import refused


async def user_roles(attributes: Attributes, lookup: Lookup) -> None:
    """The roles of a user before and after the write are all the writer's own; administrators may give any."""
    if is_admin(attributes.user):
        return
    held = {group.removeprefix(ROLE_GROUP_PREFIX) for group in attributes.user.groups}
    beyond = sorted((_roles(attributes.old) | _roles(attributes.object)) - held)
    if beyond:
        raise refused(
            attributes, f"this concerns the role {', '.join(beyond)}, which {attributes.user.name} does not have"
        )


def _roles(obj: Mapping[str, Any] | None) -> set[str]:
    return set(((obj or {}).get("spec") or {}).get("roles") or ())
