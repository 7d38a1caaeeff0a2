"""A program that writes to a store until it is killed, and prints every acknowledgement: `store_writer.py KIND DIR`.

Each transaction sets two counters of one worker to the same number, so half of one would show. A line `worker number
revision` is printed, in one write, only after the store has acknowledged.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from stark.apiserver.store.protocol import Delete, Put, Store
from tests.support.stores import open_store

WORKERS = 16


async def work(store: Store, worker: int, first: int) -> None:
    """Write for ever."""
    number = first
    while True:
        number += 1
        value = str(number).encode() + b"." * 500
        ops: list[Put | Delete] = [Put(b"/%02d/a" % worker, value), Put(b"/%02d/b" % worker, value)]
        # A key that comes and goes, so that deletions are in the log as well.
        ops.append(Put(b"/%02d/odd" % worker, value) if number % 2 else Delete(b"/%02d/odd" % worker))
        result = await store.txn((), ops)
        os.write(1, b"%d %d %d\n" % (worker, number, result.revision))


async def main(kind: str, directory: Path) -> None:
    """Go on from where the last one was killed."""
    async with open_store(kind, directory) as opened:
        first = []
        for worker in range(WORKERS):
            kv, _ = await opened.store.get(b"/%02d/a" % worker)
            first.append(int(kv.value.rstrip(b".")) if kv else 0)
        async with asyncio.TaskGroup() as group:
            for worker in range(WORKERS):
                group.create_task(work(opened.store, worker, first[worker]))
            group.create_task(compact(opened.store))


async def compact(store: Store) -> None:
    """Keep the sweeps busy too."""
    while True:
        await asyncio.sleep(0.03)
        await store.compact(await store.revision())


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
