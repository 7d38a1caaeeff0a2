"""From a request to a user: client certificate first, then bearer token, then nobody.

The TLS layer has verified the certificate against the cluster's authority before we see it. A token that is shown and
not known is refused even where anonymous requests are welcome: its sender believes to be somebody.
"""

from __future__ import annotations

import csv
import hashlib
import hmac
import io
import os
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import structlog

from stark.crds.bootstrap_tokens import CLUSTER_INFO_PATH

from ..errors import Unauthorized
from ..request import ClientCertificate, Request, User
from .identities import ANONYMOUS, AUTHENTICATED, CLOCK_SKEW, NODES, UNAUTHENTICATED, owner_extra
from .revocation import Revocations, serial_of

PROBE_PATHS = frozenset({"/healthz", "/livez", "/readyz", "/health", "/ready", "/live"})
OPEN_PATHS = PROBE_PATHS | {"/version", "/api/config", "/agent", CLUSTER_INFO_PATH}
"""Answered without knowing who asks: probes and version checks come before credentials; so does logging in."""
OPEN_PREFIXES = ("/livez/", "/readyz/", "/healthz/", "/auth/", "/agent/")
CREDENTIAL_PATHS = frozenset({"/auth/setup/status", "/auth/setup", "/auth/login", "/auth/refresh"})
"""Where a person gets a token: the one they may still send with the request, long expired perhaps, says nothing there."""

TOKENS_FILE_BYTES_MAX = 4 * 1024 * 1024
TOKEN_LENGTH_MAX = 16 * 1024

log = structlog.get_logger(__name__)


class TokenAuthenticator(Protocol):
    """One kind of bearer token: static ones here, service account tokens elsewhere."""

    async def user_of(self, token: str) -> User | None:
        """The user the token speaks for; None when it is not a valid token of this kind."""
        ...


class TokenRefused(Exception):
    """The token is of a kind that is known, and is not good; the message says why, for a TokenReview."""


@dataclass(frozen=True, slots=True)
class Identified:
    """Whom a token speaks for, and to whom it may be shown."""

    user: User
    audiences: tuple[str, ...]
    """Those that were asked about and that the token is meant for."""
    audit: Mapping[str, str] = field(default_factory=dict)
    """What the audit log is to say of its use."""


class AudienceAuthenticator(Protocol):
    """A kind of bearer token that says for whom it is meant."""

    async def identify(self, token: str, audiences: Sequence[str]) -> Identified | None:
        """Whom the token speaks for before one of `audiences`; None when it is not of this kind. Raises TokenRefused."""
        ...


def certificate_user(peercert: Mapping[str, Any] | None) -> User | None:
    """The user of a verified certificate as `ssl.getpeercert()` gives it; None without one or without a common name."""
    if not peercert:
        return None
    names: list[str] = []
    groups: list[str] = []
    for relative_name in peercert.get("subject", ()):
        for attribute, value in relative_name:
            if attribute == "commonName":
                names.append(value)
            elif attribute == "organizationName":
                groups.append(value)
    if not names or not names[-1]:
        return None
    # Who answers for an agent, as the signing part wrote it into its certificate.
    uris = (value for kind, value in peercert.get("subjectAltName", ()) if kind == "URI")
    return User(names[-1], tuple(groups), extra=owner_extra(uris) if NODES in groups else {})


def _parse_tokens(text: str) -> dict[bytes, User]:
    """Digest of token -> user, from lines `token,user,uid,"group,group"`. Raises ValueError with the line number."""
    users: dict[bytes, User] = {}
    for number, row in enumerate(csv.reader(io.StringIO(text), strict=True), start=1):
        if not row or row[0].lstrip().startswith("#"):
            continue
        if len(row) < 3:
            raise ValueError(f"line {number}: expected token,user,uid[,groups], got {len(row)} fields")
        token, name, uid = (part.strip() for part in row[:3])
        if not token or not name:
            raise ValueError(f"line {number}: token and user must not be empty")
        groups = tuple(group.strip() for group in row[3].split(",") if group.strip()) if len(row) > 3 else ()
        digest = hashlib.sha256(token.encode()).digest()
        if digest in users:
            raise ValueError(f"line {number}: the token is there twice")
        users[digest] = User(name, groups, uid)
    return users


def client_certificate(peercert: Mapping[str, Any] | None) -> ClientCertificate | None:
    """Which certificate it is and when it is good; None without one that names a user."""
    user = certificate_user(peercert)
    if user is None or peercert is None or "serialNumber" not in peercert:
        return None
    begin, end = (float(ssl.cert_time_to_seconds(peercert[key])) for key in ("notBefore", "notAfter"))
    return ClientCertificate(user.name, serial_of(peercert["serialNumber"]), begin + CLOCK_SKEW.total_seconds(), end)


