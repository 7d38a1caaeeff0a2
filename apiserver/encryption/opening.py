"""Put encryption over a store at its start, or say in one sentence why its values cannot be read."""

from __future__ import annotations

from pathlib import Path

from ..store.protocol import Store
from .configuration import FILE_NAME, BadConfiguration, first_configuration, make_configuration
from .envelope import Undecipherable
from .keyfile import KeyFile
from .keyring import Keyring
from .reencryption import any_sealed, take_census
from .store import EncryptingStore


def default_key_file(data_dir: Path) -> Path:
    """Where a server has its keys when no setting says otherwise."""
    return data_dir / "pki" / FILE_NAME


async def open_encrypted(beneath: Store, path: Path, *, is_given: bool = False) -> EncryptingStore:
    """The store with encryption over it; every sealed value in it can be opened.

    Without a file, one is made: but not when a person named it (`is_given`), nor for a store that was encrypted with
    other keys. Raises BadConfiguration, Undecipherable, and what stores raise.
    """
    file = KeyFile(path)
    try:
        configuration = file.read()
    except FileNotFoundError:
        if is_given:
            raise BadConfiguration(f"{path} does not exist: name the file with the encryption keys") from None
        await _refuse_lost_keys(beneath, path)
        make_configuration(path)
        configuration = file.read()
    ring = Keyring(configuration, file.newer)
    try:
        await take_census(beneath, ring, opens=True)
    except Undecipherable as error:
        raise Undecipherable(f"{path} does not fit this store: {error}") from error
    return EncryptingStore(beneath, ring, file)


async def open_to_copy(beneath: Store, path: Path, *, is_given: bool) -> Store:
    """The store with its values in clear, and no file made for one that never was encrypted. Raises as above."""
    if not is_given and not KeyFile(path).is_there:
        await _refuse_lost_keys(beneath, path)
        return beneath
    return await open_encrypted(beneath, path, is_given=is_given)


async def _refuse_lost_keys(beneath: Store, path: Path) -> None:
    sealed = await any_sealed(beneath, [place for place, _ in first_configuration().places()])
    if sealed is not None:
        raise Undecipherable(
            f"{path} is missing, and {sealed}: put the file back, this store cannot be read without it"
        )
