"""Image names: which ones are packs, which version they mean, and which object holds it.

`pack.stark/<pack>[:<version>]` is a pack, anything else belongs to a container engine. Versions are ordered by semantic
versioning, so that a late fix of an old line never becomes the latest.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

PACK_HOST = "pack.stark"
"""The registry host that is no registry: it marks an image as a pack."""
OBJECT_NAME_LENGTH_MAX = 253
HASH_LENGTH = 8
"""Hex digits appended to an object name that could not keep its pack's spelling."""
VERSION_LENGTH_MAX = 256

_PACK_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_-]{0,63}", re.ASCII)
_IDENTIFIER = r"(?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)"
_SEMVER = re.compile(
    r"(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)"
    rf"(?:-({_IDENTIFIER}(?:\.{_IDENTIFIER})*))?(?:\+([0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?",
    re.ASCII,
)


class ImageError(ValueError):
    """The image names a pack and does so wrongly, or a version is no semantic version."""


@dataclass(frozen=True, slots=True)
class PackRef:
    """A pack named by an image; without a version the newest release is meant."""

    name: str
    version: str | None = None

    def __str__(self) -> str:
        tag = f":{self.version}" if self.version else ""
        return f"{PACK_HOST}/{self.name}{tag}"


def is_pack(image: str) -> bool:
    """Whether the image is meant as a pack, well spelled or not."""
    return image.startswith(f"{PACK_HOST}/")


def parse_image(image: str) -> PackRef | None:
    """The pack an image names, None when it belongs to a container engine. Raises ImageError for a misspelled pack."""
    if not is_pack(image):
        return None
    name, colon, version = image.removeprefix(f"{PACK_HOST}/").partition(":")
    if not _PACK_NAME.fullmatch(name):
        raise ImageError(f"{image}: pack names are 1 to 64 letters, digits, '-' and '_' and begin with a letter")
    if colon and (len(version) > VERSION_LENGTH_MAX or not _SEMVER.fullmatch(version)):
        raise ImageError(f"{image}: {version!r} is not a semantic version such as 1.2.0")
    return PackRef(name, version if colon else None)


def pack_object_name(name: str, version: str) -> str:
    """The name of the Pack object: `<name>.<version>`, made a DNS name, with a hash when that changed its spelling."""
    original = f"{name}.{version}"
    labels = re.sub(r"[^a-z0-9.-]", "-", original.lower()).split(".")
    changed = ".".join(label.strip("-") or "0" for label in labels)
    if changed == original and len(original) <= OBJECT_NAME_LENGTH_MAX:
        return original
    suffix = hashlib.sha256(original.encode()).hexdigest()[:HASH_LENGTH]
    kept = changed[: OBJECT_NAME_LENGTH_MAX - HASH_LENGTH - 1].rstrip(".-")
    return f"{kept}-{suffix}"


VersionKey = tuple[int, int, int, int, tuple[tuple[int, int, str], ...]]


def is_version(version: str) -> bool:
    """Whether the text is a semantic version."""
    return len(version) <= VERSION_LENGTH_MAX and _SEMVER.fullmatch(version) is not None


def is_prerelease(version: str) -> bool:
    """Whether the version is a prerelease, e.g. `2.0.0-rc.1`. Raises ImageError for what is no version."""
    return version_key(version)[3] == 0


def version_key(version: str) -> VersionKey:
    """A key that sorts by semantic versioning's precedence (build metadata counts for nothing). Raises ImageError."""
    match = _SEMVER.fullmatch(version) if len(version) <= VERSION_LENGTH_MAX else None
    if match is None:
        raise ImageError(f"{version!r} is not a semantic version such as 1.2.0")
    major, minor, patch, prerelease, _build = match.groups()
    # Numbers sort below words, and a release above all of its prereleases.
    identifiers = tuple(
        (0, int(part), "") if part.isdigit() else (1, 0, part) for part in (prerelease.split(".") if prerelease else ())
    )
    return int(major), int(minor), int(patch), 0 if prerelease else 1, identifiers


def latest_version(versions: Iterable[str]) -> str | None:
    """The highest release; the highest prerelease when there is no release; None of none.

    Of two versions with the same precedence the later one in `versions` wins, so pass them in order of creation.
    What is no semantic version is passed over.
    """
    best: str | None = None
    rank: tuple[int, VersionKey] | None = None
    for version in versions:
        if not is_version(version):
            continue
        key = version_key(version)
        if rank is None or (key[3], key) >= rank:
            best, rank = version, (key[3], key)
    return best
