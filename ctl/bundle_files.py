"""Bundles on this machine and on the server: their bytes and digests."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from stark.crds.images import is_version, pack_object_name

from .errors import CommandError, ServerError, UsageError
from .options import Session

PACKS = "/apis/stark.dev/v1/packs"
HASH_CHUNK_BYTES = 1 << 20


def measure(path: str) -> tuple[int, str]:
    """Bytes and sha256 of a file. Raises CommandError."""
    digest = hashlib.sha256()
    size = 0
    try:
        with open(path, "rb") as source:
            while chunk := source.read(HASH_CHUNK_BYTES):
                digest.update(chunk)
                size += len(chunk)
    except OSError as error:
        raise CommandError(f"cannot read the bundle {path}: {error.strerror}") from error
    if not size:
        raise CommandError(f"the bundle {path} is empty: build it first")
    return size, digest.hexdigest()


def registered_pack(session: Session, ref: str) -> dict[str, Any]:
    """The Pack that NAME:VERSION names. Raises UsageError, CommandError."""
    name, _, version = ref.partition(":")
    if not name or not is_version(version):
        raise UsageError(f"{ref!r} is not NAME:VERSION, e.g. hello:1.0.0")
    try:
        pack = session.api.get(f"{PACKS}/{pack_object_name(name, version)}")
    except ServerError as error:
        if error.reason != "NotFound":
            raise
        raise CommandError(f"pack {name} has no version {version}: `starkctl pack versions {name}`") from error
    if (pack["spec"]["name"], pack["spec"]["version"]) != (name, version):
        raise CommandError(f"pack {name} has no version {version}: `starkctl pack versions {name}`")
    return pack


def compare(pack: dict[str, Any], files: Iterable[str]) -> set[str]:
    """The digests of the pack's bundles that the files are. Raises CommandError for a file that is none of them."""
    known = {one["sha256"] for one in pack["spec"]["bundles"]}
    found = set()
    for path in files:
        _, digest = measure(path)
        if digest not in known:
            spec = pack["spec"]
            raise CommandError(
                f"{path} (sha256 {digest[:12]}) is no bundle of pack {spec['name']} {spec['version']} as it is registered"
            )
        found.add(digest)
    return found
