"""The key the audit log is signed with. Its public half goes wherever copies of the log are kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from stark.crds.audit.head import Statement

from ..auth.files import PUBLIC_FILE_MODE, write_whole
from .errors import SigningKeyError

KEY_NAME: Final = "audit-signing.key"
PUBLIC_NAME: Final = "audit-signing.pub"


class Signer:
    """Signs statements about one log."""

    def __init__(self, key: Ed25519PrivateKey, *, is_new: bool = False) -> None:
        self._key = key
        self.is_new = is_new
        """There was none before, so that there cannot be a log."""
        self.public_key = key.public_key().public_bytes_raw()

    @classmethod
    def open(cls, pki: Path) -> Signer:
        """The cluster's; made at the first start. Raises SigningKeyError."""
        path = pki / KEY_NAME
        try:
            is_new = not path.exists()
            if is_new:
                _make(pki)
            key = serialization.load_pem_private_key(path.read_bytes(), None)
        except (OSError, ValueError, TypeError) as error:
            raise SigningKeyError(f"{path} cannot be read ({error}): restore it from a backup") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise SigningKeyError(f"{path} is not an Ed25519 key: restore it from a backup")
        return cls(key, is_new=is_new)

    def sign(self, statement: Statement) -> Statement:
        """The same with a signature."""
        own = replace(statement, public_key=self.public_key)
        return replace(own, signature=self._key.sign(own.message))


def _make(pki: Path) -> None:
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    write_whole(pki / PUBLIC_NAME, public, PUBLIC_FILE_MODE)
    write_whole(pki / KEY_NAME, private)
