"""`/auth/*`: setting up, registering, logging in and out, and who the users are."""

from __future__ import annotations

from collections.abc import Sequence

from ..auth.sessions.credentials import Credentials
from ..cluster_config import ClusterSettings
from ..request import Answer, Request
from .envelope import success
from .facade import Route

SETUP_KEY = "setup"
"""The record that says that there has been a first administrator."""


class Accounts:
    """The handlers."""

    def __init__(self, credentials: Credentials, config: ClusterSettings) -> None:
        self._credentials, self._config = credentials, config

    def routes(self) -> Sequence[Route]:
        """What is answered here."""
        return (Route("GET", "/auth/setup/status", self.setup_status),)

    async def setup_status(self, request: Request, found: Sequence[str]) -> Answer:
        """Whether the first administrator is still to be made, and whether anybody may register."""
        needs_setup = await self._credentials.read(SETUP_KEY) is None
        return success({"needsSetup": needs_setup, "registrationEnabled": self._config.allows_registration})
