"""What is counted of the requests of one schema at one level: plain numbers, because this is on the way of every request."""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

WAITS_S: Final = (0.0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0)
"""Upper bounds of the buckets in which waits are counted, as in Kubernetes."""


class Waits:
    """A histogram of seconds."""

    __slots__ = ("buckets", "total_s")

    def __init__(self) -> None:
        self.buckets = [0] * (len(WAITS_S) + 1)
        self.total_s = 0.0

    def add(self, wait_s: float) -> None:
        """One request waited so long."""
        self.buckets[bisect_left(WAITS_S, wait_s)] += 1
        self.total_s += wait_s


class Counts:
    """`at_once` were dispatched without waiting, `waited` after it; `gave_up` waited in vain."""

    __slots__ = ("at_once", "executing", "executing_seats", "gave_up", "rejected", "waited", "waiting", "waiting_seats")

    def __init__(self) -> None:
        self.at_once = self.executing = self.executing_seats = self.waiting = self.waiting_seats = 0
        self.rejected: dict[str, int] = {}
        """By reason."""
        self.waited, self.gave_up = Waits(), Waits()

    def reject(self, reason: str) -> None:
        """One was refused."""
        self.rejected[reason] = self.rejected.get(reason, 0) + 1
