"""Bundles on this node: fetched by sha256, verified while they stream, kept by their content.

A file in the store is whole and right, or it is not there: it is hashed on the way in, renamed into place after an
fsync, and hashed again before it is used when the file has been touched since, or the agent is a new process. One that is
damaged is fetched again. What no pod uses goes, the least recently used first, when the store is larger than its quota or
the disk is nearly full; what a pod uses never goes.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from prometheus_client import Counter, Gauge

from .fetching import Arriving, BundleError, Source, StorageFailed

log = logging.getLogger(__name__)

MODE = 0o555  # readable by every pod's user, and executable for binaries
PART: Final = ".part"

CACHE_BYTES = Gauge("stark_agent_bundle_cache_bytes", "Bytes of the bundles that are kept")
REQUESTS = Counter("stark_agent_bundle_requests", "Bundles that were asked for, by where they were found", ["found"])
DOWNLOADED = Counter("stark_agent_bundle_downloaded_bytes", "Bytes of bundles that came in", ["source"])
DAMAGED = Counter(
    "stark_agent_bundles_damaged", "Bundles that were no longer what they had been, and were fetched again"
)
EVICTED = Counter("stark_agent_bundles_evicted", "Bundles that were removed because of their room", ["cause"])


class Digest(BundleError):
    """What arrived is not what was asked for."""


@dataclass(frozen=True, slots=True)
class CacheLimits:
    """How much room bundles may take."""

    quota_bytes: int
    """Bytes of bundles; those in use count, and stay even beyond it."""
    high: float
    """Used share of the disk from which unused bundles go."""
    low: float
    """Used share down to which they go then."""
    age_min_s: float
    """A bundle that came, or from which a container was started, later than so long ago does not go because of the disk."""


@dataclass(frozen=True, slots=True)
class Disk:
    """The file system on which the bundles lie, in bytes."""

    capacity: int
    available: int


@dataclass(frozen=True, slots=True)
class Kept:
    """A bundle that no pod uses."""

    sha256: str
    size: int
    used_s: float
    """When a pod last used it."""


Fingerprint = tuple[int, int, int, int]


def _fingerprint(path: Path) -> Fingerprint:
    """What changes when a file is written to or replaced; the time of the last change of its inode cannot be set."""
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_ctime_ns


def bytes_beyond(disk: Disk, limits: CacheLimits) -> int:
    """Bytes to free so that the disk is used up to the low threshold, if it is used beyond the high one; else 0.

    The kubelet's rule for images (imageGCHighThresholdPercent).
    """
    if disk.capacity <= 0 or 1 - disk.available / disk.capacity < limits.high:
        return 0
    return max(0, round(disk.capacity * (1 - limits.low)) - disk.available)


def oldest_first(unused: list[Kept], beyond: int) -> list[Kept]:
    """Those that go so that so many bytes are freed: the least recently used first."""
    gone: list[Kept] = []
    for one in sorted(unused, key=lambda one: (one.used_s, one.sha256)):
        if beyond <= 0:
            break
        gone.append(one)
        beyond -= one.size
    return gone


class BundleStore:
    """The node's bundles."""

    def __init__(
        self, directory: Path, limits: CacheLimits, source: Source, *, now: Callable[[], float] = time.time
    ) -> None:
        self._directory = directory
        self._limits = limits
        self._source = source
        self._now = now
        self._locks: dict[str, asyncio.Lock] = {}
        self._verified: dict[str, Fingerprint] = {}
        self._used_s: dict[str, float] = {}
        self._held: dict[str, set[str]] = {}
        directory.mkdir(parents=True, exist_ok=True, mode=0o755)
        for leftover in directory.glob(f"*{PART}"):
            leftover.unlink(missing_ok=True)
        self._tell_size()

    def path(self, sha256: str) -> Path:
        """Where the bundle is, if it is there."""
        return self._directory / sha256

    def hold(self, uid: str, sha256: str) -> None:
        """The pod with this uid uses the bundle until it lets go."""
        self._held.setdefault(uid, set()).add(sha256)

    def let_go(self, uid: str) -> None:
        """The pod is no more."""
        for sha256 in self._held.pop(uid, ()):
            self._used_s[sha256] = self._now()

    async def ensure(self, uid: str, pack: str, sha256: str, size: int) -> tuple[Path, bool]:
        """The verified file, held for a pod, and whether it was here already.

        Raises BundleError; a digest mismatch is a Digest.
        """
        self.hold(uid, sha256)
        async with self._locks.setdefault(sha256, asyncio.Lock()):
            path = self.path(sha256)
            here = await asyncio.to_thread(self._is_good, path, sha256, size)
            if here:
                os.utime(path)
                REQUESTS.labels("cache").inc()
            else:
                self._evict(self._bytes() + size - self._limits.quota_bytes, "quota")
                await self._download(pack, sha256, size, path)
                self._tell_size()
            self._verified[sha256] = _fingerprint(path)
            self._used_s[sha256] = self._now()
            return path, here

    def collect(self) -> list[str]:
        """Remove what no pod uses until quota and thresholds hold; returns the digests. Raises OSError."""
        gone = self._evict(self._bytes() - self._limits.quota_bytes, "quota")
        beyond = bytes_beyond(self._disk(), self._limits)
        gone += self._evict(beyond, "disk", age_min_s=self._limits.age_min_s)
        self._tell_size()
        return gone

    def clear(self) -> list[str]:
        """Remove everything that no pod uses, because the disk runs out. Raises OSError."""
        gone = self._evict(self._bytes(), "pressure")
        self._tell_size()
        return gone

    def _disk(self) -> Disk:
        disk = os.statvfs(self._directory)
        return Disk(disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize)

    def _files(self) -> list[Path]:
        return [file for file in self._directory.iterdir() if file.suffix != PART]

    def _bytes(self) -> int:
        return sum(file.stat().st_size for file in self._files())

    def _tell_size(self) -> None:
        CACHE_BYTES.set(self._bytes())

    def _evict(self, beyond: int, cause: str, *, age_min_s: float = 0.0) -> list[str]:
        if beyond <= 0:
            return []
        gone = oldest_first(self._unused(self._now() - age_min_s), beyond)
        for one in gone:
            self.path(one.sha256).unlink(missing_ok=True)
            for book in (self._verified, self._locks, self._used_s):
                book.pop(one.sha256, None)
        EVICTED.labels(cause).inc(len(gone))
        if (missing := beyond - sum(one.size for one in gone)) > 0 and cause == "disk":
            log.warning("too few unused bundles to free the disk", extra={"missing_bytes": missing})
        return [one.sha256 for one in gone]

    def _unused(self, until_s: float) -> list[Kept]:
        held = {sha256 for digests in self._held.values() for sha256 in digests}
        unused: list[Kept] = []
        for file in self._files():
            lock, status = self._locks.get(file.name), file.stat()
            if file.name in held or (lock is not None and lock.locked()):
                continue
            # A former agent's uses are known by the time that each has left on the file.
            used_s = max(status.st_mtime, self._used_s.get(file.name, 0.0))
            if status.st_mtime <= until_s:
                unused.append(Kept(file.name, status.st_size, used_s))
        return unused

    def _is_good(self, path: Path, sha256: str, size: int) -> bool:
        try:
            status = path.stat()
            if status.st_size == size:
                if self._verified.get(sha256) == _fingerprint(path):
                    return True
                with path.open("rb") as file:
                    if hashlib.file_digest(file, "sha256").hexdigest() == sha256:
                        return True
        except FileNotFoundError:
            return False
        DAMAGED.inc()
        log.warning("a bundle is damaged and fetched again", extra={"sha256": sha256, "bytes": status.st_size})
        return False

    async def _download(self, pack: str, sha256: str, size: int, path: Path) -> None:
        part = path.with_name(f"{sha256}.{os.getpid()}.{time.monotonic_ns()}{PART}")
        try:
            with part.open("wb") as file:
                try:
                    await self._receive(file, pack, sha256, size, direct=True)
                except StorageFailed as error:
                    log.warning("the object storage failed: fetching from the server", extra={"error": str(error)})
                    REQUESTS.labels("storage-failed").inc()
                    file.seek(0)
                    file.truncate()
                    await self._receive(file, pack, sha256, size, direct=False)
                file.flush()
                await asyncio.to_thread(os.fsync, file.fileno())
            part.chmod(MODE)
            part.rename(path)
        except OSError as error:
            raise BundleError(f"bundle {sha256} cannot be stored: {error}") from error
        finally:
            part.unlink(missing_ok=True)

    async def _receive(self, file: BinaryIO, pack: str, sha256: str, size: int, *, direct: bool) -> None:
        async with self._source.open(pack, sha256, direct=direct) as arriving:
            source = "storage" if arriving.is_direct else "server"
            try:
                await _write_verified(file, arriving, pack, sha256, size)
            except Digest as error:
                if arriving.is_direct:
                    raise StorageFailed(str(error)) from error
                raise
        DOWNLOADED.labels(source).inc(size)
        REQUESTS.labels(source).inc()


async def _write_verified(file: BinaryIO, arriving: Arriving, pack: str, sha256: str, size: int) -> None:
    digest, received = hashlib.sha256(), 0
    async for chunk in arriving.chunks:
        received += len(chunk)
        if received > size:
            raise Digest(f"bundle {sha256} of pack {pack} has more than the announced {size} bytes")
        digest.update(chunk)
        file.write(chunk)
    if digest.hexdigest() != sha256:
        found = f"{received} bytes with sha256 {digest.hexdigest()}"
        raise Digest(f"bundle of pack {pack}: expected {size} bytes with sha256 {sha256}, got {found}")
