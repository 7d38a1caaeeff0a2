"""A network that can fall apart: a TCP road on which everything stands still, and nothing is closed, until it is mended.

What was under way then arrives late, as a network delivers it that has lost packets for a while.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from types import TracebackType

CHUNK = 65_536


class Road:
    """Leads from a free port of this machine to another address; runs in a thread of its own."""

    def __init__(self, host: str, port: int) -> None:
        self._there = (host, port)
        self._loop = asyncio.new_event_loop()
        self._passable = asyncio.Event()
        self._passable.set()
        self._ready, self.port = threading.Event(), 0
        self._main: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Road:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._main is not None:
            self._loop.call_soon_threadsafe(self._main.cancel)
        self._thread.join(10)

    def cut(self) -> None:
        """From now on nothing passes, and nobody is told."""
        self._loop.call_soon_threadsafe(self._passable.clear)

    def mend(self) -> None:
        """Everything that waits passes, in its order."""
        self._loop.call_soon_threadsafe(self._passable.set)

    def _run(self) -> None:
        with contextlib.suppress(asyncio.CancelledError), contextlib.closing(self._loop):
            self._main = self._loop.create_task(self._serve())
            self._loop.run_until_complete(self._main)

    async def _serve(self) -> None:
        async with asyncio.TaskGroup() as group:

            def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                group.create_task(self._lead(reader, writer))

            server = await asyncio.start_server(accept, "127.0.0.1", 0)
            self.port = server.sockets[0].getsockname()[1]
            self._ready.set()
            try:
                await asyncio.Event().wait()
            finally:
                server.close()

    async def _lead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._passable.wait()
        with contextlib.suppress(OSError), contextlib.closing(writer):
            far_reader, far_writer = await asyncio.open_connection(*self._there)
            with contextlib.closing(far_writer):
                await asyncio.gather(self._carry(reader, far_writer), self._carry(far_reader, writer))

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        """Until its end, which passes on, too."""
        with contextlib.suppress(OSError):
            while data := await source.read(CHUNK):
                await self._passable.wait()
                sink.write(data)
                await sink.drain()
        await self._passable.wait()
        sink.close()
