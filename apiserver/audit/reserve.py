"""Room on the disk that is held back for the audit log, so that what frees a full disk can still be recorded."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

TRY_INTERVAL_S: Final = 1.0
"""How often it is tried to hold it back again."""


class Reserve:
    """One file of allocated bytes that mean nothing."""

    def __init__(self, path: Path, size: int) -> None:
        self._path, self._size = path, size
        self.held = False
        self._tried = float("-inf")

    def hold(self) -> None:
        """Take the room, if it is there."""
        self._tried = time.monotonic()
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if self._size and os.fstat(handle).st_blocks * 512 < self._size:
                os.posix_fallocate(handle, 0, self._size)
            self.held = True
        except OSError:
            self.held = False  # There is no room: that is the answer.
        finally:
            os.close(handle)
        if not self.held:
            self.release()

    def try_again(self) -> None:
        """The same, if it was not tried just now."""
        if time.monotonic() - self._tried >= TRY_INTERVAL_S:
            self.hold()

    def release(self) -> None:
        """Give the room to the log."""
        self.held = False
        os.truncate(self._path, 0)
