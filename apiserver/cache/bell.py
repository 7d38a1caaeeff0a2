"""For those who want to know that something changed, and look for themselves."""

from __future__ import annotations

from typing import Final

from .change import Rendering
from .entry import Entry


class _Bell:
    """A rendering that renders nothing."""

    identity = "bell"

    def render(self, entry: Entry) -> bytes:
        return b"1"

    def bookmark(self, revision: int, *, initial_events_end: bool = False) -> bytes:
        return b"1"


BELL: Final[Rendering] = _Bell()
"""What a Watcher is made with that only rings."""
