"""What a running server does about its keys: sees a changed file, brings all values under the writing key, rotates.

A rotation is a new first key in the file, and then a re-encryption. Both are safe to interrupt: the next start finds
values that are not under the writing key, and goes on.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from ..auth.files import locked
from ..store.protocol import Compacted, StoreError
from ..times import timestamp
from .configuration import BadConfiguration, Configuration, new_key, read_configuration, write_configuration
from .keyfile import KeyFile
from .reencryption import reencrypt, take_census
from .store import EncryptingStore

FILE_LOOK_INTERVAL_S: Final = 5.0
"""How often the file with the keys is looked at; Kubernetes does so every minute."""
SEEN_BY_ALL_S: Final = 2 * FILE_LOOK_INTERVAL_S
"""After this time every server that shares the file has seen a change of it, and writes with the key it says."""
RETRY_DELAY_S: Final = 5.0
"""After a re-encryption that the store did not let finish."""

log = structlog.get_logger(__name__)


class KeyInUse(Exception):
    """The key cannot be given up: it writes, or values are still under it. The message says which."""


class KeyUpkeep:
    """Owns the keys of a store while the server runs. `run` is its task."""

    def __init__(self, store: EncryptingStore, file: KeyFile) -> None:
        self._store, self._file = store, file
        self._wanted = asyncio.Event()
        self._wanted.set()  # the server before us may have been interrupted
        self._brought_under = store.ring.configuration
        """The keys of the last re-encryption that was begun."""
        self._changing = asyncio.Lock()
        self.rewritten: Counter[str] = Counter()
        """Values rewritten since the start, by key; in clear under the empty name."""
        self.state = "pending"
        """Of the re-encryption: pending, running, done or failed."""
        self.trouble = ""
        self.finished_at = ""

    async def run(self) -> None:
        """Look at the file and re-encrypt when there is a reason to, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow_file())
            group.create_task(self._reencrypt_on_demand())

    async def _follow_file(self) -> None:
        while True:
            await asyncio.sleep(FILE_LOOK_INTERVAL_S)
            self._look_at_file()

    def _look_at_file(self) -> None:
        """Use what the file says, if somebody else has changed it: by hand, or another process that serves this store."""
        try:
            configuration = self._file.changed()
        except (BadConfiguration, FileNotFoundError) as error:
            log.warning("the encryption keys are not read again", reason=str(error))
            return
        if configuration is not None and configuration != self._store.ring.configuration:
            self._store.ring.use(configuration)
            log.info("encryption keys read again", keys=configuration.key_names())
        if self._store.ring.configuration != self._brought_under:
            # Also where a value under a new key had the ring read the file: what we wrote before that is under an old one.
            self.want()

    async def _reencrypt_on_demand(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            await self._reencrypt()

    async def _reencrypt(self) -> None:
        self._brought_under = self._store.ring.configuration
        self.state, began, before = "running", time.monotonic(), self.rewritten.total()
        try:
            await reencrypt(self._store, self.rewritten)
        except StoreError as error:
            self.state, self.trouble = "failed", str(error)
            log.warning("re-encryption was interrupted, it is resumed", reason=str(error))
            await asyncio.sleep(RETRY_DELAY_S)
            self._wanted.set()
            return
        if self._wanted.is_set():
            return
        self.state, self.trouble, self.finished_at = "done", "", timestamp(datetime.now(UTC))
        rewritten = self.rewritten.total() - before
        if rewritten:
            log.info("values re-encrypted", values=rewritten, duration_s=round(time.monotonic() - began, 3))

    def want(self) -> None:
        """Bring everything under the writing key, soon."""
        self.state = "pending"
        self._wanted.set()

    async def rotate(self) -> str:
        """A new key that writes from now on, and the rest re-encrypted with it; its name. Raises BadConfiguration."""
        async with self._changing:
            configuration = self._read_for_change()
            if all(rule.writing is None for rule in configuration.rules):
                raise BadConfiguration(f"{self._file.path} has nothing encrypted: there is no key to rotate")
            key = new_key()
            # The file first: what is under a key that no file has is lost.
            self._rewrite_file(lambda latest: latest.with_first(key))
            log.info("encryption key rotated", key=key.name)
            self.want()
            return key.name

    async def retire(self, name: str) -> None:
        """Take a key out of the file. Raises KeyInUse, BadConfiguration, LookupError, and what stores raise."""
        async with self._changing:
            configuration = self._read_for_change()
            if name not in configuration.key_names():
                raise LookupError(f"there is no key {name!r}, only {', '.join(configuration.key_names())}")
            if any(rule.writing is not None and rule.writing.name == name for rule in configuration.rules):
                raise KeyInUse(f"the key {name!r} is the one that encrypts: rotate first")
            age_s = self._file.age_s()
            if 0 <= age_s < SEEN_BY_ALL_S:
                raise KeyInUse(
                    f"the keys were changed {age_s:.0f} seconds ago, and other servers may not have seen it: "
                    f"try again {SEEN_BY_ALL_S - age_s:.0f} seconds from now"
                )
            await self._forget_history()
            left = (await take_census(self._store.beneath, self._store.ring)).by_key[name]
            if left:
                raise KeyInUse(f"{left} values are still under the key {name!r}: wait for the re-encryption to end")
            self._rewrite_file(lambda latest: latest.without(name))
            log.info("encryption key retired", key=name)

    async def _forget_history(self) -> None:
        """Past revisions are under past keys: nobody must want to read them once the key is gone."""
        try:
            await self._store.compact(await self._store.revision())
        except Compacted:
            pass  # nothing has happened since

    def _rewrite_file(self, change: Callable[[Configuration], Configuration]) -> None:
        """Change what it says at this moment: another server with the same file may have added a key meanwhile."""
        path = self._file.path
        try:
            with locked(path.parent):
                write_configuration(path, change(self._read_for_change()))
        except OSError as error:
            raise BadConfiguration(
                f"{path} cannot be written ({error.strerror}): change the keys in it by hand, the server sees it"
            ) from error
        self._store.ring.use(self._file.read())

    def _read_for_change(self) -> Configuration:
        try:
            return read_configuration(self._file.path)
        except FileNotFoundError:
            raise BadConfiguration(f"{self._file.path} is gone: put it back") from None

    async def status(self) -> Mapping[str, Any]:
        """What an administrator wants to know. Raises what stores raise."""
        self._look_at_file()
        ring = self._store.ring
        census = await take_census(self._store.beneath, ring)
        # What we did ourselves may be done while another process that serves this store still has to do, or to hear of it.
        state = "pending" if self.state == "done" and census.outdated else self.state
        rules = ring.configuration.rules
        return {
            "file": str(self._file.path),
            "resources": [
                {"resources": list(rule.resources), "writes": rule.writing.name if rule.writing else ""}
                for rule in rules
            ],
            "keys": [{"name": name, "values": census.by_key[name]} for name in ring.configuration.key_names()],
            "valuesInClear": census.clear,
            "valuesToRewrite": census.outdated,
            "reencryption": {
                "state": state,
                "rewritten": self.rewritten.total(),
                "finishedAt": self.finished_at,
                "message": self.trouble,
            },
        }
