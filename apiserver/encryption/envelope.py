"""The form of a sealed value: AES-256-GCM under a data key, which travels along wrapped by a key of the configuration.

    stark:enc:aesgcm:v1:<key name>:<wrapped data key, 60 bytes><nonce, 12 bytes><ciphertext and tag>

A data key seals the values of one process for a while, so that the key in the file encrypts nothing but data keys, and
no nonce is near its birthday (NIST SP 800-38D 8.3). The value's place in the store is authenticated with it: a value
that somebody moved to another key does not open. No JSON begins like this, so a value in clear is told from a sealed one.
"""

from __future__ import annotations

import os
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ..store.protocol import Unavailable

MAGIC: Final = b"stark:enc:aesgcm:v1:"
KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
WRAPPED_BYTES: Final = NONCE_BYTES + KEY_BYTES + TAG_BYTES
KEY_NAME_MAX: Final = 63
"""Characters of a key's name."""
VALUES_PER_DATA_KEY: Final = 1 << 24
"""After so many values a new data key is made: the chance that two of them share a random nonce stays below 2**-48."""
DATA_KEYS_KNOWN_MAX: Final = 4_096
"""Unwrapped data keys kept at hand. Each start of a server adds one; past this all are forgotten and unwrapped again."""


class Undecipherable(Unavailable):
    """A value cannot be opened: its key is missing or another, or somebody changed the value or moved it."""


class Sealed(NamedTuple):
    """The parts of a sealed value. `header` is everything before the nonce: it stands for one data key."""

    key_name: str
    header: bytes
    wrapped: bytes
    body: bytes


def is_sealed(value: bytes) -> bool:
    """Whether the value is in the form above."""
    return value.startswith(MAGIC)


def parse(place: bytes, value: bytes) -> Sealed:
    """The parts of the sealed value at `place`. Raises Undecipherable."""
    start = len(MAGIC)
    colon = value.find(b":", start, start + KEY_NAME_MAX + 1)
    end = colon + 1 + WRAPPED_BYTES
    if colon < 0 or len(value) < end + NONCE_BYTES + TAG_BYTES:
        raise Undecipherable(f"the value of {place.decode(errors='replace')} is not whole: restore it from a backup")
    name = value[start:colon].decode("ascii", "replace")
    return Sealed(name, value[:end], value[colon + 1 : end], value[end:])


class DataKey:
    """A key that seals values. `header` names it, wrapped, in every value it sealed."""

    __slots__ = ("_cipher", "header", "left")

    def __init__(self, header: bytes, secret: bytes) -> None:
        self.header, self._cipher = header, AESGCM(secret)
        self.left = VALUES_PER_DATA_KEY
        """Values it may still seal."""

    def seal(self, place: bytes, value: bytes) -> bytes:
        """The value as it is stored at `place`."""
        self.left -= 1
        nonce = os.urandom(NONCE_BYTES)
        return self.header + nonce + self._cipher.encrypt(nonce, value, MAGIC + place)

    def open(self, place: bytes, sealed: Sealed) -> bytes:
        """The value in clear. Raises Undecipherable."""
        nonce, text = sealed.body[:NONCE_BYTES], sealed.body[NONCE_BYTES:]
        try:
            return self._cipher.decrypt(nonce, text, MAGIC + place)
        except InvalidTag:
            where = place.decode(errors="replace")
            raise Undecipherable(
                f"the value of {where} was changed or moved there by somebody else than an API server: "
                "restore it from a backup, or delete its key from the store"
            ) from None


class WrappingKey:
    """A key of the configuration: it encrypts nothing but data keys."""

    def __init__(self, name: str, secret: bytes) -> None:
        assert len(secret) == KEY_BYTES, name
        self.name, self._cipher = name, AESGCM(secret)
        self._purpose = MAGIC + b"data key of " + name.encode()

    def new_data_key(self) -> DataKey:
        """A fresh one."""
        secret, nonce = AESGCM.generate_key(8 * KEY_BYTES), os.urandom(NONCE_BYTES)
        wrapped = nonce + self._cipher.encrypt(nonce, secret, self._purpose)
        return DataKey(b"%b%b:%b" % (MAGIC, self.name.encode(), wrapped), secret)

    def unwrap(self, sealed: Sealed) -> DataKey | None:
        """The data key of a sealed value; None when another key of this name wrapped it."""
        nonce, text = sealed.wrapped[:NONCE_BYTES], sealed.wrapped[NONCE_BYTES:]
        try:
            return DataKey(sealed.header, self._cipher.decrypt(nonce, text, self._purpose))
        except InvalidTag:
            return None
