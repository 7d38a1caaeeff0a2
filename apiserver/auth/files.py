"""Secrets on disk: written whole or not at all, and readable by their owner only.

A reader (an agent, kubectl, the next start) never sees half a file, and a private key is never, not even for a
moment, in a file that others may open. After a crash the old file or the new one is there.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PRIVATE_FILE_MODE = 0o600
PUBLIC_FILE_MODE = 0o644
PRIVATE_DIRECTORY_MODE = 0o700


def private_directory(path: Path) -> None:
    """Create `path`, or take away what others may do with it."""
    path.mkdir(mode=PRIVATE_DIRECTORY_MODE, parents=True, exist_ok=True)
    path.chmod(PRIVATE_DIRECTORY_MODE)


def write_whole(path: Path, content: bytes, mode: int = PRIVATE_FILE_MODE) -> None:
    """Replace `path` by a file with `content`, durably and in one step. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # mkstemp creates with 0600, so the content is private from the first byte; a wider mode comes last.
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the renames and creations inside `path` durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold `directory` against other processes, so that two first starts do not make two authorities."""
    descriptor = os.open(directory / ".lock", os.O_RDWR | os.O_CREAT, PRIVATE_FILE_MODE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
