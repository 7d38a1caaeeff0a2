"""Tokens by which a browser is a node: what a certificate is to an agent on a machine.

A page can keep no certificate, so it exchanges what lets it in, a bootstrap token or a login, for a token that speaks for
one node. The first is short and good for making the Node; renewed, it is bound to that Node's uid, and ends with it. The
rights are those of every agent (`nodes`), and so are fencing and restriction.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

from stark.crds.incarnations import incarnation_of

from ..request import User
from .identities import NODE_PREFIX, NODES, OWNER_EXTRA, OWNER_ROLE_EXTRA
from .nodes import Lookup
from .sessions.tokens import AUDIENCE, ISSUER, SigningKeys

TYPE: Final = "stark-node+jwt"
UNBOUND_S: Final = 600
"""Life of a token from before its Node was made: enough to make it, and to ask for the next one."""
BOUND_S: Final = 7 * 86_400
"""Life of a token of a Node that is there: a laptop may be shut for a long weekend. Whoever deletes the Node ends it."""
REQUIRED: Final = ("sub", "jti", "owner", "ownerRole", "node", "installation")


@dataclass(frozen=True, slots=True)
class NodeToken:
    """What is given out."""

    token: str
    expires_s: float
    bound: bool
    """Whether it ends with the Node."""


class NodeTokens:
    """Makes them, and is their TokenAuthenticator."""

    def __init__(self, keys: SigningKeys, lookup: Lookup, clock: Callable[[], float] = time.time) -> None:
        self._keys, self._lookup, self._clock = keys, lookup, clock

    async def issue(self, node: str, owner: str, owner_role: str, installation: str) -> NodeToken:
        """A token for the agent of `node`, bound to the Node if there is one."""
        found = await self._lookup.get("", "nodes", "", node)
        uid = str(found["metadata"]["uid"]) if found is not None else ""
        now = int(self._clock())
        expires = now + (BOUND_S if uid else UNBOUND_S)
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": NODE_PREFIX + node,
            "jti": uuid4().hex,
            "iat": now,
            "exp": expires,
            "owner": owner,
            "ownerRole": owner_role,
            "node": uid,
            "installation": installation,
        }
        return NodeToken(self._keys.sign(claims, TYPE), float(expires), bool(uid))

    async def user_of(self, token: str) -> User | None:
        """The agent's user; None for any other token, and when its Node is gone or another by now."""
        claims = self._keys.verified(token, TYPE, REQUIRED)
        if claims is None or claims["exp"] <= self._clock():
            return None
        name, uid = str(claims["sub"]), str(claims["node"])
        found = await self._lookup.get("", "nodes", "", name.removeprefix(NODE_PREFIX))
        if uid and (found is None or found["metadata"].get("uid") != uid):
            return None
        if not uid and found is not None and not _is_held_by(found, str(claims["installation"])):
            return None  # somebody else has made the node meanwhile
        extra = {OWNER_EXTRA: (str(claims["owner"]),)} if claims["owner"] else {}
        if claims["ownerRole"]:
            extra[OWNER_ROLE_EXTRA] = (str(claims["ownerRole"]),)
        return User(name, (NODES,), extra=extra)


def _is_held_by(node: Mapping[str, Any], installation: str) -> bool:
    holder = incarnation_of(node["metadata"]).holder
    return holder is not None and holder.installation == installation