class StaticTokens:
    """Bearer tokens from a file, read again when it changes.

    A file that turns unreadable leaves the tokens that were known in force and is reported once per change; a file
    that is removed takes all its tokens with it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._users: dict[bytes, User] = {}

    async def user_of(self, token: str) -> User | None:
        """The user of a static token."""
        self._reload()
        digest = hashlib.sha256(token.encode()).digest()
        found: User | None = None
        # Every known digest is compared, in constant time each, so that timing tells nothing about any of them.
        for known, user in self._users.items():
            if hmac.compare_digest(known, digest):
                found = user
        return found

    def _reload(self) -> None:
        try:
            status = os.stat(self._path)
        except FileNotFoundError:
            self._seen, self._users = None, {}
            return
        except OSError as error:
            log.error("tokens file not readable", path=str(self._path), error=str(error))
            return
        # The inode too: an atomic replacement within the clock's resolution may keep size and time.
        stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            if status.st_size > TOKENS_FILE_BYTES_MAX:
                raise ValueError(f"larger than {TOKENS_FILE_BYTES_MAX} bytes")
            self._users = _parse_tokens(self._path.read_text("utf-8"))
        except (OSError, ValueError, csv.Error) as error:
            log.error("tokens file not accepted, the former tokens stay", path=str(self._path), error=str(error))
            return
        if status.st_mode & 0o077:
            log.warning("tokens file is open to others", path=str(self._path), mode=oct(status.st_mode & 0o777))


def is_open(path: str) -> bool:
    """Whether a path is answered to anybody."""
    return path in OPEN_PATHS or path.startswith(OPEN_PREFIXES)


def _bearer_token(header: str) -> str | None:
    scheme, _, token = header.strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


Identify = Callable[[str, Sequence[str]], Awaitable[Identified | None]]


class Authenticator:
    """Tells who is asking, or raises Unauthorized.

    `audiences` are the names by which the API server knows itself in tokens. Tokens that name no audience are meant for
    it, and for nobody else.
    """

    def __init__(
        self,
        tokens: Sequence[TokenAuthenticator | AudienceAuthenticator] = (),
        audiences: Sequence[str] = (),
        revocations: Revocations | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.audiences = tuple(audiences)
        self._revocations, self._clock = revocations, clock
        self._kinds: tuple[Identify, ...] = tuple(
            self._plain(kind.user_of) if hasattr(kind, "user_of") else kind.identify for kind in tokens
        )

    async def authenticate(self, request: Request) -> User:
        """The user behind `request`. Raises Unauthorized for an unknown token and for nobody on a closed path."""
        if request.peer.certificate_user is not None:
            if self._revocations is not None and request.peer.certificate is not None:
                await self._revocations.check(request.peer.certificate, self._clock())
            return authenticated(request.peer.certificate_user)
        token = _bearer_token(request.headers.get("authorization", ""))
        if token is not None and request.path not in CREDENTIAL_PATHS:
            return await self._token_user(token, request)
        if is_open(request.path):
            return User(ANONYMOUS, (UNAUTHENTICATED,))
        raise Unauthorized("Unauthorized")

    async def identify(self, token: str, audiences: Sequence[str] = ()) -> Identified | None:
        """Whom a token speaks for, before one of `audiences` (default: our own); None when no kind knows it.

        Raises TokenRefused with every reason when it is known and not good.
        """
        if not token or len(token) > TOKEN_LENGTH_MAX:
            return None
        reasons: list[str] = []
        for identify in self._kinds:
            try:
                found = await identify(token, audiences or self.audiences)
            except TokenRefused as error:
                reasons.append(str(error))
                continue
            if found is not None:
                return found
        if reasons:
            raise TokenRefused(reasons[0] if len(reasons) == 1 else f"[{', '.join(reasons)}]")
        return None

    async def _token_user(self, token: str, request: Request) -> User:
        try:
            found = await self.identify(token)
        except TokenRefused as error:
            log.info("token refused", reason=str(error), peer=request.peer.address)
            found = None
        if found is None:
            raise Unauthorized("Unauthorized")
        request.audit.update(found.audit)
        return authenticated(found.user)

    def _plain(self, user_of: Callable[[str], Awaitable[User | None]]) -> Identify:
        async def identify(token: str, audiences: Sequence[str]) -> Identified | None:
            shared = tuple(audience for audience in audiences if audience in self.audiences)
            if audiences and not shared:
                return None
            user = await user_of(token)
            return Identified(user, shared) if user is not None else None

        return identify


def authenticated(user: User) -> User:
    """The same user as a member of the group of all who have said who they are."""
    if AUTHENTICATED in user.groups:
        return user
    groups = tuple(dict.fromkeys((*user.groups, AUTHENTICATED)))
    return User(user.name, groups, user.uid, user.extra)
