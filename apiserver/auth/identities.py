"""Who gets a client certificate, and how the certificate says so: common name = user, organisation = group."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import quote, unquote

from ..request import User

MASTERS = "system:masters"
CONTROLLERS = "system:controllers"
NODES = "system:nodes"
AUTHENTICATED = "system:authenticated"
UNAUTHENTICATED = "system:unauthenticated"
ANONYMOUS = "system:anonymous"
NODE_PREFIX = "system:node:"
SERVICE_ACCOUNTS = "system:serviceaccounts"
"""Every service account's group; with a colon and a namespace, that of the namespace's."""
SERVICE_ACCOUNT_PREFIX = "system:serviceaccount:"
ADMINISTRATORS = "stark:admin"
"""The group of the people who administer the cluster; roles are bound to it, while MASTERS need none."""

CLOCK_SKEW = timedelta(minutes=5)
"""How far a certificate's start lies before its issue, for machines whose clock is behind."""

OWNER_EXTRA = "stark.dev/owner"
"""Key of a user's `extra`: the person who answers for this agent, or for this bootstrap token."""
OWNER_URI = "stark-owner:"
"""Begins the name (a URI) in an agent's certificate that says the same. Only the signing part writes such a name."""
OWNER_ROLE_EXTRA = "stark.dev/owner-role"
OWNER_ROLE_URI = "stark-owner-role:"
"""The same of the owner's rank: `admin`, when that is an administrator."""

COMMON_NAME_LENGTH_MAX = 64
"""X.509's bound on a common name (RFC 5280, ub-common-name)."""

NODE_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")

RESERVED_NODE_NAMES = frozenset({"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"})
"""An agent's certificate is a server certificate for its node's name: with one of these it could pose as the API server."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A user with groups who proves it by a client certificate."""

    user: str
    groups: tuple[str, ...]
    node_name: str = ""
    """Set for an agent: its certificate is a server certificate for that name as well."""
    owner: str = ""
    """Whose the agent's node is: who let the agent in. Empty: nobody's, and then it serves administrators only."""
    owner_role: str = ""
    """`admin` when the owner is an administrator: the node serves everybody."""


ADMIN = Identity("admin", (MASTERS,))
CONTROLLER_PROGRAM = Identity("system:stark-controllers", (CONTROLLERS,))
API_SERVER = Identity("system:apiserver", (MASTERS,))
"""How the API server introduces itself to agents."""


def is_admin(user: User) -> bool:
    """Whether the user administers the cluster: a master, or one of the administrators."""
    return MASTERS in user.groups or ADMINISTRATORS in user.groups


class UnknownIdentity(ValueError):
    """The text names no identity; the message says what would."""


def owner_uris(owner: str, role: str = "") -> Iterator[str]:
    """The alternative names in an agent's certificate that say whose its node is; a subject has no room for them."""
    if owner:
        yield OWNER_URI + quote(owner, safe="@")
    if owner and role:
        yield OWNER_ROLE_URI + quote(role, safe="")


def owner_extra(uris: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The user's extra fields of a verified certificate with these names."""
    found: dict[str, tuple[str, ...]] = {}
    for uri in uris:
        for prefix, key in ((OWNER_URI, OWNER_EXTRA), (OWNER_ROLE_URI, OWNER_ROLE_EXTRA)):
            if uri.startswith(prefix):
                found.setdefault(key, (unquote(uri.removeprefix(prefix)),))
    return found


def node_identity(name: str, owner: str = "", owner_role: str = "") -> Identity:
    """The identity of the agent on node `name`. Raises UnknownIdentity when no node can have that name."""
    user = NODE_PREFIX + name
    if not NODE_NAME.fullmatch(name) or name in RESERVED_NODE_NAMES:
        raise UnknownIdentity(f"{name!r} cannot be the name of a node")
    if len(user) > COMMON_NAME_LENGTH_MAX:
        raise UnknownIdentity(
            f"node name {name!r} is longer than {COMMON_NAME_LENGTH_MAX - len(NODE_PREFIX)} characters"
        )
    return Identity(user, (NODES,), name, owner, owner_role)


def parse_identity(text: str) -> Identity:
    """`admin`, `controllers` or `node:<name>`, as the kubeconfig command takes it. Raises UnknownIdentity."""
    if text == "admin":
        return ADMIN
    if text == "controllers":
        return CONTROLLER_PROGRAM
    if text.startswith("node:"):
        # Who asks for it in these words has the authority's key in hand, and so is the administrator.
        return node_identity(text.removeprefix("node:"), ADMIN.user, "admin")
    raise UnknownIdentity(f"identity {text!r} is not one of admin, controllers, node:<name>")
