"""`POST /auth/node-token`: a bootstrap token or a login for a token that speaks for a node, and that for the next.

Who may let a node in is asked in the words in which it is asked of machines (`nodeclient`), and the same holds about names:
a node that is there belongs to its owner, and to nobody who merely has a bootstrap token.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import structlog

from stark.crds.annotations import NODE_TYPE_BROWSER, OWNER

from ..auth.authorization import AuthorizationAttributes, Authorizer, forbidden
from ..auth.identities import OWNER_EXTRA, OWNER_ROLE_EXTRA, UnknownIdentity, is_admin, node_identity
from ..auth.node_tokens import NodeTokens
from ..auth.nodes import Lookup, node_name
from ..errors import BadRequest, Conflict
from ..facade.envelope import success
from ..facade.facade import Route, read_fields
from ..facade.permission import somebody
from ..proxy.agents import is_browser
from ..request import Answer, Request, User
from ..times import timestamp

FIELDS: Final = {"node": str, "installation": str}
INSTALLATION: Final = re.compile(r"[0-9a-f]{16}")
BOOTSTRAP_PREFIX: Final = "system:bootstrap:"

log = structlog.get_logger(__name__)


class TokenDesk:
    """The handler."""

    def __init__(self, tokens: NodeTokens, lookup: Lookup, authorizer: Authorizer) -> None:
        self._tokens, self._lookup, self._authorizer = tokens, lookup, authorizer

    def routes(self) -> Sequence[Route]:
        """What is answered here."""
        return (Route("POST", "/auth/node-token", self.exchange),)

    async def exchange(self, request: Request, found: Sequence[str]) -> Answer:
        """A token for the node that is named. Raises Unauthorized, Forbidden, BadRequest, Conflict."""
        user = somebody(request)
        body = await read_fields(request, FIELDS, ("node", "installation"))
        node, installation = body["node"], body["installation"]
        try:
            node_identity(node)
        except UnknownIdentity as error:
            raise BadRequest(str(error)) from error
        if not INSTALLATION.fullmatch(installation):
            raise BadRequest("installation must be 16 hexadecimal digits")
        own = node_name(user)
        if own and own != node:
            raise BadRequest(f'the agent of node "{own}" gets tokens for that node only')
        if not own:
            await self._judge(user, node)
        owner, role = _owner(user)
        made = await self._tokens.issue(node, owner, role, installation)
        log.info("node token issued", node=node, by=user.name, bound=made.bound)
        return success(
            {
                "token": made.token,
                "expiresAt": timestamp(datetime.fromtimestamp(made.expires_s, UTC)),
                "bound": made.bound,
            }
        )

    async def _judge(self, user: User, node: str) -> None:
        """Raises Forbidden, Conflict."""
        asked = AuthorizationAttributes(
            user, "create", "certificates.k8s.io", "v1", "certificatesigningrequests", "nodeclient"
        )
        decision = await self._authorizer.authorize(asked)
        if not decision.is_outright:
            raise forbidden(asked, decision)
        there = await self._lookup.get("", "nodes", "", node)
        if there is None:
            return
        is_person = not user.name.startswith(BOOTSTRAP_PREFIX)
        owner = (there["metadata"].get("annotations") or {}).get(OWNER)
        if not is_person or owner != user.name or not is_browser(there):
            message = f'there is a node "{node}" already: choose another name, or delete the Node first'
            raise Conflict(
                f"{message} (kubectl delete node {node}); only the owner of a {NODE_TYPE_BROWSER} takes it back"
            )


def _owner(user: User) -> tuple[str, str]:
    """Whose the node is and their rank, as a certificate would say it."""
    given = user.extra.get(OWNER_EXTRA)
    if given:
        return given[0], (user.extra.get(OWNER_ROLE_EXTRA) or ("",))[0]
    if node_name(user):
        return "", ""
    return user.name, "admin" if is_admin(user) else ""
