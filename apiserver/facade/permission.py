"""Whether somebody may do what a path of the facade stands for: asked of the authorizer, in terms of resources."""

from __future__ import annotations

from ..auth.authorization import AuthorizationAttributes, Authorizer, forbidden
from ..auth.identities import ANONYMOUS
from ..errors import Unauthorized
from ..request import Request, User

GROUP = "stark.dev"
VERSION = "v1"


def somebody(request: Request) -> User:
    """Who asks. Raises Unauthorized for nobody."""
    user = request.user
    if user is None or user.name == ANONYMOUS:
        raise Unauthorized("log in first: this needs an access token or a client certificate")
    return user


class Permission:
    """Asks for the kinds of stark.dev."""

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    async def need(self, request: Request, verb: str, plural: str, name: str = "", subresource: str = "") -> User:
        """Who asks, if they may. Raises Unauthorized, Forbidden."""
        user = somebody(request)
        attributes = AuthorizationAttributes(user, verb, GROUP, VERSION, plural, subresource, name=name)
        decision = await self._authorizer.authorize(attributes)
        if not decision.is_outright:
            raise forbidden(attributes, decision)
        return user

    async def allows(self, request: Request, verb: str, plural: str, name: str = "") -> bool:
        """Whether who asks may."""
        user = request.user
        if user is None:
            return False
        attributes = AuthorizationAttributes(user, verb, GROUP, VERSION, plural, name=name)
        return (await self._authorizer.authorize(attributes)).is_outright
