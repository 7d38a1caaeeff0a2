"""The authorizers every Stark API server has, put together: the first that says yes decides.

An authorizer that has nothing to say answers "not allowed" without a reason; nobody vetoes.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..request import User
from .authorization import ALLOWED, NO_OPINION, AuthorizationAttributes, Decision
from .identities import MASTERS
from .nodes import Lookup, NodeAuthorizer
from .references import PodSource
from .rules import ANY, Resolution, ResolvingAuthorizer, Rule, builtin_rules

EVERYTHING = (Rule((ANY,), (ANY,), (ANY,)), Rule((ANY,), paths=(ANY,)))


class MastersAuthorizer:
    """`system:masters` may do everything: the way in when nothing else works."""

    async def authorize(self, attributes: AuthorizationAttributes) -> Decision:
        """Yes for members of the group."""
        return ALLOWED if MASTERS in attributes.user.groups else NO_OPINION

    async def rules_for(self, user: User, namespace: str) -> Resolution:
        """Everything, for members of the group."""
        return Resolution(EVERYTHING if MASTERS in user.groups else ())


class Union:
    """Asks one authorizer after the other; the first outright yes decides, and the reasons of all noes are kept.

    A yes for own objects only stands when nobody says an outright one.
    """

    def __init__(self, authorizers: Sequence[ResolvingAuthorizer]) -> None:
        self._authorizers = tuple(authorizers)

    async def authorize(self, attributes: AuthorizationAttributes) -> Decision:
        """The first outright yes, else the first for own objects, else a no with everybody's reasons."""
        reasons: list[str] = []
        for_own: Decision | None = None
        for authorizer in self._authorizers:
            decision = await authorizer.authorize(attributes)
            if decision.is_outright:
                return decision
            if decision.allowed:
                for_own = for_own or decision
            elif decision.reason:
                reasons.append(decision.reason)
        if for_own is not None:
            return for_own
        return Decision(allowed=False, reason=", ".join(reasons))

    async def rules_for(self, user: User, namespace: str) -> Resolution:
        """Everybody's rules, each once, and everybody's reasons why there may be more."""
        found = [await authorizer.rules_for(user, namespace) for authorizer in self._authorizers]
        rules = dict.fromkeys(rule for resolution in found for rule in resolution.rules)
        own_rules = dict.fromkeys(rule for resolution in found for rule in resolution.own_rules)
        reasons = [resolution.unresolved for resolution in found if resolution.unresolved]
        return Resolution(tuple(rules), ", ".join(reasons), tuple(own_rules))


def builtin_authorizer(lookup: Lookup, pods: PodSource, roles: ResolvingAuthorizer) -> Union:
    """Masters, controllers and probes, agents, and roles. Roles come last, because their no is waited for."""
    return Union([MastersAuthorizer(), builtin_rules(), NodeAuthorizer(lookup, pods), roles])
