"""`stark-apiserver migrate`: move a cluster's objects from one store to another while no API server runs."""

from __future__ import annotations

import argparse
import asyncio
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from .settings import EtcdAccess
from .store.migrate import Copied, MigrationRefused, migrate
from .store.protocol import Store, StoreError
from .store.sqlite import open_sqlite
from .stores import ETCD, SQLITE_DIRECTORY, UnknownStore, add_etcd_flags, etcd_access, open_etcd_store

SQLITE: Final = "sqlite="


def add_migrate_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the `migrate` command; parsed arguments carry `run`, a function of them to an exit code."""
    parser = commands.add_parser(
        "migrate",
        help="copy all objects to another store",
        description="Copy all objects to another store. Stop the API server first; start it on the new store afterwards.",
    )
    place = "sqlite=DATA_DIR|etcd=URL[,URL]"
    parser.add_argument("--from", dest="source", required=True, metavar=place, help="where the objects are")
    parser.add_argument("--to", dest="target", required=True, metavar=place, help="an empty store")
    add_etcd_flags(parser)
    parser.set_defaults(run=run_migrate_command)


def run_migrate_command(arguments: argparse.Namespace) -> int:
    """Carry out the `migrate` command. Returns 0, 1 after an error, 2 for arguments that cannot work."""
    for place in (arguments.source, arguments.target):
        if not place.startswith((SQLITE, ETCD)):
            return _complain(f"{place!r} is no store: use sqlite=DATA_DIR or etcd=URL[,URL...]", 2)
    if arguments.source == arguments.target:
        return _complain("--from and --to are the same", 2)
    try:
        copied = asyncio.run(_migrate(arguments.source, arguments.target, etcd_access(arguments)))
    except (MigrationRefused, UnknownStore, StoreError) as error:
        return _complain(str(error), 1)
    late = f"; {copied.expired} had expired" if copied.expired else ""
    sys.stdout.write(f"copied {copied.keys} objects, {copied.value_bytes} bytes, of revision {copied.revision}{late}\n")
    return 0


async def _migrate(source: str, target: str, access: EtcdAccess) -> Copied:
    async with AsyncExitStack() as stack:
        # The source first: a mistyped one must not leave an empty target behind.
        opened = []
        for place, is_source in ((source, True), (target, False)):
            store = await _open(place, access, must_exist=is_source)
            stack.push_async_callback(store.close)
            opened.append(store)
        return await migrate(*opened)


async def _open(place: str, access: EtcdAccess, *, must_exist: bool) -> Store:
    """Raises StoreError, UnknownStore, MigrationRefused."""
    if place.startswith(ETCD):
        return await open_etcd_store(place, access, keeps_history=True)
    directory = Path(place.removeprefix(SQLITE)) / SQLITE_DIRECTORY
    if must_exist and not directory.is_dir():
        raise MigrationRefused(f"{directory} does not exist: name the --data-dir of the API server")
    return await open_sqlite(directory)


def _complain(message: str, code: int) -> int:
    sys.stderr.write(f"stark-apiserver migrate: {message}\n")
    return code
