"""Where an agent keeps who it is: DATA_DIR/pki, private to it, each file replaced in one step.

`client.pem` and `serving.pem` hold a certificate with its key; `client.key` and `serving.key` a key whose certificate has
been asked for and not come yet, so that an agent which is killed in between asks again for the same key and is taken for
itself; `ca.crt` whom it trusts.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from .reading import Facts, belongs_to_its_key, read_certificate

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

Use = Literal["client", "serving"]


@dataclass(frozen=True, slots=True)
class Credential:
    """A certificate with its key, both PEM."""

    certificate_pem: bytes
    key_pem: bytes

    @property
    def facts(self) -> Facts:
        """What the certificate says. Raises ValueError."""
        return read_certificate(self.certificate_pem)

    @property
    def certificate(self) -> x509.Certificate:
        """The certificate, read by the cryptographic library. Raises ValueError."""
        from cryptography import x509

        return x509.load_pem_x509_certificate(self.certificate_pem)

    def is_good(self, user: str, now: datetime) -> bool:
        """Whether it says `user`, belongs to its key, and is valid now."""
        try:
            facts = self.facts
        except ValueError:
            return False
        return (
            facts.common_names == (user,)
            and facts.not_valid_before_utc <= now < facts.not_valid_after_utc
            and belongs_to_its_key(self.certificate_pem, self.key_pem)
        )


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """In PEM, unencrypted: the directory protects it."""
    from cryptography.hazmat.primitives import serialization

    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


class IdentityShelf:
    """The directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def credential(self, use: Use) -> Credential | None:
        """What is kept; None when there is none, or it cannot be read."""
        try:
            pem = (self.directory / f"{use}.pem").read_bytes()
        except OSError:
            return None
        begin = pem.find(b"-----BEGIN CERTIFICATE-----")
        return Credential(pem[begin:], pem[:begin]) if begin > 0 else None

    def keep(self, use: Use, credential: Credential) -> None:
        """Keep it in place of the former one, and forget the key that waited for it. Raises OSError."""
        self._write(f"{use}.pem", credential.key_pem.rstrip() + b"\n" + credential.certificate_pem)
        (self.directory / f"{use}.key").unlink(missing_ok=True)

    def pending_key(self, use: Use) -> ec.EllipticCurvePrivateKey:
        """The key to ask a certificate for: one that was asked for before, or a new one. Raises OSError."""
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        path = self.directory / f"{use}.key"
        try:
            known = serialization.load_pem_private_key(path.read_bytes(), None)
            if isinstance(known, ec.EllipticCurvePrivateKey) and not self._has(use, known):
                return known
        except (FileNotFoundError, ValueError):
            pass  # absent or damaged: nothing was issued for it that we have
        key = ec.generate_private_key(ec.SECP256R1())
        self._write(path.name, key_pem(key))
        return key

    def _has(self, use: Use, key: ec.EllipticCurvePrivateKey) -> bool:
        """Whether a key has its certificate already, and an agent was killed before it could clear up."""
        kept = self.credential(use)
        return kept is not None and kept.key_pem.strip() == key_pem(key).strip()

    def drop_pending(self, use: Use) -> None:
        """What was asked for was refused: the next request is another one."""
        (self.directory / f"{use}.key").unlink(missing_ok=True)

    def forget(self) -> None:
        """What was given from outside is newer: what was renewed of the former identity is of no use."""
        for name in ("client.pem", "serving.pem", "client.key", "serving.key"):
            (self.directory / name).unlink(missing_ok=True)

    @property
    def authorities(self) -> bytes | None:
        """Whom we trust, in PEM; None when nothing is kept."""
        try:
            return (self.directory / "ca.crt").read_bytes()
        except OSError:
            return None

    def keep_authorities(self, pem: bytes) -> None:
        """Trust these from now on. Raises OSError."""
        self._write("ca.crt", pem)

    def _write(self, name: str, content: bytes) -> None:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.directory.chmod(0o700)
        write_private(self.directory / name, content)


def write_private(path: Path, content: bytes, sync: Callable[[int], None] = os.fsync) -> None:
    """Replace a file by one that only we may read, durably and in one step. Raises OSError."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            sync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        sync(folder)
    finally:
        os.close(folder)
