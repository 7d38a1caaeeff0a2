"""Which store to open, and what it needs while it is open."""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from .encryption.opening import default_key_file, open_encrypted
from .encryption.store import EncryptingStore
from .settings import EtcdAccess, Settings
from .store.memory import MemoryStore
from .store.protocol import Store, StoreError
from .store.sqlite import open_sqlite

log = structlog.get_logger(__name__)

ETCD: Final = "etcd="
SQLITE_DIRECTORY: Final = "store"
"""Where in the data directory SQLite's files are."""
PASSWORD_VARIABLE: Final = "STARK_ETCD_PASSWORD"
"""The environment variable with the password for etcd: a flag would show it to every user of the machine."""


class UnknownStore(ValueError):
    """The setting names no store; the message says what would."""


async def open_store(settings: Settings, *, fatal: Callable[[BaseException], object] | None = None) -> EncryptingStore:
    """The store the settings name, with encryption over it.

    `fatal` hears of a disk that failed, after which it answers nothing any more. Raises UnknownStore, BadConfiguration,
    StoreError with what to do.
    """
    return await encrypted(settings, await open_plain_store(settings, fatal))


async def encrypted(settings: Settings, beneath: Store) -> EncryptingStore:
    """The store with encryption over it, as the settings want it; closed when that cannot be. Raises as `open_store`."""
    given = settings.encryption_config
    try:
        path = given or default_key_file(settings.data_dir)
        return await open_encrypted(beneath, path, is_given=given is not None)
    except BaseException:
        await beneath.close()
        raise


async def open_plain_store(settings: Settings, fatal: Callable[[BaseException], object] | None) -> Store:
    """The same without encryption."""
    if settings.store == "memory":
        return MemoryStore()
    if settings.store == "sqlite":
        return await open_sqlite(settings.data_dir / SQLITE_DIRECTORY, fatal=fatal)
    if settings.store.startswith(ETCD):
        return await open_etcd_store(settings.store, settings.etcd)
    raise UnknownStore(f"--store {settings.store}: use sqlite, memory, or etcd=URL[,URL...]")


async def open_etcd_store(store: str, access: EtcdAccess, *, keeps_history: bool = False) -> Store:
    """The store of `etcd=URL[,URL...]`; with `keeps_history` it compacts nothing. Raises UnknownStore, StoreError."""
    try:
        # Only here: gRPC is an extra that other stores do not need, and slow to import.
        from .store.etcd import EtcdSettings, open_etcd
    except ImportError as error:
        raise UnknownStore(f"--store etcd needs {error.name}: install stark[etcd]") from error
    settings = EtcdSettings(
        tuple(url.strip() for url in store.removeprefix(ETCD).split(",") if url.strip()),
        cafile=access.cafile,
        certfile=access.certfile,
        keyfile=access.keyfile,
        username=access.username,
        password=os.environ.get(PASSWORD_VARIABLE, ""),
        compact_every_s=0 if keeps_history else EtcdSettings.compact_every_s,
    )
    return await open_etcd(settings)


def add_etcd_flags(parser: argparse.ArgumentParser) -> None:
    """kube-apiserver's flags for etcd, and a user."""
    group = parser.add_argument_group("etcd", f"a password is taken from ${PASSWORD_VARIABLE} or the URL")
    group.add_argument("--etcd-cafile", type=Path, metavar="FILE", help="PEM certificates that sign etcd's")
    group.add_argument("--etcd-certfile", type=Path, metavar="FILE", help="our client certificate, PEM")
    group.add_argument("--etcd-keyfile", type=Path, metavar="FILE", help="its private key")
    group.add_argument("--etcd-username", default="", metavar="NAME", help="whom to authenticate as")


def etcd_access(parsed: argparse.Namespace) -> EtcdAccess:
    """What the flags said."""
    return EtcdAccess(parsed.etcd_cafile, parsed.etcd_certfile, parsed.etcd_keyfile, parsed.etcd_username)


async def compact_forever(store: Store, history_s: float) -> None:
    """Let history go that is older than `history_s`. The stores do it by themselves as well; asking twice does no harm."""
    while True:
        try:
            revision = await store.revision()
            await asyncio.sleep(history_s)
            await store.compact(revision)
        except StoreError as error:
            log.info("history was not compacted", reason=str(error))
            await asyncio.sleep(min(history_s, 60.0))
