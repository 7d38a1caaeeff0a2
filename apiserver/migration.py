"""`stark-apiserver migrate`: move a cluster's objects from one store to another while no API server runs."""

from __future__ import annotations

import argparse
import asyncio
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .encryption.configuration import BadConfiguration
from .encryption.opening import default_key_file, open_encrypted, open_to_copy
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
    parser.add_argument(
        "--from-keys", type=Path, metavar="FILE", help="its encryption keys; default: those in the data directory named"
    )
    parser.add_argument(
        "--to-keys", type=Path, metavar="FILE", help="keys to encrypt with; default: those in the data directory named"
    )
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
        copied = asyncio.run(_migrate(_places(arguments), etcd_access(arguments)))
    except (MigrationRefused, UnknownStore, BadConfiguration, StoreError) as error:
        return _complain(str(error), 1)
    late = f"; {copied.expired} had expired" if copied.expired else ""
    sys.stdout.write(f"copied {copied.keys} objects, {copied.value_bytes} bytes, of revision {copied.revision}{late}\n")
    return 0


@dataclass(frozen=True, slots=True)
class Place:
    """A store, and where its keys are. Between two etcds without any, values are copied as they are, sealed or not."""

    name: str
    keys: Path | None
    are_given: bool


def _places(arguments: argparse.Namespace) -> tuple[Place, Place]:
    """The two stores. An etcd has its keys in the data directory of its API server, which is the one that is named."""
    named = [
        Path(place.removeprefix(SQLITE)) for place in (arguments.source, arguments.target) if place.startswith(SQLITE)
    ]
    source_keys = default_key_file(named[0]) if named else None
    target_keys = default_key_file(named[-1]) if named else None
    return (
        Place(arguments.source, arguments.from_keys or source_keys, arguments.from_keys is not None),
        # What had to be opened on its way is not left open in the target.
        Place(
            arguments.target,
            arguments.to_keys or target_keys or arguments.from_keys,
            bool(arguments.to_keys or (arguments.from_keys and not named)),
        ),
    )


async def _migrate(places: tuple[Place, Place], access: EtcdAccess) -> Copied:
    async with AsyncExitStack() as stack:
        # The source first: a mistyped one must not leave an empty target behind.
        source = await _open(places[0].name, access, must_exist=True)
        stack.push_async_callback(source.close)
        if places[0].keys is not None:
            source = await open_to_copy(source, places[0].keys, is_given=places[0].are_given)
        target = await _open(places[1].name, access, must_exist=False)
        stack.push_async_callback(target.close)
        if places[1].keys is not None:
            target = await open_encrypted(target, places[1].keys, is_given=places[1].are_given)
        return await migrate(source, target)


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
