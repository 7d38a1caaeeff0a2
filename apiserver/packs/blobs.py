"""A store of bytes that are named by their sha256.

An upload is hashed while it is written to a private spool file, and becomes visible only when it is complete, durable
and has the digest it was announced with: a blob that can be read is right. Uploading the same bytes twice is the same
as once. Whether the blobs lie in a folder or a bucket is `objects`' affair; what an upload needs from the local disk is
the spool, from which every start removes what nobody writes any more.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import re
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

from ..errors import RequestEntityTooLarge
from .objects import Objects
from .spooling import disk_full_is_ours, in_thread, without_stalls, write_all

DIGEST = re.compile(r"[0-9a-f]{64}")
WRITE_BYTES = 1024 * 1024
"""Bytes gathered before a thread writes and hashes them: few thread switches, little memory."""
SPOOL_FOLDER = ".uploads"
BLOBS = "sha256"
"""Under what the keys of blobs are."""


@dataclass(frozen=True, slots=True)
class BlobSettings:
    """Bounds of the blob store."""

    blob_bytes_max: int = 512 * 1024 * 1024
    """Largest blob. A bundled program with its assets stays far below; what is larger is data, not a program."""
    idle_s: float = 60.0
    """Seconds an upload may be silent before it loses its place."""
    uploads_max: int = 8
    """Uploads at a time; further ones wait, since they share one disk anyway."""


def empty_spool(spool: Path) -> None:
    """Remove what interrupted uploads left; those that somebody writes are locked, and stay. Raises OSError."""
    for leftover in spool.rglob("*"):
        if leftover.is_file() and _is_abandoned(leftover):
            leftover.unlink(missing_ok=True)


def _is_abandoned(path: Path) -> bool:
    try:
        with path.open("r+b") as file:  # NFS locks only what may be written
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, FileNotFoundError):
        return False
    return True


class WrongBytes(Exception):
    """The bytes are not the announced ones, in digest or number; nothing was stored."""

    def __init__(self, actual: str, size: int) -> None:
        super().__init__(f"the upload has sha256 {actual} and {size} bytes")
        self.actual = actual
        self.size = size


class BlobStore:
    """Bytes by sha256 (lower-case hex). Call `open` before anything else."""

    def __init__(self, objects: Objects, spool: Path, settings: BlobSettings | None = None) -> None:
        self.objects = objects
        self._spool = spool
        self.settings = settings or BlobSettings()
        self.turns = asyncio.Semaphore(self.settings.uploads_max)

    @classmethod
    def local(cls, directory: Path, settings: BlobSettings | None = None) -> BlobStore:
        """Blobs in a local folder, which is made when it is missing."""
        return cls(Objects.folder(directory), directory / SPOOL_FOLDER, settings)

    async def open(self) -> None:
        """Prepare the spool and remove what interrupted uploads left there. Raises OSError."""
        self._spool.mkdir(mode=0o700, parents=True, exist_ok=True)
        await asyncio.to_thread(empty_spool, self._spool)

    async def size(self, sha256: str) -> int | None:
        """Bytes of a blob; None when it is not there. Raises ServiceUnavailable."""
        if not DIGEST.fullmatch(sha256):
            return None
        meta = await self.objects.head(blob_key(sha256))
        return None if meta is None else meta.size

    async def put(self, sha256: str, chunks: AsyncIterator[bytes], *, size: int | None = None) -> int:
        """Store `chunks` under their digest; returns their bytes.

        Raises WrongBytes when digest or `size` differ, RequestEntityTooLarge beyond the settings' bound,
        InsufficientStorage when the disk is full, Timeout when nothing comes, ServiceUnavailable when the storage
        fails. Whatever is raised, cancellation included, nothing of the upload remains.
        """
        assert DIGEST.fullmatch(sha256), sha256
        async with self.turns:
            with disk_full_is_ours(), self.spooled() as (path, file):
                actual, received = await self._receive(file, chunks)
                if actual != sha256 or (size is not None and received != size):
                    raise WrongBytes(actual, received)
                await self.publish(path, sha256)
                return received

    async def publish(self, path: Path, sha256: str) -> None:
        """Make a durable file with this digest a blob; a folder takes the file itself. Raises ServiceUnavailable."""
        await self.objects.put(blob_key(sha256), path)

    @contextmanager
    def spooled(self) -> Iterator[tuple[Path, BinaryIO]]:
        """A private file for as long as the block lasts, unless it has become a blob by then. Raises OSError."""
        # Made and removed on the loop's own thread: both are quick, and a cancelled upload is gone at once.
        path, file = self._locked_file()
        try:
            yield path, file
        finally:
            file.close()
            path.unlink(missing_ok=True)

    def _locked_file(self) -> tuple[Path, BinaryIO]:
        while True:
            path = self._spool / uuid.uuid4().hex
            file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "r+b", buffering=0)
            fcntl.flock(file, fcntl.LOCK_EX)
            if os.fstat(file.fileno()).st_nlink:
                return path, file
            file.close()  # another server that starts took it for abandoned before it was locked

    async def _receive(self, file: BinaryIO, chunks: AsyncIterator[bytes]) -> tuple[str, int]:
        """Write everything durably; returns digest and bytes."""
        digest = hashlib.sha256()
        gathered = bytearray()
        received = 0

        def write(piece: bytes) -> None:
            digest.update(piece)
            write_all(file, piece)

        async for chunk in without_stalls(chunks, self.settings.idle_s):
            received += len(chunk)
            if received > self.settings.blob_bytes_max:
                raise RequestEntityTooLarge(f"the bundle has more than {self.settings.blob_bytes_max} bytes")
            gathered += chunk
            if len(gathered) >= WRITE_BYTES:
                await in_thread(write, bytes(gathered))
                gathered.clear()
        await in_thread(write, bytes(gathered))
        await in_thread(os.fsync, file.fileno())
        return digest.hexdigest(), received

    async def read(self, sha256: str, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes from `start` to before `end`, in pieces. Raises FileNotFoundError, ServiceUnavailable."""
        return await self.objects.read(blob_key(sha256), start, end)

    async def signed_url(self, sha256: str, lifetime: timedelta) -> str | None:
        """Where anybody may read a blob for a while; None where that cannot be. Raises ServiceUnavailable."""
        return await self.objects.signed_url(blob_key(sha256), lifetime)


def blob_key(sha256: str) -> str:
    """Where a blob lies."""
    # Two levels, because a folder with a hundred thousand entries is slow to list and to repair.
    return f"{BLOBS}/{sha256[:2]}/{sha256}"
