"""Which history to give up: what is older than the age, and what is beyond the number of revisions."""

from __future__ import annotations

from collections import deque
from typing import Protocol


class WindowSettings(Protocol):
    """What a back end's settings say about history; see there for the reasons."""

    @property
    def history_age_s(self) -> float: ...
    @property
    def history_revisions(self) -> int: ...


class Window:
    """Remembers which revision the store was at when, as far back as the age of history that is kept."""

    def __init__(self, settings: WindowSettings) -> None:
        self._age_s, self._revisions = settings.history_age_s, settings.history_revisions
        self._seen: deque[tuple[float, int]] = deque()
        """Times and revisions, oldest first; bounded by the age divided by the time between two observations."""

    def observe(self, now: float, revision: int) -> int:
        """The store is at `revision`. The revision to compact to, which may be one that was compacted already."""
        self._seen.append((now, revision))
        while len(self._seen) > 1 and self._seen[1][0] <= now - self._age_s:
            self._seen.popleft()
        then, old = self._seen[0]
        by_age = old if then <= now - self._age_s else 0
        return max(by_age, revision - self._revisions)
