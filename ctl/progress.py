"""A progress line for uploads: redrawn in place on a terminal, silent elsewhere so that logs stay clean."""

from __future__ import annotations

import sys
import time
from types import TracebackType

REDRAW_S = 0.1
BAR_WIDTH = 30
SMALL_BYTES = 256 * 1024
"""Below this an upload is over before anyone could read a bar."""


class Progress:
    """Shows how much of `total` bytes has gone."""

    def __init__(self, label: str, total: int) -> None:
        self._label, self._total = label, total
        self._shown = sys.stderr.isatty() and total > SMALL_BYTES
        self._drawn_at = 0.0
        self._started = time.monotonic()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown:
            sys.stderr.write("\r\033[K")

    def reached(self, done: int) -> None:
        """Say that `done` bytes have been sent."""
        now = time.monotonic()
        if not self._shown or (now - self._drawn_at < REDRAW_S and done < self._total):
            return
        self._drawn_at = now
        filled = BAR_WIDTH * done // self._total
        rate = done / max(now - self._started, 1e-6) / 1_048_576
        bar = "█" * filled + "░" * (BAR_WIDTH - filled)
        sys.stderr.write(f"\r\033[K{self._label} {bar} {100 * done // self._total:3d} %  {rate:.1f} MiB/s")
        sys.stderr.flush()
