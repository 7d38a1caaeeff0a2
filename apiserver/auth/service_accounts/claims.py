"""What a service account's token says: read from claims, and put into them. Pure: no clock, no look-ups.

Two shapes. Bound tokens have Kubernetes' private claims under `kubernetes.io`; those that lie in a Secret name their
account by flat claims and never expire.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..authentication import TokenRefused
from ..identities import SERVICE_ACCOUNT_PREFIX

PRIVATE: Final = "kubernetes.io"
LEGACY_ISSUER: Final = "kubernetes/serviceaccount"
LEGACY_PREFIX: Final = "kubernetes.io/serviceaccount/"
MALFORMED: Final = "service account token has malformed claims"


@dataclass(frozen=True, slots=True)
class Named:
    """An object that was there when the token was made."""

    name: str
    uid: str = ""
    """Empty for the Secret of a legacy token, and for a node that was not there."""

    def to_wire(self) -> dict[str, str]:
        """As it stands in the claims."""
        return {"name": self.name, "uid": self.uid} if self.uid else {"name": self.name}


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token of ours says. Times are seconds since 1970."""

    namespace: str
    account: Named
    audiences: tuple[str, ...] = ()
    """Empty for a legacy token, which is good for the API server."""
    credential: str = ""
    """The token's own name (jti)."""
    issued_at: int = 0
    not_before: int = 0
    expires_at: int | None = None
    """None for a legacy token."""
    warn_after: int = 0
    """Past this a use is noted, because the client has not renewed its token; 0 for never."""
    pod: Named | None = None
    node: Named | None = None
    secret: Named | None = None

    @property
    def is_legacy(self) -> bool:
        """It lies in a Secret."""
        return self.expires_at is None

    @property
    def subject(self) -> str:
        """The user name."""
        return f"{SERVICE_ACCOUNT_PREFIX}{self.namespace}:{self.account.name}"

    def to_wire(self, issuer: str) -> dict[str, Any]:
        """The claims of the JWT."""
        if self.is_legacy:
            return self._legacy()
        private: dict[str, Any] = {"namespace": self.namespace}
        for name, bound in (("node", self.node), ("pod", self.pod), ("secret", self.secret)):
            if bound is not None:
                private[name] = bound.to_wire()
        private["serviceaccount"] = self.account.to_wire()
        if self.warn_after:
            private["warnafter"] = self.warn_after
        return {
            "aud": list(self.audiences),
            "exp": self.expires_at,
            "iat": self.issued_at,
            "iss": issuer,
            "jti": self.credential,
            PRIVATE: private,
            "nbf": self.not_before,
            "sub": self.subject,
        }

    def _legacy(self) -> dict[str, Any]:
        assert self.secret is not None, self
        return {
            "iss": LEGACY_ISSUER,
            f"{LEGACY_PREFIX}namespace": self.namespace,
            f"{LEGACY_PREFIX}secret.name": self.secret.name,
            f"{LEGACY_PREFIX}service-account.name": self.account.name,
            f"{LEGACY_PREFIX}service-account.uid": self.account.uid,
            "sub": self.subject,
        }


def read_claims(claims: Mapping[str, Any]) -> Claims:
    """From claims that a key of ours has signed. Raises TokenRefused."""
    read = _read_legacy(claims) if claims.get("iss") == LEGACY_ISSUER else _read_bound(claims)
    if claims.get("sub") != read.subject:
        raise TokenRefused("service account token is for another subject than its claims")
    return read


def _read_legacy(claims: Mapping[str, Any]) -> Claims:
    namespace, secret, name, uid = (
        _text(claims, LEGACY_PREFIX + key)
        for key in ("namespace", "secret.name", "service-account.name", "service-account.uid")
    )
    return Claims(namespace, Named(name, uid), secret=Named(secret))


def _read_bound(claims: Mapping[str, Any]) -> Claims:
    private = claims.get(PRIVATE)
    if not isinstance(private, dict):
        raise TokenRefused(MALFORMED)
    account = _named(private.get("serviceaccount"))
    if account is None or not account.uid:
        raise TokenRefused(MALFORMED)
    return Claims(
        _text(private, "namespace"),
        account,
        audiences_of(claims.get("aud")),
        str(claims.get("jti") or ""),
        _seconds(claims.get("iat", 0)),
        _seconds(claims.get("nbf", 0)),
        _seconds(claims.get("exp")),
        _seconds(private.get("warnafter", 0)),
        _named(private.get("pod")),
        _named(private.get("node")),
        _named(private.get("secret")),
    )


def audiences_of(given: Any) -> tuple[str, ...]:
    """One audience or several (RFC 7519 section 4.1.3). Raises TokenRefused."""
    listed: Sequence[Any] = [given] if isinstance(given, str) else given if isinstance(given, list) else ()
    if not listed or not all(isinstance(item, str) for item in listed):
        raise TokenRefused(MALFORMED)
    return tuple(listed)


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not value:
        raise TokenRefused(MALFORMED)
    return value


def _seconds(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TokenRefused(MALFORMED)
    return int(value)


def _named(value: Any) -> Named | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise TokenRefused(MALFORMED)
    return Named(_text(value, "name"), str(value.get("uid") or ""))
