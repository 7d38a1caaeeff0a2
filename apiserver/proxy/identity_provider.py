"""The provider's public keys: found by discovery, fetched by HTTPS, and fetched again when they may have changed.

Nothing waits for the provider but tokens that need it. While it cannot be reached the keys that are known stay, so that an
outage there locks out nobody who has a token; before it was ever reached its tokens are refused.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import jwt
import structlog

from ..auth.pki import PkiError

DISCOVERY_PATH: Final = "/.well-known/openid-configuration"
FIRST_RETRY_S: Final = 10.0
"""Between attempts to reach a provider that was never reached, as in Kubernetes."""
KEYS_AGE_MAX_S: Final = 600.0
"""How long a key that the provider took back may still be believed."""
REFRESH_PAUSE_S: Final = 10.0
"""At least between two fetches because of an unknown key: anybody can make up a token that names one."""
FETCH_TIMEOUT_S: Final = 15.0
DOCUMENT_BYTES_MAX: Final = 1024 * 1024
KEYS_MAX: Final = 128

log = structlog.get_logger(__name__)


class ProviderError(Exception):
    """The provider cannot be reached, or what it says cannot be used."""


class Provider:
    """The keys of one provider. `run` keeps them fresh. Raises PkiError for a CA file that cannot be used."""

    def __init__(self, issuer: str, ca_file: Path | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._issuer, self._clock = issuer, clock
        try:
            self._tls = ssl.create_default_context(cafile=ca_file)
        except OSError as error:
            raise PkiError(f"{ca_file} holds no certificates to trust the identity provider by: {error}") from error
        self._keys: Sequence[tuple[str, jwt.PyJWK]] = ()
        self._fetching = asyncio.Lock()
        self._asked_at: float | None = None
        self.is_known = False
        """Whether it was ever reached."""

    async def run(self) -> None:
        """Fetch the keys, until they are there and then every now and then."""
        while True:
            try:
                await self._fetch()
            except ProviderError as error:
                log.warning("identity provider not reached", issuer=self._issuer, error=str(error), known=self.is_known)
            await asyncio.sleep(KEYS_AGE_MAX_S if self.is_known else FIRST_RETRY_S)

    async def keys(self, key_id: str | None) -> Sequence[jwt.PyJWK]:
        """The key of that id, or all for a token that names none. An unknown id makes us ask the provider again."""
        found = self._matching(key_id)
        if found or not self.is_known:
            return found
        async with self._fetching:
            found = self._matching(key_id)
            if not found and self._may_ask():
                try:
                    await self._fetch()
                except ProviderError as error:
                    log.warning("identity provider not reached", issuer=self._issuer, error=str(error), known=True)
                finally:
                    self._asked_at = self._clock()  # who waited behind us has had its answer, however late it came
                found = self._matching(key_id)
        return found

    def _may_ask(self) -> bool:
        return self._asked_at is None or self._clock() - self._asked_at >= REFRESH_PAUSE_S

    def _matching(self, key_id: str | None) -> Sequence[jwt.PyJWK]:
        return [key for known_id, key in self._keys if key_id is None or known_id == key_id]

    async def _fetch(self) -> None:
        """Raises ProviderError."""
        self._asked_at = self._clock()
        timeout = aiohttp.ClientTimeout(total=FETCH_TIMEOUT_S)
        async with aiohttp.ClientSession(
            timeout=timeout, trust_env=True, cookie_jar=aiohttp.DummyCookieJar()
        ) as session:
            document = await self._get(session, self._issuer.rstrip("/") + DISCOVERY_PATH)
            if document.get("issuer") != self._issuer:
                told = document.get("issuer")
                raise ProviderError(f"issuer did not match the issuer returned by provider: {told!r}")
            keys_url = document.get("jwks_uri")
            if not isinstance(keys_url, str) or urlsplit(keys_url).scheme != "https":
                raise ProviderError(f"jwks_uri is not an https URL: {keys_url!r}")
            keys = usable_keys(await self._get(session, keys_url))
        if not keys:
            raise ProviderError(f"{keys_url} has no key that can be used")
        self._keys, self.is_known = keys, True

    async def _get(self, session: aiohttp.ClientSession, url: str) -> Mapping[str, Any]:
        try:
            async with session.get(url, ssl=self._tls, allow_redirects=False) as response:
                if response.status != 200:
                    raise ProviderError(f"{url} answered {response.status}")
                body = bytearray()
                async for piece in response.content.iter_any():
                    body += piece
                    if len(body) > DOCUMENT_BYTES_MAX:
                        raise ProviderError(f"{url} is larger than {DOCUMENT_BYTES_MAX} bytes")
                document = json.loads(body)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, RecursionError) as error:
            raise ProviderError(f"{url}: {error or type(error).__name__}") from error
        if not isinstance(document, dict):
            raise ProviderError(f"{url} is not an object")
        return document


def usable_keys(document: Mapping[str, Any]) -> Sequence[tuple[str, jwt.PyJWK]]:
    """The signing keys of a JWK Set, each with its id; what is no asymmetric key for signatures is passed over."""
    listed = document.get("keys")
    listed = listed if isinstance(listed, list) else []
    if len(listed) > KEYS_MAX:
        log.warning("the identity provider has more keys than are looked at", keys=len(listed), looked_at=KEYS_MAX)
    found = []
    for entry in listed[:KEYS_MAX]:
        if not isinstance(entry, dict) or entry.get("use", "sig") != "sig" or entry.get("kty") not in ("RSA", "EC"):
            continue
        try:
            found.append((str(entry.get("kid") or ""), jwt.PyJWK({**entry, "use": "sig"})))
        except (jwt.PyJWTError, ValueError, TypeError):
            continue
    return found
