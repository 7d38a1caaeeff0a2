"""Pipes, terminals and sockets without a protocol: read and written when they are ready, with nothing kept in between."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import Callable

READ_SIZE = 32 * 1024  # what Kubernetes' clients send and expect in one message


class Descriptor:
    """One end of a pipe or a terminal. It is closed with `close`."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self.fd = fd
        self._waiting: asyncio.Future[None] | None = None
        self._is_last = False

    async def read(self) -> bytes:
        """The next bytes; empty at the end."""
        while True:
            try:
                return os.read(self.fd, READ_SIZE)
            except BlockingIOError:
                if self._is_last:
                    return b""
            except OSError as error:
                if error.errno == errno.EIO:  # a terminal that nobody has open any more
                    return b""
                raise
            self._waiting = asyncio.get_running_loop().create_future()
            try:
                await ready(self.fd, asyncio.get_running_loop().add_reader, self._waiting)
            finally:
                self._waiting = None

    def finish(self) -> None:
        """What is there now is the last that will be read."""
        self._is_last = True
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def write(self, data: bytes) -> None:
        """All of it, as the reader takes it. Raises OSError when nobody reads any more."""
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self.fd, view) :]
            except BlockingIOError:
                await ready(self.fd, asyncio.get_running_loop().add_writer)

    def close(self) -> None:
        """Once; then nothing may be done with it."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


async def ready(
    fd: int, watch: Callable[[int, Callable[[], None]], object], woken: asyncio.Future[None] | None = None
) -> None:
    """Wait until the loop's `add_reader` or `add_writer` calls, or until `woken` is."""
    loop = asyncio.get_running_loop()
    future = woken or loop.create_future()

    def wake() -> None:
        with contextlib.suppress(asyncio.InvalidStateError):
            future.set_result(None)

    watch(fd, wake)
    try:
        await future
    finally:
        (loop.remove_reader if watch == loop.add_reader else loop.remove_writer)(fd)
