"""What is asked of a bundler, and what it tells of the file it made."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

BUNDLE_BYTES_MAX = 512 * 1024 * 1024
"""Largest bundle that a server takes."""
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Wishes:
    """How a bundle is to be made."""

    out: Path | None = None
    """Where to write it; None for the usual name in the working directory."""
    runtime: str | None = None
    """What shall run it; None for what the source suggests."""
    name: str | None = None
    """Name of the pack; None for what the project calls itself."""
    entrypoint: str = "default"
    """The exported function that will be called."""
    install: bool = True
    """Whether missing dependencies may be installed."""
    build: bool = True
    """Whether to build at all: otherwise the source is taken for the result of a build."""
    minify: bool = False
    """Whether JavaScript is made small at the price of readable stack traces."""


@dataclass(slots=True)
class Bundled:
    """A bundle that was written and looked at."""

    path: Path
    runtime: str
    name: str
    architecture: str = "any"
    included: list[tuple[str, int]] = field(default_factory=list)
    """What went in, with its bytes: packages, or the project's own files."""
    left_out: list[str] = field(default_factory=list)
    """What did not, and why."""
    metadata: dict[str, str] = field(default_factory=dict)
    """What is to be said of it when it is registered."""
    source_map: Path | None = None

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self.path.stat().st_size

    @property
    def sha256(self) -> str:
        """Digest of the file, in lower-case hex."""
        digest = hashlib.sha256()
        with self.path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
        return digest.hexdigest()
