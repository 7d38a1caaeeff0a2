"""ID tokens of an identity provider outside (OpenID Connect Core 1.0): signed by it, for us, in their time, as is required.

Wording and rules are kube-apiserver's (staging/src/k8s.io/apiserver/plugin/pkg/authenticator/token/oidc).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import jwt

from ..request import User
from ..settings import OidcSettings
from .authentication import TokenRefused
from .service_accounts.tokens import EXTRA, issuer_of

NOT_BEFORE_LEEWAY_S: Final = 300
"""By how much a provider's clock may be ahead of ours, as Go's OpenID Connect library has it."""
GROUPS_MAX: Final = 1_000
NO_PREFIX: Final = "-"

Claims = Mapping[str, Any]


class Keys(Protocol):
    """The provider's keys (`Provider` has this shape)."""

    is_known: bool

    async def keys(self, key_id: str | None) -> Sequence[jwt.PyJWK]:
        """Those that may have signed a token."""
        ...


class OidcTokens:
    """The authenticator."""

    def __init__(self, settings: OidcSettings, provider: Keys, clock: Callable[[], float] = time.time) -> None:
        self._settings, self._provider, self._clock = settings, provider, clock

    async def user_of(self, token: str) -> User | None:
        """The user of an ID token; None for a token of somebody else. Raises TokenRefused."""
        if issuer_of(token) != self._settings.issuer_url:
            return None
        if not self._provider.is_known:
            raise TokenRefused("oidc: authenticator not initialized")
        claims = await self._verified(token)
        check_claims(claims, self._settings, self._clock())
        return user_from(claims, self._settings)

    async def _verified(self, token: str) -> Claims:
        try:
            header = jwt.get_unverified_header(token)
        except jwt.InvalidTokenError as error:
            raise TokenRefused(f"oidc: malformed jwt: {error}") from error
        algorithm, key_id = header.get("alg"), header.get("kid")
        # Asymmetric algorithms only are ever in the settings, so nobody signs with a public key as the secret.
        if algorithm not in self._settings.signing_algorithms:
            raise TokenRefused(f"oidc: verify token: id token signed with unsupported algorithm {algorithm!r}")
        for key in await self._provider.keys(key_id if isinstance(key_id, str) else None):
            try:
                claims = json.loads(jwt.PyJWS().decode(token, key.key, [algorithm]))
            except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
                continue
            if isinstance(claims, dict):
                return claims
        raise TokenRefused("oidc: verify token: failed to verify signature")


def check_claims(claims: Claims, settings: OidcSettings, now: float) -> None:
    """Raises TokenRefused for a token that is not for us, not of this time, or lacks what is required."""
    if claims.get("iss") != settings.issuer_url:
        raise TokenRefused("oidc: verify token: id token issued by a different provider")
    given = claims.get("aud")
    if settings.client_id not in (given if isinstance(given, list) else [given]):
        raise TokenRefused(
            f"oidc: verify token: expected audience {json.dumps(settings.client_id)} got {json.dumps(given)}"
        )
    ends, begins = _time(claims, "exp"), _time(claims, "nbf") if "nbf" in claims else 0
    if now > ends:
        raise TokenRefused("oidc: verify token: token is expired")
    if now + NOT_BEFORE_LEEWAY_S < begins:
        raise TokenRefused("oidc: verify token: current time before the nbf (not before) time")
    for name, wanted in settings.required_claims:
        if name not in claims:
            raise TokenRefused(f"oidc: required claim {name} not present in ID token")
        if claims[name] != wanted:
            told = claims[name]
            raise TokenRefused(f"oidc: required claim {name} value does not match. Got = {told}, want = {wanted}")


def user_from(claims: Claims, settings: OidcSettings) -> User:
    """The user of checked claims. Raises TokenRefused when the claims do not name one."""
    name = claims.get(settings.username_claim)
    if not isinstance(name, str) or not name:
        raise TokenRefused(f"oidc: parse username claims {json.dumps(settings.username_claim)}: not a text")
    if settings.username_claim == "email" and claims.get("email_verified", True) is not True:
        raise TokenRefused("oidc: email not verified")
    groups = tuple(f"{settings.groups_prefix}{group}" for group in _groups(claims, settings.groups_claim))
    credential = claims.get("jti")
    extra = {f"{EXTRA}credential-id": (f"JTI={credential}",)} if isinstance(credential, str) and credential else {}
    return User(f"{username_prefix(settings)}{name}", groups, extra=extra)


def username_prefix(settings: OidcSettings) -> str:
    """What is put before every name, so that a provider's `admin` is not ours."""
    if settings.username_prefix == NO_PREFIX:
        return ""
    if settings.username_prefix or settings.username_claim == "email":
        return settings.username_prefix
    return f"{settings.issuer_url}#"


def _groups(claims: Claims, name: str) -> Sequence[str]:
    given = claims.get(name) if name else None
    if given is None:
        return ()
    groups = [given] if isinstance(given, str) else given
    if not isinstance(groups, list) or len(groups) > GROUPS_MAX or not all(isinstance(group, str) for group in groups):
        raise TokenRefused(f"oidc: parse groups claim {json.dumps(name)}: not a list of texts")
    return groups


def _time(claims: Claims, name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TokenRefused("oidc: verify token: malformed times")
    return value
