"""Two processes with one store and one file of keys: what either wrote comes under the new key."""

from __future__ import annotations

import asyncio
from pathlib import Path

from stark.apiserver.encryption.configuration import FILE_NAME, first_configuration
from stark.apiserver.encryption.opening import open_encrypted
from stark.apiserver.encryption.upkeep import KeyUpkeep
from stark.apiserver.store.memory import MemoryStore
from stark.apiserver.store.protocol import Expect, Put, Revision


async def test_what_was_written_with_the_old_key_after_the_others_pass_is_rewritten_too(tmp_path: Path) -> None:
    beneath, path = MemoryStore(), tmp_path / FILE_NAME
    ours, theirs = await open_encrypted(beneath, path), await open_encrypted(beneath, path)
    assert ours.file is not None
    assert theirs.file is not None
    place = first_configuration().places()[0][0]
    first, late = place + b"a/first", place + b"a/late"
    await theirs.txn([Expect(first, Revision(0))], [Put(first, b"1")])
    rotating, following = KeyUpkeep(ours, ours.file), KeyUpkeep(theirs, theirs.file)
    task = asyncio.create_task(following.run())
    async with asyncio.timeout(5):
        while following.state != "done":  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0)
    await rotating.rotate()
    await rotating._reencrypt()
    await theirs.txn([Expect(late, Revision(0))], [Put(late, b"2")])
    found, _ = await theirs.get(first)  # under a key that is news to them
    assert found is not None
    assert found.value == b"1"
    told = await following.status()
    assert (told["valuesToRewrite"], told["reencryption"]["state"]) == (1, "pending")
    async with asyncio.timeout(3):
        while (told := await following.status())["reencryption"]["state"] != "done" or told["valuesToRewrite"]:  # noqa: ASYNC110
            await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await beneath.close()
