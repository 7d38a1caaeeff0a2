"""TokenReview: whom a token speaks for, asked by those who are shown one and cannot tell by themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ..errors import BadRequest
from ..request import User
from .authentication import Identified, TokenRefused, authenticated
from .reviews import AUTHENTICATION, VirtualResource

Object = dict[str, Any]


class Identifies(Protocol):
    """Tells whom a token speaks for (`Authenticator` has this shape)."""

    async def identify(self, token: str, audiences: Sequence[str] = ()) -> Identified | None:
        """None when nobody knows it. Raises TokenRefused."""
        ...


def token_reviews(authenticator: Identifies) -> VirtualResource:
    """The review, ready to be routed."""

    async def review(user: User, body: Object, namespace: str) -> Object:
        spec = body.get("spec")
        spec = spec if isinstance(spec, dict) else {}
        token, audiences = spec.get("token"), spec.get("audiences") or []
        if not isinstance(token, str) or not token:
            raise BadRequest("token is required for TokenReview in authentication")
        if not isinstance(audiences, list) or not all(isinstance(audience, str) for audience in audiences):
            raise BadRequest("spec.audiences of a TokenReview must be a list of names")
        answered: Object = {key: body[key] for key in body if key != "status"}
        return {**answered, "status": await _status(authenticator, token, audiences)}

    return VirtualResource(
        AUTHENTICATION, "v1", "TokenReview", "tokenreviews", "tokenreview", namespaced=False, create=review
    )


async def _status(authenticator: Identifies, token: str, audiences: Sequence[str]) -> Mapping[str, Any]:
    try:
        found = await authenticator.identify(token, audiences)
    except TokenRefused as error:
        return {"user": {}, "error": str(error)}
    if found is None:
        return {"user": {}}
    status: Object = {"authenticated": True, "user": authenticated(found.user).info()}
    return {**status, "audiences": list(found.audiences)} if found.audiences else status
