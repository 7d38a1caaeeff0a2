"""Uploads in parts: what has come is kept when the connection is cut, and the client goes on where it ended.

A partial is named by its pack's uid and its digest. It is no blob: it becomes one once it is whole, durable and has the
digest it was announced with. Beside blobs in a folder it is a file that one request at a time may write; the processes and
machines that share the folder share it. For those in a bucket, see `segments`.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, TypeVar

from ..errors import Conflict
from .blobs import WRITE_BYTES, BlobStore, WrongBytes
from .spooling import disk_full_is_ours, in_thread, without_stalls, write_all

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


class Partials(Protocol):
    """Unfinished uploads."""

    async def there(self, name: PartialName, size: int) -> int:
        """Bytes that have come so far of an upload of `size` bytes; all of them only when it is a blob.

        Raises WrongBytes, InsufficientStorage, ServiceUnavailable.
        """
        ...

    async def append(self, name: PartialName, start: int, size: int, chunks: AsyncIterator[bytes]) -> int:
        """Take a part that begins at `start`, if that is where the last one ended; returns the bytes that are there then.

        With the last part the upload becomes a blob. Raises WrongBytes when it is not the announced one (nothing is kept
        of it then), Conflict while another request writes, InsufficientStorage, Timeout, ServiceUnavailable. What came
        before an error is kept.
        """
        ...

    async def expire(self, *, now: float | None = None) -> int:
        """Remove unfinished uploads that nobody goes on with, and of too many the oldest; returns how many."""
        ...


async def receive_part(file: BinaryIO, chunks: AsyncIterator[bytes], limit: int, idle_s: float) -> int:
    """Write what comes, up to `limit` bytes and also what came before an error; returns how many. Raises Timeout."""
    received = 0
    gathered = bytearray()
    try:
        async for chunk in without_stalls(chunks, idle_s):
            gathered += chunk[: limit - received]
            received += len(chunk[: limit - received])
            if len(gathered) >= WRITE_BYTES:
                await in_thread(write_all, file, bytes(gathered))
                gathered.clear()
    finally:
        await in_thread(write_all, file, bytes(gathered))
    return received


class FolderPartials:
    """Unfinished uploads in a folder of their own. Their guarantees are those of Partials."""

    def __init__(self, blobs: BlobStore, folder: Path) -> None:
        self._blobs = blobs
        self._folder = folder

    async def there(self, name: PartialName, size: int) -> int:
        """Bytes that have come so far."""
        try:
            have = (self._folder / name.file).stat().st_size
        except FileNotFoundError:
            return 0
        # All are there and it is no blob: whoever was to make it one was killed.
        return have if have < size else await self.append(name, size, size, _nothing())

    async def append(self, name: PartialName, start: int, size: int, chunks: AsyncIterator[bytes]) -> int:
        """Take a part."""
        async with self._blobs.turns:
            with disk_full_is_ours(), self._opened(name) as (path, file):
                have = file.seek(0, os.SEEK_END)
                if have not in (start, size):
                    return have
                try:
                    have += await receive_part(file, chunks, size - have, self._blobs.settings.idle_s)
                finally:
                    await in_thread(os.fsync, file.fileno())
                if have < size:
                    return have
                try:
                    await self._finish(path, file, name, size)
                finally:
                    path.unlink(missing_ok=True)
                return size

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
            self._expire(time.time(), room=1)
        with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b", buffering=0) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise Conflict(
                    "another upload of this bundle is under way: ask again how much of it has come"
                ) from error
            yield path, file

    async def expire(self, *, now: float | None = None) -> int:
        """Remove those that nobody goes on with."""
        return self._expire(time.time() if now is None else now, room=0)

    def _expire(self, now: float, room: int) -> int:
        if not self._folder.is_dir():
            return 0
        aged = {path: path.stat().st_mtime for path in self._folder.iterdir()}
        gone = overdue(aged, now, room)
        for path in gone:
            path.unlink(missing_ok=True)
        return len(gone)


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""


T = TypeVar("T")


def overdue(last_s: Mapping[T, float], now: float, room: int) -> list[T]:
    """Of uploads and when each last got a part, those that go so that `room` for others is left."""
    oldest_first = sorted(last_s, key=lambda one: last_s[one])
    surplus = max(0, len(oldest_first) + room - PARTIALS_MAX)
    return [one for at, one in enumerate(oldest_first) if at < surplus or last_s[one] < now - KEPT_S]
