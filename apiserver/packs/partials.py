"""Uploads in parts: what has come is kept when the connection is cut, and the client goes on where it ended.

A partial is a file named by its pack's uid and its digest, which one request at a time may write. It is no blob: it
becomes one once it is whole, durable and has the digest it was announced with. Several processes on one machine share
the folder, so a part may reach another process than the one before.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..errors import Conflict
from .blobs import WRITE_BYTES, BlobStore, WrongBytes
from .spooling import disk_full_is_ours, in_thread, without_stalls

PARTIALS_MAX = 64
"""Unfinished uploads that are kept; of more, those that have been idle the longest go."""
KEPT_S = 24 * 3600.0
"""How long an unfinished upload waits for its next part."""


@dataclass(frozen=True, slots=True)
class PartialName:
    """Which bundle of which pack an upload is for."""

    pack_uid: str
    sha256: str

    @property
    def file(self) -> str:
        """A file name: uids and digests hold nothing but letters, digits and `-`."""
        return f"{self.pack_uid}.{self.sha256}"


class Partials:
    """Unfinished uploads in a folder of their own."""

    def __init__(self, blobs: BlobStore, folder: Path) -> None:
        self._blobs = blobs
        self._folder = folder

    def there(self, name: PartialName) -> int:
        """Bytes that have come so far."""
        try:
            return (self._folder / name.file).stat().st_size
        except FileNotFoundError:
            return 0

    async def append(self, name: PartialName, start: int, size: int, chunks: AsyncIterator[bytes]) -> int:
        """Take a part that begins at `start`, if that is where the last one ended; returns the bytes that are there then.

        With the last part the upload becomes a blob. Raises WrongBytes when it is not the announced one (nothing is kept
        of it then), Conflict while another request writes, InsufficientStorage, Timeout, ServiceUnavailable. What came
        before an error is kept.
        """
        async with self._blobs.turns:
            with disk_full_is_ours(), self._opened(name) as (path, file):
                have = file.seek(0, os.SEEK_END)
                if have != start:
                    return have
                try:
                    have += await self._receive(file, chunks, size - start)
                finally:
                    await in_thread(os.fsync, file.fileno())
                if have < size:
                    return have
                try:
                    await self._finish(path, file, name, size)
                finally:
                    path.unlink(missing_ok=True)
                return size

    async def _receive(self, file: BinaryIO, chunks: AsyncIterator[bytes], limit: int) -> int:
        received = 0
        gathered = bytearray()

        def write(piece: bytes) -> None:
            view = memoryview(piece)
            while view:
                view = view[file.write(view) :]

        try:
            async for chunk in without_stalls(chunks, self._blobs.settings.idle_s):
                gathered += chunk[: limit - received]
                received += len(chunk[: limit - received])
                if len(gathered) >= WRITE_BYTES:
                    await in_thread(write, bytes(gathered))
                    gathered.clear()
        finally:
            await in_thread(write, bytes(gathered))
        return received

    async def _finish(self, path: Path, file: BinaryIO, name: PartialName, size: int) -> None:
        digest = hashlib.sha256()

        def read() -> None:
            file.seek(0)
            while piece := file.read(WRITE_BYTES):
                digest.update(piece)

        await in_thread(read)
        if digest.hexdigest() != name.sha256:
            raise WrongBytes(digest.hexdigest(), size)
        await self._blobs.publish(path, name.sha256)

    @contextmanager
    def _opened(self, name: PartialName) -> Iterator[tuple[Path, BinaryIO]]:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / name.file
        if not path.exists():
            self.expire(room=1)
        with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b", buffering=0) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise Conflict(
                    "another upload of this bundle is under way: ask again how much of it has come"
                ) from error
            yield path, file

    def expire(self, *, room: int = 0, now: float | None = None) -> int:
        """Remove unfinished uploads that nobody goes on with, and of too many the oldest; returns how many."""
        if not self._folder.is_dir():
            return 0
        aged = sorted((path.stat().st_mtime, path) for path in self._folder.iterdir())
        oldest_kept = (time.time() if now is None else now) - KEPT_S
        surplus = max(0, len(aged) + room - PARTIALS_MAX)
        gone = [path for at, (mtime, path) in enumerate(aged) if at < surplus or mtime < oldest_kept]
        for path in gone:
            path.unlink(missing_ok=True)
        return len(gone)
