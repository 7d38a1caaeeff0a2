"""Watches of a kind in another version than its objects are stored in, where that takes more than another name.

The watch itself sees what is stored. Its frames are converted on their way to the client, a piece at a time: whatever
has waited for the client is one question to the webhook, and what one reader has had converted the next one finds ready.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable, Sequence
from typing import Final

import orjson

from ..cache.change import ADDED, DELETED, MODIFIED, Rendering, error_frame, frame
from ..cache.entry import Entry
from ..cache.watchers import Watcher
from ..errors import ApiError
from ..resources import Resource
from .keys import local_key
from .versions import Versions

OBJECT: Final = b',"object":'
CHANGES: Final = (ADDED, MODIFIED, DELETED)


class AsStored:
    """What is stored, to be converted later; bookmarks are already what the client gets."""

    def __init__(self, final: Rendering) -> None:
        self.final = final
        self.identity: Hashable = ("stored", final.identity)

    def render(self, entry: Entry) -> bytes:
        """The bytes the cache has."""
        return entry.data

    def bookmark(self, revision: int, *, initial_events_end: bool = False) -> bytes:
        """As the client gets it."""
        return self.final.bookmark(revision, initial_events_end=initial_events_end)


class ConvertedFrames:
    """The frames of one watch, converted, for a connection that asks for them. A failed conversion ends it with an ERROR."""

    def __init__(
        self, watcher: Watcher, timer: asyncio.TimerHandle, resource: Resource, versions: Versions, final: Rendering
    ) -> None:
        self._watcher, self._timer = watcher, timer
        self._resource, self._versions, self._final = resource, versions, final

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        piece = await self._watcher.__anext__()
        try:
            return await self._converted(piece.splitlines())
        except ApiError as error:
            self._watcher.detach()
            return error_frame(error.status())

    def close(self) -> None:
        """Whoever read it is gone, or the answer complete."""
        self._timer.cancel()
        self._watcher.detach()

    async def _converted(self, lines: Sequence[bytes]) -> bytes:
        kinds = [orjson.loads(line[: line.index(OBJECT)] + b"}")["type"] for line in lines]
        stored = [_entry_in(line) for kind, line in zip(kinds, lines, strict=True) if kind in CHANGES]
        have_left = [kind == DELETED for kind in kinds if kind in CHANGES]
        converted = iter(await self._versions.entries(self._resource, stored, have_left))
        frames = [
            frame(kind, self._final.render(next(converted))) if kind in CHANGES else line + b"\n"
            for kind, line in zip(kinds, lines, strict=True)
        ]
        return b"".join(frames)


def _entry_in(line: bytes) -> Entry:
    data = line[line.index(OBJECT) + len(OBJECT) : -1]
    meta = orjson.loads(data)["metadata"]
    return Entry(local_key(meta.get("namespace") or "", meta["name"]), int(meta["resourceVersion"]), data)
