"""How many seats a level wanted lately, in use or waited for: the most at once, the average, and how much it varied."""

from __future__ import annotations

import math
from typing import NamedTuple


class Observed(NamedTuple):
    """Of one period."""

    highest: float = 0.0
    average: float = 0.0
    deviation: float = 0.0


class Demand:
    """Integrates a number over time. `move` is on the way of every request, so it is kept small."""

    __slots__ = ("_area", "_at_s", "_began_s", "_highest", "_squares", "_value")

    def __init__(self, now_s: float) -> None:
        self._value = self._highest = 0
        self._area = self._squares = 0.0
        self._began_s = self._at_s = now_s

    def move(self, value: int, now_s: float) -> None:
        """From now on it is `value`."""
        area = self._value * (now_s - self._at_s)
        self._area += area
        self._squares += area * self._value
        self._at_s = now_s
        self._value = value
        if value > self._highest:
            self._highest = value

    def take(self, now_s: float) -> Observed:
        """The period since the last time this was asked; a new one begins."""
        self.move(self._value, now_s)
        duration = now_s - self._began_s
        average = self._area / duration if duration > 0 else float(self._value)
        variance = self._squares / duration - average * average if duration > 0 else 0.0
        observed = Observed(float(self._highest), average, math.sqrt(max(0.0, variance)))
        self._highest, self._area, self._squares, self._began_s = self._value, 0.0, 0.0, now_s
        return observed
