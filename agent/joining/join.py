"""From a command line to an identity: what is kept from before, or a join with a token, as a person, or by registering.

An agent that has joined needs none of these again: its certificates are on disk and renew themselves. A server that is away
is waited for, however long; a refusal is told and ends the start, since no repetition makes it an agreement.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from stark.client.api import Client
from stark.client.backoff import Backoff
from stark.client.config import ClientConfig
from stark.client.errors import ApiError, Forbidden, Invalid, Unauthorized
from stark.crds.certificates import NODE_USER_PREFIX

from .discovery import Untrusted, discover, read_authorities
from .person import NodeFiles, NotRegistered, home, log_in, register
from .requesting import Refused, Unanswered, obtain
from .shelf import Credential, IdentityShelf, Use

log = logging.getLogger(__name__)

RETRY_MAX_S = 30.0


class JoinRefused(Exception):
    """The cluster does not let this machine in, or is not the right one; the message says why."""


@dataclass(frozen=True, slots=True)
class JoinSettings:
    """How this machine becomes a node when it is none yet."""

    server: str
    """URL of the API server."""
    token: str = ""
    """A bootstrap token (`starkctl token create`)."""
    email: str = ""
    """Join as a person who may have nodes."""
    password: str = field(default="", repr=False)
    """Theirs."""
    ca_file: Path | None = None
    """Trust these authorities."""
    ca_pins: tuple[str, ...] = ()
    """Or those with one of these fingerprints, `sha256:<hex>`."""
    insecure: bool = False
    """Or whatever the server shows at the first contact: the last resort."""


def _now() -> datetime:
    return datetime.now(UTC)


async def identity_of(
    node: str,
    shelf: IdentityShelf,
    join: JoinSettings,
    *,
    files: NodeFiles | None = None,
    clock: Callable[[], datetime] = _now,
) -> ClientConfig:
    """Who we are, with both certificates on the shelf. Returns when the cluster has agreed. Raises JoinRefused."""
    backoff = Backoff(max_s=RETRY_MAX_S)
    joining = _Joining(node, shelf, join, files or NodeFiles(home()), clock)
    while True:
        try:
            return await joining.identity()
        except (Refused, Untrusted, NotRegistered, Unauthorized, Forbidden, Invalid) as error:
            raise JoinRefused(str(error)) from error
        except (ApiError, Unanswered) as error:
            log.warning("not joined yet", extra={"server": join.server, "error": str(error)})
            await asyncio.sleep(backoff.next_s())


class _Joining:
    def __init__(
        self, node: str, shelf: IdentityShelf, join: JoinSettings, files: NodeFiles, clock: Callable[[], datetime]
    ) -> None:
        self._node, self._shelf, self._join, self._files, self._clock = node, shelf, join, files, clock

    async def identity(self) -> ClientConfig:
        """One attempt."""
        client = self._kept("client")
        config = ClientConfig(server=self._join.server.rstrip("/"), ca_data=await self._trust(), source="--server")
        if client is None:
            client = await self._request("client", await self._admitted(config))
            log.info("joined", extra={"server": config.server, "node": self._node})
        own = config._replace(client_cert_data=client.certificate_pem, client_key_data=client.key_pem)
        if self._kept("serving") is None:
            await self._request("serving", own)
        return own

    def _kept(self, use: Use) -> Credential | None:
        found = self._shelf.credential(use)
        is_good = found is not None and found.is_good(NODE_USER_PREFIX + self._node, self._clock())
        return found if is_good else None

    async def _trust(self) -> bytes:
        """The authorities: a file that is given counts, then what was learnt before, then discovery."""
        join = self._join
        if join.ca_file is not None:
            return read_authorities(join.ca_file)
        known = self._shelf.authorities
        if known is not None:
            return known
        found = await discover(join.server, join.token, join.ca_pins, believes=join.insecure)
        self._shelf.keep_authorities(found)
        return found

    async def _admitted(self, config: ClientConfig) -> ClientConfig:
        """With something that lets us ask for an identity."""
        join = self._join
        if join.token:
            return config._replace(token=join.token)
        if join.email:
            return config._replace(token=await log_in(config, join.email, join.password))
        return config._replace(token=await register(config, self._node, self._files))

    async def _request(self, use: Use, config: ClientConfig) -> Credential:
        key = self._shelf.pending_key(use)
        try:
            async with Client(config, user_agent="stark-agent") as client:
                credential = await obtain(client, self._node, use, key)
        except Refused:
            self._shelf.drop_pending(use)
            raise
        self._shelf.keep(use, credential)
        return credential
