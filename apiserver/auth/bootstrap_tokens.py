"""Bootstrap tokens as bearer tokens: the Secret `bootstrap-token-<id>` in kube-system says who may come in, and until when.

A token makes its holder `system:bootstrap:<id>`, a user that may ask for certificates and little else. It is looked up at
each use, so that deleting the Secret ends it at once.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import structlog

from stark.crds.bootstrap_tokens import (
    AUTHENTICATION,
    GROUP,
    NAME_PREFIX,
    NAMESPACE,
    SECRET_TYPE,
    TOKEN,
    USER_PREFIX,
    BadToken,
    read_secret,
)

from ..request import User
from .identities import ADMIN, OWNER_EXTRA, OWNER_ROLE_EXTRA
from .nodes import Lookup

INFRASTRUCTURE: Mapping[str, tuple[str, ...]] = {OWNER_EXTRA: (ADMIN.user,), OWNER_ROLE_EXTRA: ("admin",)}
"""Whose the nodes are that come by a token: the administrators', who alone can write Secrets in kube-system."""

log = structlog.get_logger(__name__)


def _now() -> datetime:
    return datetime.now(UTC)


class BootstrapTokens:
    """See the module."""

    def __init__(self, lookup: Lookup, clock: Callable[[], datetime] = _now) -> None:
        self._lookup, self._clock = lookup, clock

    async def user_of(self, token: str) -> User | None:
        """The user of a bootstrap token that is good now."""
        match = TOKEN.fullmatch(token)
        if match is None:
            return None
        token_id, given = match.groups()
        found = await self._lookup.get("", "secrets", NAMESPACE, NAME_PREFIX + token_id)
        if found is None or found.get("type") != SECRET_TYPE or found["metadata"].get("deletionTimestamp"):
            return None
        try:
            known = read_secret(found)
        except BadToken as error:
            log.warning("a bootstrap token is not usable", token_id=token_id, reason=str(error))
            return None
        is_same = hmac.compare_digest(known.secret.encode(), given.encode())
        if not is_same or known.is_over(self._clock()) or AUTHENTICATION not in known.usages:
            return None
        return User(USER_PREFIX + token_id, tuple(dict.fromkeys((GROUP, *known.groups))), extra=INFRASTRUCTURE)
