"""Make a pair of keys for signing packs: PREFIX.key stays with you, PREFIX.pub goes into a PackTrustPolicy.

The private key is kept under a passphrase, which is asked for or taken from STARK_KEY_PASSPHRASE.

Examples:
  starkctl pack keygen release                     release.key and release.pub
  starkctl pack keygen ci --no-passphrase          for a place that keeps secrets itself
"""

from __future__ import annotations

import argparse
import os

from ..errors import EXIT_OK, CommandError
from ..options import Session
from ..signing_keys import new_passphrase

CONNECTS = False


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("prefix", nargs="?", default="stark-pack", metavar="PREFIX", help="default stark-pack")
    parser.add_argument("--no-passphrase", action="store_true", help="keep the private key in the clear (mode 0600)")


def run(args: argparse.Namespace, session: Session) -> int:
    """Make both files; what is there already is never overwritten."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        KeySerializationEncryption,
        NoEncryption,
        PrivateFormat,
        PublicFormat,
    )

    from stark.crds.signing import key_id

    private, public = f"{args.prefix}.key", f"{args.prefix}.pub"
    for path in (private, public):
        if os.path.lexists(path):
            raise CommandError(f"{path} exists: no key is ever overwritten")
    locked: KeySerializationEncryption = (
        NoEncryption() if args.no_passphrase else BestAvailableEncryption(new_passphrase())
    )
    key = Ed25519PrivateKey.generate()
    _write(private, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked), 0o600)
    _write(public, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), 0o644)
    print(f"{private} and {public} written; key id {key_id(key.public_key())}")
    return EXIT_OK


def _write(path: str, content: bytes, mode: int) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error.strerror}") from error
