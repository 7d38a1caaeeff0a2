"""Acting as somebody else: `kubectl --as`, for those who may.

Each user and group named in an `Impersonate-*` header is a question of its own (verb `impersonate` on `users`,
`groups`, `uids` or `userextras/<key>`). A header that cannot be honoured is refused, never ignored: the sender would
take the answer for the other user's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import unquote

from ..errors import BadRequest
from ..request import Request, User
from .authorization import AuthorizationAttributes, Authorizer, forbidden
from .identities import ANONYMOUS, AUTHENTICATED, SERVICE_ACCOUNT_PREFIX, SERVICE_ACCOUNTS, UNAUTHENTICATED

PREFIX = "impersonate-"
USER_HEADER = "impersonate-user"
GROUP_HEADER = "impersonate-group"
UID_HEADER = "impersonate-uid"
EXTRA_PREFIX = "impersonate-extra-"
NAMED_MAX = 256
"""Most groups and extra values in one request; each costs an authorization."""

AUTHENTICATION_GROUP = "authentication.k8s.io"


def _values(headers: Mapping[str, str], name: str) -> list[str]:
    return [part.strip() for part in headers.get(name, "").split(",") if part.strip()]


def _questions(user: User, wanted: User) -> Iterator[AuthorizationAttributes]:
    account = service_account(wanted.name)
    if account is None:
        yield AuthorizationAttributes(user, "impersonate", resource="users", name=wanted.name)
    else:
        namespace, name = account
        yield AuthorizationAttributes(user, "impersonate", resource="serviceaccounts", namespace=namespace, name=name)
    for group in wanted.groups:
        yield AuthorizationAttributes(user, "impersonate", resource="groups", name=group)
    if wanted.uid:
        yield AuthorizationAttributes(
            user, "impersonate", group=AUTHENTICATION_GROUP, version="v1", resource="uids", name=wanted.uid
        )
    for key, values in wanted.extra.items():
        for value in values:
            yield AuthorizationAttributes(
                user,
                "impersonate",
                group=AUTHENTICATION_GROUP,
                version="v1",
                resource="userextras",
                subresource=key,
                name=value,
            )


def service_account(user: str) -> tuple[str, str] | None:
    """Namespace and name of the service account whose user name this is."""
    namespace, found, name = user.removeprefix(SERVICE_ACCOUNT_PREFIX).partition(":")
    is_one = user.startswith(SERVICE_ACCOUNT_PREFIX) and found and namespace and name and ":" not in name
    return (namespace, name) if is_one else None


async def impersonate(request: Request, user: User, authorizer: Authorizer) -> User:
    """The user to act as: `user`, or whom the headers name. Raises Forbidden, BadRequest."""
    headers = request.headers
    # In one search over all names: every request comes by here.
    if PREFIX not in "\n".join(headers):
        return user
    extra = {
        unquote(name.removeprefix(EXTRA_PREFIX)): tuple(_values(headers, name))
        for name in headers
        if name.startswith(EXTRA_PREFIX)
    }
    groups = tuple(_values(headers, GROUP_HEADER))
    name, uid = headers.get(USER_HEADER, "").strip(), headers.get(UID_HEADER, "").strip()
    if not name:
        if groups or uid or extra:
            raise BadRequest("requested impersonation of groups, uid or extra without impersonating a user")
        return user
    if len(groups) + sum(len(values) for values in extra.values()) > NAMED_MAX:
        raise BadRequest(f"impersonation names more than {NAMED_MAX} groups and extra values")
    wanted = User(name, groups, uid, extra)
    for question in _questions(user, wanted):
        decision = await authorizer.authorize(question)
        if not decision.is_outright:
            raise forbidden(question, decision)
    account = service_account(name)
    if account is not None and not groups:
        # Nobody can take a service account out of its groups, so that they need not be asked for.
        groups = (SERVICE_ACCOUNTS, f"{SERVICE_ACCOUNTS}:{account[0]}")
    implied = UNAUTHENTICATED if name == ANONYMOUS else AUTHENTICATED
    return User(name, tuple(dict.fromkeys((*groups, implied))), uid, extra)
