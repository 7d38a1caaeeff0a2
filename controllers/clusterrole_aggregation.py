"""Give every ClusterRole with an aggregationRule the rules of the ClusterRoles that it selects.

Reads and writes ClusterRoles. The order of the rules is that of the selectors and then of the names, so that the same
roles always make the same rules. What is scoped to own objects is gathered only by a role that is so itself: elsewhere
its rules would come to hold for everybody's objects.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from stark.client.errors import NotFound
from stark.crds.annotations import SCOPE
from stark.crds.labels import LabelSelector
from stark.crds.rbac import ClusterRole, PolicyRule
from stark.crds.selectors import NOTHING, Selector, SelectorError

from .kit import DONE, Context, Controller, Outcome, Source


def is_own_scoped(role: ClusterRole) -> bool:
    """Whether the role's rules hold for own objects only."""
    return SCOPE in role.metadata.annotations


def gathered(role: ClusterRole, roles: Iterable[ClusterRole]) -> list[PolicyRule] | None:
    """The rules it must have; None when they are its own business."""
    if role.aggregation_rule is None:
        return None
    others = sorted(
        (each for each in roles if each.metadata.name != role.metadata.name), key=lambda each: each.metadata.name
    )
    found: list[PolicyRule] = []
    for selector in map(_selector, role.aggregation_rule.cluster_role_selectors):
        for other in others:
            if selector.matches(other.metadata.labels) and (is_own_scoped(role) or not is_own_scoped(other)):
                found += (rule for rule in other.rules if rule not in found)
    return found


def _selector(wanted: LabelSelector) -> Selector:
    try:
        return wanted.compiled()
    except SelectorError:
        return NOTHING  # validation refuses such a one


class Aggregation(Controller):
    """See the module."""

    name = "clusterrole-aggregation"

    def __init__(self, context: Context) -> None:
        self._api = context.api
        self._roles = context.informers.of(ClusterRole)

    def sources(self) -> Sequence[Source[Any]]:
        """ClusterRoles: each by itself, and as what others are made of."""
        return (Source(self._roles), Source(self._roles, self._gathering))

    def _gathering(self, changed: ClusterRole) -> Iterable[str]:
        return [role.metadata.name for role in self._roles.list() if role.aggregation_rule is not None]

    async def reconcile(self, key: str) -> Outcome:
        """Write the rules when they are not what they must be."""
        role = self._roles.get(key)
        rules = gathered(role, self._roles.list()) if role is not None else None
        if role is None or rules is None or rules == role.rules:
            return DONE
        try:
            await self._api.update(role.model_copy(update={"rules": rules}))
        except NotFound:
            pass  # it is gone, and the cache will say so
        return DONE


def build(context: Context) -> Controller:
    """For the catalog."""
    return Aggregation(context)
