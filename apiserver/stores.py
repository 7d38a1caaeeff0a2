"""Which store to open, and what it needs while it is open."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from .settings import Settings
from .store.memory import MemoryStore
from .store.protocol import Store, StoreError
from .store.sqlite import open_sqlite

log = structlog.get_logger(__name__)

ETCD: Final = "etcd="


class UnknownStore(ValueError):
    """The setting names no store; the message says what would."""


async def open_store(settings: Settings) -> Store:
    """The store the settings name. Raises UnknownStore, StoreError with what to do."""
    if settings.store == "memory":
        return MemoryStore()
    if settings.store == "sqlite":
        return await open_sqlite(settings.data_dir / "store")
    raise UnknownStore(f"--store {settings.store}: use sqlite, memory, or etcd=URL[,URL...]")


async def compact_forever(store: Store, history_s: float) -> None:
    """Let history go that is older than `history_s`. SQLite does it by itself as well; asking twice does no harm."""
    while True:
        try:
            revision = await store.revision()
            await asyncio.sleep(history_s)
            await store.compact(revision)
        except StoreError as error:
            log.info("history was not compacted", reason=str(error))
            await asyncio.sleep(min(history_s, 60.0))
