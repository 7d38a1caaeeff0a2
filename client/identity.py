"""Who we are on each request: a token, one from a file that rotates, what a program hands out, and whom we act as.

A certificate is part of the connection, so a program that hands out a new one gives a new TLS context: connections made
with the former are left to the pool, which closes them when they are idle.
"""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

from .config import ClientConfig
from .errors import Unauthorized
from .exec_plugins import Credential, ExecError, ExecSource
from .tls import ssl_context

TOKEN_AGE_MAX_S = 60.0


class Identity:
    """The headers and the TLS context of the next request."""

    def __init__(self, config: ClientConfig) -> None:
        self._config = config
        self._acting = config.impersonate.headers()
        self._token: str | None = config.token
        self._token_read_at = float("-inf")
        own = config.token or config.token_file or config.client_cert_data
        self._source = ExecSource(config.exec_plugin) if config.exec_plugin is not None and not own else None
        self._shown: Credential | None = None
        self._running = asyncio.Lock()  # of many requests that find the credential expired, one runs the program
        self.tls: ssl.SSLContext | None = ssl_context(config)
        """None for http."""

    async def headers(self) -> list[tuple[str, str]]:
        """Authorization and impersonation. Raises Unauthorized when a program hands out nothing, or a file is not there."""
        if self._source is not None:
            self._token = (await self._credential(self._source)).token
        elif self._config.token_file is not None:
            now = asyncio.get_running_loop().time()
            if now - self._token_read_at > TOKEN_AGE_MAX_S:
                self._token, self._token_read_at = _read(self._config.token_file), now
        return [*([("Authorization", f"Bearer {self._token}")] if self._token else ()), *self._acting]

    async def renew(self, refused: list[tuple[str, str]]) -> bool:
        """Whether there is something else to show than the headers that were refused (401)."""
        if self._source is not None and self._shown is not None:
            shown = self._shown
            async with self._running:
                if self._shown is shown:
                    await self._show(await self._asked(self._source, shown))
            return self._shown != shown
        if self._config.token_file is not None:
            self._token_read_at = float("-inf")
            return await self.headers() != refused
        return False

    async def _credential(self, source: ExecSource) -> Credential:
        held = source.held
        if held is None or held is not self._shown:
            async with self._running:
                held = source.held or await self._asked(source, None)
                await self._show(held)
        return held

    async def _asked(self, source: ExecSource, refused: Credential | None) -> Credential:
        try:
            if refused is not None:
                return await asyncio.to_thread(source.renewed, refused)
            return await asyncio.to_thread(source.current)
        except ExecError as error:
            raise Unauthorized(str(error), code=0) from error

    async def _show(self, credential: Credential) -> None:
        before, self._shown = self._shown, credential
        certificates = (credential.certificate, credential.key)
        if certificates != ((before.certificate, before.key) if before is not None else (None, None)):
            own = self._config._replace(client_cert_data=credential.certificate, client_key_data=credential.key)
            self.tls = ssl_context(own)


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError as error:
        raise Unauthorized(f"the token in {file} cannot be read: {error.strerror}", code=0) from error
