"""The file with the keys, read again when somebody has changed it."""

from __future__ import annotations

import time
from pathlib import Path

from .configuration import BadConfiguration, Configuration, read_configuration


class KeyFile:
    """The file with the keys, read again when it has changed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, int, int] | None = None

    @property
    def is_there(self) -> bool:
        """Whether there is such a file."""
        return self._stamp() is not None

    def age_s(self) -> float:
        """Seconds since somebody changed it. Raises FileNotFoundError."""
        return time.time() - self.path.stat().st_mtime

    def read(self) -> Configuration:
        """Raises BadConfiguration, FileNotFoundError."""
        self._seen = self._stamp()
        return read_configuration(self.path)

    def changed(self) -> Configuration | None:
        """What it says now, if that was not read before. Raises BadConfiguration, FileNotFoundError."""
        return self.read() if self._stamp() != self._seen else None

    def newer(self) -> Configuration | None:
        """`changed`, for one who cannot do anything about a file that is not usable."""
        try:
            return self.changed()
        except (BadConfiguration, FileNotFoundError):
            return None

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino
