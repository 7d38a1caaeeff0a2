"""One process per data directory: the lock that says so, and the directory that must be there and writable.

The lock is the kernel's (flock): it ends with the process that holds it, however it ended.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from ..protocol import StoreError

LOCK_NAME = "store.lock"
DATABASE_NAME = "store.db"
BALLAST_NAME = "store.ballast"


class DataDirUnusable(StoreError):
    """The data directory cannot be made, read or written, or holds something that is not our store."""


class DataDirLocked(StoreError):
    """Another process uses this data directory: stop it first, or choose another directory."""


class DataDir:
    """A directory that belongs to this process until `release`."""

    def __init__(self, path: Path) -> None:
        """Raises DataDirLocked, DataDirUnusable."""
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = os.open(path / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise DataDirUnusable(f"{path}: cannot be used as a data directory: {error.strerror}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._lock, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._lock)
            raise DataDirLocked(f"{path}: in use by another process (pid {holder})") from error
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, str(os.getpid()).encode(), 0)

    @property
    def database(self) -> Path:
        """The database file; SQLite keeps `-wal` and `-shm` beside it."""
        return self.path / DATABASE_NAME

    @property
    def ballast(self) -> Path:
        """The file that holds disk space in reserve."""
        return self.path / BALLAST_NAME

    def sync(self) -> None:
        """Make the names of new files durable: the file's own fsync does not cover its directory entry."""
        for directory in (self.path, self.path.parent):
            handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)

    def size_bytes(self) -> int:
        """Disk space of the database, its log and the ballast."""
        wal = self.database.with_name(DATABASE_NAME + "-wal")
        return sum(file.stat().st_size for file in (self.database, wal, self.ballast) if file.exists())

    def release(self) -> None:
        """Let another process have the directory."""
        os.close(self._lock)
