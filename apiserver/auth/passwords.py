"""Passwords: the rule they must meet, and Argon2id (RFC 9106) over them, off the event loop and only so many at a time.

Whether a user exists cannot be told from how long an answer takes: for nobody, a password is compared with the hash of
nothing, which costs the same.
"""

from __future__ import annotations

import asyncio
import secrets
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from argon2 import PasswordHasher, Type
from argon2.exceptions import Argon2Error, InvalidHashError
from prometheus_client import CollectorRegistry, Histogram

from ..errors import TooManyRequests
from ..settings import PasswordSettings

LENGTH_MIN: Final = 8
"""Characters."""
BYTES_MAX: Final = 1_024
"""Of a password in UTF-8: far more than anybody types, and little to hash."""
SALT_BYTES: Final = 16
HASH_BYTES: Final = 32
RETRY_AFTER_S: Final = 2
"""When too many are being hashed; by then the queue is shorter."""
DURATIONS_S: Final = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


def problems(password: str) -> list[str]:
    """What a new password lacks; empty when it will do."""
    text = _normal(password)
    found = []
    if len(text) < LENGTH_MIN:
        found.append(f"must have at least {LENGTH_MIN} characters")
    if len(text.encode("utf-8", "surrogatepass")) > BYTES_MAX:
        found.append(f"must have at most {BYTES_MAX} bytes")
    if not any(sign.isupper() for sign in text):
        found.append("must have an upper-case letter")
    if not any(sign.islower() for sign in text):
        found.append("must have a lower-case letter")
    if not any(sign.isdigit() for sign in text):
        found.append("must have a digit")
    return found


def _normal(password: str) -> str:
    """The same signs by the same bytes, however a keyboard made them (NIST SP 800-63B 3.1.1.2)."""
    return unicodedata.normalize("NFKC", password)


class Passwords:
    """Hashes and compares. `close` ends its threads."""

    def __init__(self, settings: PasswordSettings, registry: CollectorRegistry) -> None:
        self._hasher = PasswordHasher(
            time_cost=settings.passes,
            memory_cost=settings.memory_kib,
            parallelism=settings.lanes,
            hash_len=HASH_BYTES,
            salt_len=SALT_BYTES,
            type=Type.ID,
        )
        self._threads = ThreadPoolExecutor(settings.hashes_at_once, "password")
        self._waiting, self._waiting_max = 0, settings.hashes_at_once + settings.waiting_max
        self._nobody: str | None = None
        self._durations = Histogram(
            "stark_password_hash_duration_seconds",
            "From the wish to hash a password to the hash, the wait for a thread included.",
            buckets=DURATIONS_S,
            registry=registry,
        )

    async def hash(self, password: str) -> str:
        """The password's hash with a salt of its own, in PHC form. Raises TooManyRequests."""
        return await self._aside(_normal(password), None)

    async def matches(self, password: str, known: str | None) -> bool:
        """Whether the password is the one of that hash; never for None, after as long. Raises TooManyRequests."""
        if self._nobody is None:
            self._nobody = await self.hash(secrets.token_urlsafe())
        is_same = bool(await self._aside(_normal(password), known or self._nobody))
        return is_same and known is not None

    def is_outdated(self, known: str) -> bool:
        """Whether the hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(known)

    async def _aside(self, password: str, known: str | None) -> str:
        if self._waiting >= self._waiting_max:
            raise TooManyRequests("too many people log in at this moment", retry_after_s=RETRY_AFTER_S)
        self._waiting += 1
        try:
            with self._durations.time():
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(self._threads, self._work, password, known)
        finally:
            self._waiting -= 1

    def _work(self, password: str, known: str | None) -> str:
        """A new hash; or the known one when it is the password's, else nothing."""
        plain = password.encode("utf-8", "surrogatepass")
        if known is None:
            return self._hasher.hash(plain)
        try:
            self._hasher.verify(known, plain)
        except (Argon2Error, InvalidHashError):
            return ""
        return known

    def close(self) -> None:
        """Take no more work; what is being hashed is waited for by its thread alone."""
        self._threads.shutdown(wait=False, cancel_futures=True)
