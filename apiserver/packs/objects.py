"""The objects of a folder, or of a bucket in an S3-compatible object storage: the few things that blobs need of either.

A key that can be read is whole: a folder takes a finished file by renaming it, a bucket shows an object with the last
byte of its upload. What the storage does not answer becomes a 503 that says so, and its words go to the log alone: they
name addresses and keys that are no client's business. That there is no such object is no trouble: FileNotFoundError.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import obstore
import structlog
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, S3Store

from ..errors import ServiceUnavailable
from .spooling import in_thread

log = structlog.get_logger(__name__)

READ_BYTES: Final = 256 * 1024
PART_BYTES, PARTS_AT_ONCE = 8 * 1024 * 1024, 2
"""How an upload to a bucket goes: each of the few that go on at a time holds so many parts in memory."""
RETRY_AFTER_S: Final = 5
"""When to come back after a 503: an object storage that fails over takes some seconds."""
LOGGED_MAX: Final = 400
"""Characters of the storage's own words in our log."""


@dataclass(frozen=True, slots=True)
class Meta:
    """What is known of an object without reading it."""

    key: str
    size: int
    last_modified: datetime


class Objects:
    """Bytes by key. Every call raises ServiceUnavailable when the storage does not do as it is told."""

    def __init__(self, store: ObjectStore, *, root: Path | None = None, signer: S3Store | None = None) -> None:
        self._store = store
        self._root = root
        self._signer = signer
        self.on_failure: Callable[[], object] = lambda: None
        """Called for each time that the storage failed."""

    @classmethod
    def folder(cls, directory: Path) -> Objects:
        """Those in a folder, which is made when it is missing. Raises OSError."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return cls(LocalStore(directory), root=directory)

    async def put(self, key: str, path: Path) -> None:
        """Make a durable file an object; a folder takes the file itself."""
        if self._root is not None:
            await in_thread(_move_durably, path, self._root / key)
            return
        try:
            with self._trouble_is_told():
                await obstore.put_async(self._store, key, path, chunk_size=PART_BYTES, max_concurrency=PARTS_AT_ONCE)
        except FileNotFoundError as error:
            raise self._unavailable(error) from error  # there is no such bucket

    async def head(self, key: str) -> Meta | None:
        """What is known of an object; None when it is not there."""
        try:
            with self._trouble_is_told():
                meta = await obstore.head_async(self._store, key)
        except FileNotFoundError:
            return None
        return Meta(key, meta["size"], meta["last_modified"])

    async def read(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes from `start` to before `end`, in pieces; the storage has agreed when this returns.

        Raises FileNotFoundError, and the pieces ServiceUnavailable when the storage breaks off.
        """
        if start == end:
            return _nothing()
        with self._trouble_is_told():
            result = await obstore.get_async(self._store, key, options={"range": (start, end)})
        return self._pieces(result.stream(min_chunk_size=READ_BYTES))

    async def delete(self, key: str) -> None:
        """Remove an object; nothing happens when it is not there. Works when the disk is full."""
        try:
            with self._trouble_is_told():
                await obstore.delete_async(self._store, key)
        except FileNotFoundError:
            return

    async def rename(self, key: str, to: str) -> None:
        """Give an object another key; in a bucket that is a copy, and then a removal. Raises FileNotFoundError."""
        with self._trouble_is_told():
            await obstore.rename_async(self._store, key, to)

    async def list(self, prefix: str) -> list[Meta]:
        """All objects below a prefix, which ends at a slash of theirs."""
        try:
            with self._trouble_is_told():
                found = [meta async for page in obstore.list(self._store, prefix) for meta in page]
        except FileNotFoundError as error:
            raise self._unavailable(error) from error  # there is no such bucket
        return [Meta(meta["path"], meta["size"], meta["last_modified"]) for meta in found]

    async def signed_url(self, key: str, lifetime: timedelta) -> str | None:
        """An address from which anybody may read the object for a while; None where clients cannot reach the storage."""
        if self._signer is None:
            return None
        with self._trouble_is_told():
            return await obstore.sign_async(self._signer, "GET", key, lifetime)

    @contextmanager
    def _trouble_is_told(self) -> Iterator[None]:
        try:
            yield
        except BaseError as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: Exception) -> ServiceUnavailable:
        self.on_failure()
        said, _, inside = str(error).partition("\n\nDebug source")
        # What is wrong with a connection is said only in there: a port that is closed, a certificate nobody trusts.
        cause = " ".join(inside.partition("inner: Http(")[2].split())
        detail = said[:LOGGED_MAX]
        log.warning("object storage failed", error=type(error).__name__, detail=detail, cause=cause[:LOGGED_MAX])
        message = "the storage of bundles does not answer as it should: try again"
        return ServiceUnavailable(message, retry_after_s=RETRY_AFTER_S)

    async def _pieces(self, stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        with self._trouble_is_told():
            async for piece in stream:
                yield bytes(piece)


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""


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
