"""Uploads in parts to a bucket: every part is an object, so the next one may come by any server that has the bucket.

Parts are named by the first byte and the one after the last, and count as far as they follow on one another. A part that
was cut off is kept as far as it came. What a server held of a part when it was killed is lost, and the client is told where
to go on. When all bytes are there they are read back, hashed, and become a blob; then the parts go. Until that has been
done the upload is not said to be complete: whoever asks next does it.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from ..errors import BadRequest, Conflict
from .blobs import BlobStore, WrongBytes
from .objects import Meta
from .partials import PartialName, overdue, receive_part
from .spooling import disk_full_is_ours, in_thread, write_all

PARTIAL: Final = "partial"
"""Under what the parts lie."""
SEGMENTS_MAX: Final = 1_000
"""Parts of one upload; our clients send 32 of the largest bundle. Who sends crumbs begins again."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A part that is there."""

    start: int
    end: int
    key: str


class BucketPartials:
    """Unfinished uploads in the bucket of the blobs. Their guarantees are those of Partials; nothing is in conflict."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._objects = blobs.objects

    async def there(self, name: PartialName, size: int) -> int:
        """Bytes that have come so far."""
        segments = joined(await self._listed(name))
        if _end(segments) < size:
            return _end(segments)
        async with self._blobs.turns:
            with disk_full_is_ours():
                await self._finish(name, segments, size)
        return size

    async def append(self, name: PartialName, start: int, size: int, chunks: AsyncIterator[bytes]) -> int:
        """Take a part."""
        listed = await self._listed(name)
        segments = joined(listed)
        have = _end(segments)
        if have != start:
            return await self.there(name, size)
        if len(listed) >= SEGMENTS_MAX:
            await self._forget(listed)
            raise BadRequest(f"the upload came in more than {SEGMENTS_MAX} parts: begin again with larger ones")
        if not listed:
            await self._make_room(time.time(), room=1)
        async with self._blobs.turns:
            with disk_full_is_ours(), self._blobs.spooled() as (path, file):
                try:
                    await receive_part(file, chunks, size - start, self._blobs.settings.idle_s)
                finally:
                    segments = [*segments, *await self._keep(name, start, path, file)]
            if _end(segments) == size:
                with disk_full_is_ours():
                    await self._finish(name, segments, size)
        return _end(segments)

    async def expire(self, *, now: float | None = None) -> int:
        """Remove those that nobody goes on with."""
        return await self._make_room(time.time() if now is None else now, room=0)

    async def _keep(self, name: PartialName, start: int, path: Path, file: BinaryIO) -> list[Segment]:
        end = start + os.fstat(file.fileno()).st_size
        if end == start:
            return []
        segment = Segment(start, end, f"{PARTIAL}/{name.file}/{start:012}-{end:012}")
        await self._objects.put(segment.key, path)
        return [segment]

    async def _finish(self, name: PartialName, segments: Sequence[Segment], size: int) -> None:
        try:
            actual = await self._assembled(name, segments)
        except FileNotFoundError as error:
            # Whether what it made of them was right is not to be seen from the blob, which may be another pack's.
            raise Conflict("another request has just put the parts together: ask again how much has come") from error
        await self._forget(await self._listed(name))
        if actual != name.sha256:
            raise WrongBytes(actual, size)

    async def _assembled(self, name: PartialName, segments: Sequence[Segment]) -> str:
        """The digest of all parts, which are a blob if it is the announced one. Raises FileNotFoundError."""
        digest = hashlib.sha256()
        with self._blobs.spooled() as (path, file):

            def write(piece: bytes) -> None:
                digest.update(piece)
                write_all(file, piece)

            for segment in segments:
                async for piece in await self._objects.read(segment.key, 0, segment.end - segment.start):
                    await in_thread(write, piece)
            if digest.hexdigest() == name.sha256:
                await self._blobs.publish(path, name.sha256)
        return digest.hexdigest()

    async def _listed(self, name: PartialName) -> list[Meta]:
        return await self._objects.list(f"{PARTIAL}/{name.file}")

    async def _forget(self, listed: Sequence[Meta]) -> None:
        for one in listed:
            await self._objects.delete(one.key)

    async def _make_room(self, now: float, room: int) -> int:
        uploads: dict[str, list[Meta]] = {}
        for meta in await self._objects.list(PARTIAL):
            uploads.setdefault(meta.key.split("/")[1], []).append(meta)
        last_s = {name: max(meta.last_modified.timestamp() for meta in listed) for name, listed in uploads.items()}
        gone = overdue(last_s, now, room)
        for name in gone:
            await self._forget(uploads[name])
        return len(gone)


def joined(listed: Sequence[Meta]) -> list[Segment]:
    """The parts that follow on one another from the first byte; of several that begin at one place, the longest."""
    longest: dict[int, Segment] = {}
    for meta in listed:
        start, _, end = meta.key.rpartition("/")[2].partition("-")
        segment = Segment(int(start), int(end), meta.key)
        if segment.start not in longest or longest[segment.start].end < segment.end:
            longest[segment.start] = segment
    run: list[Segment] = []
    while (following := longest.get(_end(run))) is not None:
        run.append(following)
    return run


def _end(segments: Sequence[Segment]) -> int:
    return segments[-1].end if segments else 0
