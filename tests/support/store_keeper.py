"""A program that keeps a store for others until it is killed: `store_keeper.py DIR DESCRIPTOR`, and how to start it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

from stark.apiserver.store.remote import SharedRevision, StoreService
from stark.apiserver.store.remote.link import listen
from stark.apiserver.store.sqlite import open_sqlite
from tests.support.stores import sqlite_settings

ROOT = Path(__file__).parents[2]
SOCKET = "store.sock"


async def main(directory: Path, descriptor: int) -> None:
    """Keep the store that is in the directory."""
    store = await open_sqlite(directory / "data", sqlite_settings())
    service = StoreService(store, SharedRevision(descriptor))
    await service.begin()
    async with await listen(directory / SOCKET, service) as listening:
        await listening.serve_forever()


def start_keeper(directory: Path, shared: SharedRevision) -> subprocess.Popen[bytes]:
    """The program, started; it can be used some time later."""
    command = [sys.executable, "-m", "tests.support.store_keeper", str(directory), str(shared.descriptor)]
    return subprocess.Popen(command, cwd=ROOT, pass_fds=[shared.descriptor])


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
