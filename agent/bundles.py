"""Bundles on this node: fetched from the API server by sha256, verified while they stream, kept by their content.

A file in the store is whole and right, or it is not there: it is hashed on the way in, renamed into place after an
fsync, and hashed again before it is used when the file has been touched since, or the agent is a new process. The oldest
unused files go when the quota is full.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator, Callable, Set
from contextlib import AbstractAsyncContextManager
from pathlib import Path

CHUNK = 1 << 20
MODE = 0o555  # readable by every pod's user, and executable for binaries


class BundleError(Exception):
    """The bundle cannot be had now; the message says what to do about it."""


class Digest(BundleError):
    """What arrived is not what was asked for."""


Fetch = Callable[[str, str], AbstractAsyncContextManager[AsyncIterator[bytes]]]
"""Opens the stream of a bundle: (pack object name, sha256). Raises BundleError."""


Fingerprint = tuple[int, int, int, int]


def _fingerprint(path: Path) -> Fingerprint:
    """What changes when a file is written to or replaced; the time of the last change of its inode cannot be set."""
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_ctime_ns


class BundleStore:
    """The node's cache of bundles, at most `quota_bytes` beyond those in use."""

    def __init__(self, directory: Path, quota_bytes: int, fetch: Fetch) -> None:
        self._directory = directory
        self._quota = quota_bytes
        self._fetch = fetch
        self._locks: dict[str, asyncio.Lock] = {}
        self._verified: dict[str, Fingerprint] = {}
        directory.mkdir(parents=True, exist_ok=True, mode=0o755)
        for leftover in directory.glob("*.part"):
            leftover.unlink(missing_ok=True)

    def path(self, sha256: str) -> Path:
        """Where the bundle is, if it is there."""
        return self._directory / sha256

    async def ensure(self, pack: str, sha256: str, size: int) -> tuple[Path, bool]:
        """The verified file, and whether it was here already. Raises BundleError; a digest mismatch is a Digest."""
        async with self._locks.setdefault(sha256, asyncio.Lock()):
            path = self.path(sha256)
            here = await asyncio.to_thread(self._is_good, path, sha256, size)
            if here:
                os.utime(path)
            else:
                await self._download(pack, sha256, size, path)
            self._verified[sha256] = _fingerprint(path)
            return path, here

    def evict(self, in_use: Set[str], quota: int | None = None) -> list[str]:
        """Remove the least recently used bundles that no pod uses until the quota holds; returns their digests."""
        files = [(f.stat().st_mtime, f.stat().st_size, f) for f in self._directory.iterdir() if f.suffix != ".part"]
        excess = sum(size for _, size, _ in files) - (self._quota if quota is None else quota)
        gone = []
        for _, size, file in sorted(files):
            if excess <= 0:
                break
            if file.name in in_use or self._locked(file.name):
                continue
            file.unlink(missing_ok=True)
            self._verified.pop(file.name, None)
            self._locks.pop(file.name, None)
            excess -= size
            gone.append(file.name)
        return gone

    def _locked(self, sha256: str) -> bool:
        lock = self._locks.get(sha256)
        return lock is not None and lock.locked()

    def _is_good(self, path: Path, sha256: str, size: int) -> bool:
        try:
            if path.stat().st_size != size:
                return False
            if self._verified.get(sha256) == _fingerprint(path):
                return True
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == sha256
        except FileNotFoundError:
            return False

    async def _download(self, pack: str, sha256: str, size: int, path: Path) -> None:
        part = path.with_name(f"{sha256}.{os.getpid()}.{time.monotonic_ns()}.part")
        digest, received = hashlib.sha256(), 0
        try:
            with part.open("wb") as file:
                async with self._fetch(pack, sha256) as chunks:
                    async for chunk in chunks:
                        received += len(chunk)
                        if received > size:
                            raise Digest(f"bundle {sha256} of pack {pack} has more than the announced {size} bytes")
                        digest.update(chunk)
                        file.write(chunk)
                if digest.hexdigest() != sha256:
                    found = f"{received} bytes with sha256 {digest.hexdigest()}"
                    raise Digest(f"bundle of pack {pack}: expected {size} bytes with sha256 {sha256}, got {found}")
                file.flush()
                await asyncio.to_thread(os.fsync, file.fileno())
            part.chmod(MODE)
            part.rename(path)
        except OSError as error:
            raise BundleError(f"bundle {sha256} cannot be stored: {error}") from error
        finally:
            part.unlink(missing_ok=True)
