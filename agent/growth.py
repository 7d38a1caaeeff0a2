"""Wait until something is written in a folder: told by the kernel where it tells (inotify(7)), else after a pause."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from pathlib import Path

from .supervisor.kernel import call

log = logging.getLogger(__name__)

POLL_S = 0.1
"""Between looks where the kernel tells nothing: another system, a limit that is reached, a file system over the network."""
LOOK_S = 0.5
"""Between looks where it does: for what is no change of a file, such as the end of a run."""
GATHER_S = 0.005
"""After news, so that a program that writes line by line does not wake us for each."""
IN_MODIFY, IN_MOVED_TO, IN_CREATE = 0x002, 0x080, 0x100
READ_BYTES = 4_096


class Growth:
    """News of one folder, for one who waits. A context manager."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor = -1
        self._news = asyncio.Event()

    def __enter__(self) -> Growth:
        """Begin to listen: what is written from now on is not missed."""
        try:
            descriptor = call("inotify_init1", os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                call("inotify_add_watch", descriptor, os.fsencode(self._folder), IN_MODIFY | IN_MOVED_TO | IN_CREATE)
                asyncio.get_running_loop().add_reader(descriptor, self._heard)
            except BaseException:
                os.close(descriptor)
                raise
            self._descriptor = descriptor
        except (OSError, AttributeError, NotImplementedError) as error:  # the latter where there is no such function
            log.debug("no news of %s, it is looked at now and then: %s", self._folder, error)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening."""
        if self._descriptor >= 0:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    async def wait(self) -> None:
        """Until something may have changed since the last call."""
        if self._descriptor < 0:
            await asyncio.sleep(POLL_S)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S):
                await self._news.wait()
            await asyncio.sleep(GATHER_S)
        self._news.clear()

    def _heard(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self._descriptor, READ_BYTES):
                pass
        self._news.set()
