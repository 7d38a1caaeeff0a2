"""From a service account's token to its user: signed by us, in its time, for the right audience, and everything it is
bound to still there.

The signature is looked at once per token and then remembered, within a bound; whether account, pod, Secret or node are
still the same is asked at every use, of the watch caches.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from ...request import User
from ..authentication import Identified, TokenRefused
from ..identities import SERVICE_ACCOUNTS
from ..nodes import Lookup
from .claims import LEGACY_ISSUER, Claims, Named, read_claims
from .keys import NotVerified, TokenKeys

VERIFIED_MAX: Final = 8_192
"""Tokens whose signature is remembered, about a kilobyte each; past that the least recently used is verified again."""
DELETION_LEEWAY_S: Final = 60
"""How long past its deletion time an object still counts, as in Kubernetes: programs end in order, with a valid token."""
SECRET_TYPE: Final = "kubernetes.io/service-account-token"
INVALIDATED: Final = "service account token has been invalidated"

EXTRA: Final = "authentication.kubernetes.io/"
STALE: Final = "authentication.k8s.io/stale-token"
LEGACY: Final = "authentication.k8s.io/legacy-token"

Object = Mapping[str, Any]


class ServiceAccountTokens:
    """The authenticator. `audiences` are the API server's own names."""

    def __init__(
        self,
        keys: TokenKeys,
        issuers: Sequence[str],
        audiences: Sequence[str],
        lookup: Lookup,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keys, self._issuers = keys, frozenset((*issuers, LEGACY_ISSUER))
        self._audiences, self._lookup, self._clock = tuple(audiences), lookup, clock
        self._verified: OrderedDict[bytes, Claims] = OrderedDict()

    async def identify(self, token: str, audiences: Sequence[str]) -> Identified | None:
        """The account's user; None for a token that somebody else has issued. Raises TokenRefused."""
        claims = self._claims(token)
        if claims is None:
            return None
        now = self._clock()
        check_times(claims, now)
        shared = self._shared(claims, audiences)
        await self._check_objects(claims, token, now)
        return Identified(user_of(claims), shared, _remarks(claims, now))

    def _claims(self, token: str) -> Claims | None:
        digest = hashlib.sha256(token.encode()).digest()
        known = self._verified.get(digest)
        if known is not None:
            self._verified.move_to_end(digest)
            return known
        if issuer_of(token) not in self._issuers:
            return None
        try:
            claims = read_claims(self._keys.verify(token))
        except NotVerified as error:
            raise TokenRefused(str(error)) from error
        self._verified[digest] = claims
        if len(self._verified) > VERIFIED_MAX:
            self._verified.popitem(last=False)
        return claims

    def _shared(self, claims: Claims, audiences: Sequence[str]) -> tuple[str, ...]:
        meant = claims.audiences or self._audiences
        shared = tuple(audience for audience in audiences if audience in meant)
        if not shared:
            told, wanted = json.dumps(list(meant)), json.dumps(list(audiences))
            raise TokenRefused(f"token audiences {told} is invalid for the target audiences {wanted}")
        return shared

    async def _check_objects(self, claims: Claims, token: str, now: float) -> None:
        """Raises TokenRefused when the account or what the token is bound to is gone, or is another by now."""
        namespace, account = claims.namespace, claims.account
        found = await self._lookup.get("", "serviceaccounts", namespace, account.name)
        if found is None or is_past(found, now):
            raise TokenRefused(f"service account {namespace}/{account.name} has been deleted")
        uid = found["metadata"].get("uid", "")
        if uid != account.uid:
            raise TokenRefused(f"service account UID ({uid}) does not match claim ({account.uid})")
        if claims.is_legacy:
            await self._check_legacy(claims, token, now)
        elif claims.secret is not None:
            await self._check_bound("secrets", namespace, claims.secret, now)
        if claims.pod is not None:
            await self._check_bound("pods", namespace, claims.pod, now)
        elif claims.node is not None:
            await self._check_bound("nodes", "", claims.node, now)

    async def _check_bound(self, plural: str, namespace: str, bound: Named, now: float) -> None:
        found = await self._lookup.get("", plural, namespace, bound.name)
        if found is None or is_past(found, now):
            raise TokenRefused(INVALIDATED)
        uid = found["metadata"].get("uid", "")
        if uid != bound.uid:
            raise TokenRefused(f"{plural.removesuffix('s')} UID ({uid}) does not match claim ({bound.uid})")

    async def _check_legacy(self, claims: Claims, token: str, now: float) -> None:
        """The Secret still holds this very token."""
        assert claims.secret is not None, claims
        secret = await self._lookup.get("", "secrets", claims.namespace, claims.secret.name)
        if secret is None or is_past(secret, now) or secret.get("type") != SECRET_TYPE:
            raise TokenRefused(INVALIDATED)
        try:
            kept = base64.b64decode((secret.get("data") or {}).get("token") or "")
        except binascii.Error:
            kept = b""
        if not hmac.compare_digest(kept, token.encode()):
            raise TokenRefused("service account token does not match its secret")


def issuer_of(token: str) -> str:
    """Who claims to have issued a JWT, before anything about it is believed; empty for what is no JWT."""
    parts = token.split(".")
    if len(parts) != 3:
        return ""
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return ""
    issuer = claims.get("iss") if isinstance(claims, dict) else None
    return issuer if isinstance(issuer, str) else ""


def check_times(claims: Claims, now: float) -> None:
    """Raises TokenRefused for a token whose time is over or has not come."""
    if claims.expires_at is not None and now >= claims.expires_at:
        raise TokenRefused("service account token has expired")
    if now < claims.not_before:
        raise TokenRefused("service account token is not valid yet")


def is_past(obj: Object, now: float) -> bool:
    """Whether an object has been on its way out for longer than it was given."""
    deleted_at = obj["metadata"].get("deletionTimestamp")
    return bool(deleted_at) and datetime.fromisoformat(deleted_at).timestamp() < now - DELETION_LEEWAY_S


def user_of(claims: Claims) -> User:
    """The user, with what is known about where the token lives as extra fields."""
    extra: dict[str, tuple[str, ...]] = {}
    if claims.credential:
        extra[f"{EXTRA}credential-id"] = (f"JTI={claims.credential}",)
    for name, bound in (("node", claims.node), ("pod", claims.pod)):
        if bound is not None:
            extra[f"{EXTRA}{name}-name"] = (bound.name,)
            if bound.uid:
                extra[f"{EXTRA}{name}-uid"] = (bound.uid,)
    groups = (SERVICE_ACCOUNTS, f"{SERVICE_ACCOUNTS}:{claims.namespace}")
    return User(claims.subject, groups, claims.account.uid, extra)


def _remarks(claims: Claims, now: float) -> Mapping[str, str]:
    if claims.is_legacy:
        assert claims.secret is not None, claims
        return {LEGACY: claims.secret.name}
    if claims.warn_after and now > claims.warn_after:
        late_s = int(now - claims.warn_after)
        return {STALE: f"subject: {claims.subject}, seconds after warning threshold: {late_s}"}
    return {}
