"""What a reconcile says when it is done: nothing more to do, or look again after a while. Failure is an exception."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Done:
    """The world is as it should be, or the next change will tell us."""


@dataclass(frozen=True, slots=True)
class RequeueAfter:
    """Nothing will tell us: look again after `delay_s`. It is no failure, so the back-off starts afresh."""

    delay_s: float


Outcome: TypeAlias = Done | RequeueAfter

DONE = Done()
