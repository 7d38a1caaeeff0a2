"""A store of bytes that are named by their sha256.

An upload is hashed while it is written to a private spool file, and becomes visible only when it is complete, durable
and has the digest it was announced with: a blob that can be read is right. Uploading the same bytes twice is the same
as once. Reading goes through `obstore`, so a blob may come from a local folder or a bucket; what an upload needs from
the local disk is the spool, which is emptied at every start.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore

from ..errors import RequestEntityTooLarge, ServiceUnavailable
from .spooling import disk_full_is_ours, in_thread, without_stalls

DIGEST = re.compile(r"[0-9a-f]{64}")
WRITE_BYTES = 1024 * 1024
"""Bytes gathered before a thread writes and hashes them: few thread switches, little memory."""
READ_BYTES = 256 * 1024
SPOOL_FOLDER = ".uploads"
UNREFERENCED_KEPT = timedelta(hours=1)
"""How long a blob without a pack is kept by `sweep`: an upload in progress has no pack that says so yet."""


@dataclass(frozen=True, slots=True)
class BlobSettings:
    """Bounds of the blob store."""

    blob_bytes_max: int = 512 * 1024 * 1024
    """Largest blob. A bundled program with its assets stays far below; what is larger is data, not a program."""
    idle_s: float = 60.0
    """Seconds an upload may be silent before it loses its place."""
    uploads_max: int = 8
    """Uploads at a time; further ones wait, since they share one disk anyway."""


def empty_spools(directory: Path) -> None:
    """Remove what interrupted uploads left, whosever they were. Raises OSError."""
    shutil.rmtree(directory / SPOOL_FOLDER, ignore_errors=True)


class WrongBytes(Exception):
    """The bytes are not the announced ones, in digest or number; nothing was stored."""

    def __init__(self, actual: str, size: int) -> None:
        super().__init__(f"the upload has sha256 {actual} and {size} bytes")
        self.actual = actual
        self.size = size


class BlobStore:
    """Bytes by sha256 (lower-case hex). Call `open` before anything else."""

    def __init__(self, objects: ObjectStore, spool: Path, settings: BlobSettings, root: Path | None = None) -> None:
        self._objects = objects
        self._spool = spool
        self._root = root
        self.settings = settings
        self.turns = asyncio.Semaphore(settings.uploads_max)
        self._publishing = asyncio.Lock()

    @classmethod
    def local(cls, directory: Path, settings: BlobSettings | None = None, *, spool: str = "") -> BlobStore:
        """Blobs in a local folder, which is made when it is missing. Who shares it with others has a `spool` of its own."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return cls(LocalStore(directory), directory / SPOOL_FOLDER / spool, settings or BlobSettings(), directory)

    async def open(self) -> None:
        """Prepare the spool and remove what interrupted uploads left there. Raises OSError."""
        await asyncio.to_thread(self._empty_spool)

    def _empty_spool(self) -> None:
        self._spool.mkdir(mode=0o700, parents=True, exist_ok=True)
        for leftover in self._spool.iterdir():
            if leftover.is_dir():
                shutil.rmtree(leftover)  # of the workers that there were once
            else:
                leftover.unlink(missing_ok=True)

    async def size(self, sha256: str) -> int | None:
        """Bytes of a blob; None when it is not there."""
        if not DIGEST.fullmatch(sha256):
            return None
        try:
            return (await obstore.head_async(self._objects, _key(sha256)))["size"]
        except FileNotFoundError:
            return None

    async def put(self, sha256: str, chunks: AsyncIterator[bytes], *, size: int | None = None) -> int:
        """Store `chunks` under their digest; returns their bytes.

        Raises WrongBytes when digest or `size` differ, RequestEntityTooLarge beyond the settings' bound,
        InsufficientStorage when the disk is full, Timeout when nothing comes, ServiceUnavailable when the bucket
        fails. Whatever is raised, cancellation included, nothing of the upload remains.
        """
        assert DIGEST.fullmatch(sha256), sha256
        async with self.turns:
            with disk_full_is_ours(), self._spooled() as (path, file):
                actual, received = await self._receive(file, chunks)
                if actual != sha256 or (size is not None and received != size):
                    raise WrongBytes(actual, received)
                await self.publish(path, sha256)
                return received

    async def publish(self, path: Path, sha256: str) -> None:
        """Make a durable file with this digest a blob; a local store takes the file itself. Raises ServiceUnavailable."""
        async with self._publishing:
            await self._publish(path, sha256)

    @contextmanager
    def _spooled(self) -> Iterator[tuple[Path, BinaryIO]]:
        # Made and removed on the loop's own thread: both are quick, and a cancelled upload is gone at once.
        path = self._spool / uuid.uuid4().hex
        file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb", buffering=0)
        try:
            yield path, file
        finally:
            file.close()
            path.unlink(missing_ok=True)

    async def _receive(self, file: BinaryIO, chunks: AsyncIterator[bytes]) -> tuple[str, int]:
        """Write everything durably; returns digest and bytes."""
        digest = hashlib.sha256()
        gathered = bytearray()
        received = 0

        def write(piece: bytes) -> None:
            digest.update(piece)
            view = memoryview(piece)
            while view:
                view = view[file.write(view) :]

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

    async def _publish(self, path: Path, sha256: str) -> None:
        if self._root is not None:
            await in_thread(_move_durably, path, self._root / _key(sha256))
            return
        try:
            await obstore.put_async(self._objects, _key(sha256), path)
        except BaseError as error:
            raise ServiceUnavailable(f"the blob store did not take the bundle: {error}") from error

    async def read(self, sha256: str, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes from `start` to before `end`, in pieces. Raises FileNotFoundError before the first piece."""
        if start == end:
            return
        result = await obstore.get_async(self._objects, _key(sha256), options={"range": (start, end)})
        async for piece in result.stream(min_chunk_size=READ_BYTES):
            yield bytes(piece)

    async def delete(self, sha256: str) -> None:
        """Remove a blob; nothing happens when it is not there. Works when the disk is full."""
        try:
            await obstore.delete_async(self._objects, _key(sha256))
        except FileNotFoundError:
            return

    async def sweep(self, named: Callable[[], Awaitable[frozenset[str]]], *, now: datetime | None = None) -> list[str]:
        """Remove blobs that no pack names and that are older than an hour; returns their digests.

        `named` is asked once the blobs are listed, and only when there is something to remove; what it raises is passed on,
        and nothing is removed.
        """
        oldest_kept = (now or datetime.now(UTC)) - UNREFERENCED_KEPT
        old: list[str] = []
        async for page in obstore.list(self._objects, "sha256"):
            for meta in page:
                digest = meta["path"].rpartition("/")[2]
                if DIGEST.fullmatch(digest) and meta["last_modified"] < oldest_kept:
                    old.append(digest)
        kept = await named() if old else frozenset()
        return [digest for digest in old if digest not in kept and await self._delete_if_older(digest, oldest_kept)]

    async def _delete_if_older(self, sha256: str, oldest_kept: datetime) -> bool:
        # The same bytes may have been uploaded again since the listing: looked at and removed in one step.
        async with self._publishing:
            try:
                meta = await obstore.head_async(self._objects, _key(sha256))
            except FileNotFoundError:
                return False
            if meta["last_modified"] >= oldest_kept:
                return False
            await self.delete(sha256)
            return True


def _key(sha256: str) -> str:
    # Two levels, because a folder with a hundred thousand entries is slow to list and to repair.
    return f"sha256/{sha256[:2]}/{sha256}"


def _move_durably(path: Path, target: Path) -> None:
    for folder in (target.parent.parent, target.parent):
        if not folder.exists():
            folder.mkdir(mode=0o700, exist_ok=True)
            _sync_folder(folder.parent)
    os.replace(path, target)
    _sync_folder(target.parent)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
