"""What expressions about a write may ask: whether its author, or a service account, may do something else.

    checks = Checks(authorizer, attributes, seen_as)
    values = scope.bind(..., checks=checks.values)
    found = await checks.evaluate(partial(program.evaluate, values), budget)

An answer is found once for all expressions about the write.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from ..auth.authorization import AuthorizationAttributes, Authorizer
from ..auth.identities import SERVICE_ACCOUNT_PREFIX, SERVICE_ACCOUNTS
from ..cel import offload
from ..cel.library import authorization as library
from ..cel.library.authorization import Answer, Asked, Unanswered
from ..request import User
from ..resources import Resource
from .attributes import Attributes
from .webhooks.matching import namespace_of

T = TypeVar("T")


class Checks:
    """The questions about one write, and their answers."""

    def __init__(self, authorizer: Authorizer, attributes: Attributes, seen_as: Resource) -> None:
        self._authorizer, self._user = authorizer, attributes.user
        self._answers: dict[Asked, Answer] = {}
        about_request = Asked(
            group=seen_as.group,
            resource=seen_as.plural,
            subresource=attributes.subresource,
            namespace=namespace_of(attributes),
            name=attributes.name_of_object(),
        )
        self.values: dict[str, Any] = {
            "authorizer": library.Authorizer(Asked(), self._answers),
            "authorizer.requestResource": library.ResourceCheck(about_request, self._answers),
        }

    async def evaluate(self, work: Callable[[int], T], budget: int) -> T:
        """`offload.evaluate`, with the answers to what is asked on the way. How many there can be, the budget says."""
        while True:
            try:
                return await offload.evaluate(work, budget)
            except Unanswered as met:
                self._answers[met.asked] = await self._answer(met.asked)

    async def _answer(self, asked: Asked) -> Answer:
        # Nobody here can look at owners, so that a yes for own objects only is none.
        decision = await self._authorizer.authorize(
            AuthorizationAttributes(
                self._user if asked.account is None else _account(*asked.account),
                asked.verb,
                asked.group,
                "*" if asked.resource else "",
                asked.resource,
                asked.subresource,
                asked.namespace,
                asked.name,
                asked.path,
                asked.field_selector,
            )
        )
        return Answer(decision.is_outright, decision.reason)


def _account(namespace: str, name: str) -> User:
    groups = (SERVICE_ACCOUNTS, f"{SERVICE_ACCOUNTS}:{namespace}")
    return User(f"{SERVICE_ACCOUNT_PREFIX}{namespace}:{name}", groups)
