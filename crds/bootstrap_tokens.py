"""Bootstrap tokens: a Secret in kube-system lets new machines in for a while. What one says, and how one is written.

Format and rules are Kubernetes': `<id>.<secret>`, usages, an end, extra groups. Standard library only: starkctl reads it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

SECRET_TYPE = "bootstrap.kubernetes.io/token"
NAMESPACE = "kube-system"
NAME_PREFIX = "bootstrap-token-"
TOKEN = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})")
ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"

AUTHENTICATION, SIGNING = "authentication", "signing"
USAGES = (AUTHENTICATION, SIGNING)
_USAGE_KEY = "usage-bootstrap-"

USER_PREFIX = "system:bootstrap:"
GROUP = "system:bootstrappers"
GROUP_PATTERN = re.compile(r"system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]")
DEFAULT_GROUP = "system:bootstrappers:stark:default-node-token"
"""The group of tokens by which nodes join: it may ask for the identity of a new node, and for nothing else."""

CLUSTER_INFO_NAMESPACE, CLUSTER_INFO = "kube-public", "cluster-info"
CLUSTER_INFO_PATH = f"/api/v1/namespaces/{CLUSTER_INFO_NAMESPACE}/configmaps/{CLUSTER_INFO}"
"""Where anybody reads the authority's certificate, signed for each token's holder."""
KUBECONFIG_KEY = "kubeconfig"
SIGNATURE_PREFIX = "jws-kubeconfig-"


class Token(NamedTuple):
    """What the Secret of a token says."""

    token_id: str
    secret: str
    usages: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    """Beside `system:bootstrappers`."""
    expires_at: datetime | None = None
    """None: never, which nobody should want."""
    description: str = ""

    def is_over(self, now: datetime) -> bool:
        """Whether its time has come."""
        return self.expires_at is not None and self.expires_at <= now

    def __repr__(self) -> str:
        return f"Token({self.token_id})"


class BadToken(ValueError):
    """The Secret says no token; the message says why. It never quotes the secret."""


def new_token() -> str:
    """A fresh one, of 82 bits that cannot be guessed."""
    parts = ("".join(secrets.choice(ALPHABET) for _ in range(length)) for length in (6, 16))
    return ".".join(parts)


def read_secret(secret: Mapping[str, Any]) -> Token:
    """From the object in wire form. Raises BadToken."""
    try:
        encoded: Mapping[str, str] = secret.get("data") or {}
        data = {key: base64.b64decode(value, validate=True).decode() for key, value in encoded.items()}
    except (binascii.Error, ValueError) as error:
        raise BadToken("its data are not base64 of text") from error
    token_id, token_secret = data.get("token-id", ""), data.get("token-secret", "")
    if not TOKEN.fullmatch(f"{token_id}.{token_secret}"):
        raise BadToken("token-id must be 6 and token-secret 16 letters and digits")
    if (secret.get("metadata") or {}).get("name") != NAME_PREFIX + token_id:
        raise BadToken(f"its name must be {NAME_PREFIX}<token-id>")
    groups = tuple(part.strip() for part in data.get("auth-extra-groups", "").split(",") if part.strip())
    for group in groups:
        if not GROUP_PATTERN.fullmatch(group):
            raise BadToken(f"auth-extra-groups: {group!r} does not begin with {GROUP}:")
    usages = tuple(usage for usage in USAGES if data.get(_USAGE_KEY + usage) == "true")
    return Token(
        token_id, token_secret, usages, groups, _moment(data.get("expiration", "")), data.get("description", "")
    )


def _moment(text: str) -> datetime | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadToken("expiration is no time of RFC 3339") from error
    if moment.tzinfo is None:
        raise BadToken("expiration has no time zone")
    return moment


def secret_of(token: Token) -> dict[str, Any]:
    """The Secret that says it."""
    data = {
        "token-id": token.token_id,
        "token-secret": token.secret,
        **{_USAGE_KEY + usage: "true" for usage in token.usages},
    }
    if token.groups:
        data["auth-extra-groups"] = ",".join(token.groups)
    if token.expires_at is not None:
        data["expiration"] = token.expires_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if token.description:
        data["description"] = token.description
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": NAME_PREFIX + token.token_id, "namespace": NAMESPACE},
        "type": SECRET_TYPE,
        "stringData": data,
    }


def _b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def sign(content: str, token_id: str, secret: str) -> str:
    """A detached signature (RFC 7515, appendix F) of `content` with HMAC-SHA256, for whoever has the token."""
    head = _b64url(json.dumps({"alg": "HS256", "kid": token_id}, separators=(",", ":")).encode())
    digest = hmac.digest(secret.encode(), f"{head}.{_b64url(content.encode())}".encode(), hashlib.sha256)
    return f"{head}..{_b64url(digest)}"


def is_signed(content: str, signature: str, token_id: str, secret: str) -> bool:
    """Whether the signature is by this very token over this very content."""
    return hmac.compare_digest(sign(content, token_id, secret).encode(), signature.encode())
