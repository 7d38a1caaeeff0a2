"""Decides by the roles and bindings there are.

A yes comes at once from the index. Before a no, the index is brought up to everything the store has acknowledged: who was
given a role a moment ago, and then asks, is not refused.
"""

from __future__ import annotations

from ...request import User
from ..authorization import AuthorizationAttributes, Decision
from ..rules import Resolution, Rule
from .holdings import Holdings
from .index import Index


class RoleAuthorizer:
    """Role-based access."""

    def __init__(self, index: Index) -> None:
        self._index = index

    async def authorize(self, attributes: AuthorizationAttributes) -> Decision:
        """Yes when a rule of a role that the user holds allows it, outright or for own objects."""
        decision = self._index.holdings(attributes.user).decide(attributes)
        if decision.allowed or not await self.catch_up():
            return decision
        return self._index.holdings(attributes.user).decide(attributes)

    async def catch_up(self) -> bool:
        """Hear everything that has been acknowledged; whether that was anything about roles."""
        mark = self._index.mark()
        await self._index.current()
        return self._index.mark() != mark

    async def rules_for(self, user: User, namespace: str) -> Resolution:
        """The rules of the roles that the user holds in `namespace`."""
        await self._index.current()
        holdings = self._index.holdings(user)
        rules = tuple(holdings.rules(namespace, own_only=False))
        own = tuple(holdings.rules(namespace, own_only=True))
        return Resolution(rules, "; ".join(holdings.missing(namespace)), own)

    def rules_held(self, user: User, namespace: str) -> tuple[Rule, ...]:
        """The rules that hold outright: what the user may hand on."""
        holdings: Holdings = self._index.holdings(user)
        return tuple(holdings.rules(namespace, own_only=False))
