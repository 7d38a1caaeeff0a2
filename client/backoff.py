"""Pauses that grow with every failure and differ between clients, so that a server that comes back is not stampeded."""

from __future__ import annotations

import random
from dataclasses import dataclass, field


@dataclass(slots=True)
class Backoff:
    """`next_s` gives the pause before the next try: doubling from `initial_s` to `max_s`, spread by `jitter`."""

    initial_s: float = 0.2
    max_s: float = 30.0
    factor: float = 2.0
    jitter: float = 0.5
    """A pause is between (1 - jitter) and (1 + jitter) times its nominal length."""
    _failures: int = field(default=0, init=False)

    def next_s(self) -> float:
        """Seconds to wait after one more failure."""
        # The exponent is bounded because 2.0 ** 1024 overflows, after some hours of a server being away.
        nominal = min(self.max_s, self.initial_s * self.factor ** min(self._failures, 64))
        self._failures += 1
        return nominal * random.uniform(1 - self.jitter, 1 + self.jitter)

    def reset(self) -> None:
        """It worked: the next failure is the first one."""
        self._failures = 0
