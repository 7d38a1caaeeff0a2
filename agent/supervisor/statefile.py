"""What the shim's runs have come to, on disk (fsync) before anyone hears of it. A full disk must not stop a pod from being
stopped: what it did not take is written anew a little later.
"""

from __future__ import annotations

import os
import time

from .wire import encode

TYPE_CHECKING = False  # `typing` itself would cost the shim a megabyte
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

PATH, NEW_PATH = "state.jsonl", "state.new"  # in the pod's directory, which the shim works in
SIZE_MAX = 256 * 1024  # bytes before it is rewritten as one snapshot
SAVE_PAUSE_S = 5.0  # between two tries to write what the disk did not take
_FLAGS = os.O_CREAT | os.O_APPEND | os.O_CLOEXEC


class StateFile:
    """Appends entries. `views` are always those of the last run of every container."""

    def __init__(self) -> None:
        self._fd = os.open(PATH, os.O_RDWR | _FLAGS, 0o600)
        self._size = os.fstat(self._fd).st_size
        self.save_at: float | None = None
        """When `save_again` has something to do, by the monotonic clock."""

    def record(self, entry: dict[str, Any], views: Iterable[dict[str, Any]]) -> str:
        """Append, and wait for the disk. Says why that was impossible, once; empty when it was not."""
        data = encode(entry)
        try:
            if self._size > SIZE_MAX:
                self._compact(views)
            written = os.write(self._fd, data)
            self._size += written
            os.fsync(self._fd)
            why = "the disk is full" if written < len(data) else ""
        except OSError as error:
            why = str(error)
        if not why:
            return ""
        is_news = self.save_at is None
        self.save_at = time.monotonic() + SAVE_PAUSE_S
        return why if is_news else ""

    def save_again(self, now: float, views: Iterable[dict[str, Any]]) -> None:
        """Write everything anew if something could not be written."""
        if self.save_at is None or now < self.save_at:
            return
        try:
            self._compact(views)
            self.save_at = None
        except OSError:
            self.save_at = now + SAVE_PAUSE_S

    def _compact(self, views: Iterable[dict[str, Any]]) -> None:
        fd = os.open(NEW_PATH, os.O_WRONLY | os.O_TRUNC | _FLAGS, 0o600)
        ended = {"running": "started", "exited": "exited"}
        data = b"".join([encode({"ev": ended[view["state"]], **view}) for view in views])
        try:
            if os.write(fd, data) < len(data):
                raise OSError("the disk is full")
            os.fsync(fd)
            os.rename(NEW_PATH, PATH)
        except OSError:
            os.close(fd)
            raise
        os.close(self._fd)
        self._fd, self._size = fd, len(data)
