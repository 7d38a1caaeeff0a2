"""Signing keys in files: Ed25519, PKCS#8 in PEM, under a passphrase unless somebody says otherwise.

A passphrase is typed without echo or comes from $STARK_KEY_PASSPHRASE; never from the command line.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from .errors import CommandError, UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PASSPHRASE_VARIABLE = "STARK_KEY_PASSPHRASE"
KEY_BYTES_MAX = 65_536


def new_passphrase() -> bytes:
    """A passphrase for a new key. Raises UsageError, CommandError."""
    given = os.environ.get(PASSPHRASE_VARIABLE)
    if given:
        return given.encode()
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError(f"set {PASSPHRASE_VARIABLE}, or say --no-passphrase: nobody can be asked")
    import getpass

    first = getpass.getpass("Passphrase for the key: ")
    if not first:
        raise CommandError("no passphrase was given; --no-passphrase makes a key without one")
    if getpass.getpass("The same again: ") != first:
        raise CommandError("the two passphrases differ: no key was made")
    return first.encode()


def read_private_key(path: str) -> Ed25519PrivateKey:
    """The key in a file, asking for its passphrase when it has one. Raises CommandError."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    pem = read_key_file(path)
    try:
        try:
            key = load_pem_private_key(pem, None)
        except TypeError:  # how `cryptography` says that a passphrase is missing
            key = load_pem_private_key(pem, _passphrase(path))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CommandError(f"{path} is no private key, or the passphrase is wrong") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise CommandError(f"{path} is no Ed25519 key: make one with `starkctl pack keygen`")
    return key


def read_public_key(path: str) -> str:
    """The public key in a file, as PEM. Raises CommandError."""
    from stark.crds.signing import KeyUnusable, public_key

    try:
        pem = read_key_file(path).decode("ascii")
        public_key(pem)
    except UnicodeDecodeError as error:
        raise CommandError(f"{path} is no key in PEM") from error
    except KeyUnusable as error:
        raise CommandError(f"{path}: {error}") from error
    return pem


def read_key_file(path: str) -> bytes:
    """The file, when it is as short as keys are. Raises CommandError."""
    try:
        with open(path, "rb") as file:
            content = file.read(KEY_BYTES_MAX + 1)
    except OSError as error:
        raise CommandError(f"cannot read the key {path}: {error.strerror}") from error
    if len(content) > KEY_BYTES_MAX:
        raise CommandError(f"{path} is too long for a key")
    return content


def _passphrase(path: str) -> bytes:
    given = os.environ.get(PASSPHRASE_VARIABLE)
    if given:
        return given.encode()
    if sys.stdin is None or not sys.stdin.isatty():
        raise CommandError(f"the key {path} has a passphrase: set {PASSPHRASE_VARIABLE}")
    import getpass

    return getpass.getpass(f"Passphrase of {path}: ").encode()
