"""Writing what arrives over a connection: no thread of the loop waits for the disk, and no silence lasts for ever."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

from ..errors import InsufficientStorage, Timeout

DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextmanager
def disk_full_is_ours() -> Iterator[None]:
    """Turn the operating system's "no space left" into the answer for it."""
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        raise InsufficientStorage("no space left for pack bundles; nothing of the upload was kept") from error


async def without_stalls(chunks: AsyncIterator[bytes], idle_s: float) -> AsyncIterator[bytes]:
    """The same chunks; raises Timeout when one does not come in time."""
    iterator = aiter(chunks)
    while True:
        try:
            async with asyncio.timeout(idle_s):
                chunk = await anext(iterator)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            raise Timeout(f"nothing of the bundle came for {idle_s:g} s") from error
        yield chunk


def write_all(file: BinaryIO, piece: bytes) -> None:
    """Write all of it to an unbuffered file, which may take less at a time."""
    view = memoryview(piece)
    while view:
        view = view[file.write(view) :]


async def in_thread(work: Callable[..., object], *arguments: object) -> None:
    """Run `work` in a thread and, even when cancelled, be there until it is done.

    A file that is closed under a thread that still writes would hand the thread somebody else's file descriptor.
    """
    running = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        if not running.cancelled():
            running.exception()  # looked at, so that nobody reports it as forgotten: the cancellation tells the story
        raise
