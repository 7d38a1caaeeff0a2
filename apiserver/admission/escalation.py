"""Nobody gives what they do not have: writes of roles and bindings by those who do not hold what is in them are refused.

Kubernetes' rules (pkg/registry/rbac, policybased): a role may be written by who holds all of its rules, or may
`escalate` it; a binding by who holds all rules of the role, or may `bind` it. Whoever gathers rules by an
aggregationRule must hold everything. `system:masters` may do all of that. What is held only for own objects cannot be
handed on: with it others would reach theirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol

from stark.crds.rbac import GROUP

from ..auth.authorization import AuthorizationAttributes, Authorizer
from ..auth.identities import MASTERS
from ..auth.rbac.covering import EVERYTHING, missing, quoted, told
from ..auth.rbac.grants import role_key, rules_of
from ..auth.rules import Rule
from ..errors import NotFound
from ..request import User
from .attributes import Attributes, Lookup
from .complaints import refused

ROLES: Final = frozenset({"roles", "clusterroles"})
BINDINGS: Final = frozenset({"rolebindings", "clusterrolebindings"})
ROLE_KINDS: Final = tuple((GROUP, plural) for plural in sorted(ROLES | BINDINGS))
"""What the plugin is about."""
COLLECTOR_FIELDS: Final = ("ownerReferences", "finalizers")
"""What may be changed by who holds nothing of the rules, so that the garbage collector can do its work."""
BOOKKEEPING_FIELDS: Final = ("managedFields", "resourceVersion", "generation")

Mapped = Mapping[str, Any]


class HeldRules(Protocol):
    """What a user holds by roles."""

    def rules_held(self, user: User, namespace: str) -> tuple[Rule, ...]:
        """The rules that hold outright in the namespace."""
        ...

    async def catch_up(self) -> bool:
        """Hear everything that has been acknowledged; whether that was anything about roles."""
        ...


class Escalation:
    """The plugin."""

    def __init__(self, authorizer: Authorizer, held: HeldRules) -> None:
        self._authorizer, self._held = authorizer, held

    async def __call__(self, attributes: Attributes, lookup: Lookup) -> None:
        """Raise Forbidden when the write would hand on what its author does not hold; NotFound without the role."""
        resource, obj = attributes.resource, attributes.object
        if obj is None or attributes.subresource or MASTERS in attributes.user.groups:
            return
        if attributes.old is not None and _serves_collector(obj, attributes.old):
            return
        if resource.plural in ROLES:
            await self._role(attributes, obj)
        else:
            await self._binding(attributes, obj, lookup)

    async def _role(self, attributes: Attributes, role: Mapped) -> None:
        # The name of a new object is not looked at, as in every question about a creation.
        name = attributes.name if attributes.old is not None else ""
        if await self._may(attributes, "escalate", attributes.resource.plural, name, attributes.namespace):
            return
        await self._confirm(attributes, rules_of(role))
        gathers = role.get("aggregationRule") is not None or (attributes.old or {}).get("aggregationRule") is not None
        if gathers and await self._missing(attributes, EVERYTHING):
            raise refused(attributes, "must have cluster-admin privileges to use an aggregationRule")

    async def _binding(self, attributes: Attributes, binding: Mapped, lookup: Lookup) -> None:
        key = role_key(_placed(binding, attributes.namespace))
        plural = "roles" if key.namespace else "clusterroles"
        if await self._may(attributes, "bind", plural, key.name, attributes.namespace):
            return
        role = await lookup.get(GROUP, plural, key.namespace, key.name)
        if role is None:
            text = f'{plural}.{GROUP} "{key.name}" not found'
            raise NotFound(text, group=GROUP, kind=plural, name=key.name)
        await self._confirm(attributes, rules_of(role))

    async def _may(self, attributes: Attributes, verb: str, plural: str, name: str, namespace: str) -> bool:
        asked = AuthorizationAttributes(attributes.user, verb, GROUP, "*", plural, namespace=namespace, name=name)
        return (await self._authorizer.authorize(asked)).is_outright

    async def _missing(self, attributes: Attributes, wanted: Iterable[Rule]) -> list[Rule]:
        rules = tuple(wanted)
        lacking = missing(self._held.rules_held(attributes.user, attributes.namespace), rules)
        if lacking and await self._held.catch_up():
            lacking = missing(self._held.rules_held(attributes.user, attributes.namespace), rules)
        return lacking

    async def _confirm(self, attributes: Attributes, wanted: Iterable[Rule]) -> None:
        lacking = await self._missing(attributes, wanted)
        if lacking:
            user = attributes.user
            head = f'user "{user.name}" (groups={quoted(user.groups)}) is attempting to grant RBAC permissions'
            raise refused(attributes, "\n".join((f"{head} not currently held:", *told(lacking))))


def _placed(binding: Mapped, namespace: str) -> Mapped:
    return {**binding, "metadata": {**(binding.get("metadata") or {}), "namespace": namespace}}


def _serves_collector(new: Mapped, old: Mapped) -> bool:
    """Nothing is changed but what the garbage collector changes, and the server's own bookkeeping."""
    return _without(new) == _without(old)


def _without(obj: Mapped) -> dict[str, Any]:
    ignored = (*COLLECTOR_FIELDS, *BOOKKEEPING_FIELDS)
    metadata = {key: value for key, value in (obj.get("metadata") or {}).items() if key not in ignored}
    return {**obj, "metadata": metadata}
