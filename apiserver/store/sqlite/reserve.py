"""Room for deletes when there is no room: a ballast file on the disk, and an allowance above the quota.

A store whose disk is full must still be able to delete and compact, or nobody can ever free anything. SQLite writes in
order to delete. So some space is held back, given to a delete that needs it, and taken back when there is room again;
until then nothing that grows the store is accepted, or the reserve would be eaten by what filled the disk.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import apsw

from .settings import SqliteSettings

RESTORE_INTERVAL_S = 1.0
"""How often a store without its reserve looks whether there is room again."""
PAGES_MAX = 0xFFFFFFFE
"""SQLite's own limit, which stands for no quota."""


class Reserve:
    """The held-back space of one database. Used by the writer thread only, outside of transactions."""

    def __init__(self, connection: apsw.Connection, ballast: Path, settings: SqliteSettings) -> None:
        self._connection, self._ballast = connection, ballast
        self._bytes, self._quota_bytes = settings.reserve_bytes, settings.quota_bytes
        self._page_bytes: int = connection.pragma("page_size")
        self.held = False
        """Whether the space is held back. When not, only what frees space may be written."""
        self._tried = float("-inf")
        self.hold()

    def hold(self) -> None:
        """Hold the space back, if the disk and the quota have it."""
        self._limit(self._quota_bytes)
        used = self._connection.pragma("page_count") * self._page_bytes
        fits = not self._quota_bytes or used <= self._quota_bytes
        self.held = fits and self._fill_ballast()
        if not self.held:
            self.release()

    def release(self) -> None:
        """Give the space to whoever writes next."""
        self.held = False
        self._limit(self._quota_bytes and self._quota_bytes + self._bytes)
        try:
            os.truncate(self._ballast, 0)
        except FileNotFoundError:
            pass

    def may_grow(self) -> bool:
        """Whether something may be written that makes the store larger."""
        if not self.held and time.monotonic() - self._tried >= RESTORE_INTERVAL_S:
            self._tried = time.monotonic()
            self.hold()
        return self.held or self._free_inside() >= self._bytes

    def _free_inside(self) -> int:
        """Bytes of pages that compaction freed: as good as a reserve, as they are reused before the file grows."""
        free: int = self._connection.pragma("freelist_count")
        return free * self._page_bytes

    def _limit(self, size_bytes: int) -> None:
        self._connection.pragma("max_page_count", size_bytes // self._page_bytes if size_bytes else PAGES_MAX)

    def _fill_ballast(self) -> bool:
        handle = os.open(self._ballast, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(handle).st_size != self._bytes:
                os.ftruncate(handle, 0)
                if self._bytes:
                    os.posix_fallocate(handle, 0, self._bytes)
            return True
        except OSError:
            return False  # the disk is full, which is what the answer says
        finally:
            os.close(handle)
